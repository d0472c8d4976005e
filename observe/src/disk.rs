//! Where do files lie that can leave memory?
//!
//! What is in a tmpfs *is* the page cache: nothing of it can be dropped, and the grader's TMPDIR is one. A test of the
//! page cache needs a directory on a disk. It is tried, not guessed from the name of the file system.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the grader tells a test of the directory that it has made for it.
pub const DISK: &str = "SYSLAB_DISK";

/// A directory in which files can be made whose pages can be dropped: the grader's for this test, else TMPDIR or
/// /var/tmp.
///
/// # Errors
/// In words, why there is none.
pub fn disk() -> Result<PathBuf, String> {
    let places = match std::env::var_os(DISK) {
        Some(place) => vec![PathBuf::from(place)],
        None => vec![std::env::temp_dir(), PathBuf::from("/var/tmp")],
    };
    let mut reasons = Vec::new();
    for place in places {
        match leaves_memory(&place) {
            Ok(true) => return Ok(place),
            Ok(false) => reasons.push(format!("{} is in memory", place.display())),
            Err(error) => reasons.push(format!("{}: {error}", place.display())),
        }
    }
    Err(reasons.join(", "))
}

/// Whether a page that was written to the disk can be dropped.
fn leaves_memory(place: &Path) -> io::Result<bool> {
    let (mut file, _name) = temporary(place)?;
    // A page, or less than one.
    file.write_all(&[1; 4096])?;
    file.sync_all()?;
    // SAFETY: integers only; the file is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let mut resident = 0_u8;
    // SAFETY: a new mapping of one page, which is not touched; mincore(2) writes one byte for it.
    unsafe {
        let (none, shared) = (libc::PROT_NONE, libc::MAP_SHARED);
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            none,
            shared,
            file.as_raw_fd(),
            0,
        );
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let looked = libc::mincore(page, 4096, &raw mut resident);
        libc::munmap(page, 4096);
        if looked < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(resident & 1 == 0)
}

/// Whether the file system of `place` reads past the page cache, `O_DIRECT` of open(2).
pub(crate) fn direct_io(place: &Path) -> bool {
    let read = || -> io::Result<usize> {
        let (mut file, name) = temporary(place)?;
        file.write_all(&[1; 8192])?;
        let direct = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(&name.0)?;
        let mut bytes = [0; 8192];
        let at = bytes.as_ptr().align_offset(4096);
        std::os::unix::fs::FileExt::read_at(&direct, &mut bytes[at..at + 4096], 4096)
    };
    read().is_ok()
}

/// A file with a name of its own, removed by the second value.
fn temporary(place: &Path) -> io::Result<(File, Removed)> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = place.join(format!("syslab-probe-{}-{number}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&name)?;
    Ok((file, Removed(name)))
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_no_disk() {
        assert!(!leaves_memory(Path::new("/dev/shm")).unwrap());
    }

    #[test]
    fn a_place_that_is_none_has_its_reason() {
        let error = leaves_memory(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
