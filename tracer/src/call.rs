//! What was recorded of one system call, and how it reads.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::flags::{errno_name, errno_text};

/// One system call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// The process.
    pub pid: i32,
    /// The thread.
    pub tid: i32,
    /// Its number on this architecture.
    pub number: u64,
    /// Its name: "write"; "unknown" for a number without one, "foreign" for a call of another architecture
    /// (a 32-bit program), whose numbers mean something else.
    pub name: &'static str,
    /// Its [`family`](crate::family()).
    pub family: &'static str,
    /// The six registers, whether used or not.
    pub args: [u64; 6],
    /// The instruction pointer: behind the instruction that entered the kernel. Which mapping it lies in tells who
    /// called, the program itself or a library.
    pub ip: u64,
    /// What they mean, one for each argument; empty if the call takes none, if its shape isn't known, or if
    /// decoding is off.
    pub decoded: Vec<Arg>,
    /// What it returned, or the errno. `None`: it did not return (`exit(2)`, `rt_sigreturn(2)`, a killed process).
    pub result: Option<Result<i64, i32>>,
    /// When it was entered, since the trace began (`CLOCK_MONOTONIC`).
    pub start: Duration,
    /// From entry to return, the tracer's own work included.
    pub duration: Duration,
    /// How often the kernel restarted it after a signal (SA_RESTART, a job-control stop).
    pub restarts: u32,
    /// Whether a [`Fault`](crate::Fault) touched it.
    pub injected: bool,
}

impl Call {
    /// The first argument that is a path.
    pub fn path(&self) -> Option<&str> {
        self.decoded.iter().find_map(|arg| match arg {
            Arg::Path(path) => Some(path.as_str()),
            _ => None,
        })
    }

    /// The errno it failed with.
    pub fn errno(&self) -> Option<i32> {
        self.result.and_then(Result::err)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            "unknown" | "foreign" => write!(f, "{}_{:#x}(", self.name, self.number)?,
            name => write!(f, "{name}(")?,
        }
        if self.decoded.is_empty() {
            if !crate::table::takes_nothing(self.name) {
                let args = self.args.map(|arg| format!("{arg:#x}"));
                f.write_str(&args.join(", "))?;
            }
        } else {
            for (index, arg) in self.decoded.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                arg.fmt(f)?;
            }
        }
        f.write_str(") = ")?;
        match self.result {
            None => f.write_str("?")?,
            Some(Ok(value)) if crate::table::returns_address(self.name) => write!(f, "{value:#x}")?,
            Some(Ok(value)) => write!(f, "{value}")?,
            Some(Err(errno)) => match errno_name(errno) {
                Some(name) => write!(f, "-1 {name} ({})", errno_text(errno))?,
                None => write!(f, "-1 errno {errno}")?,
            },
        }
        if self.injected {
            f.write_str(" (INJECTED)")
        } else {
            Ok(())
        }
    }
}

/// What one argument means.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arg {
    /// A number.
    Int(i64),
    /// A number of bytes, or bits without names.
    Size(u64),
    /// A pointer that isn't followed, or can't be.
    Address(u64),
    /// Permission bits.
    Mode(u32),
    /// A descriptor; AT_FDCWD is -100.
    Fd {
        /// Its number.
        fd: i32,
        /// What `/proc/PID/fd` says it is, if asked for ([`fd_targets`](crate::Tracer::fd_targets)).
        target: Option<String>,
    },
    /// Two new descriptors: `pipe(2)`, `socketpair(2)`.
    Pair(i32, i32),
    /// A path as the program wrote it; bytes that aren't UTF-8 are replaced.
    Path(String),
    /// An array of strings: argv.
    Strings(Vec<String>),
    /// A buffer that the kernel reads or has filled.
    Bytes {
        /// Its first bytes.
        start: Vec<u8>,
        /// How many there are.
        length: u64,
    },
    /// "O_RDONLY|O_CLOEXEC".
    Flags(Cow<'static, str>),
    /// "127.0.0.1:80", "unix:/run/x", "netlink".
    Sockaddr(String),
    /// "SIGTERM".
    Signal(&'static str),
    /// A set of signals.
    Signals(Vec<&'static str>),
    /// A `struct timespec`.
    Time(Duration),
    /// What `wait(2)` says of a child.
    Wait(String),
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Int(number) => write!(f, "{number}"),
            Arg::Size(number) => write!(f, "{number}"),
            Arg::Address(0) => f.write_str("NULL"),
            Arg::Address(address) => write!(f, "{address:#x}"),
            Arg::Mode(mode) => write!(f, "0{mode:o}"),
            Arg::Fd {
                fd: libc::AT_FDCWD,
                target: None,
            } => f.write_str("AT_FDCWD"),
            Arg::Fd { fd, target: None } => write!(f, "{fd}"),
            Arg::Fd {
                fd,
                target: Some(target),
            } => write!(f, "{fd}<{target}>"),
            Arg::Pair(first, second) => write!(f, "[{first}, {second}]"),
            Arg::Path(path) => write!(f, "{path:?}"),
            Arg::Strings(strings) => write!(f, "{strings:?}"),
            Arg::Bytes { start, length } => {
                let more = if (start.len() as u64) < *length {
                    "..."
                } else {
                    ""
                };
                write!(f, "\"{}\"{more}", start.escape_ascii())
            }
            Arg::Flags(text) => f.write_str(text),
            Arg::Sockaddr(text) | Arg::Wait(text) => write!(f, "{{{text}}}"),
            Arg::Signal(name) => f.write_str(name),
            Arg::Signals(names) => write!(f, "[{}]", names.join(" ")),
            Arg::Time(time) => write!(f, "{time:?}"),
        }
    }
}
