//! # Must bytes pass through your program to be copied?
//!
//! Not where the kernel knows a shorter way, and only trying tells. The traps: a way that is refused
//! in the middle (what was moved is moved); a 0 that says "this file has no size", not "this is the end";
//! copy_file_range(2) to an O_APPEND file, which is `EBADF` though both descriptors are fine; and a hole
//! that is skipped where old bytes lie under it.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::ptr::null_mut;

/// How much is asked of one call: enough that calls don't count, little enough that Ctrl-C does.
const CHUNK: usize = 16 << 20;
/// What read(2) and write(2) carry at once.
const BUFFER: usize = 128 << 10;

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
    let mut copy = Copy {
        from: from.as_fd(),
        to: to.as_fd(),
        way: Way::CopyFileRange,
        moved: false,
    };
    let mut copied = 0;
    if copy.keeps_holes()? {
        copied += copy.data_and_holes()?;
    }
    // All of what has no holes; else what was appended meanwhile, or what the size didn't tell.
    copied += copy.up_to(u64::MAX)?;
    Ok(copied)
}

/// Fastest first.
#[derive(Clone, Copy)]
enum Way {
    CopyFileRange,
    Sendfile,
    Splice,
    ReadWrite,
}

struct Copy<'fd> {
    from: BorrowedFd<'fd>,
    to: BorrowedFd<'fd>,
    way: Way,
    /// Whether this way has moved a byte.
    moved: bool,
}

impl Copy<'_> {
    /// Whether a hole may be left out: nothing lies under it that would show through.
    fn keeps_holes(&self) -> io::Result<bool> {
        let (from, to) = (as_file(self.from).metadata()?, as_file(self.to).metadata()?);
        if !from.is_file() || !to.is_file() {
            return Ok(false);
        }
        // SAFETY: takes an integer; `to` is open.
        let flags = cvt(unsafe { libc::fcntl(self.to.as_raw_fd(), libc::F_GETFL) } as i64)?;
        let append = flags as i32 & libc::O_APPEND != 0;
        Ok(!append && lseek(self.to, 0, libc::SEEK_CUR)? >= to.len())
    }

    /// Copies data, and moves the offset of `to` over holes, as far as the size of `from` goes.
    fn data_and_holes(&mut self) -> io::Result<u64> {
        let start = lseek(self.from, 0, libc::SEEK_CUR)?;
        let mut at = start;
        loop {
            let data = match lseek(self.from, at, libc::SEEK_DATA) {
                Ok(data) => data,
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                    let end = lseek(self.from, 0, libc::SEEK_END)?.max(at);
                    let hole = end - at;
                    lseek(self.from, end, libc::SEEK_SET)?;
                    let end_of_copy = lseek(self.to, hole, libc::SEEK_CUR)?;
                    if hole > 0 {
                        as_file(self.to).set_len(end_of_copy)?;
                    }
                    return Ok(end - start);
                }
                // This file system knows no holes.
                Err(_) => return Ok(at - start),
            };
            let hole = lseek(self.from, data, libc::SEEK_HOLE)?;
            lseek(self.from, data, libc::SEEK_SET)?;
            lseek(self.to, data - at, libc::SEEK_CUR)?;
            let copied = self.up_to(hole - data)?;
            at = data + copied;
            if at < hole {
                return Ok(at - start);
            }
        }
    }

    /// Copies `most` bytes, or up to the end.
    fn up_to(&mut self, most: u64) -> io::Result<u64> {
        let mut copied = 0;
        while copied < most {
            let count = usize::try_from(most - copied).unwrap_or(usize::MAX);
            match self.some(count.min(CHUNK)) {
                Ok(0) if self.moved || matches!(self.way, Way::ReadWrite) => break,
                Ok(0) => self.next_way(),
                Ok(count) => {
                    self.moved = true;
                    copied += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.refused(&error) => self.next_way(),
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// One step of the present way.
    fn some(&mut self, count: usize) -> io::Result<usize> {
        let (from, to) = (self.from.as_raw_fd(), self.to.as_raw_fd());
        // SAFETY: integers and null pointers, which stand for the offsets of the descriptors themselves;
        // both are borrowed, so they are open.
        let moved = unsafe {
            match self.way {
                Way::CopyFileRange => {
                    libc::copy_file_range(from, null_mut(), to, null_mut(), count, 0)
                }
                Way::Sendfile => libc::sendfile(to, from, null_mut(), count),
                Way::Splice => libc::splice(from, null_mut(), to, null_mut(), count, 0),
                Way::ReadWrite => return self.read_and_write(count),
            }
        };
        cvt(moved as i64).map(|moved| moved as usize)
    }

    fn read_and_write(&self, count: usize) -> io::Result<usize> {
        use io::{Read, Write};
        let mut buffer = vec![0; count.min(BUFFER)];
        let read = (&*as_file(self.from)).read(&mut buffer)?;
        // Goes on after short counts and EINTR: what has been read must not be lost.
        (&*as_file(self.to)).write_all(&buffer[..read])?;
        Ok(read)
    }

    fn refused(&self, error: &io::Error) -> bool {
        let refused = matches!(
            error.raw_os_error(),
            Some(
                libc::EXDEV
                    | libc::EINVAL
                    | libc::ENOSYS
                    | libc::EOPNOTSUPP
                    | libc::EPERM
                    | libc::EBADF
            )
        );
        refused && !matches!(self.way, Way::ReadWrite)
    }

    fn next_way(&mut self) {
        self.moved = false;
        self.way = match self.way {
            Way::CopyFileRange => Way::Sendfile,
            Way::Sendfile => Way::Splice,
            Way::Splice | Way::ReadWrite => Way::ReadWrite,
        };
    }
}

/// The descriptor as what std can read, write and ask for its size.
fn as_file(fd: BorrowedFd<'_>) -> ManuallyDrop<File> {
    // SAFETY: the descriptor stays the caller's: this is never dropped, and used while it is borrowed.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) })
}

fn lseek(fd: BorrowedFd<'_>, offset: u64, whence: i32) -> io::Result<u64> {
    // SAFETY: takes integers; `fd` is borrowed, so it is open.
    let offset = unsafe { libc::lseek64(fd.as_raw_fd(), offset as i64, whence) };
    cvt(offset).map(|offset| offset as u64)
}

fn cvt(result: i64) -> io::Result<i64> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
