//! # Whose is a lock on a file?
//!
//! fcntl(2) locks bytes of a file, a *record*: any range, shared or exclusive. Such a lock is *advisory*: it
//! stops nobody from reading or writing, only those who ask for a lock too. And the kernel takes it back when its
//! owner is gone, crash or not.
//!
//! But who is the owner? Of POSIX's own locks (`F_SETLK`) it is the *process*. So two threads never keep each
//! other out; and when any part of the program, a library that you have never looked into, opens
//! the same file and closes it again, all of the process's locks on it are gone. The manual page speaks of
//! "unfortunate consequences". Linux has a second kind (`F_OFD_SETLK`), whose owner is the *open file
//! description*: what each open(2) makes anew. A descriptor is only a number that leads to it; after dup(2)
//! or fork(2) several lead to the same. You build the lock that one expects.
//!
//! Man pages: fcntl(2) ("Advisory record locking", "Open file description locks"), open(2) (the difference
//! between descriptor and description), proc(5) (/proc/locks).
//! Notebook: `04-file-systems.ipynb#one-interface-many-file-systems`.

use std::fs::File;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;

/// Who may lock the same bytes at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Others that are `Shared` too: for reading. The file need not be writable.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// A lock on a range of bytes of a file, until it is dropped.
///
/// - It excludes every other `RecordLock`, of another process, of another thread and of the same thread:
///   each is a lock of an open file description of its own. The classic locks of other programs exclude
///   it and are excluded by it.
/// - No other descriptor of the file, opened and closed again by anybody, releases it.
/// - Dropped, it is released at once, even if a process forked meanwhile still has a copy of the
///   descriptor. When the process dies, the kernel releases it. A program started by execve(2) inherits
///   nothing.
#[derive(Debug)]
pub struct RecordLock {
    // TODO: whose lock is it? As long as that is open, the lock lasts.
}

impl RecordLock {
    /// Locks the bytes `range` of the file at `path`. The bytes need not be there yet: one may lock behind the
    /// end of a file, and `10..` and `..` go on for ever, over all that will be appended.
    ///
    /// # Errors
    /// - `EAGAIN`: somebody else has a lock that excludes this one.
    /// - `EINVAL`: `range` holds no byte (`5..5`). For fcntl(2) a length of 0 is not that: it is all that
    ///   comes behind.
    /// - `EOVERFLOW`: a bound of `range` is greater than `i64::MAX`, the last offset a file can have.
    /// - `ENOENT`, `EACCES` … of open(2): the file is not made. `Exclusive` needs the right to read and to
    ///   write, `Shared` the right to read.
    pub fn try_lock(
        path: &Path,
        range: impl RangeBounds<u64>,
        mode: Mode,
    ) -> io::Result<RecordLock> {
        // TODO: 1. From `range` to a `struct flock`: l_whence, l_start, l_len; l_pid is 0.
        //       2. A description of its own: what does fcntl(2) want to be open for which lock?
        //       3. The command that doesn't wait.
        todo!("make a `libc::flock` of `range` and `mode`")
    }

    /// The same, but sleeps in the kernel as long as somebody else has a lock that excludes this one. A
    /// signal does not end that (`EINTR`).
    ///
    /// # Errors
    /// Those of [`try_lock`](RecordLock::try_lock), without `EAGAIN`.
    pub fn lock(path: &Path, range: impl RangeBounds<u64>, mode: Mode) -> io::Result<RecordLock> {
        todo!("the same with the command that waits, and again after a signal")
    }

    /// The file, for reading; for writing too if the lock is `Exclusive`.
    pub fn file(&self) -> &File {
        todo!("the file whose lock it is")
    }
}

// TODO: what must be done when a lock is dropped, if a forked process still has the descriptor?
