//! # Whose is a lock on a file?
//!
//! That of the open file description by which it was asked for, if one asks with `F_OFD_SETLK`. Each lock
//! opens the file anew and so has a description that nobody else has: not another thread, not the library
//! that opens and closes the same file. The traps: the length 0, which is not "nothing" but "all"; a
//! description that fork(2) has shared, which closing does not end; and EINTR, since a thread that waits
//! for a lock waits long enough for a signal to come.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::os::fd::AsRawFd;
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
    file: File,
    start: libc::off_t,
    length: libc::off_t,
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
        RecordLock::take(path, range, mode, libc::F_OFD_SETLK)
    }

    /// The same, but sleeps in the kernel as long as somebody else has a lock that excludes this one. A
    /// signal does not end that (`EINTR`).
    ///
    /// # Errors
    /// Those of [`try_lock`](RecordLock::try_lock), without `EAGAIN`.
    pub fn lock(path: &Path, range: impl RangeBounds<u64>, mode: Mode) -> io::Result<RecordLock> {
        RecordLock::take(path, range, mode, libc::F_OFD_SETLKW)
    }

    /// The file, for reading; for writing too if the lock is `Exclusive`.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn take(
        path: &Path,
        range: impl RangeBounds<u64>,
        mode: Mode,
        command: libc::c_int,
    ) -> io::Result<RecordLock> {
        let (start, length) = record(&range)?;
        let (kind, writable) = match mode {
            Mode::Shared => (libc::F_RDLCK, false),
            Mode::Exclusive => (libc::F_WRLCK, true),
        };
        let file = OpenOptions::new().read(true).write(writable).open(path)?;
        // Dropped without the lock it unlocks what is not locked, which is no error.
        let lock = RecordLock {
            file,
            start,
            length,
        };
        loop {
            match lock.fcntl(command, kind) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map(|()| lock),
            }
        }
    }

    fn fcntl(&self, command: libc::c_int, kind: libc::c_int) -> io::Result<()> {
        let flock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.start,
            l_len: self.length,
            l_pid: 0,
        };
        // SAFETY: the kernel reads one struct of this stack during the call; the descriptor is `file`'s.
        match unsafe { libc::fcntl(self.file.as_raw_fd(), command, &raw const flock) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl Drop for RecordLock {
    fn drop(&mut self) {
        // Closing is not enough: a forked process may have the same description.
        let _ = self.fcntl(libc::F_OFD_SETLK, libc::F_UNLCK);
    }
}

/// `l_start` and `l_len` of a range; the length 0 goes on for ever.
fn record(range: &impl RangeBounds<u64>) -> io::Result<(libc::off_t, libc::off_t)> {
    let errno = io::Error::from_raw_os_error;
    let offset = |bound: u64| {
        libc::off_t::try_from(bound).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
    };
    let start = match range.start_bound() {
        Bound::Included(first) => offset(*first)?,
        Bound::Excluded(before) => offset(*before)?
            .checked_add(1)
            .ok_or_else(|| errno(libc::EOVERFLOW))?,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        // The last offset there is: nothing comes behind it.
        Bound::Included(last) => offset(*last)?.checked_add(1),
        Bound::Excluded(end) => Some(offset(*end)?),
        Bound::Unbounded => None,
    };
    match end {
        Some(end) if end <= start => Err(errno(libc::EINVAL)),
        Some(end) => Ok((start, end - start)),
        None => Ok((start, 0)),
    }
}
