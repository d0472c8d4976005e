//! # How large is a directory?
//!
//! As large as all that is found in it, and the art is to get back out. Nothing is named by a path but the
//! root: a name is looked up in the directory that is open, so that no path can be too long, and nobody can
//! slip a symbolic link in between. The stack is a Vec. Only its topmost levels are open; further up
//! a level has its names still to come, and is opened again through the `..` of the level below when it is
//! its turn. That this is the same directory as before is checked, not hoped.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::mem::{self, offset_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::vec;

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

/// Levels that stay open. Two are the least: a directory that may be read but not searched has no `..`, and
/// is always the lowest, since nothing in it can be opened.
const OPEN: usize = 16;

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
    let root = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(root)?;
    let mut path = PathBuf::new();
    let mut seen = Seen::default();
    visit(&path, Ok(seen.entry(&stat(&root, c"")?)));
    let mut levels = vec![Level::new(root.into(), &path, &mut visit)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            leave(&mut levels)?;
            path.pop();
            continue;
        };
        let directory = level.open()?;
        path.push(OsStr::from_bytes(name.to_bytes()));
        match stat(directory, &name) {
            Ok(stat) => {
                let entry = seen.entry(&stat);
                visit(&path, Ok(entry));
                if entry.kind == Kind::Directory {
                    let opened = open(directory, &name)
                        .and_then(|directory| Level::new(directory, &path, &mut visit));
                    match opened {
                        Ok(level) => {
                            enter(&mut levels, level);
                            // Its path is the current one until it is left.
                            continue;
                        }
                        Err(error) => report(&path, error, &mut visit),
                    }
                }
            }
            Err(error) => report(&path, error, &mut visit),
        }
        path.pop();
    }
    Ok(seen.total)
}

/// A directory on the way from the root to where the walk is.
struct Level {
    /// None while it is too far up to be kept open.
    directory: Option<OwnedFd>,
    /// Device and inode: the directory's name in spite of all renaming.
    id: (u64, u64),
    /// What is still to be visited.
    names: vec::IntoIter<CString>,
}

impl Level {
    fn new(
        directory: OwnedFd,
        path: &Path,
        visit: &mut impl FnMut(&Path, io::Result<Entry>),
    ) -> io::Result<Level> {
        let id = id(&stat(&directory, c"")?);
        let mut names = Vec::new();
        if let Err(error) = read_names(&directory, &mut names) {
            // What came before the error is walked all the same.
            report(path, error, visit);
        }
        Ok(Level {
            directory: Some(directory),
            id,
            names: names.into_iter(),
        })
    }

    fn open(&self) -> io::Result<&OwnedFd> {
        self.directory.as_ref().ok_or_else(stale)
    }
}

fn enter(levels: &mut Vec<Level>, level: Level) {
    levels.push(level);
    if let Some(above) = levels.len().checked_sub(OPEN + 1) {
        levels[above].directory = None;
    }
}

/// Takes the lowest level off; the one above it is open afterwards.
fn leave(levels: &mut Vec<Level>) -> io::Result<()> {
    let left = levels.pop();
    if let (Some(left), Some(above)) = (left, levels.last_mut())
        && above.directory.is_none()
    {
        let parent = open(left.open()?, c"..")?;
        if id(&stat(&parent, c"")?) != above.id {
            return Err(stale());
        }
        above.directory = Some(parent);
    }
    Ok(())
}

fn report(path: &Path, error: io::Error, visit: &mut impl FnMut(&Path, io::Result<Entry>)) {
    if error.raw_os_error() != Some(libc::ENOENT) {
        visit(path, Err(error));
    }
}

fn stale() -> io::Error {
    io::Error::from_raw_os_error(libc::ESTALE)
}

/// Sums, and what must not get into them again.
#[derive(Default)]
struct Seen {
    total: Total,
    linked: HashSet<(u64, u64)>,
}

impl Seen {
    fn entry(&mut self, stat: &libc::stat) -> Entry {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFREG => Kind::File,
            libc::S_IFLNK => Kind::Symlink,
            _ => Kind::Other,
        };
        // Of most files there is one name: nothing to remember. st_nlink of a directory counts what is in it.
        let linked = kind != Kind::Directory && stat.st_nlink > 1;
        let entry = Entry {
            kind,
            length: match kind {
                Kind::Directory => 0,
                _ => stat.st_size as u64,
            },
            allocated: stat.st_blocks as u64 * 512,
            first: !linked || self.linked.insert(id(stat)),
        };
        if entry.first {
            self.total.count += 1;
            self.total.length += entry.length;
            self.total.allocated += entry.allocated;
        }
        entry
    }
}

fn id(stat: &libc::stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// fstatat(2) of a name in `directory`, or of the directory itself if the name is empty.
fn stat(directory: &impl AsRawFd, name: &CStr) -> io::Result<libc::stat> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: all zero bytes are a valid struct of integers.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: the kernel reads a C string, and writes one struct of this stack during the call.
    let done = unsafe { libc::fstatat(directory.as_raw_fd(), name.as_ptr(), &raw mut stat, flags) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat)
}

fn open(directory: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the kernel reads a C string during the call.
    let fd = unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// All names of a directory but `.` and `..`, getdents64(2).
fn read_names(directory: &OwnedFd, names: &mut Vec<CString>) -> io::Result<()> {
    let mut buffer = vec![0_u8; 32 << 10];
    loop {
        // SAFETY: the kernel writes at most as many bytes as the buffer has, during the call.
        let got = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                directory.as_raw_fd(),
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut records = &buffer[..got as usize];
        if records.is_empty() {
            return Ok(());
        }
        while !records.is_empty() {
            let length = offset_of!(libc::dirent64, d_reclen);
            let length = u16::from_ne_bytes([records[length], records[length + 1]]);
            let (record, rest) = records.split_at(usize::from(length));
            let name = CStr::from_bytes_until_nul(&record[offset_of!(libc::dirent64, d_name)..])
                .map_err(io::Error::other)?;
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
            records = rest;
        }
    }
}
