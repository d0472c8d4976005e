//! A tree that is too deep for every path.

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use observe::Scratch;
use std::fs;
use std::path::PathBuf;

/// Levels of the deepest tree from one file to the next: enough to go on with on the way back up.
pub const FILE_EVERY: usize = 100;

/// Directories, each in the one before, and beside some of them a file. No path leads to the bottom.
pub struct Deep {
    pub root: PathBuf,
}

impl Deep {
    pub fn make(scratch: &Scratch, depth: usize) -> Deep {
        let root = scratch.join("root");
        fs::create_dir(&root).unwrap();
        let tree = Deep { root };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = open(&tree.root, flags, Mode::empty()).unwrap();
        for level in 1..=depth {
            if level % FILE_EVERY == 0 {
                let file = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                drop(openat(&directory, "file", file, Mode::S_IRUSR).unwrap());
            }
            mkdirat(&directory, "d", Mode::S_IRWXU).unwrap();
            directory = openat(&directory, "d", flags, Mode::empty()).unwrap();
        }
        tree
    }
}

impl Drop for Deep {
    /// Lifts the lower levels up, one after the other: what removes trees may not be up to this one.
    fn drop(&mut self) {
        let [top, next] = ["d", "next"].map(|name| self.root.join(name));
        while fs::rename(top.join("d"), &next).is_ok() {
            let _ = fs::remove_file(top.join("file"));
            let _ = fs::remove_dir(&top);
            let _ = fs::rename(&next, &top);
        }
    }
}
