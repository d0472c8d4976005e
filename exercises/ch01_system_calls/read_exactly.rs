//! # Why does read return fewer bytes than you asked for?
//!
//! read(2) promises *up to* `count` bytes. A pipe gives what is in it, a socket what has arrived, a
//! terminal one line. It may give nothing at all: 0 means the end of the file, and `EINTR` that a
//! signal came first and you are to ask again. A program that needs eight bytes therefore needs a
//! loop, and most bugs of that loop show only under load.
//!
//! Write it once, for everything behind a descriptor: file, pipe, socket, device. When the bytes don't
//! come, say why, and how many came: they are gone from the pipe, so nobody else can tell.
//!
//! Man pages: read(2) (RETURN VALUE, ERRORS), signal(7) (Interruption of system calls), pipe(7).
//! Notebook: `01-system-calls.ipynb#everything-is-a-descriptor`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Why a buffer isn't full, and how far it is filled.
#[derive(Debug)]
pub struct Incomplete {
    /// Bytes read before it ended: `buf[..read]` holds them, in order.
    pub read: usize,
    /// [`io::ErrorKind::UnexpectedEof`] at the end of the file, else the errno of the last read(2).
    pub cause: io::Error,
}

/// Fills `buf` from `fd` with read(2), with as many calls as it takes.
///
/// - Each call asks for exactly the bytes that are still missing, never for one beyond: what follows
///   belongs to the next reader. When none is missing no call is made, so an empty `buf` makes none.
/// - A call that ended with `EINTR` is made again, as often as that happens, and no byte read before
///   is lost.
/// - `fd` is borrowed: it stays open.
///
/// # Errors
/// [`Incomplete`] with the number of bytes read until then and, as its cause,
/// - [`io::ErrorKind::UnexpectedEof`]: the file ended first, after no byte or after some.
/// - `EAGAIN`: `fd` is non-blocking and has no more just now. This neither waits nor tries again: the
///   caller may poll(2) and then ask for the rest, `&mut buf[read..]`.
/// - any other errno as the kernel gave it ([`io::Error::raw_os_error`]): `EISDIR` for a directory,
///   `EBADF` for a descriptor not open for reading, `EIO` for a broken disk.
pub fn read_exactly(fd: impl AsFd, buf: &mut [u8]) -> Result<(), Incomplete> {
    // TODO: 1. While bytes are missing: read(2) into the part of `buf` that isn't filled.
    //       2. A count above 0: so much further. 0: the end of the file.
    //       3. EINTR: again. Any other errno: Incomplete.
    todo!("read once, into the whole of buf")
}
