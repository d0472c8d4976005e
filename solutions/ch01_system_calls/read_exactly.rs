//! # Why does read return fewer bytes than you asked for?
//!
//! Because read(2) promises *up to* `count` bytes. The loop's traps: 0 is the end of the file and would
//! come for ever; `EINTR` is no failure; asking for more than what is missing (a `BufReader` does)
//! takes bytes that belong to the next reader; and bytes read before an error are gone from the
//! pipe, so the count has to travel with the error.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

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
    let fd = fd.as_fd();
    let mut read = 0;
    while read < buf.len() {
        match read_once(fd, &mut buf[read..]) {
            Ok(0) => {
                let cause = io::ErrorKind::UnexpectedEof.into();
                return Err(Incomplete { read, cause });
            }
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(Incomplete { read, cause }),
        }
    }
    Ok(())
}

/// read(2). `EINTR` is returned as it is: the loop above asks again.
fn read_once(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes at `buf`, which is borrowed exclusively until
    // the call returns; `fd` is borrowed, so it is open.
    let count = unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    if count == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(count as usize)
    }
}
