//! # What has changed in a tree?
//!
//! inotify(7) tells it, of one directory. For a tree every directory below needs a watch of its own, also
//! those that are made later; and there the work begins. `mkdir -p a/b; touch a/b/c` is over before
//! you have read that there is an `a`: nobody tells you of `b` and `c`. A rename is two events, with a
//! number in common, and the second may not be there yet when you have read the first. If a directory is
//! renamed, its watch goes with it, and reports under a name that is no longer true. And when you are too
//! slow, the queue is full, and all that the kernel says is that it says nothing (IN_Q_OVERFLOW).
//!
//! So events are not enough: whoever watches must know what was there, look for himself, and tell the
//! difference. You build what editors, build tools and file synchronisers stand on.
//!
//! Man pages: inotify(7) (all; "Limitations and caveats"), inotify_add_watch(2), poll(2).
//! Notebook: `04-file-systems.ipynb#one-interface-many-file-systems`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    // TODO: which path has which watch descriptor? What is known to be there?
}

impl WatchTree {
    /// Watches the tree below the directory `root`.
    ///
    /// # Errors
    /// Whatever the kernel says: `ENOENT`, `ENOTDIR`, `EACCES` … of the root; `ENOSPC`: the user has no watch left
    /// (/proc/sys/fs/inotify/max_user_watches); `EMFILE`: no inotify instance.
    pub fn new(root: &Path) -> io::Result<WatchTree> {
        // TODO: 1. inotify_init1(2), close-on-exec. A watch on the root.
        //       2. Each directory below: first the watch, then its names. Why in this order?
        todo!("make an inotify instance")
    }

    /// The paths of all that was there: what [`new`](WatchTree::new) found, changed by all events that
    /// [`events`](WatchTree::events) has given. In any order; the root is not in it.
    pub fn paths(&self) -> Vec<PathBuf> {
        todo!("what is known")
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
        // TODO: 1. poll(2), then read(2) all that is there; each struct inotify_event has a name of its own
        //          length behind it.
        //       2. IN_CREATE, IN_DELETE, IN_CLOSE_WRITE: the watch's path and the name. Is it news?
        //       3. A new directory: watch it, then look what is in it already. That will be reported again.
        //       4. IN_MOVED_FROM and IN_MOVED_TO with the same cookie. The paths of all watches below.
        //       5. A directory that has left the tree goes on reporting, unless you end its watches.
        //       6. IN_Q_OVERFLOW: start anew, and compare with what was known.
        todo!("wait until the descriptor can be read")
    }
}
