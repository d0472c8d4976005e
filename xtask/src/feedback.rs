//! What does a learner read when a stage did not pass?
//!
//! In this order: one sentence of what the world saw, Expected beside Seen, where
//! the assertion stands, and the command that gives the next hint.

use std::path::Path;

use anstream::println;
use similar::{ChangeTag, TextDiff};

use crate::course::Exercise;
use crate::paint::{self, BAD, BOLD, CALM, DIM, GOOD, In};
use crate::verdict::{Graded, Outcome, Seen, Tested};

/// As many stages as are shown whole; the rest only by name.
const WHOLE: usize = 1;

/// Before what a program has written to stderr.
pub(crate) const PRINTED: &str = "last on its stderr:";

/// Prints why `graded` did not pass.
pub(crate) fn print(root: &Path, exercise: &Exercise, graded: &Graded) {
    let place = |file: &str, line| paint::link(root, file, line);
    for line in lines(exercise, graded, paint::width(), &place) {
        println!("{line}");
    }
    if !matches!(graded.outcome, Outcome::Passed | Outcome::Skipped) {
        println!();
        println!(
            "    {} cargo xtask hint {}",
            In(DIM, "hint:"),
            exercise.slug
        );
    }
}

/// Why `graded` did not pass, in lines of `width` columns (rustc's are as wide as they are);
/// `place` writes a file and a line.
pub(crate) fn lines(
    exercise: &Exercise,
    graded: &Graded,
    width: usize,
    place: &dyn Fn(&str, Option<u32>) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(message) = &graded.message {
        heading(&mut lines, exercise, None, graded.outcome);
        let text = if graded.outcome == Outcome::DoesNotCompile {
            message.trim_end().to_owned()
        } else {
            paint::wrap(message, "    ", width)
        };
        lines.extend(text.lines().map(String::from));
    }
    let open: Vec<&Tested> = graded.open().collect();
    for test in open.iter().take(WHOLE) {
        stage(&mut lines, exercise, test, width, place);
    }
    let rest = open.get(WHOLE..).unwrap_or_default();
    let todo = |test: &&&Tested| test.outcome == Outcome::Todo;
    for (title, tests) in [
        (
            "failed, too:",
            rest.iter().filter(|test| !todo(test)).collect::<Vec<_>>(),
        ),
        ("still to do:", rest.iter().filter(todo).collect()),
    ] {
        if tests.is_empty() {
            continue;
        }
        lines.push(String::new());
        lines.push(format!("    {}", In(DIM, title)));
        for test in tests {
            let mark = In(paint::style(test.outcome), "·");
            lines.push(format!("      {mark} {}", test.name.replace('_', " ")));
        }
    }
    for test in graded
        .tests
        .iter()
        .filter(|test| test.outcome == Outcome::Skipped)
    {
        let reason = test.message.as_deref().unwrap_or(&test.name);
        lines.push(format!("    {} {reason}", In(CALM, "skipped:")));
    }
    lines
}

fn heading(lines: &mut Vec<String>, exercise: &Exercise, test: Option<&Tested>, outcome: Outcome) {
    let name = test
        .map(|test| format!(" · {}", test.name.replace('_', " ")))
        .unwrap_or_default();
    let word = In(paint::style(outcome), outcome.word());
    lines.push(String::new());
    lines.push(format!("  {word} {}{name}", In(BOLD, &exercise.slug)));
}

fn stage(
    lines: &mut Vec<String>,
    exercise: &Exercise,
    test: &Tested,
    width: usize,
    place: &dyn Fn(&str, Option<u32>) -> String,
) {
    heading(lines, exercise, Some(test), test.outcome);
    if let Some(message) = &test.message {
        let text = paint::wrap(message, "    ", width);
        lines.extend(text.lines().map(String::from));
    }
    if let Some(seen) = &test.seen {
        lines.push(String::new());
        let compared = compare(seen, width - 4);
        lines.extend(compared.iter().map(|line| format!("    {line}")));
    }
    if let Some(file) = &test.file {
        lines.push(format!("    {} {}", In(DIM, "at"), place(file, test.line)));
    }
    if let Some(stderr) = &test.stderr {
        lines.push(String::new());
        lines.push(format!("    {}", In(DIM, PRINTED)));
        lines.extend(stderr.lines().map(|line| format!("      {line}")));
    }
}

/// Expected and Seen beside each other, or below each other where there is no room.
pub(crate) fn compare(seen: &Seen, width: usize) -> Vec<String> {
    let longest = |text: &str| {
        text.lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
    };
    let column = longest(&seen.expected).max("Expected".len()) + 2;
    let beside = column + 2 + longest(&seen.text) <= width;
    let mut lines = Vec::new();
    let pad = |text: &str| " ".repeat(column.saturating_sub(text.chars().count()));
    if beside {
        lines.push(format!(
            "{}{}  {}",
            In(DIM, "Expected"),
            pad("Expected"),
            In(DIM, "Seen")
        ));
    } else {
        lines.push(format!("{} {}", In(GOOD, "- expected"), In(BAD, "+ seen")));
    }
    for Part { equal, left, right } in parts(seen) {
        let (good, bad) = if equal { (DIM, DIM) } else { (GOOD, BAD) };
        if beside {
            let of = |texts: &[String], row: usize| texts.get(row).cloned().unwrap_or_default();
            for row in 0..left.len().max(right.len()) {
                let (l, r) = (of(&left, row), of(&right, row));
                let mark = if equal { ' ' } else { '│' };
                lines.push(format!("{}{}{mark} {}", In(good, &l), pad(&l), In(bad, r)));
            }
        } else if equal {
            lines.extend(left.iter().map(|text| format!("  {}", In(DIM, text))));
        } else {
            let marked = |mark: &str, style, texts: &[String]| -> Vec<String> {
                let texts = texts.iter();
                texts
                    .map(|text| format!("{} {}", In(style, mark), In(style, text)))
                    .collect()
            };
            lines.extend(marked("-", good, &left));
            lines.extend(marked("+", bad, &right));
        }
    }
    lines
}

/// Lines that are the same on both sides, or that stand in each other's place.
pub(crate) struct Part {
    pub(crate) equal: bool,
    /// What was expected.
    pub(crate) left: Vec<String>,
    /// What was seen.
    pub(crate) right: Vec<String>,
}

/// What was expected and what was seen, taken apart where they differ.
pub(crate) fn parts(seen: &Seen) -> Vec<Part> {
    // A last line without its newline is another line than the same one in the middle.
    let whole = |text: &str| text.trim_end().to_owned() + "\n";
    let (expected, text) = (whole(&seen.expected), whole(&seen.text));
    let diff = TextDiff::from_lines(&expected, &text);
    let part = |operation| {
        let mut part = Part {
            equal: false,
            left: Vec::new(),
            right: Vec::new(),
        };
        for change in diff.iter_changes(operation) {
            let text = change.value().trim_end_matches('\n').to_owned();
            match change.tag() {
                ChangeTag::Equal => {
                    part.equal = true;
                    part.left.push(text.clone());
                    part.right.push(text);
                }
                ChangeTag::Delete => part.left.push(text),
                ChangeTag::Insert => part.right.push(text),
            }
        }
        part
    };
    diff.ops().iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn a_difference_stands_beside_what_was_expected() {
        let seen = Seen {
            snapshot: String::new(),
            expected: "cwd: /\nterminal: none".into(),
            text: "cwd: /\nterminal: a pty".into(),
        };
        let lines = compare(&seen, 80);
        assert_eq!(
            plain(&lines),
            "Expected          Seen\n\
             cwd: /            cwd: /\n\
             terminal: none  │ terminal: a pty"
        );
    }

    #[test]
    fn what_comes_behind_the_last_line_does_not_change_it() {
        let seen = Seen {
            snapshot: String::new(),
            expected: "a\nb".into(),
            text: "a\nb\nc\n".into(),
        };
        assert_eq!(
            plain(&compare(&seen, 10)),
            "- expected + seen\n  a\n  b\n+ c"
        );
    }

    #[test]
    fn without_room_it_stands_below() {
        let seen = Seen {
            snapshot: String::new(),
            expected: "a\nb".into(),
            text: "a\nc".into(),
        };
        assert_eq!(
            plain(&compare(&seen, 10)),
            "- expected + seen\n  a\n- b\n+ c"
        );
    }
}
