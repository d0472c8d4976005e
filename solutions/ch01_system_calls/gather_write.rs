//! # How do many buffers become one write?
//!
//! By writev(2), and a loop around it. Its traps: a short write ends in the middle of a buffer, which is
//! then to be trimmed, not sent again; a list longer than IOV_MAX is refused as a whole; and a
//! list of empty buffers is answered by 0, which a loop takes for a failure, or for ever.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The longest list that one call takes: UIO_MAXIOV of the kernel's include/uapi/linux/uio.h.
const IOV_MAX: usize = 1024;

/// Why not everything was written, and how much was.
#[derive(Debug)]
pub struct Incomplete {
    /// Bytes written before that, counted over all buffers.
    pub written: usize,
    /// The errno of the last writev(2).
    pub cause: io::Error,
}

/// Writes all bytes of `buffers`, in their order, to `fd` with writev(2): one call if the kernel takes
/// all. It is given the buffers themselves, nothing is copied before.
///
/// - Each call offers all that is still missing, but never more than 1024 buffers: a longer list is
///   `EINVAL` (IOV_MAX). After a short write the next call begins at the first byte that
///   wasn't taken, be it in the middle of a buffer.
/// - Empty buffers are allowed, any number of them, and write nothing. When no byte is missing no call is
///   made.
/// - A call that ended with `EINTR` is made again.
///
/// # Errors
/// [`Incomplete`], with any other errno: `EAGAIN` when `fd` is non-blocking and full just now,
/// `EPIPE` when nobody reads, `EBADF`, `ENOSPC`. No call is made after it.
pub fn write_gathered(fd: impl AsFd, buffers: &[&[u8]]) -> Result<(), Incomplete> {
    let fd = fd.as_fd();
    let mut slices: Vec<IoSlice<'_>> = buffers
        .iter()
        .filter(|buffer| !buffer.is_empty())
        .map(|buffer| IoSlice::new(buffer))
        .collect();
    let mut missing = &mut slices[..];
    let mut written = 0;
    while !missing.is_empty() {
        match writev(fd, &missing[..missing.len().min(IOV_MAX)]) {
            Ok(count) => {
                written += count;
                IoSlice::advance_slices(&mut missing, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(Incomplete { written, cause }),
        }
    }
    Ok(())
}

/// Fills `buffers`, in their order, from `offset` of the file on with preadv(2): one call if the kernel
/// gives all. The number of bytes read: less than there was room for only if the file ends before.
///
/// - As above: each call asks for all that is missing, for at most 1024 buffers; a short read is
///   continued at its first missing byte, `EINTR` made again, and a call for nothing never made.
/// - The end of the file is a call that gives 0 bytes, not one that gives less than it was asked for.
/// - The descriptor's own offset stays where it is (lseek(2)).
///
/// # Errors
/// The errno of the first call that fails: `ESPIPE` for what has no offsets, such as a pipe, `EISDIR`,
/// `EBADF`, `EIO`, `EINVAL` for an offset beyond `i64::MAX`.
pub fn read_scattered_at(
    fd: impl AsFd,
    buffers: &mut [&mut [u8]],
    offset: u64,
) -> io::Result<usize> {
    let fd = fd.as_fd();
    let mut slices: Vec<IoSliceMut<'_>> = buffers
        .iter_mut()
        .filter(|buffer| !buffer.is_empty())
        .map(|buffer| IoSliceMut::new(buffer))
        .collect();
    let mut missing = &mut slices[..];
    let mut read = 0;
    while !missing.is_empty() {
        let most = missing.len().min(IOV_MAX);
        match preadv(fd, &mut missing[..most], offset.saturating_add(read as u64)) {
            Ok(0) => break,
            Ok(count) => {
                read += count;
                IoSliceMut::advance_slices(&mut missing, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn writev(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: an IoSlice is laid out as an iovec, as std promises; the kernel reads so many of them
    // and the bytes that they borrow, until the call returns; `fd` is borrowed, so it is open.
    let count = unsafe {
        libc::writev(
            fd.as_raw_fd(),
            slices.as_ptr().cast(),
            slices.len() as libc::c_int,
        )
    };
    cvt(count)
}

fn preadv(fd: BorrowedFd<'_>, slices: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    // SAFETY: as in `writev`; the kernel writes only to bytes that the slices borrow exclusively. An
    // offset beyond i64::MAX comes to it as a negative one, and is refused.
    let count = unsafe {
        libc::preadv64(
            fd.as_raw_fd(),
            slices.as_mut_ptr().cast(),
            slices.len() as libc::c_int,
            offset as i64,
        )
    };
    cvt(count)
}

fn cvt(count: isize) -> io::Result<usize> {
    if count == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(count as usize)
    }
}
