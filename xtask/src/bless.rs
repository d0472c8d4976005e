//! `cargo xtask bless`: what authors run after they changed a specification.
//!
//! Snapshots are written only here, and only from solutions that pass. It writes
//! nothing but `exercises/tests/snapshots/` and the manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anstream::println;

use crate::build::{self, Built};
use crate::course::{Course, Exercise};
use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Bless;
use crate::manifest::{MANIFEST, Manifest};
use crate::progress::Spinner;

const SNAPSHOTS: &str = "exercises/tests/snapshots";

pub(crate) fn run(course: &Course, flags: &Bless) -> Result<u8> {
    let exercises = course.select(&flags.wanted)?;
    course.require_files(&exercises)?;
    refuse_answers(course)?;
    if !flags.manifest_only {
        write_snapshots(course, &exercises)?;
    }
    let manifest = Manifest::of_files(course)?;
    std::fs::write(course.root.join(MANIFEST), manifest.render())
        .about(format!("cannot write {MANIFEST}"))?;
    println!("  {MANIFEST}: {} files", manifest.paths().count());
    println!("  next: git diff, then cargo xtask test solutions");
    Ok(exit_code::PASSED)
}

/// An exercise that was given with `todo!` and has none now is somebody's answer: it must not
/// become what `reset` puts back.
fn refuse_answers(course: &Course) -> Result<()> {
    let Ok(manifest) = Manifest::load(&course.root) else {
        return Ok(());
    };
    for exercise in &course.exercises {
        let path = exercise.file();
        if manifest.untouched(&path) {
            continue;
        }
        let open = |text: &[u8]| String::from_utf8_lossy(text).contains("todo!(");
        let given = manifest.pristine(&path).is_ok_and(|text| open(&text));
        let answered = std::fs::read(course.root.join(&path)).is_ok_and(|text| !open(&text));
        if given && answered {
            return Err(Failure::new(format!(
                "{path} is an answer, and bless would make it what everybody is given"
            ))
            .next(format!(
                "cargo xtask reset {}  (the answer is backed up)",
                exercise.slug
            )));
        }
    }
    Ok(())
}

fn write_snapshots(course: &Course, exercises: &[&Exercise]) -> Result<()> {
    let spinner = Spinner::new("compiling the solutions");
    let request = build::Request {
        workspace: &course.root,
        target_dir: None,
        targets: exercises.iter().map(|exercise| exercise.target()).collect(),
        solutions: true,
        lean: false,
    };
    let built = build::build(&request, &spinner)?;
    let folder = course.root.join(SNAPSHOTS);
    std::fs::create_dir_all(&folder).about(format!("cannot make {SNAPSHOTS}"))?;
    for exercise in exercises {
        spinner.say(&exercise.slug);
        let before = snapshots(&folder, exercise)?;
        for name in before.keys() {
            std::fs::remove_file(folder.join(name)).about(format!("cannot remove {name}"))?;
        }
        if let Err(failure) = write_for(course, exercise, &built[&exercise.target()]) {
            for name in snapshots(&folder, exercise)?.keys() {
                std::fs::remove_file(folder.join(name)).about(format!("cannot remove {name}"))?;
            }
            for (name, text) in before {
                std::fs::write(folder.join(&name), text).about(format!("cannot restore {name}"))?;
            }
            return Err(failure);
        }
        let written = snapshots(&folder, exercise)?.len();
        spinner.beside(|| println!("  {}: {written} snapshots", exercise.slug));
    }
    Ok(())
}

fn write_for(course: &Course, exercise: &Exercise, built: &Built) -> Result<()> {
    let executable = match built {
        Built::Executable(executable) => executable,
        Built::Errors(errors) => {
            return Err(Failure::new(format!(
                "{} does not compile:\n{errors}",
                exercise.solution()
            )));
        }
    };
    let output = Command::new(executable)
        .arg("--test-threads=1")
        .env("INSTA_UPDATE", "always")
        .env("INSTA_FORCE_PASS", "0")
        .env("INSTA_WORKSPACE_ROOT", &course.root)
        .output()
        .about(format!("cannot run {}", executable.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the solution of {} does not pass; its snapshots are as they were\n{}",
        exercise.slug,
        String::from_utf8_lossy(&output.stdout)
    ))
    .next(format!("cargo xtask check --solutions {}", exercise.slug)))
}

/// The snapshots of one exercise, by file name.
fn snapshots(folder: &Path, exercise: &Exercise) -> Result<BTreeMap<String, Vec<u8>>> {
    let prefix = format!("{}__", exercise.target());
    let entries = std::fs::read_dir(folder).about(format!("cannot read {SNAPSHOTS}"))?;
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) {
            let text = std::fs::read(entry.path()).about(format!("cannot read {name}"))?;
            found.insert(name, text);
        }
    }
    Ok(found)
}
