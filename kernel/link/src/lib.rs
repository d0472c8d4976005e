//! What do the kernel and its host say to each other?
//!
//! The kernel compiles and speaks Jupyter; the host holds the process in which cells run. Between them is a Unix
//! stream socket with [frames](send): a length in four bytes, then one JSON line, then bytes as they are. evcxr's own
//! line protocol runs beside it, on the host's stdin and stdout.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The environment variable that tells the host where the kernel listens.
pub const SOCKET: &str = "SYSLAB_SOCKET";
/// The environment variable that names the library every cell is linked with.
pub const CELL_LIBRARY: &str = "SYSLAB_CELL_LIBRARY";

/// From the kernel to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    /// What evcxr asks to run from now on belongs to this cell. Answered by [`FromHost::Synced`].
    Begin {
        /// A number that never comes again.
        cell: u64,
        /// Whether a read of stdin may ask the front end; else stdin is at its end.
        stdin: bool,
        /// Whether and how its system calls are recorded.
        trace: Option<TraceRequest>,
        /// Whether its standard descriptors are a terminal.
        tty: bool,
    },
    /// Everything said so far has to be answered before [`FromHost::Synced`].
    Sync,
    /// SIGINT to the cell's process group, SIGKILL when it still runs two seconds later.
    Interrupt,
    /// A line of input, in the bytes of the frame.
    Input,
    /// No more input for this cell.
    InputEnd,
    /// Ends every process of the session except the cell's own and its checkpoint; [`FromHost::Killed`].
    KillOthers,
    /// Ends every process of the session, the cell's too; [`FromHost::Killed`]. The host then waits for its own end.
    KillAll,
    /// Answered by [`FromHost::Who`].
    Who,
}

/// How the system calls of a cell are recorded and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Names or families; empty: all.
    pub only: Vec<String>,
    /// Counts instead of calls.
    pub summary: bool,
}

/// From the host to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHost {
    /// The host is there.
    Hello {
        /// Its pid.
        pid: i32,
        /// What this machine denies, and what follows; a line each.
        limits: Vec<String>,
    },
    /// Bytes that a process of this cell wrote, in the bytes of the frame.
    Output {
        /// The cell that started it.
        cell: u64,
        /// To stderr rather than stdout.
        stderr: bool,
    },
    /// Something to show: MIME type to content.
    Show {
        /// The cell it belongs to.
        cell: u64,
        /// MIME type to content.
        content: BTreeMap<String, String>,
    },
    /// A process of the cell waits for input.
    InputRequest {
        /// The cell.
        cell: u64,
        /// What to ask.
        prompt: String,
        /// Whether what is typed is hidden.
        password: bool,
    },
    /// One run of the cell is over; all its output has been sent.
    Ended {
        /// The cell.
        cell: u64,
        /// How.
        end: End,
    },
    /// The process died between cells; what was put back is said.
    DiedIdle(Death),
    /// The process of the cell stopped, and was continued.
    Continued {
        /// The cell.
        cell: u64,
        /// "SIGSTOP".
        signal: String,
    },
    /// Answer to [`ToHost::Sync`] and [`ToHost::Begin`].
    Synced,
    /// How many processes were ended.
    Killed(usize),
    /// Answer to [`ToHost::Who`].
    Who {
        /// The host itself.
        host: i32,
        /// The process in which cells run.
        cell: i32,
        /// Its sleeping copy, if there is one.
        checkpoint: Option<i32>,
    },
}

/// How a run of a cell ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It came to its end.
    Finished {
        /// The value of its last expression: MIME type to content.
        value: BTreeMap<String, String>,
        /// The panic that ended it.
        panic: Option<Panic>,
        /// The error that a `?` returned.
        question_mark: Option<String>,
        /// What is said about it, a line each.
        remarks: Vec<String>,
    },
    /// The library of the cell could not be loaded.
    NotLoaded(String),
    /// The process ended, and was put back to where the cell began.
    Died(Death),
}

/// A panic, as its hook saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// What `panic!` was given.
    pub message: String,
    /// The file; `cell/lib.rs` is the cell.
    pub file: String,
    /// The line in that file, from 1.
    pub line: u32,
}

/// What became of the process, and what of the session survived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// "SIGSEGV", "Exited", "Replaced".
    pub name: String,
    /// One sentence.
    pub what: String,
    /// Whether an interrupt asked for it.
    pub interrupted: bool,
    /// Whether variables are as they were before the cell; else they are gone.
    pub restored: bool,
    /// What did not come back, a line each.
    pub losses: Vec<String>,
    /// Where a fault was, if in the code of a cell: its library, and the address in it.
    pub place: Option<(String, u64)>,
}

/// Sends one frame.
///
/// # Errors
/// EPIPE, when the other side is gone, and those of `write(2)`.
pub fn send<T: Serialize>(to: &mut impl Write, frame: &T, bytes: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(frame)?;
    let mut whole = Vec::with_capacity(8 + head.len() + bytes.len());
    whole.extend((head.len() as u32).to_le_bytes());
    whole.extend((bytes.len() as u32).to_le_bytes());
    whole.extend(head);
    whole.extend(bytes);
    to.write_all(&whole)
}

/// Receives one frame.
///
/// # Errors
/// `UnexpectedEof` when the other side is gone, `InvalidData` for what is no frame, and those of `read(2)`.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    /// No honest frame is longer.
    const MOST: u32 = 256 << 20;
    let length = |from: &mut dyn Read| -> io::Result<usize> {
        let mut word = [0; 4];
        from.read_exact(&mut word)?;
        match u32::from_le_bytes(word) {
            length if length <= MOST => Ok(length as usize),
            length => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {length} bytes"),
            )),
        }
    };
    let (head, bytes) = (length(from)?, length(from)?);
    let mut whole = vec![0; head + bytes];
    from.read_exact(&mut whole)?;
    let rest = whole.split_off(head);
    Ok((serde_json::from_slice(&whole)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_as_it_went_in() {
        let mut wire = Vec::new();
        let frame = FromHost::Output {
            cell: 7,
            stderr: true,
        };
        send(&mut wire, &frame, b"\xff\0 bytes").unwrap();
        send(&mut wire, &FromHost::Synced, b"").unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(
            receive::<FromHost>(&mut wire).unwrap(),
            (frame, b"\xff\0 bytes".to_vec())
        );
        assert_eq!(
            receive::<FromHost>(&mut wire).unwrap(),
            (FromHost::Synced, vec![])
        );
        let end = receive::<FromHost>(&mut wire).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_length_beyond_reason_is_refused() {
        let end = receive::<FromHost>(&mut [0xff; 16].as_slice()).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::InvalidData);
    }
}
