//! From exercises to verdicts: what is built, what is run, and what is said of it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::build::{self, Built};
use crate::course::{Course, Exercise, LIST};
use crate::fail::{Failure, Result};
use crate::flags::Confinement;
use crate::manifest::{Manifest, blob_id};
use crate::progress::Spinner;
use crate::run::{self, Unit};
use crate::sandbox::Sandbox;
use crate::specification::Specification;
use crate::store::Store;
use crate::verdict::{Graded, Outcome};
use crate::{capability, ingredients, interrupt, source};

/// What is asked of the grader.
pub(crate) struct How {
    /// Grade the solutions instead of the learner's files.
    pub(crate) solutions: bool,
    /// Reuse no result.
    pub(crate) fresh: bool,
    /// Record the system calls of every stage; results are not kept.
    pub(crate) trace: bool,
    pub(crate) confinement: Confinement,
    pub(crate) jobs: usize,
    /// Where it is said what goes on.
    pub(crate) spinner: fn(&str) -> Spinner,
}

/// All that is said at the end; `--json` prints it as it is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) version: u32,
    pub(crate) sandbox: Sandbox,
    /// Things that a person must know, one sentence each.
    pub(crate) notices: Vec<String>,
    /// Specifications that were changed; the pristine ones were used.
    pub(crate) tampered: Vec<String>,
    pub(crate) interrupted: bool,
    pub(crate) exercises: Vec<Graded>,
    pub(crate) summary: Summary,
}

#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) skipped: usize,
    pub(crate) not_passed: usize,
    pub(crate) total: usize,
    pub(crate) seconds: f64,
}

/// What is seen of the grading while it goes on.
pub(crate) trait Watcher {
    /// Before the first verdict.
    fn held_by(&mut self, sandbox: &Sandbox, notices: &[String]);
    /// A verdict, in the order of the course.
    fn graded(&mut self, exercise: &Exercise, graded: &Graded);
}

/// Grades `exercises`.
pub(crate) fn grade(
    course: &Course,
    exercises: &[&Exercise],
    how: &How,
    store: &mut Store,
    watcher: &mut dyn Watcher,
) -> Result<Document> {
    let started = Instant::now();
    let specification = Specification::of(course)?;
    let pristine = specification.course(course)?;
    let course = pristine.as_ref().unwrap_or(course);
    let targets: Vec<String> = exercises.iter().map(|exercise| exercise.target()).collect();
    // What somebody has added to the list is in no pristine one.
    let listed = course.exercises.iter();
    let exercises: Vec<&Exercise> = listed
        .filter(|exercise| targets.contains(&exercise.target()))
        .collect();
    if exercises.is_empty() {
        return Err(Failure::new(format!(
            "{LIST} was changed: as it was written it has no {}",
            targets.join(", ")
        ))
        .next(format!("git checkout -- {LIST}")));
    }
    if specification.tampered.is_empty() {
        course.require_files(&exercises)?;
    }
    let private = run::private_folder()?;
    let sandbox = Sandbox::probe(how.confinement, private.path())?;
    let spinner = (how.spinner)("looking");
    let mut ledger = Ledger {
        exercises: &exercises,
        verdicts: HashMap::new(),
        shown: 0,
        notices: specification.notices(),
        store: (!how.solutions && !how.trace).then_some(store),
        watcher,
        spinner: &spinner,
    };
    let watcher = &mut ledger.watcher;
    spinner.beside(|| watcher.held_by(&sandbox, &ledger.notices));

    let mut wanted = Vec::new();
    for exercise in &exercises {
        match refuse(course, &specification, exercise, how)? {
            Some(graded) => ledger.enter(exercise, graded, ""),
            None => wanted.push(*exercise),
        }
    }
    let (workspace, target_dir) = specification.workspace(course)?;
    let request = build::Request {
        workspace: &workspace,
        target_dir: target_dir.as_deref(),
        targets: wanted.iter().map(|exercise| exercise.target()).collect(),
        solutions: how.solutions,
        lean: false,
    };
    let mut built = build::build(&request, &spinner)?;

    let mut units = Vec::new();
    for exercise in wanted {
        let tests = specification.tests(exercise)?;
        match built.remove(&exercise.target()) {
            Some(Built::Executable(executable)) => {
                let foreign = if how.solutions {
                    None
                } else {
                    suspect(&executable, &workspace, exercise, &specification.manifest)
                };
                if let Some(reason) = foreign {
                    let outcome = Outcome::Tampered;
                    ledger.enter(
                        exercise,
                        none_run(exercise, outcome, tests.len(), reason),
                        "",
                    );
                    continue;
                }
                let key = key(&executable, &specification.manifest, &sandbox);
                match ledger.known(exercise, &key).filter(|_| !how.fresh) {
                    Some(graded) => ledger.enter(exercise, graded, &key),
                    None => units.push(Unit {
                        exercise,
                        executable,
                        tests,
                        key,
                    }),
                }
            }
            Some(Built::Errors(errors)) => {
                let outcome = Outcome::DoesNotCompile;
                ledger.enter(
                    exercise,
                    none_run(exercise, outcome, tests.len(), errors),
                    "",
                );
            }
            None => {
                return Err(Failure::new(format!(
                    "cargo said nothing of {}",
                    exercise.target()
                )));
            }
        }
    }
    let setting = run::Setting {
        insta_root: &workspace,
        sandbox: &sandbox,
        private: private.path(),
        jobs: how.jobs,
        trace: how.trace,
        spinner: &spinner,
    };
    run::all(&units, &setting, &mut |unit, graded| {
        ledger.enter(unit.exercise, graded, &unit.key);
    });
    Ok(ledger.close(sandbox, specification.tampered, started))
}

/// Verdicts as they come: kept at once, shown in the order of the course.
struct Ledger<'a> {
    exercises: &'a [&'a Exercise],
    verdicts: HashMap<String, Graded>,
    /// How many of `exercises` the watcher has seen.
    shown: usize,
    notices: Vec<String>,
    /// None when the solutions are graded: those are not the learner's results.
    store: Option<&'a mut Store>,
    watcher: &'a mut dyn Watcher,
    spinner: &'a Spinner,
}

impl Ledger<'_> {
    fn enter(&mut self, exercise: &Exercise, graded: Graded, key: &str) {
        let target = exercise.target();
        if let Some(store) = self.store.as_mut().filter(|_| !graded.reused)
            && let Err(failure) = store.keep(&target, &graded, key)
        {
            // Said once; the grading goes on.
            self.notices.push(failure.to_string());
            self.store = None;
        }
        self.verdicts.insert(target, graded);
        while let Some(exercise) = self.exercises.get(self.shown)
            && let Some(graded) = self.verdicts.get(&exercise.target())
        {
            let watcher = &mut self.watcher;
            self.spinner.beside(|| watcher.graded(exercise, graded));
            self.shown += 1;
        }
    }

    /// The result of the same program, when there is one.
    fn known(&self, exercise: &Exercise, key: &str) -> Option<Graded> {
        let record = self.store.as_ref()?.get(&exercise.target());
        let last = record
            .last
            .filter(|last| record.key == key && last.outcome != Outcome::Skipped);
        last.map(|last| Graded {
            reused: true,
            ..last
        })
    }

    fn close(mut self, sandbox: Sandbox, tampered: Vec<String>, started: Instant) -> Document {
        let in_order = self.exercises.iter();
        let graded: Vec<Graded> = in_order
            .filter_map(|exercise| self.verdicts.remove(&exercise.target()))
            .collect();
        let count = |outcome| {
            graded
                .iter()
                .filter(|graded| graded.outcome == outcome)
                .count()
        };
        let (passed, skipped) = (count(Outcome::Passed), count(Outcome::Skipped));
        Document {
            version: 1,
            sandbox,
            notices: self.notices,
            tampered,
            interrupted: interrupt::requested(),
            summary: Summary {
                passed,
                skipped,
                not_passed: graded.len() - passed - skipped,
                total: self.exercises.len(),
                seconds: started.elapsed().as_secs_f64(),
            },
            exercises: graded,
        }
    }
}

/// A verdict that needs no run: the specification is lost, the machine lacks
/// something, or the file reaches out.
fn refuse(
    course: &Course,
    specification: &Specification,
    exercise: &Exercise,
    how: &How,
) -> Result<Option<Graded>> {
    if let Some(failure) = specification.lost(exercise) {
        return Ok(Some(none_run(
            exercise,
            Outcome::Tampered,
            0,
            failure.to_string(),
        )));
    }
    let total = specification.tests(exercise)?.len();
    if let Some(lacking) = capability::missing(&exercise.needs) {
        let lacking = format!("this machine lacks {lacking}");
        return Ok(Some(none_run(exercise, Outcome::Skipped, total, lacking)));
    }
    if how.solutions {
        return Ok(None);
    }
    let path = exercise.file();
    let text = course.read(exercise)?;
    let look = source::look(&String::from_utf8_lossy(&text), &exercise.allow);
    Ok(match look {
        source::Look::ReachesOut(reason) => Some(none_run(
            exercise,
            Outcome::Tampered,
            total,
            format!("{path}: {reason}"),
        )),
        source::Look::Ordinary | source::Look::Unreadable => None,
    })
}

/// Why a program that was built is not the one that the text promised.
fn suspect(
    executable: &Path,
    workspace: &Path,
    exercise: &Exercise,
    manifest: &Manifest,
) -> Option<String> {
    let path = exercise.file();
    let text = source::read(&workspace.join(&path)).unwrap_or_default();
    match source::look(&String::from_utf8_lossy(&text), &exercise.allow) {
        source::Look::Unreadable => Some(format!(
            "{path} compiles, but can't be read here: something in it hides the rest"
        )),
        source::Look::ReachesOut(reason) => Some(format!("{path}: {reason}")),
        source::Look::Ordinary => ingredients::foreign(executable, workspace, exercise, manifest),
    }
}

/// No test of `exercise` was run, and why.
fn none_run(exercise: &Exercise, outcome: Outcome, total: usize, message: String) -> Graded {
    Graded::without_tests(&exercise.chapter, &exercise.slug, outcome, total, message)
}

/// Which program a result is of: another build, specification or sandbox is another.
fn key(executable: &Path, manifest: &Manifest, sandbox: &Sandbox) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(file) = std::fs::metadata(executable) else {
        return String::new();
    };
    let specification = blob_id(manifest.render().as_bytes());
    format!(
        "{}:{}.{:09}:{}:{:?}:{specification}",
        executable.display(),
        file.mtime(),
        file.mtime_nsec(),
        file.size(),
        sandbox.mode
    )
}
