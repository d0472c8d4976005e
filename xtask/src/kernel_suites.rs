//! Does the notebook kernel hold? Its unit tests, then suites that talk to it as a
//! front end does (`kernel/tests/*.py`), each a program whose exit status is its answer.

use std::path::{Path, PathBuf};

use anstream::println;

use crate::fail::{About as _, Failure, Result};
use crate::interrupt;
use crate::lab::kernel;
use crate::lab::place::Place;
use crate::lab::work::{self, Cancel};
use crate::paint::{DIM, In};
use crate::progress::Spinner;

/// Runs everything; gives how many suites passed, or what did not.
pub(crate) fn run(place: &Place) -> Result<Result<usize, Vec<String>>> {
    let mut complaints = Vec::new();
    // The profile of the lab, so that all but the tests is already compiled.
    let mut units = kernel::cargo(place, "test");
    let status = units
        .args(["--workspace", "--quiet"])
        .status()
        .map_err(|error| Failure::cannot_run(&units, &error))?;
    if !status.success() {
        complaints.push("cargo test of the kernel's workspace does not pass".into());
    }
    let suites = suites(&place.root)?;
    for suite in &suites {
        let name = suite.file_name().unwrap_or_default().display().to_string();
        let spinner = Spinner::new(&name);
        let mut command = place.script();
        command
            .current_dir(&place.root)
            .arg(suite)
            .env("SYSLAB_KERNEL", kernel::NAME);
        let started = std::time::Instant::now();
        let ended = work::run(command, &Cancel::default(), |_| true);
        drop(spinner);
        if interrupt::requested() {
            return Err(Failure::new("interrupted"));
        }
        let ended = ended?;
        let seconds = started.elapsed().as_secs_f64();
        let last = ended.tail(1);
        println!(
            "    {} {last} {}",
            name,
            In(DIM, format_args!("{seconds:.1} s"))
        );
        if !ended.status.success() {
            complaints.push(format!("{name} ({}):\n{}", ended.status, ended.tail(40)));
        }
    }
    Ok(if complaints.is_empty() {
        Ok(suites.len())
    } else {
        Err(complaints)
    })
}

/// The programs among `kernel/tests/*.py`; the rest is what they share.
fn suites(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("kernel/tests");
    let entries =
        std::fs::read_dir(&folder).about(format_args!("cannot read {}", folder.display()))?;
    let mut suites: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("__main__")))
        .collect();
    suites.sort();
    if suites.is_empty() {
        return Err(
            Failure::new(format!("there is no suite in {}", folder.display()))
                .next("git checkout -- kernel/tests"),
        );
    }
    Ok(suites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_programs_and_none_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("kernel/tests");
        std::fs::create_dir_all(&folder).unwrap();
        assert!(suites(root.path()).is_err());
        std::fs::write(folder.join("support.py"), "x = 1\n").unwrap();
        std::fs::write(folder.join("wire.py"), "if __name__ == '__main__': pass\n").unwrap();
        assert_eq!(suites(root.path()).unwrap(), [folder.join("wire.py")]);
    }
}
