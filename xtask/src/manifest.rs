//! Are the specifications still the ones that were written?
//!
//! `exercises/manifest.txt` lists what a learner does not edit (and, for `reset`,
//! each exercise as it was given) by its git blob id: a hash, and at the same time
//! the address of the pristine text in the repository, whatever has been committed
//! since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha1::{Digest as _, Sha1};

use crate::course::Course;
use crate::fail::{About as _, Failure, Result};
use crate::source;

/// The manifest's path below the root.
pub(crate) const MANIFEST: &str = "exercises/manifest.txt";

const HEADER: &str = "\
# What is graded against, by git blob id. Written by `cargo xtask bless`.
# `cargo xtask check` grades against these texts, also when the files say otherwise.
";

/// Path below the root → blob id.
pub(crate) struct Manifest {
    root: PathBuf,
    entries: BTreeMap<String, String>,
}

impl Manifest {
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let restore = format!("git checkout -- {MANIFEST}");
        let text = std::fs::read_to_string(root.join(MANIFEST)).map_err(|error| {
            Failure::new(format!("cannot read {MANIFEST}: {error}")).next(&restore)
        })?;
        let mut entries = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let parts = line.split_once(' ').filter(|(id, path)| {
                id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) && !path.contains("..")
            });
            let Some((id, path)) = parts else {
                return Err(
                    Failure::new(format!("{MANIFEST} has a broken line: {line:?}")).next(restore),
                );
            };
            entries.insert(path.to_owned(), id.to_owned());
        }
        Ok(Self {
            root: root.to_owned(),
            entries,
        })
    }

    /// The manifest that fits the files as they are now.
    pub(crate) fn of_files(course: &Course) -> Result<Self> {
        let mut entries = BTreeMap::new();
        let mut paths = vec![
            "Cargo.toml".to_owned(),
            "exercises/Cargo.toml".to_owned(),
            crate::course::LIST.to_owned(),
        ];
        for folder in ["exercises/tests", "observe/src", "tracer/src"] {
            files_below(&course.root, folder, &mut paths)?;
        }
        paths.extend(["observe", "tracer"].map(|name| format!("{name}/Cargo.toml")));
        paths.extend(course.exercises.iter().map(crate::course::Exercise::file));
        for path in paths {
            let bytes =
                std::fs::read(course.root.join(&path)).about(format!("cannot read {path}"))?;
            entries.insert(path, blob_id(&bytes));
        }
        Ok(Self {
            root: course.root.clone(),
            entries,
        })
    }

    pub(crate) fn render(&self) -> String {
        let lines: String = self
            .entries
            .iter()
            .map(|(path, id)| format!("{id} {path}\n"))
            .collect();
        format!("{HEADER}{lines}")
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Files that differ from the manifest or are missing, exercises aside.
    pub(crate) fn tampered(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter(|(path, _)| !is_exercise(path))
            .filter(|(path, id)| {
                let now = source::read(&self.root.join(path)).map(|bytes| blob_id(&bytes));
                now.ok().as_ref() != Some(id)
            })
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// True when the learner has not touched this exercise's file.
    pub(crate) fn untouched(&self, path: &str) -> bool {
        source::read(&self.root.join(path))
            .is_ok_and(|bytes| self.entries.get(path) == Some(&blob_id(&bytes)))
    }

    /// The text that `path` was given with: the file's own, or git's.
    pub(crate) fn pristine(&self, path: &str) -> Result<Vec<u8>> {
        let Some(id) = self.entries.get(path) else {
            // The list may be the one that is wrong.
            return Err(
                Failure::new(format!("{MANIFEST} does not list {path}")).next(format!(
                    "git checkout -- {MANIFEST} {}",
                    crate::course::LIST
                )),
            );
        };
        if let Ok(bytes) = source::read(&self.root.join(path))
            && blob_id(&bytes) == *id
        {
            return Ok(bytes);
        }
        let git = Command::new("git")
            .arg("-C")
            .arg(&self.root)
            .args(["cat-file", "blob", id])
            .output();
        match git {
            Ok(output) if output.status.success() && blob_id(&output.stdout) == *id => {
                Ok(output.stdout)
            }
            Err(error) => Err(Failure::new(format!(
                "{path} was changed, and git, which has its pristine text, cannot be run: {error}"
            ))
            .next("cargo xtask doctor")),
            Ok(_) => Err(Failure::new(format!(
                "{path} was changed, and git does not hold its pristine text"
            ))
            .next(format!("restore {path} from a fresh copy of the course"))),
        }
    }
}

/// True for what a learner edits: `exercises/chNN_…/….rs`.
fn is_exercise(path: &str) -> bool {
    path.starts_with("exercises/ch")
}

/// The id that `git hash-object` gives these bytes (Pro Git, "Git Objects").
pub(crate) fn blob_id(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn files_below(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(root.join(folder)).about(format!("cannot read {folder}"))?;
    for entry in entries.flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_below(root, &path, paths)?;
        } else if Path::new(&path)
            .extension()
            .is_some_and(|ext| ext == "rs" || ext == "snap")
        {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::blob_id;

    #[test]
    fn a_blob_id_is_gits() {
        // `git hash-object --stdin </dev/null`, and of "hello\n".
        assert_eq!(blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(
            blob_id(b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }
}
