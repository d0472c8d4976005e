//! Where may a test write files, and how are their names told without the part that differs each time?

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

/// A private directory (mode 0700) below TMPDIR, removed with all it holds when dropped.
///
/// In facts and calls its path is shown as `$TMPDIR`.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// A child's copy must not remove what belongs to the test.
    owner: u32,
}

/// The directories made by this process: what `redact` looks for.
static PLACES: RwLock<Vec<String>> = RwLock::new(Vec::new());

impl Scratch {
    /// Makes a directory whose name no other process or test uses.
    ///
    /// # Panics
    /// When TMPDIR is not writable: that is no verdict on the exercise.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Scratch {
        Scratch::make(&std::env::temp_dir()).unwrap_or_else(|error| {
            panic!(
                "the test cannot make a directory in {}: {error}",
                std::env::temp_dir().display()
            )
        })
    }

    /// Makes one on a [`disk`](crate::disk()): the pages of its files can leave the page cache. A test that uses it
    /// begins with `needs("disk")`.
    ///
    /// # Panics
    /// When there is none.
    pub fn on_disk() -> Scratch {
        let made = crate::disk()
            .and_then(|place| Scratch::make(&place).map_err(|error| error.to_string()));
        made.unwrap_or_else(|reason| panic!("the test cannot make a directory on a disk: {reason}"))
    }

    fn make(base: &Path) -> io::Result<Scratch> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Canonical, because /proc and the kernel show paths without symbolic links.
        let base = fs::canonicalize(base)?;
        let owner = std::process::id();
        loop {
            let name = format!("syslab-{owner}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let path = base.join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let mut places = PLACES.write().unwrap_or_else(PoisonError::into_inner);
                    places.push(path.to_string_lossy().into_owned());
                    return Ok(Scratch { path, owner });
                }
                // Of a process that had our pid and was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the directory; nothing is made.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in the directory and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, bytes)
            .unwrap_or_else(|error| panic!("the test cannot write {}: {error}", path.display()));
        path
    }

    /// The names in the directory, sorted.
    pub fn names(&self) -> Vec<OsString> {
        let mut names: Vec<OsString> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// `text` with the paths of scratch directories, and of TMPDIR itself, shown as `$TMPDIR`.
pub fn redact(text: &str) -> String {
    let mut text = text.to_owned();
    for place in PLACES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .rev()
    {
        text = replace_path(&text, place);
    }
    let base = std::env::temp_dir();
    match fs::canonicalize(&base).unwrap_or(base).to_str() {
        Some("/") | None => text,
        Some(base) => replace_path(&text, base),
    }
}

/// Replaces `path` where it is not merely the beginning of a longer name.
fn replace_path(text: &str, path: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let after = &rest[at + path.len()..];
        let longer = after
            .starts_with(|next: char| next.is_alphanumeric() || matches!(next, '-' | '_' | '.'));
        out.push_str(&rest[..at]);
        out.push_str(if longer { path } else { "$TMPDIR" });
        rest = after;
    }
    out + rest
}
