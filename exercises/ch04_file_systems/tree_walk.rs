//! # How large is a directory?
//!
//! Nobody knows: not even the kernel keeps the sum. One has to look at every name below it, as du(1) does, and
//! the tree lays traps. A symbolic link may lead back up, or out. A file with two names would be counted
//! twice. A directory may not be readable: whoever leaves it out in silence has a wrong sum. A
//! path may be longer than the 4096 bytes (PATH_MAX) that a system call takes; a tree may be deeper than
//! the stack, and than the table of descriptors. And all the while others go on working in it: the
//! directory that you have just seen is a symbolic link to / when you open it *by its path*.
//!
//! Against most of that helps one habit: never a path, but a name in a directory that is open (openat(2),
//! fstatat(2)), and no symbolic link followed. The way back up has a name too: `..`.
//!
//! Man pages: getdents64(2), open(2) (openat; O_DIRECTORY, O_NOFOLLOW; "Rationale for openat()"), stat(2)
//! (fstatat, AT_SYMLINK_NOFOLLOW), inode(7).
//! Notebook: `04-file-systems.ipynb#one-interface-many-file-systems`.

use std::io;
use std::path::Path;

/// What kind of thing has that name, by `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// The link itself, wherever it leads.
    Symlink,
    /// A FIFO, a socket, a device. Opening one may block, or do worse.
    Other,
}

/// What a name in the tree stands for, as fstatat(2) tells without following a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Bytes: `st_size`. 0 for a directory, whose `st_size` is a matter of its file system.
    pub length: u64,
    /// Bytes that it takes on the disk: `st_blocks`, counted in 512 on every machine.
    pub allocated: u64,
    /// Whether it was not visited before under another name (a hard link, link(2)).
    pub first: bool,
}

/// Sums over the tree, the root included. What has several names is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Directories, files, links and others.
    pub count: u64,
    /// Bytes in them.
    pub length: u64,
    /// Bytes on the disk, those of directories too.
    pub allocated: u64,
}

/// Visits everything in the tree below the directory `root`, and sums it up.
///
/// `visit` is called with the path from the root on (`a/b`; empty for the root itself), a directory before
/// what is in it, otherwise in any order:
/// - once with `Ok` for each name, whatever bytes it consists of; not for `.` and `..`.
/// - with `Err` for what remains unknown: a name whose fstatat(2) fails; and a directory that can't be
///   opened or read to its end, after its `Ok`. The walk goes on with the rest.
/// - not at all for what is gone when it is its turn (`ENOENT`).
///
/// A symbolic link is never followed, not even one that has taken the place of a directory since that
/// was visited; only `root` may be one. Nothing outside the tree is ever visited. What is mounted in it belongs to it.
///
/// Any depth is walked, in a number of calls that grows with the tree and not with its square, with at most
/// 32 descriptors open at a time, all close-on-exec, and on 256 KiB of stack.
///
/// # Errors
/// - Whatever the kernel says of `root`: `ENOENT`, `ENOTDIR`, `EACCES` … Then nothing was visited.
/// - `ESTALE`: somebody moved a directory away while the walk was in it, and `..` leads elsewhere now.
pub fn tree_walk(
    root: &Path,
    mut visit: impl FnMut(&Path, io::Result<Entry>),
) -> io::Result<Total> {
    // TODO: 1. Open the root, fstat(2) it, visit it. Read its names, all of them, before going on: libc's
    //          fdopendir(3), nix's Dir, or getdents64(2) into a buffer, again until it returns 0.
    //       2. Each name: fstatat(2), visit. A directory: open it by its name, and put it on a
    //          stack that is a Vec. What must a level hold to go on when it is on top again?
    //       3. Which files must be remembered to know them again? Two disks have the same inode numbers.
    //       4. Too many open: close the upper ones. Back through `..`, but is it still the one you came
    //          from? (And who may read a directory may perhaps not search it: there `..` is EACCES.)
    todo!("open the root, for reading a directory")
}
