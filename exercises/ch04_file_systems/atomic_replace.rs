//! # When is a file really replaced?
//!
//! `std::fs::write` empties the file and then fills it. A program that is killed in between, or a disk
//! that is full, leaves half a file; whoever reads at the wrong moment gets half a file too. The cure
//! is old: write a second file beside the first, and rename(2) it. A name leads to one file or to the
//! other, never to a mixture.
//!
//! That is enough for a crash of the program, not for a power cut. write(2) is done when the bytes are
//! in the page cache, and rename(2) when the name is: the disk gets both later, in any order. Then the
//! right name leads to an empty file. fsync(2) is how you say "this first", of the data, and, as names
//! are the data of a directory, of the directory too.
//!
//! Man pages: fsync(2) (ERRORS, NOTES), rename(2), open(2) (O_EXCL), fchmod(2), write(2).
//! Notebook: `04-file-systems.ipynb#when-is-a-write-done`.

use std::io;
use std::path::Path;

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
    // TODO: 1. A temporary file in the directory of `path`, under a name that nobody else uses just now:
    //          not a dead process, not a living one, not another thread.
    //       2. Write all of `contents`; give it the mode of the old file; sync it.
    //       3. Rename it over `path`; sync the directory.
    //       4. What if a step fails? Look at each `?` and ask what it leaves behind.
    //       5. What if `path` is a symbolic link, or a name without a directory?
    todo!("write the contents to a new file in the directory of `path`")
}
