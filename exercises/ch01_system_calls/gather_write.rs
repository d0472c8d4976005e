//! # How do many buffers become one write?
//!
//! A message is rarely one piece: a header here, a body there, a newline. Copying them together costs
//! memory; one write(2) each costs a system call each, and between two of them another process may write
//! to the same pipe or log. writev(2) takes a list of buffers and is one call: in a file opened with
//! O_APPEND, and in a pipe up to PIPE_BUF bytes, its bytes stay together.
//!
//! It may be a short write all the same, and then it ends *inside* a buffer: the kernel says how many
//! bytes it took, and you find out which those were. That is the loop to get right here, and its mirror
//! image, preadv(2), which scatters a part of a file over many buffers without moving the offset that
//! other users of the descriptor share.
//!
//! Man pages: writev(2), readv(2), pipe(7).
//! Notebook: `01-system-calls.ipynb#everything-is-a-descriptor`.

use std::io;
use std::os::fd::AsFd;

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
    // TODO: 1. A list of std::io::IoSlice, without the empty ones.
    //       2. writev(2) with at most 1024 of them.
    //       3. A count: which buffers are done, and how far is the next one?
    //       4. Until none is left. EINTR: again. Any other errno: Incomplete.
    todo!("offer all buffers to writev(2)")
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
    // TODO: the same loop, with std::io::IoSliceMut, and with two ends: all is full, or 0 bytes came.
    todo!("offer all buffers to preadv(2)")
}
