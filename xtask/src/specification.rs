//! Which text is graded against? The pristine one, also when the files say otherwise.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::build;
use crate::course::{Course, Exercise, LIST};
use crate::fail::{Failure, Result};
use crate::manifest::Manifest;
use crate::source;
use crate::stage::Stage;

/// The specifications as they were written, and what became of them.
pub(crate) struct Specification {
    pub(crate) manifest: Manifest,
    /// Changed files, exercises aside; the pristine texts are used.
    pub(crate) tampered: Vec<String>,
    /// Changed files whose pristine text is not to be had, and why.
    lost: HashMap<String, Failure>,
}

impl Specification {
    /// Compares the files of `course` with the manifest.
    pub(crate) fn of(course: &Course) -> Result<Self> {
        let manifest = Manifest::load(&course.root)?;
        let tampered = manifest.tampered();
        let mut lost = HashMap::new();
        for path in &tampered {
            if let Err(failure) = manifest.pristine(path) {
                lost.insert(path.clone(), failure);
            }
        }
        Ok(Self {
            manifest,
            tampered,
            lost,
        })
    }

    /// What is to be said of it, a sentence a file.
    pub(crate) fn notices(&self) -> Vec<String> {
        let say = |path: &String| match self.lost.get(path) {
            Some(failure) => failure.to_string(),
            None => format!(
                "{path} was changed; graded against its pristine text (authors: cargo xtask bless)"
            ),
        };
        self.tampered.iter().map(say).collect()
    }

    /// The course as the pristine list has it; none when the list is as it was.
    pub(crate) fn course(&self, course: &Course) -> Result<Option<Course>> {
        if !self.tampered.iter().any(|path| path == LIST) {
            return Ok(None);
        }
        let text = self.manifest.pristine(LIST)?;
        let course = Course::parse(&course.root, &String::from_utf8_lossy(&text));
        course.map(Some).map_err(Failure::new)
    }

    /// Names of an exercise's tests, in order; the error is why it can't be graded.
    pub(crate) fn tests(&self, exercise: &Exercise) -> Result<Vec<String>> {
        let path = exercise.test();
        let text = self.manifest.pristine(&path)?;
        match source::tests(&String::from_utf8_lossy(&text)) {
            Some(names) if !names.is_empty() => Ok(names),
            _ => Err(Failure::new(format!("{path} holds no test"))
                .next(format!("git checkout -- {path}"))),
        }
    }

    /// Why `exercise` can't be graded against its own text; none when it can.
    pub(crate) fn lost(&self, exercise: &Exercise) -> Option<&Failure> {
        let mut lost = self.lost.iter();
        lost.find(|(path, _)| belongs(path, exercise))
            .map(|(_, failure)| failure)
    }

    /// The workspace to build in, and the target folder when that is not cargo's own choice.
    ///
    /// # Errors
    /// A file that every exercise needs was changed, and its pristine text is not to be had.
    pub(crate) fn workspace(&self, course: &Course) -> Result<(PathBuf, Option<PathBuf>)> {
        if self.tampered.is_empty() {
            return Ok((course.root.clone(), None));
        }
        let target = target_folder(&course.root)?;
        let cargo = self.manifest.pristine("Cargo.toml")?;
        // A crate that is as it was serves in its place, compiled already; there it
        // takes its own dependencies from the workspace's table.
        let changed = |name: &str| {
            let mut tampered = self.tampered.iter();
            tampered.any(|path| path.starts_with(name) || path == "Cargo.toml")
        };
        let own = ["exercises", "observe", "tracer"];
        let own: Vec<&str> = own
            .into_iter()
            .filter(|name| *name == "exercises" || changed(name))
            .collect();
        let cargo = String::from_utf8_lossy(&cargo);
        let stage = Stage::new(&course.root, &target, "pristine", &cargo, &own)?;
        stage.link("solutions", &course.root.join("solutions"))?;
        for path in self.manifest.paths() {
            let whose = |exercise: &Exercise| belongs(path, exercise);
            let held = own.iter().any(|name| path.starts_with(&format!("{name}/")));
            if path.starts_with("exercises/ch") {
                stage.link(path, &course.root.join(path))?;
            } else if held && (!self.lost.contains_key(path) || !course.exercises.iter().any(whose))
            {
                stage.write(path, &without_benches(path, self.manifest.pristine(path)?))?;
            }
        }
        Ok((stage.root, Some(target)))
    }
}

/// A package's benches are not in the manifest, and cargo asks for what it names.
fn without_benches(path: &str, text: Vec<u8>) -> Vec<u8> {
    let table = String::from_utf8_lossy(&text).parse::<toml::Table>();
    match table {
        Ok(mut table) if path.ends_with("/Cargo.toml") => {
            table.remove("bench");
            table.to_string().into_bytes()
        }
        _ => text,
    }
}

/// True for the test and the snapshots of `exercise`.
fn belongs(path: &str, exercise: &Exercise) -> bool {
    let snapshots = format!("exercises/tests/snapshots/{}__", exercise.target());
    path == exercise.test() || path.starts_with(&snapshots)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf> {
    let mut command = build::cargo();
    let output = command
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .output()
        .map_err(|error| Failure::cannot_run(&command, &error))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::new(String::from_utf8_lossy(&output.stderr).trim().to_owned()))?;
    match metadata["target_directory"].as_str() {
        Some(path) => Ok(path.into()),
        None => Err(Failure::new("cargo metadata names no target folder")),
    }
}
