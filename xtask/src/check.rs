//! `cargo xtask check`: what a learner types all day.

use anstream::adapter::strip_str;
use anstream::{eprintln, println};

use crate::board::{self, Board};
use crate::course::{Course, Exercise};
use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Check;
use crate::grade::{self, How, Watcher};
use crate::paint::{BOLD, In};
use crate::progress::Spinner;
use crate::sandbox::Sandbox;
use crate::store::Store;
use crate::verdict::{Graded, Outcome};
use crate::{feedback, interrupt, junit, mime};

pub(crate) fn run(course: &Course, flags: &Check) -> Result<u8> {
    let exercises = course.select(&flags.wanted)?;
    interrupt::watch().about("cannot watch for Ctrl-C")?;
    let (mut store, kept_aside) = Store::open(&course.root);
    if let Some(notice) = kept_aside {
        eprintln!("  note: {notice}");
    }
    let how = How {
        solutions: flags.solutions,
        fresh: flags.fresh,
        trace: flags.trace,
        confinement: flags.sandbox,
        jobs: flags.jobs.map_or_else(default_jobs, usize::from),
        spinner: if flags.for_screen || flags.mime {
            Spinner::lines
        } else {
            Spinner::new
        },
    };
    let mut board = Board::new(course, &exercises);
    let mut silent = Silent;
    let watcher: &mut dyn Watcher = if flags.json || flags.mime {
        &mut silent
    } else {
        &mut board
    };
    let graded = grade::grade(course, &exercises, &how, &mut store, watcher);
    if interrupt::requested() && graded.is_err() {
        eprintln!("  interrupted; what had been graded before is kept");
        return Ok(exit_code::INTERRUPTED);
    }
    let mut document = graded?;

    if flags.mime {
        for graded in &mut document.exercises {
            if let Some(exercise) = exercises
                .iter()
                .find(|exercise| exercise.slug == graded.slug)
            {
                add_calls(course, exercise, graded, &how, &mut store)?;
                mime::verdict(exercise, graded, &document.notices);
            }
        }
    } else if flags.json {
        for graded in document.exercises.iter_mut().filter(|_| !flags.for_screen) {
            // Terminal colours of rustc's are nothing for a program.
            graded.message = graded
                .message
                .take()
                .map(|text| strip_str(&text).to_string());
        }
        let text = serde_json::to_string_pretty(&document).expect("plain data");
        std::println!("{text}");
    } else {
        let open = document
            .exercises
            .iter()
            .find(|graded| worth_words(graded, &flags.wanted));
        if let Some(graded) = open
            && let Some(exercise) = exercises
                .iter()
                .find(|exercise| exercise.slug == graded.slug)
        {
            feedback::print(&course.root, exercise, graded);
        }
        if flags.trace
            && let Some((stage, calls)) =
                open.or(document.exercises.first()).and_then(Graded::traced)
        {
            println!();
            println!("  {}", In(BOLD, stage));
            for line in calls.lines() {
                println!("    {line}");
            }
        }
        board::print_summary(&course.root, &exercises, &document);
        for notice in document
            .notices
            .iter()
            .filter(|notice| notice.starts_with("cannot keep"))
        {
            println!("  note: {notice}");
        }
    }
    if let Some(path) = &flags.junit {
        std::fs::write(path, junit::report(&document.exercises)?).map_err(|error| {
            Failure::new(format!(
                "cannot write the JUnit report {}: {error}",
                path.display()
            ))
            .next("name a file in a folder that can be written")
        })?;
    }
    Ok(if document.interrupted {
        exit_code::INTERRUPTED
    } else if document.summary.not_passed > 0 {
        exit_code::NOT_PASSED
    } else {
        exit_code::PASSED
    })
}

/// Adds the system calls of the first open stage, which a specification that did not look at them
/// has not recorded.
fn add_calls(
    course: &Course,
    exercise: &Exercise,
    graded: &mut Graded,
    how: &How,
    store: &mut Store,
) -> Result<()> {
    let Some(open) = graded.open().next().filter(|test| test.calls.is_none()) else {
        return Ok(());
    };
    let name = open.name.clone();
    let how = How {
        trace: true,
        ..*how
    };
    let traced = grade::grade(course, &[exercise], &how, store, &mut Silent)?;
    let tests = traced.exercises.into_iter().flat_map(|graded| graded.tests);
    let calls = tests
        .filter(|test| test.name == name)
        .find_map(|test| test.calls);
    if let Some(test) = graded.tests.iter_mut().find(|test| test.name == name) {
        test.calls = calls;
    }
    Ok(())
}

/// As many tests at once as there are processors.
pub(crate) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// An untouched exercise needs no explanation, unless it was asked for by name.
fn worth_words(graded: &Graded, wanted: &[String]) -> bool {
    match graded.outcome {
        Outcome::Passed => false,
        Outcome::Todo => graded.passed > 0 || wanted.iter().any(|word| word.contains(&graded.slug)),
        _ => true,
    }
}

/// For `--json`: nothing but the document.
pub(crate) struct Silent;

impl Watcher for Silent {
    fn held_by(&mut self, _: &Sandbox, _: &[String]) {}
    fn graded(&mut self, _: &Exercise, _: &Graded) {}
}
