//! # When is a file really replaced?
//!
//! When the data, the mode and the name are on the disk, in this order. Everything is written to a
//! temporary file first, and nobody sees it until rename(2) puts it in the place of the old one. The
//! traps: rename may reach the disk before the data does, so fsync(2) stands between them; the new
//! name is data of the directory, so that is synced too; an fsync that failed must not be asked again,
//! since the kernel has reported the loss and forgotten it; and a temporary file in `/tmp` may lie on
//! another file system, or have been put there by somebody else.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces the contents of the file at `path`, or creates it, durably and all at once.
///
/// - At every moment `path` names the old contents or the new, whole: for every reader, and also when
///   this process is killed at any point. When it returns `Ok`, the new ones survive a power cut.
/// - The contents go to a new file in the same directory, which then takes the name. It was written
///   and synced by fsync(2) (or fdatasync(2)) before rename(2), and the directory is synced after.
/// - After `Ok` and after an error no temporary file is left. Where a process was killed one may be,
///   and it never stops a later call.
/// - Any number of processes and threads may replace the same file: one of them wins, all succeed.
/// - A short count of write(2) is continued; `EINTR` of write and fsync means "again".
/// - The permission bits (`0o777`) of an old file are kept, and not even the temporary file ever
///   permits group or others more than they do. A new file gets `0o666` without the umask.
///   Owner, hard links and set-user-ID are not kept: this is a new file.
/// - A symbolic link stays, and the file it leads to is replaced, be it by way of more links.
/// - `path` may be relative, a bare name, and as long as names can be (255 bytes).
///
/// # Errors
/// Whatever the kernel says, among others
/// - `ENOENT`: the directory doesn't exist, or `path` is a symbolic link that leads nowhere.
/// - `EISDIR`: `path` is a directory.
/// - `ENOSPC`, `EDQUOT`, `EIO` of write(2) or fsync(2): the old file is untouched. An fsync that failed
///   is not asked again, for it would say "done" of data that is lost.
/// - any errno of the fsync of the directory: `path` has the new contents, and whether they survive a
///   power cut is unknown.
pub fn atomic_replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = follow(path)?;
    let directory = match path.parent() {
        // "notes" lies in the directory "", and open(2) doesn't know that one.
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Opened while an error still means that nothing has happened.
    let entries = File::open(directory)?;

    let temporary = Temporary::create(directory, old_mode(&path)?)?;
    temporary.fill(contents)?;
    temporary.rename(&path)?;
    entries.sync_all()
}

/// The file that `path` leads to: rename(2) would replace a symbolic link itself.
fn follow(path: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => fs::canonicalize(path),
        _ => Ok(path.to_path_buf()),
    }
}

/// The permission bits to keep. Without set-user-ID: the new file may belong to somebody else.
fn old_mode(path: &Path) -> io::Result<Option<u32>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.permissions().mode() & 0o777)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file that becomes the new one, or is removed when dropped before.
struct Temporary {
    file: File,
    path: PathBuf,
    mode: Option<u32>,
    renamed: bool,
}

impl Temporary {
    /// A file that nobody else has: `O_EXCL` also refuses what a killed process has left behind and
    /// what another machine or pid namespace calls the same, so the next number is tried.
    fn create(directory: &Path, mode: Option<u32>) -> io::Result<Temporary> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            // Not made from the file's name, which may have the 255 bytes that a name can have.
            let path = directory.join(format!(".replace-{}-{number}", process::id()));
            // Closed to the others until it has its mode: they could read what the old file hides.
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(if mode.is_some() { 0o600 } else { 0o666 })
                .open(&path);
            match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    let renamed = false;
                    return Ok(Temporary {
                        file,
                        path,
                        mode,
                        renamed,
                    });
                }
            }
        }
    }

    /// Contents and mode, down to the disk. `write_all` goes on after a short count, and both it and
    /// `sync_all` ask again after `EINTR`.
    fn fill(&self, contents: &[u8]) -> io::Result<()> {
        (&self.file).write_all(contents)?;
        if let Some(mode) = self.mode {
            self.file.set_permissions(Permissions::from_mode(mode))?;
        }
        self.file.sync_all()
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}
