//! What does a notebook show when a real client executes it on the real kernel?
//!
//! `notebooks/run.py` is the client; it says a line of JSON a cell. The kernel works
//! in a copy of the folder below `.lab/`: cells may write, and the course is above.

use std::path::Path;

use serde::Deserialize;

use super::form::Cell;
use crate::fail::{About as _, Failure, Result};
use crate::lab::kernel;
use crate::lab::place::Place;
use crate::lab::work::{self, Cancel, Line};

/// Longest time for one cell, in seconds.
const LIMIT: u32 = 120;
/// Of `notebooks/`, what no cell needs.
const NOT_COPIED: [&str; 4] = [
    "lens",
    "snapshots",
    "requirements.txt",
    ".ipynb_checkpoints",
];

/// What one cell has shown.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Showed {
    pub(super) index: usize,
    pub(super) seconds: f64,
    /// How many outputs of any kind.
    pub(super) outputs: usize,
    pub(super) stdout: String,
    pub(super) values: Vec<String>,
    pub(super) error: Option<Raised>,
    /// Why nothing can follow: it took too long, or the kernel died.
    pub(super) ended: Option<String>,
}

/// A cell's error reply.
#[derive(Deserialize, Debug, Default)]
pub(super) struct Raised {
    pub(super) ename: String,
    pub(super) evalue: String,
    pub(super) traceback: Vec<String>,
}

impl Showed {
    /// What it says it can't do on this machine.
    pub(super) fn skipped(&self) -> Option<&str> {
        let mut lines = self.stdout.lines();
        lines
            .find_map(|line| line.strip_prefix("skipped:"))
            .map(str::trim)
    }
}

/// Executes `name`, telling `heard` of every cell as it ends.
pub(super) fn execute(
    place: &Place,
    name: &str,
    cells: &[Cell],
    mut heard: impl FnMut(usize),
) -> Result<Vec<Showed>> {
    let runs = place.folder.join("runs");
    let about = |path: &Path| format!("cannot copy the notebooks to {}", path.display());
    std::fs::create_dir_all(&runs).about(about(&runs))?;
    let folder = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&runs)
        .about(about(&runs))?;
    copy(&place.notebooks(), folder.path()).about(about(folder.path()))?;
    let mut command = place.command();
    command
        .arg(place.notebooks().join("run.py"))
        .arg(folder.path().join(name))
        .arg(kernel::NAME)
        .arg(LIMIT.to_string());
    let mut showed = Vec::new();
    let ended = work::run(command, &Cancel::default(), |line| {
        let Line::Out(text) = line else { return true };
        match serde_json::from_str::<Showed>(text) {
            Ok(cell) if cells.iter().any(|known| known.index == cell.index) => {
                showed.push(cell);
                heard(showed.len());
            }
            _ => {}
        }
        false
    })?;
    if !ended.status.success() {
        return Err(Failure::new(format!(
            "the client of {name} has ended ({}):\n{}",
            ended.status,
            ended.tail(12)
        ))
        .next("cargo xtask lab --prepare  (then this again)"));
    }
    Ok(showed)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if NOT_COPIED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_in_a_line_that_it_was_skipped() {
        let showed = |stdout: &str| Showed {
            stdout: stdout.into(),
            ..Showed::default()
        };
        assert_eq!(
            showed("a\nskipped: no /dev/kvm\n").skipped(),
            Some("no /dev/kvm")
        );
        assert_eq!(showed("it skipped: a beat\n").skipped(), None);
    }
}
