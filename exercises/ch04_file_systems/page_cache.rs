//! # What of a file is in memory, and how does it leave?
//!
//! A read is served from the page cache, and a write is done when it is there: the disk comes later. Mostly you
//! want that. A backup that reads every file once doesn't (it drives out what others need), nor does a database
//! with a cache of its own, nor whoever measures a disk. So: which pages of a file are there, how are they
//! dropped, how does one read past all that?
//!
//! `POSIX_FADV_DONTNEED` is a wish. A page that was written and not yet synced stays, and so does one that is
//! mapped; nobody is told. `O_DIRECT` is strict: an offset, a count or an address that isn't aligned is `EINVAL`
//! on one disk and works by luck on the next.
//!
//! Man pages: mincore(2), posix_fadvise(2) (RETURN VALUE), fsync(2), open(2) (O_DIRECT, NOTES), statx(2)
//! (STATX_DIOALIGN).
//! Notebook: `04-file-systems.ipynb#the-page-cache`.

use std::fs::File;
use std::io;
use std::path::Path;

/// For each page of the file, whether it is in the page cache. The last one may be a part of a page; an empty
/// file has none.
///
/// Asking brings no page in, and leaves neither a mapping nor a descriptor behind. `file` is open for reading, and
/// is the caller's own, or he has the right to write to it: of other files mincore(2) says nothing.
///
/// # Errors
/// Whatever the kernel says: `ENODEV` of what cannot be mapped, such as a directory.
pub fn residency(file: &File) -> io::Result<Vec<bool>> {
    // TODO: map the file, and do not touch it. mincore(2) gives a byte a page; which bit of it counts?
    todo!("map the file and ask mincore(2)")
}

/// Drops the pages of the file from the page cache. Returns how many are there all the same, because somebody
/// has them mapped, for example.
///
/// What was written is synced first: a dirty page can't be dropped. `file` may be open for reading only.
///
/// # Errors
/// - Whatever fsync(2) says; nothing was dropped then.
/// - Whatever posix_fadvise(2) says.
pub fn drop_pages(file: &File) -> io::Result<usize> {
    // TODO: 1. Sync, then advise. How does posix_fadvise(2) report a failure?
    //       2. Was the wish granted?
    todo!("sync the file, then say that its pages aren't needed")
}

/// A file that is read past the page cache.
#[derive(Debug)]
pub struct DirectFile {
    // TODO: the file, and by what its reads must be aligned.
}

impl DirectFile {
    /// Opens the file at `path` for reading, with `O_DIRECT`.
    ///
    /// # Errors
    /// Whatever the kernel says: `EINVAL` where the file system can't do that.
    pub fn open(path: &Path) -> io::Result<DirectFile> {
        todo!("open the file with O_DIRECT")
    }

    /// Reads into `buf` what the file has at `offset`, until `buf` is full or the file ends: how many bytes.
    ///
    /// Offset, length and `buf` are of any kind. What the kernel is asked for is aligned: the offset, the count
    /// and the address of each pread(2) are multiples of what statx(2) says (`STATX_DIOALIGN`, since Linux 6.1),
    /// or of 4096, and never of less than 512. None asks for less than 64 KiB, unless so much isn't wanted.
    /// A short count is continued, `EINTR` means "again".
    ///
    /// # Errors
    /// Whatever the kernel says of a read.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // TODO: 1. A buffer whose address is aligned: where does a Vec begin?
        //       2. Round what is wanted outwards, read, and copy out of the middle.
        //       3. At the end of the file a read comes up short. What would the next one's offset be?
        todo!("read whole blocks into a buffer of your own")
    }
}
