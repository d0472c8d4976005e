//! # What has changed in a tree?
//!
//! The difference between what was known and what is there now. An event is a reason to look, and news only if
//! it fits what is known: the look at a new directory may have been faster than the queue. For the order, two
//! rules. First the watch, then the names: what comes between is seen twice, and the second time is no
//! news. And a rename is done where its first half stands in the queue, whatever came in before the second.
//!
//! A watch belongs to the directory, not to its name. Which directory a path led to when the watch was
//! added shows later: after a rename, inotify_add_watch(2) says for each path below whose watch it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Bound;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What has changed. Paths are from the root of the tree on: `a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is something new: made, linked, or moved here from outside. For each thing in a new directory
    /// comes one too, after the directory's.
    Created(PathBuf),
    /// It is gone, with all that was below it: removed, or moved out of the tree.
    Removed(PathBuf),
    /// It has another path now, with all that is below it. What was at `to` is gone.
    Renamed {
        /// Where it was.
        from: PathBuf,
        /// Where it is.
        to: PathBuf,
    },
    /// A file was closed by somebody who had it open for writing. Of a file in a new directory this may
    /// be missing: `Created` is reason enough to read it.
    Written(PathBuf),
    /// The kernel has dropped events. What was created and removed meanwhile follows, a rename as
    /// `Removed` and `Created`; which files were written, nobody knows.
    Lost,
}

/// A tree that is watched.
///
/// A copy of the list of its paths stays right: who has the list of [`paths`](WatchTree::paths), and does
/// to it what the events say, one after the other, has the paths of the tree as soon as nothing
/// changes any more and no event is left. The events fit: `Created` only of a path that is not in the list and
/// whose directory is, `Removed`, `Renamed { from, .. }` and `Written` only of one that is.
/// That goes for whatever happens, and however fast.
///
/// A rename from one directory of the list to another is always one `Renamed`, of a thing that was in the list
/// before it was renamed.
///
/// A symbolic link is a thing in the tree; where it leads is none of it. The root itself stays where it is.
#[derive(Debug)]
pub struct WatchTree {
    root: PathBuf,
    inotify: File,
    /// What the caller knows: path, and whether it is a directory. Ordered, so that what is below a path comes
    /// right behind it.
    known: BTreeMap<PathBuf, bool>,
    /// The directory of each watch, and the other way round. Of the known ones only.
    paths: HashMap<i32, PathBuf>,
    watches: BTreeMap<PathBuf, i32>,
    /// Read, but not yet told.
    queue: VecDeque<Raw>,
}

/// A struct inotify_event.
#[derive(Debug)]
struct Raw {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: PathBuf,
    read: Instant,
}

const MASK: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_CLOSE_WRITE
    | libc::IN_ONLYDIR
    | libc::IN_DONT_FOLLOW;

/// How long the second half of a rename may take. Both are put into the queue by one system call.
const HALF: Duration = Duration::from_millis(20);

impl WatchTree {
    /// Watches the tree below the directory `root`.
    ///
    /// # Errors
    /// Whatever the kernel says: `ENOENT`, `ENOTDIR`, `EACCES` … of the root; `ENOSPC`: the user has no watch left
    /// (/proc/sys/fs/inotify/max_user_watches); `EMFILE`: no inotify instance.
    pub fn new(root: &Path) -> io::Result<WatchTree> {
        let mut tree = WatchTree {
            root: fs::canonicalize(root)?,
            inotify: inotify()?,
            known: BTreeMap::new(),
            paths: HashMap::new(),
            watches: BTreeMap::new(),
            queue: VecDeque::new(),
        };
        let watch = tree.add_watch(Path::new(""))?;
        tree.attach(watch, Path::new(""));
        tree.compare(Path::new(""), &mut Vec::new())?;
        Ok(tree)
    }

    /// The paths of all that was there: what [`new`](WatchTree::new) found, changed by all events that
    /// [`events`](WatchTree::events) has given. In any order; the root is not in it.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.known.keys().cloned().collect()
    }

    /// What has changed since the last call, in order. If that is nothing, sleeps until something does, at most
    /// `timeout`: then there are no events. (A few milliseconds more are all right, for a rename
    /// of which only half is there; each of its halves alone is a `Removed` or a `Created`.)
    ///
    /// A signal does not end the sleep (`EINTR`).
    ///
    /// # Errors
    /// Of the system calls. What is gone before one can look at it (`ENOENT`, `ENOTDIR`) is none, nor is a
    /// directory below the root that can't be read (`EACCES`): nothing is known to be in it.
    pub fn events(&mut self, timeout: Duration) -> io::Result<Vec<Event>> {
        let until = Instant::now() + timeout;
        let mut events = Vec::new();
        loop {
            self.read()?;
            while let Some(raw) = self.queue.pop_front() {
                self.tell(&raw, &mut events)?;
            }
            if !events.is_empty() || !self.wait(until)? {
                return Ok(events);
            }
        }
    }

    fn tell(&mut self, raw: &Raw, events: &mut Vec<Event>) -> io::Result<()> {
        if raw.mask & libc::IN_Q_OVERFLOW != 0 {
            events.push(Event::Lost);
            return self.start_anew(events);
        }
        if raw.mask & libc::IN_IGNORED != 0 {
            self.detach(raw.watch);
            return Ok(());
        }
        let Some(directory) = self.paths.get(&raw.watch) else {
            return Ok(());
        };
        let path = directory.join(&raw.name);
        let is_directory = raw.mask & libc::IN_ISDIR != 0;
        match raw.mask & (MASK & libc::IN_ALL_EVENTS) {
            libc::IN_CREATE => self.appeared(&path, is_directory, events)?,
            libc::IN_MOVED_TO => self.replaced(&path, is_directory, events)?,
            libc::IN_MOVED_FROM => {
                if let Some(to) = self.other_half(raw)? {
                    self.renamed(path, &to, is_directory, events)?;
                } else {
                    self.vanished(&path, events);
                }
            }
            libc::IN_DELETE => self.vanished(&path, events),
            libc::IN_CLOSE_WRITE if self.known.contains_key(&path) => {
                events.push(Event::Written(path));
            }
            _ => {}
        }
        Ok(())
    }

    fn appeared(
        &mut self,
        path: &Path,
        is_directory: bool,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        if !self.known.contains_key(path) {
            self.known.insert(path.to_owned(), is_directory);
            events.push(Event::Created(path.to_owned()));
        }
        if is_directory {
            self.look(path, events)?;
        }
        Ok(())
    }

    /// Something from outside is there, whatever was.
    fn replaced(
        &mut self,
        path: &Path,
        is_directory: bool,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.vanished(path, events);
        self.appeared(path, is_directory, events)
    }

    fn vanished(&mut self, path: &Path, events: &mut Vec<Event>) {
        if self.forget(path) {
            events.push(Event::Removed(path.to_owned()));
        }
    }

    fn renamed(
        &mut self,
        from: PathBuf,
        to: &Path,
        is_directory: bool,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        if !self.known.contains_key(&from) {
            return self.replaced(to, is_directory, events);
        }
        self.forget(to);
        for path in below(&self.known, &from) {
            let moved = moved(&path, &from, to);
            if let Some(is_directory) = self.known.remove(&path) {
                self.known.insert(moved.clone(), is_directory);
            }
            if let Some(watch) = self.watches.remove(&path) {
                self.paths.insert(watch, moved.clone());
                self.watches.insert(moved, watch);
            }
        }
        events.push(Event::Renamed {
            from,
            to: to.to_owned(),
        });
        if is_directory {
            self.look(to, events)?;
        }
        Ok(())
    }

    /// Where to? None if it is out of the tree, or to where nobody watches yet.
    fn other_half(&mut self, from: &Raw) -> io::Result<Option<PathBuf>> {
        let is_other = |raw: &Raw| raw.mask & libc::IN_MOVED_TO != 0 && raw.cookie == from.cookie;
        let at = loop {
            if let Some(at) = self.queue.iter().position(is_other) {
                break at;
            }
            if !self.wait(from.read + HALF)? {
                return Ok(None);
            }
            self.read()?;
        };
        let Some(to) = self.queue.remove(at) else {
            return Ok(None);
        };
        Ok(self.paths.get(&to.watch).map(|path| path.join(to.name)))
    }

    /// Makes sure that the directory at `path`, and each known one below, is watched and its names are known.
    fn look(&mut self, path: &Path, events: &mut Vec<Event>) -> io::Result<()> {
        let watch = match self.add_watch(path) {
            Err(error) if is_no_matter(&error) => return Ok(()),
            watch => watch?,
        };
        if self.watches.get(path) != Some(&watch) {
            self.attach(watch, path);
            return self.compare(path, events);
        }
        let mut directories = below(&self.known, path);
        directories.retain(|below| below.parent() == Some(path) && self.known[below]);
        for directory in directories {
            self.look(&directory, events)?;
        }
        Ok(())
    }

    /// Reads the names of a directory, and tells what is not as it was known.
    fn compare(&mut self, path: &Path, events: &mut Vec<Event>) -> io::Result<()> {
        let there = match names(&self.root.join(path)) {
            Err(error) if is_no_matter(&error) => return Ok(()),
            names => names?,
        };
        for below in below(&self.known, path) {
            if below.parent() == Some(path)
                && let Some(name) = below.file_name()
                && there.get(name) != self.known.get(&below)
            {
                self.vanished(&below, events);
            }
        }
        for (name, is_directory) in there {
            self.appeared(&path.join(name), is_directory, events)?;
        }
        Ok(())
    }

    /// A new queue: in the old one may be anything, and something is missing.
    fn start_anew(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.inotify = inotify()?;
        self.queue.clear();
        self.paths.clear();
        self.watches.clear();
        self.look(Path::new(""), events)
    }

    /// Drops a path and all below it; whether it was known.
    fn forget(&mut self, path: &Path) -> bool {
        let all = below(&self.known, path);
        for path in &all {
            self.known.remove(path);
            if let Some(watch) = self.watches.get(path).copied() {
                self.remove_watch(watch);
            }
        }
        !all.is_empty()
    }

    fn attach(&mut self, watch: i32, path: &Path) {
        if let Some(old) = self.watches.get(path).copied() {
            self.remove_watch(old);
        }
        self.detach(watch);
        self.paths.insert(watch, path.to_owned());
        self.watches.insert(path.to_owned(), watch);
    }

    fn detach(&mut self, watch: i32) {
        if let Some(path) = self.paths.remove(&watch) {
            self.watches.remove(&path);
        }
    }

    fn add_watch(&self, path: &Path) -> io::Result<i32> {
        // A path that ends in `/` would follow a link.
        let path = if path.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        };
        let path = CString::new(path.into_os_string().as_bytes())?;
        // SAFETY: the kernel reads a C string during the call.
        let watch =
            unsafe { libc::inotify_add_watch(self.inotify.as_raw_fd(), path.as_ptr(), MASK) };
        if watch < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(watch)
    }

    fn remove_watch(&mut self, watch: i32) {
        self.detach(watch);
        // EINVAL: the directory is gone, and the kernel has ended the watch itself.
        // SAFETY: two integers.
        unsafe { libc::inotify_rm_watch(self.inotify.as_raw_fd(), watch) };
    }

    /// Waits until there is something to read; false if it is `until`.
    fn wait(&self, until: Instant) -> io::Result<bool> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up: 0 would not sleep at all, again and again.
            let millis = left.as_nanos().div_ceil(1_000_000);
            let mut poll = libc::pollfd {
                fd: self.inotify.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let millis = i32::try_from(millis).unwrap_or(i32::MAX);
            // SAFETY: the kernel reads and writes one struct of this stack during the call.
            match unsafe { libc::poll(&raw mut poll, 1, millis) } {
                0 if millis < i32::MAX => return Ok(false),
                -1 => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                0 => {}
                _ => return Ok(true),
            }
        }
    }

    /// Reads what there is, without waiting.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let got = match self.inotify.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got?,
            };
            let read = Instant::now();
            let mut events = &buffer[..got];
            while let Some((header, rest)) = events.split_first_chunk::<16>() {
                let [watch, mask, cookie, length] = fields(header);
                let (name, rest) = rest.split_at(length as usize);
                // Filled up with zeros.
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                self.queue.push_back(Raw {
                    watch: watch.cast_signed(),
                    mask,
                    cookie,
                    name: OsStr::from_bytes(name).into(),
                    read,
                });
                events = rest;
            }
        }
    }
}

/// wd, mask, cookie and len of a struct inotify_event.
fn fields(header: &[u8; 16]) -> [u32; 4] {
    let field = |at: usize| u32::from_ne_bytes(std::array::from_fn(|byte| header[4 * at + byte]));
    std::array::from_fn(field)
}

fn inotify() -> io::Result<File> {
    // SAFETY: an integer.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// The names in a directory, and whether each is one.
fn names(path: &Path) -> io::Result<HashMap<OsString, bool>> {
    let mut names = HashMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) => names.insert(entry.file_name(), kind.is_dir()),
            // Gone already.
            Err(error) if is_no_matter(&error) => None,
            Err(error) => return Err(error),
        };
    }
    Ok(names)
}

/// `path` and all below it that is known.
fn below(known: &BTreeMap<PathBuf, bool>, path: &Path) -> Vec<PathBuf> {
    let range = known.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
    range
        .map(|(below, _)| below)
        .take_while(|below| below.starts_with(path))
        .cloned()
        .collect()
}

fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
        _ => to.to_owned(),
    }
}

/// Gone, or something else, or not ours to look into.
fn is_no_matter(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EACCES)
    )
}
