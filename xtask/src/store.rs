//! What is remembered between two checks?
//!
//! `.syslab/` in the course's folder: results, attempts and hints shown by
//! exercise, and backups. It is not in git and not in `target/`, so it survives
//! `cargo clean`, other branches and updates.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::fail::{About as _, Failure, Result};
use crate::verdict::{Graded, Outcome};

/// The folder's name below the root.
pub(crate) const FOLDER: &str = ".syslab";

/// Who checks nothing for this many seconds does something else.
const PAUSE: u64 = 15 * 60;

/// What is known of one exercise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The last result.
    pub(crate) last: Option<Graded>,
    /// Which program that result is of.
    #[serde(default)]
    pub(crate) key: String,
    /// Seconds since 1970 of the last check.
    #[serde(default)]
    pub(crate) at: u64,
    /// Checks that ran a changed program.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Seconds worked on it until it first passed: the time between two checks, unless
    /// that was longer than a [`PAUSE`].
    #[serde(default)]
    pub(crate) seconds: u64,
    /// It has passed at least once.
    #[serde(default)]
    pub(crate) solved: bool,
    /// Hint tiers that were shown.
    #[serde(default)]
    pub(crate) hints: u8,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// The exercise that `watch` showed last, by target name.
    #[serde(default)]
    watched: Option<String>,
    exercises: BTreeMap<String, Record>,
}

/// The records of all exercises, by target name.
pub(crate) struct Store {
    folder: PathBuf,
    records: BTreeMap<String, Record>,
    watched: Option<String>,
}

impl Store {
    /// Reads what is there; a file that can't be read is kept aside, not overwritten.
    pub(crate) fn open(root: &Path) -> (Self, Option<String>) {
        let mut store = Self {
            folder: root.join(FOLDER),
            records: BTreeMap::new(),
            watched: None,
        };
        let notice = store.read().err();
        (store, notice)
    }

    /// Takes over what the file holds; the error is what became of one that can't be read.
    fn read(&mut self) -> Result<(), String> {
        let path = self.folder.join("results.json");
        let bytes = match std::fs::read(&path) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(());
            }
            other => other.unwrap_or_default(),
        };
        match serde_json::from_slice::<File>(&bytes) {
            Ok(file) if file.version == 1 => {
                self.records = file.exercises;
                self.watched = file.watched;
                Ok(())
            }
            _ => {
                let aside = path.with_extension(format!("json.{}", now()));
                let (path, to) = (path.display(), aside.display());
                Err(
                    match std::fs::rename(self.folder.join("results.json"), &aside) {
                        Ok(()) => format!("{path} could not be read; it is kept as {to}"),
                        Err(error) => format!("{path} could not be read, nor moved: {error}"),
                    },
                )
            }
        }
    }

    pub(crate) fn get(&self, target: &str) -> Record {
        self.records.get(target).cloned().unwrap_or_default()
    }

    /// Keeps a result at once, so that Ctrl-C loses none.
    pub(crate) fn keep(&mut self, target: &str, graded: &Graded, key: &str) -> Result<()> {
        self.update(target, |record| {
            let tried = record.key != key && graded.outcome != Outcome::Todo;
            record.attempts += u32::from(tried);
            let since = now().saturating_sub(record.at);
            if !record.solved && since <= PAUSE {
                record.seconds += since;
            }
            record.solved |= graded.outcome == Outcome::Passed;
            record.at = now();
            record.last = Some(Graded {
                reused: false,
                ..graded.clone()
            });
            key.clone_into(&mut record.key);
        })
    }

    pub(crate) fn hints_shown(&mut self, target: &str, tier: u8) -> Result<()> {
        self.update(target, |record| record.hints = record.hints.max(tier))
    }

    /// The exercise that `watch` showed last.
    pub(crate) fn watched(&self) -> Option<&str> {
        self.watched.as_deref()
    }

    pub(crate) fn watches(&mut self, target: &str) -> Result<()> {
        self.change(|store| store.watched = Some(target.to_owned()))
    }

    fn update(&mut self, target: &str, change: impl FnOnce(&mut Record)) -> Result<()> {
        self.change(|store| change(store.records.entry(target.to_owned()).or_default()))
    }

    /// Changes the file as it is now: another check may have written it.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> Result<()> {
        self.write(change).map_err(|failure| {
            failure.next(format!(
                "make room on the disk, or see that you may write to {FOLDER}"
            ))
        })
    }

    fn write(&mut self, change: impl FnOnce(&mut Self)) -> Result<()> {
        let path = self.folder.join("results.json");
        let about = || format!("cannot keep results in {}", path.display());
        std::fs::create_dir_all(&self.folder).about(about())?;
        let lock = std::fs::File::create(self.folder.join("lock")).about(about())?;
        // Until `lock` is closed, also by a crash.
        lock.lock().about(about())?;
        // What can't be read is aside then, and the records in memory are written.
        let _ = self.read();
        change(self);
        let file = File {
            version: 1,
            watched: self.watched.clone(),
            exercises: self.records.clone(),
        };
        let text = serde_json::to_vec_pretty(&file).expect("plain data");
        // Beside, then renamed: a full disk leaves the old file.
        let mut beside = tempfile::NamedTempFile::new_in(&self.folder).about(about())?;
        std::io::Write::write_all(&mut beside, &text).about(about())?;
        beside
            .persist(&path)
            .map(drop)
            .map_err(|error| error.error)
            .about(about())
    }

    /// Copies the file `path` (below the root) to a place of its own; gives that place.
    ///
    /// # Errors
    /// When it can't be copied, nothing may be overwritten.
    pub(crate) fn back_up(&self, root: &Path, path: &str) -> Result<PathBuf> {
        self.keep_aside(path, |to| {
            std::fs::copy(root.join(path), to)?;
            std::fs::File::open(to)?.sync_all()
        })
    }

    /// Moves what is at `path` (below the root) and can't be copied; gives its new place.
    ///
    /// # Errors
    /// When it can't be moved, it is where it was.
    pub(crate) fn move_away(&self, root: &Path, path: &str) -> Result<PathBuf> {
        self.keep_aside(path, |to| std::fs::rename(root.join(path), to))
    }

    fn keep_aside(
        &self,
        path: &str,
        keep: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<PathBuf> {
        let stamp = now();
        let to = (0..100)
            .map(|n| {
                self.folder
                    .join("backup")
                    .join(format!("{stamp}-{n}"))
                    .join(path)
            })
            .find(|to| to.symlink_metadata().is_err())
            .ok_or_else(|| Failure::new("a hundred backups in one second"))?;
        std::fs::create_dir_all(to.parent().expect("below the folder"))
            .and_then(|()| keep(&to))
            .map_err(|error| {
                Failure::new(format!(
                    "cannot back up {path} to {}: {error}; nothing was changed",
                    to.display()
                ))
                .next("make room on the disk, or copy the file away by hand")
            })?;
        Ok(to)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_survives_reopening() {
        let root = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(root.path());
        let graded = Graded::of_tests("ch02", "daemonize", Vec::new());
        store.keep("ch02_daemonize", &graded, "key").unwrap();
        let (store, notice) = Store::open(root.path());
        assert_eq!(notice, None);
        let record = store.get("ch02_daemonize");
        assert!(record.solved && record.key == "key" && record.attempts == 1);
    }

    #[test]
    fn an_unreadable_file_is_kept_aside() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("results.json"), b"not json, nor text: \xff").unwrap();
        let (_, notice) = Store::open(root.path());
        assert!(notice.unwrap().contains("kept as"));
        let kept: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
        assert_eq!(
            std::fs::read(kept[0].path()).unwrap(),
            b"not json, nor text: \xff"
        );
    }

    #[test]
    fn two_backups_do_not_overwrite_each_other() {
        let root = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(root.path());
        std::fs::write(root.path().join("a.rs"), "one").unwrap();
        let first = store.back_up(root.path(), "a.rs").unwrap();
        std::fs::write(root.path().join("a.rs"), "two").unwrap();
        let second = store.back_up(root.path(), "a.rs").unwrap();
        assert_eq!(std::fs::read_to_string(first).unwrap(), "one");
        assert_eq!(std::fs::read_to_string(second).unwrap(), "two");
    }
}
