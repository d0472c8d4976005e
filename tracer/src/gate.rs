//! Where a new process waits until its tracer has it: `PTRACE_SEIZE` doesn't stop its target, and `PTRACE_TRACEME` is
//! the old interface without group stops.

use std::io;
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

/// Where a new process waits for its tracer: it says its pid and hears an errno.
pub(crate) struct Gate {
    pub(crate) child: UnixStream,
}

impl Gate {
    pub(crate) fn new() -> io::Result<(Gate, UnixStream)> {
        let (child, tracer) = UnixStream::pair()?;
        Ok((Gate { child }, tracer))
    }

    /// Whoever still waits at the other end hears that nobody will come; a copy that another thread's fork has
    /// taken along doesn't keep it open.
    pub(crate) fn close(self) {
        // ENOTCONN: the other end is closed already.
        let _ = self.child.shutdown(Shutdown::Both);
    }
}

/// In the child, only system calls: waits at the gate.
pub(crate) fn pass(gate: RawFd) -> io::Result<()> {
    if gate < 0 {
        return Ok(());
    }
    let mut word = std::process::id().to_ne_bytes();
    // SAFETY: sends and fills the four bytes of a local; the descriptor stays the caller's.
    let done = unsafe {
        libc::send(gate, word.as_ptr().cast(), word.len(), libc::MSG_NOSIGNAL) == 4
            && libc::recv(
                gate,
                word.as_mut_ptr().cast(),
                word.len(),
                libc::MSG_WAITALL,
            ) == 4
    };
    match i32::from_ne_bytes(word) {
        0 if done => Ok(()),
        _ if !done => Err(io::Error::from_raw_os_error(libc::EIO)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
