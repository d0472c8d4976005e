//! Where does the learner stand? One line an exercise, the next step last.

use std::path::Path;

use anstream::println;

use crate::course::{Course, Exercise};
use crate::grade::{Document, Watcher};
use crate::paint::{self, BOLD, DIM, GOOD, In, WARN};
use crate::sandbox::{Mode, Sandbox};
use crate::verdict::{Graded, Outcome};

/// Prints rows as verdicts come.
pub(crate) struct Board<'a> {
    course: &'a Course,
    chapter: String,
    /// Width of the longest slug.
    slugs: usize,
    /// Width of the longest bar.
    bars: usize,
}

impl<'a> Board<'a> {
    pub(crate) fn new(course: &'a Course, exercises: &[&Exercise]) -> Self {
        let slugs = exercises
            .iter()
            .map(|exercise| exercise.slug.len())
            .max()
            .unwrap_or(0);
        Self {
            course,
            chapter: String::new(),
            slugs,
            bars: 10,
        }
    }
}

impl Watcher for Board<'_> {
    fn held_by(&mut self, sandbox: &Sandbox, notices: &[String]) {
        let how = match sandbox.mode {
            Mode::Namespaces => "each test in namespaces of its own",
            Mode::Processes => "without namespaces: processes",
        };
        let held = format!("{how} · {}", sandbox.used.join(", "));
        println!("{}", In(DIM, paint::wrap(&held, "  ", paint::width())));
        let missing = sandbox
            .missing
            .iter()
            .map(|missing| format!("not available: {missing}"));
        let notices = notices.iter().map(|notice| format!("note: {notice}"));
        for line in missing.chain(notices) {
            println!("{}", In(WARN, paint::wrap(&line, "  ", paint::width())));
        }
    }

    fn graded(&mut self, exercise: &Exercise, graded: &Graded) {
        if self.chapter != exercise.chapter {
            exercise.chapter.clone_into(&mut self.chapter);
            println!();
            println!("  {}", In(BOLD, self.course.chapter_title(exercise)));
        }
        println!("{}", row(exercise, graded, self.slugs, self.bars));
    }
}

/// One exercise.
pub(crate) fn row(exercise: &Exercise, graded: &Graded, slugs: usize, bars: usize) -> String {
    let style = paint::style(graded.outcome);
    let bar = paint::bar(graded.passed, graded.total);
    let pad = " ".repeat(bars.saturating_sub(graded.total));
    let row = format!(
        "    {:slugs$}  {}{pad}  {:>2}/{:<2}  {:<16}",
        exercise.slug,
        In(if graded.passed > 0 { GOOD } else { DIM }, bar),
        graded.passed,
        graded.total,
        In(style, graded.outcome.word()),
    );
    // Indent, slug, bar, count and the longest word, with the gaps between them.
    let used = 4 + slugs + 2 + bars + 2 + 5 + 2 + 16 + 1;
    let room = paint::width().saturating_sub(used);
    let title = &exercise.title;
    let beside = match graded.outcome {
        Outcome::Passed if graded.reused => "unchanged".to_owned(),
        Outcome::Passed => String::new(),
        // Less would say too little.
        _ if room < 16.min(title.chars().count()) => String::new(),
        _ => paint::shortened(title, room),
    };
    format!("{row} {}", In(DIM, beside)).trim_end().to_owned()
}

/// The lines below the board.
pub(crate) fn print_summary(root: &Path, exercises: &[&Exercise], document: &Document) {
    let stages: usize = document.exercises.iter().map(|graded| graded.total).sum();
    let passed: usize = document.exercises.iter().map(|graded| graded.passed).sum();
    let reused = document
        .exercises
        .iter()
        .filter(|graded| graded.reused)
        .count();
    let summary = &document.summary;
    println!();
    let mut line = format!(
        "{} of {} exercises, {passed} of {stages} stages, {:.1} s",
        summary.passed, summary.total, summary.seconds
    );
    if summary.skipped > 0 {
        line += &format!(", {} skipped", summary.skipped);
    }
    if reused > 0 {
        line += &format!(", {reused} unchanged (--fresh runs them again)");
    }
    println!("  {line}");
    if document.interrupted {
        println!("  {} results so far are kept", In(WARN, "stopped:"));
        return;
    }
    let next = document
        .exercises
        .iter()
        .find(|graded| !matches!(graded.outcome, Outcome::Passed | Outcome::Skipped));
    let next = next.and_then(|graded| {
        exercises
            .iter()
            .find(|exercise| exercise.slug == graded.slug && exercise.chapter == graded.chapter)
    });
    match next {
        Some(exercise) => println!(
            "  {} {}  then  {}",
            In(BOLD, "next:"),
            paint::link(root, &exercise.file(), None),
            In(BOLD, format_args!("cargo xtask check {}", exercise.slug))
        ),
        None if summary.passed > 0 => {
            println!("  {}", In(GOOD.bold(), "all of them did what they promise"));
        }
        None => println!(
            "  {}",
            In(
                WARN,
                "nothing could be graded here: see `cargo xtask doctor`"
            )
        ),
    }
}
