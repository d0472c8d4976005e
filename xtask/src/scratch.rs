//! Where may a test write, and how does that go away whatever it has made of it?
//!
//! Folders that nobody may enter, or that are nested so deep that a walk down runs
//! out of descriptors or stack, are taken apart from above, one level at a time.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A folder of one test's own, gone when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new_in(parent: &Path) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("t").tempdir_in(parent)?;
        Ok(Self(folder.keep()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What another user has made there, only that user or root can remove.
        let _ = remove(&self.0);
    }
}

/// The grader's own folder, locked as long as the grader lives.
///
/// SIGKILL and SIGPIPE leave it behind, unlocked: the next grader removes it. Between `mkdir(2)` and the
/// lock it looks like that, too; so whoever has the lock looks whether the folder is still there.
pub(crate) struct Private {
    folder: Scratch,
    _lock: Option<File>,
}

impl Private {
    const PREFIX: &str = "syslab-check-";

    pub(crate) fn new_in(parent: &Path) -> std::io::Result<Self> {
        sweep(parent, Self::PREFIX);
        loop {
            let folder = tempfile::Builder::new()
                .prefix(Self::PREFIX)
                .tempdir_in(parent)?;
            let folder = Scratch(folder.keep());
            // Where a folder can't be locked, nobody takes it for one that was left.
            let lock = File::open(folder.path()).ok();
            let lock = lock.filter(|lock| lock.lock().is_ok());
            if folder.path().is_dir() {
                return Ok(Self {
                    folder,
                    _lock: lock,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes this user's folders in `parent` whose name begins with `prefix` and that nobody has locked.
fn sweep(parent: &Path, prefix: &str) {
    let me = nix::unistd::geteuid().as_raw();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let named = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes());
        let is_own = |metadata: std::fs::Metadata| metadata.is_dir() && metadata.uid() == me;
        if named
            && entry.metadata().is_ok_and(is_own)
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes `folder`, in which nothing runs any more.
pub(crate) fn remove(folder: &Path) -> std::io::Result<()> {
    let mut moved = 0_u64;
    open(folder)?;
    loop {
        let mut deeper = false;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
                continue;
            }
            open(&entry.path())?;
            for inner in std::fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    // Moving a folder changes its `..`, which takes the right to write to it.
                    open(&inner.path())?;
                    let free = loop {
                        moved += 1;
                        let name = folder.join(format!("moved-{moved}"));
                        if name.symlink_metadata().is_err() {
                            break name;
                        }
                    };
                    std::fs::rename(inner.path(), free)?;
                    deeper = true;
                } else {
                    std::fs::remove_file(inner.path())?;
                }
            }
            std::fs::remove_dir(entry.path())?;
        }
        if !deeper {
            return std::fs::remove_dir(folder);
        }
    }
}

fn open(folder: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_grader_has_left_goes_away_and_what_a_living_one_has_stays() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join("syslab-check-left");
        std::fs::create_dir_all(left.join("t1/closed")).unwrap();
        let living = Private::new_in(parent.path()).unwrap();
        assert!(!left.exists());
        let other = Private::new_in(parent.path()).unwrap();
        assert!(living.path().is_dir() && other.path().is_dir());
        drop((living, other));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn deep_and_closed_folders_go_away() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new_in(parent.path()).unwrap();
        let mut deep = scratch.path().to_owned();
        for _ in 0..300 {
            deep.push("d");
            std::fs::create_dir(&deep).unwrap();
        }
        std::fs::write(deep.join("file"), "x").unwrap();
        std::fs::write(scratch.path().join("moved-1"), "in the way").unwrap();
        std::os::unix::fs::symlink("/", scratch.path().join("link")).unwrap();
        let closed = scratch.path().join("closed");
        std::fs::create_dir_all(closed.join("inner")).unwrap();
        for folder in [closed.join("inner"), closed] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o0)).unwrap();
        }
        drop(scratch);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
