//! # Must bytes pass through your program to be copied?
//!
//! Everything is a descriptor, so read(2) and write(2) copy anything to anywhere, by way of your memory.
//! Linux can do without that detour: copy_file_range(2) between files, where the file system may
//! even share the blocks, sendfile(2) from a file to anything, splice(2) to or from a pipe. Each of them
//! refuses most pairs, and *which* depends on the kernel, the file systems, the flags of the descriptors
//! and the sandbox. So nobody can know: try, and when a way is refused take the next. read and write are
//! never refused for what a descriptor is.
//!
//! Files have another secret: holes, parts that were never written. They read as zeros and take no
//! space, until somebody copies them. lseek(2) finds them, with SEEK_DATA and SEEK_HOLE.
//!
//! Man pages: copy_file_range(2), sendfile(2), splice(2), lseek(2), ftruncate(2).
//! Notebook: `01-system-calls.ipynb#everything-is-a-descriptor`.

use std::io;
use std::os::fd::AsFd;

/// Copies all that can be read from `from` to `to`, and returns how many bytes that were, holes included.
///
/// It begins where the offsets of the two are, and leaves them behind the last byte. What `to` has before
/// and behind what is copied stays. Both are blocking.
///
/// **The way.** The first that works of
///
/// | way                | works from … to …                                    |
/// |--------------------|------------------------------------------------------|
/// | copy_file_range(2) | file to file, if the file system can                 |
/// | sendfile(2)        | file to anything; new kernels: also socket to pipe    |
/// | splice(2)          | pipe to anything, anything to pipe                   |
/// | read(2), write(2)  | anything to anything                                 |
///
/// A way is refused by `EXDEV`, `EINVAL`, `ENOSYS`, `EOPNOTSUPP`, `EPERM` (a sandbox) or `EBADF` (`to`
/// is O_APPEND). Then the next one goes on where it stopped, and the refused one isn't tried again.
/// To look first, and not try what can't work, is as good. Every call may do less than it was asked for,
/// and one that ended with `EINTR` is made again.
///
/// **The end.** Generated files, as in /proc, say that their size is 0, and some kernels' copy_file_range
/// and sendfile believe that: 0 from a way that has moved nothing so far is no end, only a reason to
/// take the next way. 0 from read(2) is the end.
///
/// **Holes.** Whatever is copied reads the same. Between two regular files a hole becomes a
/// hole, also at the end, if there is nothing under it: `to` isn't O_APPEND, and its offset isn't before
/// its end when the copy begins. Otherwise a hole is copied as zeros.
///
/// # Errors
/// Any other errno, at once: `ENOSPC`, `EIO`, `EPIPE`, `EISDIR` … And what read(2) or write(2) says,
/// the last way: `EBADF` for a descriptor not open for that.
pub fn copy_fd(from: impl AsFd, to: impl AsFd) -> io::Result<u64> {
    // TODO: 1. read(2) and write(2), in a loop: the first five stages ask for nothing but that.
    //       2. Before it the faster ways, best as one function: move at most so many bytes, by the
    //          first way that isn't refused, and remember which that is.
    //       3. Holes: where does the next data begin, and where does it end? Move `to`'s offset over the
    //          hole. What makes a hole at the end part of the file?
    todo!("copy with read(2) and write(2) first")
}
