//! `cargo xtask test`: the course held against itself, the fast parts first.

use std::time::Instant;

use anstream::println;

use crate::course::{Course, Exercise};
use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::{Confinement, Part, Test};
use crate::grade::{self, How};
use crate::lab::place::Place;
use crate::manifest::Manifest;
use crate::paint::{BAD, BOLD, DIM, GOOD, In, WARN};
use crate::progress::Spinner;
use crate::run::{self, Unit};
use crate::sandbox::Sandbox;
use crate::specification::{Specification, target_folder};
use crate::stage::Stage;
use crate::store::Store;
use crate::verdict::{Graded, Outcome};
use crate::{browser, build, check, interrupt, kernel_suites, lab, mutants, notebooks, tidy};

const PARTS: [Part; 8] = [
    Part::Tidy,
    Part::Stubs,
    Part::Solutions,
    Part::Crates,
    Part::Mutants,
    Part::Kernel,
    Part::Notebooks,
    Part::Browser,
];

pub(crate) fn run(course: &Course, flags: &Test) -> Result<u8> {
    interrupt::watch().about("cannot watch for Ctrl-C")?;
    let exercises = course.select(&flags.only)?;
    course.require_files(&exercises)?;
    let mut held = true;
    for part in PARTS.into_iter().filter(|part| match part {
        Part::Browser => flags.browser || flags.parts.contains(part),
        _ => flags.parts.is_empty() || flags.parts.contains(part),
    }) {
        if interrupt::requested() {
            return Ok(exit_code::INTERRUPTED);
        }
        let started = Instant::now();
        let answer = match part {
            Part::Tidy => tidy(course),
            Part::Crates => crates(course),
            Part::Stubs => stubs(course, &exercises),
            Part::Solutions => solutions(course, &exercises),
            Part::Mutants => killed(course, &exercises),
            Part::Kernel => in_the_lab(course, kernel),
            Part::Notebooks => in_the_lab(course, notebooks),
            Part::Browser => in_a_browser(course),
        }?;
        let name = format!("{part:?}").to_lowercase();
        let seconds = started.elapsed().as_secs_f64();
        let (mark, line, complaints) = match answer {
            Answer::Holds(line) => (In(GOOD, "✓"), line, Vec::new()),
            Answer::Skipped(line) => (In(WARN, "–"), format!("skipped: {line}"), Vec::new()),
            Answer::Broken(line, complaints) => {
                held = false;
                (In(BAD.bold(), "✗"), line, complaints)
            }
        };
        println!(
            "  {mark} {} {line} {}",
            In(BOLD, format_args!("{name:10}")),
            In(DIM, format_args!("{seconds:.1} s"))
        );
        for complaint in complaints {
            println!("      {complaint}");
        }
    }
    Ok(if held {
        exit_code::PASSED
    } else {
        exit_code::NOT_PASSED
    })
}

/// What a part says: a line, and where it does not hold, each complaint.
enum Answer {
    Holds(String),
    Broken(String, Vec<String>),
    /// Neither: this machine lacks what it needs.
    Skipped(String),
}

fn tidy(course: &Course) -> Result<Answer> {
    let problems = tidy::problems(course)?;
    Ok(if problems.is_empty() {
        Answer::Holds(format!(
            "{} exercises have all their parts",
            course.exercises.len()
        ))
    } else {
        Answer::Broken(format!("{} problems", problems.len()), problems)
    })
}

/// `cargo test` of every crate; its own output is shown as it comes.
fn crates(course: &Course) -> Result<Answer> {
    let mut command = build::cargo();
    let status = command
        .current_dir(&course.root)
        .args(["test", "--quiet", "--workspace", "--exclude", "exercises"])
        .status()
        .map_err(|error| Failure::cannot_run(&command, &error))?;
    Ok(if status.success() {
        Answer::Holds("unit and integration tests of every crate pass".into())
    } else {
        Answer::Broken("cargo test does not pass".into(), vec![])
    })
}

/// Every exercise as it was given ends at `todo!()`, in every stage.
fn stubs(course: &Course, exercises: &[&Exercise]) -> Result<Answer> {
    let specification = Specification::of(course)?;
    let manifest = &specification.manifest;
    let spinner = Spinner::new("compiling the exercises");
    let untouched = exercises
        .iter()
        .all(|exercise| manifest.untouched(&exercise.file()));
    // A learner's files are not what is asked here.
    let (workspace, target_dir) = if untouched {
        (course.root.clone(), None)
    } else {
        let target = target_folder(&course.root)?;
        (stage_stubs(course, manifest, &target)?.root, Some(target))
    };
    let request = build::Request {
        workspace: &workspace,
        target_dir: target_dir.as_deref(),
        targets: exercises.iter().map(|exercise| exercise.target()).collect(),
        solutions: false,
        lean: false,
    };
    let mut built = build::build(&request, &spinner)?;
    let mut units = Vec::new();
    let mut complaints = Vec::new();
    for exercise in exercises {
        match built.remove(&exercise.target()) {
            Some(build::Built::Executable(executable)) => {
                let tests = specification.tests(exercise)?;
                units.push(Unit {
                    exercise,
                    executable,
                    tests,
                    key: String::new(),
                });
            }
            _ => complaints.push(format!("{} does not compile", exercise.file())),
        }
    }
    let private = run::private_folder()?;
    let sandbox = Sandbox::probe(Confinement::Auto, private.path())?;
    let setting = run::Setting {
        insta_root: &workspace,
        sandbox: &sandbox,
        private: private.path(),
        jobs: check::default_jobs(),
        trace: false,
        spinner: &spinner,
    };
    run::all(&units, &setting, &mut |unit, graded| {
        for test in graded
            .tests
            .iter()
            .filter(|test| !matches!(test.outcome, Outcome::Todo | Outcome::Skipped))
        {
            let said = test.message.as_deref().unwrap_or_default();
            complaints.push(format!(
                "{} · {}: {} {said}",
                unit.exercise.slug,
                test.name,
                test.outcome.word()
            ));
        }
    });
    drop(spinner);
    Ok(if complaints.is_empty() {
        Answer::Holds(format!(
            "{} exercises compile and are todo in every stage",
            exercises.len()
        ))
    } else {
        Answer::Broken(
            format!("{} stages are not todo", complaints.len()),
            complaints,
        )
    })
}

fn stage_stubs(course: &Course, manifest: &Manifest, target: &std::path::Path) -> Result<Stage> {
    let cargo =
        std::fs::read_to_string(course.root.join("Cargo.toml")).about("cannot read Cargo.toml")?;
    let stage = Stage::new(&course.root, target, "stubs", &cargo, &["exercises"])?;
    for path in manifest
        .paths()
        .filter(|path| path.starts_with("exercises/"))
    {
        stage.write(path, &manifest.pristine(path)?)?;
    }
    Ok(stage)
}

/// Every solution passes every stage.
fn solutions(course: &Course, exercises: &[&Exercise]) -> Result<Answer> {
    let how = How {
        solutions: true,
        fresh: true,
        trace: false,
        confinement: Confinement::Auto,
        jobs: check::default_jobs(),
        spinner: Spinner::new,
    };
    let (mut store, _) = Store::open(&course.root);
    let document = grade::grade(course, exercises, &how, &mut store, &mut check::Silent)?;
    if document.interrupted {
        return Err(Failure::new("interrupted"));
    }
    let stages: usize = document.exercises.iter().map(|graded| graded.total).sum();
    let complaints: Vec<String> = document.exercises.iter().flat_map(complaints).collect();
    Ok(if complaints.is_empty() {
        let skipped = match document.summary.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped on this machine"),
        };
        Answer::Holds(format!(
            "{} solutions pass {stages} stages{skipped}",
            document.summary.passed
        ))
    } else {
        Answer::Broken(
            format!("{} stages do not pass", complaints.len()),
            complaints,
        )
    })
}

fn complaints(graded: &Graded) -> Vec<String> {
    let whole = graded
        .message
        .iter()
        .filter(|_| graded.outcome != Outcome::Skipped);
    let whole = whole.map(|message| format!("{}: {message}", graded.slug));
    let open = graded
        .tests
        .iter()
        .filter(|test| !matches!(test.outcome, Outcome::Passed | Outcome::Skipped));
    let stages = open.map(|test| {
        let seen = test
            .seen
            .as_ref()
            .map(|seen| format!("\n{}", seen.text))
            .unwrap_or_default();
        let said = test.message.as_deref().unwrap_or_default();
        format!(
            "{} · {}: {} {said}{seen}",
            graded.slug,
            test.name,
            test.outcome.word()
        )
    });
    whole.chain(stages).collect()
}

/// Every wrong answer fails for its stated reason.
fn killed(course: &Course, exercises: &[&Exercise]) -> Result<Answer> {
    // Many wait for what never comes: twice as many as there are processors.
    let score = mutants::hold(course, exercises, 2 * check::default_jobs())?;
    let mut line = format!("{} mutants killed of {}", score.killed, score.total);
    if !score.alone.is_empty() {
        let alone = score.alone.join(", ");
        line = format!(
            "{line}, {} of them when run again alone: {alone}",
            score.alone.len()
        );
    }
    Ok(if score.survivors.is_empty() {
        Answer::Holds(line)
    } else {
        Answer::Broken(line, score.survivors)
    })
}

/// A part that needs the lab, which is made ready first; skipped where there is no Python.
fn in_the_lab(course: &Course, part: fn(&Place) -> Result<Answer>) -> Result<Answer> {
    if let Err(failure) = lab::python::require(&course.root) {
        let line = failure.to_string().replace("\n  next: ", "; ");
        // Where everything can be installed, what was not run has not passed.
        return Ok(if std::env::var_os("CI").is_some() {
            Answer::Broken(line, vec![])
        } else {
            Answer::Skipped(line)
        });
    }
    part(&lab::prepare(&course.root)?)
}

/// The notebooks as a learner has them; skipped where there is no browser.
fn in_a_browser(course: &Course) -> Result<Answer> {
    let Some(chromium) = browser::chromium() else {
        return Ok(Answer::Skipped(
            "there is no Chromium (Debian: sudo apt install chromium), nor is CHROMIUM set".into(),
        ));
    };
    lab::python::require(&course.root)?;
    let place = lab::prepare(&course.root)?;
    Ok(match browser::run(&place, &chromium)? {
        Ok(line) => Answer::Holds(line),
        Err(complaint) => Answer::Broken("the browser saw something else".into(), vec![complaint]),
    })
}

/// The notebook kernel's own tests, and the suites that talk to it.
fn kernel(place: &Place) -> Result<Answer> {
    Ok(match kernel_suites::run(place)? {
        Ok(suites) => Answer::Holds(format!("unit tests and {suites} suites pass")),
        Err(complaints) => Answer::Broken("the kernel does not hold".into(), complaints),
    })
}

/// Every notebook, executed from top to bottom.
fn notebooks(place: &Place) -> Result<Answer> {
    let all = notebooks::select(&place.root, &[])?;
    let summary = notebooks::all(place, &all, false)?;
    let line = summary.line();
    Ok(if summary.broken == 0 {
        Answer::Holds(line)
    } else {
        Answer::Broken(line, vec![])
    })
}
