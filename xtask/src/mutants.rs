//! Would the tests notice? Each plausible wrong answer must fail, for its reason.
//!
//! A mutant is an edit of the solution (`solutions/mutants/`), so that it shows
//! nothing but the mistake. All of them are compiled in one stage, next to copies
//! of the specification that take the mutant in the solution's place.

use std::collections::HashMap;

use serde::Deserialize;

use crate::build::{self, Built};
use crate::course::{Course, Exercise};
use crate::fail::{About as _, Failure, Result};
use crate::flags::Confinement;
use crate::progress::Spinner;
use crate::run::{self, Unit};
use crate::sandbox::Sandbox;
use crate::specification;
use crate::stage::Stage;
use crate::verdict::{Graded, Outcome, Tested};

/// One wrong answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    /// Why people write it, and what goes wrong.
    pub(crate) why: String,
    edits: Vec<Edit>,
    /// Tests that must notice it.
    pub(crate) fails: Vec<String>,
    /// What must be said of it.
    pub(crate) says: String,
    #[serde(default = "failed")]
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    find: String,
    replace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

fn failed() -> Outcome {
    Outcome::Failed
}

impl Mutant {
    /// The solution with the mistake in it.
    fn apply(&self, solution: &str) -> Result<String, String> {
        let mut text = solution.to_owned();
        for edit in &self.edits {
            match text.matches(&edit.find).count() {
                1 => text = text.replacen(&edit.find, &edit.replace, 1),
                count => {
                    return Err(format!(
                        "{:?} occurs {count} times in the solution, not once",
                        edit.find
                    ));
                }
            }
        }
        if text == solution {
            Err("it changes nothing".into())
        } else {
            Ok(text)
        }
    }

    /// Why it is not killed as it should be; none when it is.
    fn survives(&self, graded: &Graded) -> Option<String> {
        let at = |name: &str| graded.tests.iter().find(|test| test.name == name);
        for name in &self.fails {
            match at(name) {
                None => return Some(format!("there is no test {name}")),
                Some(test) if test.outcome == Outcome::Passed => {
                    return Some(format!("{name} passed"));
                }
                Some(_) => {}
            }
        }
        let noticed = |test: &&Tested| {
            let seen = test.seen.as_ref().map_or("", |seen| &seen.text);
            let message = test.message.as_deref().unwrap_or_default();
            test.outcome == self.outcome
                && (message.contains(&self.says) || seen.contains(&self.says))
        };
        if graded
            .tests
            .iter()
            .filter(|test| self.fails.contains(&test.name))
            .any(|test| noticed(&test))
        {
            return None;
        }
        let heard: Vec<String> = graded
            .tests
            .iter()
            .map(|test| {
                let seen = test.seen.as_ref().map_or("", |seen| &seen.text);
                format!(
                    "{} {}: {} {seen}",
                    test.name,
                    test.outcome.word(),
                    test.message.as_deref().unwrap_or("-")
                )
            })
            .collect();
        let (word, says) = (self.outcome.word(), &self.says);
        Some(format!(
            "nobody said {says:?} with outcome \"{word}\", but: {}",
            heard.join("\n      ")
        ))
    }
}

/// The mutants of one exercise.
pub(crate) fn load(course: &Course, exercise: &Exercise) -> Result<Vec<Mutant>> {
    let path = exercise.mutants();
    let text =
        std::fs::read_to_string(course.root.join(&path)).about(format!("cannot read {path}"))?;
    let list: List = toml::from_str(&text).about(format!("{path} is broken"))?;
    Ok(list.mutant)
}

/// How many were killed, of how many; each survivor in a sentence.
pub(crate) struct Score {
    pub(crate) killed: usize,
    pub(crate) total: usize,
    /// Of the killed those for which that took a second run, without others beside it.
    pub(crate) alone: Vec<String>,
    pub(crate) survivors: Vec<String>,
}

/// Compiles and runs the mutants of `exercises`.
pub(crate) fn hold(course: &Course, exercises: &[&Exercise], jobs: usize) -> Result<Score> {
    let target = specification::target_folder(&course.root)?;
    let cargo =
        std::fs::read_to_string(course.root.join("Cargo.toml")).about("cannot read Cargo.toml")?;
    let stage = Stage::new(&course.root, &target, "mutants", &cargo, &["exercises"])?;
    let package = std::fs::read(course.root.join("exercises/Cargo.toml"))
        .about("cannot read exercises/Cargo.toml")?;
    stage.write("exercises/Cargo.toml", &package)?;
    // Snapshots, and the modules that specifications are made of.
    let tests = course.root.join("exercises/tests");
    let about = || format!("cannot read {}", tests.display());
    for entry in std::fs::read_dir(&tests).about(about())? {
        let path = entry.about(about())?.path();
        if let (true, Some(name)) = (path.is_dir(), path.file_name()) {
            let shared = format!("exercises/tests/{}", name.to_string_lossy());
            stage.link(&shared, &path)?;
        }
    }

    let mut mutants = Vec::new();
    let mut survivors = Vec::new();
    let mut total = 0;
    for exercise in exercises {
        let read = |path: String| {
            std::fs::read_to_string(course.root.join(&path)).about(format!("cannot read {path}"))
        };
        let (solution, test) = (read(exercise.solution())?, read(exercise.test())?);
        for mutant in load(course, exercise)? {
            total += 1;
            let target = format!("{}__{}", exercise.target(), mutant.name);
            let text = match mutant.apply(&solution) {
                Ok(text) => text,
                Err(reason) => {
                    survivors.push(format!("{target}: {reason}"));
                    continue;
                }
            };
            let (own, instead) = (
                format!("{}/{}.rs", exercise.chapter, exercise.slug),
                format!("{}/{}__{}.rs", exercise.chapter, exercise.slug, mutant.name),
            );
            stage.write(&format!("exercises/{instead}"), text.as_bytes())?;
            stage.write(
                &format!("exercises/tests/{target}.rs"),
                test.replace(&own, &instead).as_bytes(),
            )?;
            mutants.push((*exercise, mutant, target));
        }
    }

    let spinner = Spinner::new("compiling the mutants");
    let request = build::Request {
        workspace: &stage.root,
        target_dir: Some(&target),
        targets: mutants
            .iter()
            .map(|(_, _, target)| target.clone())
            .collect(),
        solutions: false,
        lean: true,
    };
    let built = build::build(&request, &spinner)?;
    let mut units = Vec::new();
    let mut by_executable = HashMap::new();
    for (exercise, mutant, target) in &mutants {
        match &built[target] {
            Built::Executable(executable) => {
                by_executable.insert(executable.clone(), (mutant, target));
                units.push(Unit {
                    exercise,
                    executable: executable.clone(),
                    tests: mutant.fails.clone(),
                    key: String::new(),
                });
            }
            Built::Errors(errors) => {
                survivors.push(format!("{target} does not compile:\n{errors}"));
            }
        }
    }
    let private = run::private_folder()?;
    let sandbox = Sandbox::probe(Confinement::Auto, private.path())?;
    let mut killed = 0;
    let mut setting = run::Setting {
        insta_root: &stage.root,
        sandbox: &sandbox,
        private: private.path(),
        jobs,
        trace: false,
        spinner: &spinner,
    };
    let mut doubtful = Vec::new();
    run::all(&units, &setting, &mut |unit, graded| {
        let (mutant, _) = by_executable[&unit.executable];
        match mutant.survives(&graded) {
            None => killed += 1,
            Some(_) => doubtful.push(unit.executable.clone()),
        }
    });
    // Which of two right sentences is said of a mistake may depend on who else runs.
    units.retain(|unit| doubtful.contains(&unit.executable));
    setting.jobs = 1;
    let mut alone = Vec::new();
    run::all(&units, &setting, &mut |unit, graded| {
        let (mutant, target) = by_executable[&unit.executable];
        match mutant.survives(&graded) {
            None => alone.push(target.clone()),
            Some(reason) => survivors.push(format!("{target}: {reason}\n    ({})", mutant.why)),
        }
    });
    if crate::interrupt::requested() {
        return Err(Failure::new("interrupted"));
    }
    Ok(Score {
        killed: killed + alone.len(),
        total,
        alone,
        survivors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(find: &str) -> Mutant {
        Mutant {
            name: "m".into(),
            why: String::new(),
            edits: vec![Edit {
                find: find.into(),
                replace: "z".into(),
            }],
            fails: vec!["t".into()],
            says: "lost".into(),
            outcome: Outcome::Failed,
        }
    }

    fn graded(outcome: Outcome, message: &str) -> Graded {
        let test = Tested {
            message: Some(message.into()),
            ..Tested::new("t", outcome, 0.0)
        };
        Graded::of_tests("c", "s", vec![test])
    }

    #[test]
    fn an_edit_must_fit_exactly_once() {
        assert_eq!(mutant("a").apply("ab").unwrap(), "zb");
        assert!(mutant("a").apply("aa").unwrap_err().contains("2 times"));
        assert!(mutant("c").apply("ab").unwrap_err().contains("0 times"));
    }

    #[test]
    fn killed_means_the_right_test_for_the_right_reason() {
        let mutant = mutant("a");
        assert_eq!(
            mutant.survives(&graded(Outcome::Failed, "a request was lost")),
            None
        );
        assert!(mutant.survives(&graded(Outcome::Passed, "lost")).is_some());
        assert!(
            mutant
                .survives(&graded(Outcome::Failed, "something else"))
                .is_some()
        );
        assert!(
            mutant
                .survives(&graded(Outcome::TimedOut, "lost"))
                .is_some()
        );
    }
}
