//! # What of a file is in memory, and how does it leave?
//!
//! mincore(2) tells of pages that are mapped but never touched. To drop them is a wish, posix_fadvise(2),
//! which the kernel grants for clean pages that nobody maps: so the file is synced first, and afterwards
//! somebody counts. Past the cache lead only whole blocks, to memory that begins at one: what is asked for
//! is rounded outwards, read into a buffer of our own, and cut. The traps: posix_fadvise returns its errno
//! and leaves `errno` alone; and a direct read at the end of the file comes up short, so that its end is no
//! offset for the next one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::ptr;

/// For each page of the file, whether it is in the page cache. The last one may be a part of a page; an empty
/// file has none.
///
/// Asking brings no page in, and leaves neither a mapping nor a descriptor behind. `file` is open for reading, and
/// is the caller's own, or he has the right to write to it: of other files mincore(2) says nothing.
///
/// # Errors
/// Whatever the kernel says: `ENODEV` of what cannot be mapped, such as a directory.
pub fn residency(file: &File) -> io::Result<Vec<bool>> {
    let len = file.metadata()?.len() as usize;
    if len == 0 {
        return Ok(Vec::new());
    }
    let mapping = Mapping::new(file, len)?;
    let mut pages = vec![0_u8; len.div_ceil(page_size())];
    // SAFETY: the mapping is there, and mincore(2) writes a byte for each of its pages: as many as `pages` has.
    if unsafe { libc::mincore(mapping.start, mapping.len, pages.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // The other bits are the kernel's.
    Ok(pages.iter().map(|page| page & 1 == 1).collect())
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
    file.sync_data()?;
    // SAFETY: integers only; the descriptor is open. Length 0 is "to the end".
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(residency(file)?.into_iter().filter(|page| *page).count()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A file that is read past the page cache.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// What offsets, counts and addresses must be multiples of.
    align: usize,
}

/// Bytes of the buffer: enough for a disk to be busy, and a multiple of every alignment.
const BUFFER: usize = 1 << 20;

impl DirectFile {
    /// Opens the file at `path` for reading, with `O_DIRECT`.
    ///
    /// # Errors
    /// Whatever the kernel says: `EINVAL` where the file system can't do that.
    pub fn open(path: &Path) -> io::Result<DirectFile> {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_DIRECT).open(path)?;
        let align = alignment(&file);
        Ok(DirectFile { file, align })
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
        let mut memory = vec![0_u8; BUFFER + self.align];
        let start = memory.as_ptr().align_offset(self.align);
        let memory = &mut memory[start..start + BUFFER];
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let before = (at % self.align as u64) as usize;
            let wanted = (before + buf.len() - done)
                .next_multiple_of(self.align)
                .min(BUFFER);
            let count = match self.file.read_at(&mut memory[..wanted], at - before as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            let new = count.saturating_sub(before).min(buf.len() - done);
            buf[done..done + new].copy_from_slice(&memory[before..before + new]);
            done += new;
            if new == 0 {
                // The end: also where a read came up short, and this one began a block before that.
                break;
            }
        }
        Ok(done)
    }
}

/// By what direct reads of this file must be aligned.
fn alignment(file: &File) -> usize {
    // SAFETY: all zeros are a struct statx.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the empty path is a C string that stands for the descriptor; statx(2) fills in `stat`.
    let known = unsafe {
        let (fd, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
        libc::statx(fd, c"".as_ptr(), flags, libc::STATX_DIOALIGN, &raw mut stat) == 0
    };
    let align = stat.stx_dio_mem_align.max(stat.stx_dio_offset_align) as usize;
    if known && stat.stx_mask & libc::STATX_DIOALIGN != 0 && align > 0 {
        align.max(512)
    } else {
        4096
    }
}

/// A file's addresses, without a page behind them.
struct Mapping {
    start: *mut libc::c_void,
    len: usize,
}

impl Mapping {
    fn new(file: &File, len: usize) -> io::Result<Mapping> {
        // SAFETY: a new mapping, where the kernel finds room: no memory in use changes.
        let start = unsafe {
            // Shared: then it is the file's pages that are asked about.
            let (none, shared) = (libc::PROT_NONE, libc::MAP_SHARED);
            libc::mmap(ptr::null_mut(), len, none, shared, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody has borrowed from.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

fn page_size() -> usize {
    // SAFETY: takes an integer.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
