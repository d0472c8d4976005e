//! `cargo xtask list`: the course, and where one is in it.

use anstream::println;
use serde_json::json;

use crate::course::{Course, Exercise};
use crate::fail::exit_code;
use crate::flags::List;
use crate::paint::{BOLD, DIM, GOOD, In};
use crate::report;
use crate::store::{Record, Store};
use crate::verdict::{Graded, Outcome};

pub(crate) fn run(course: &Course, flags: &List) -> u8 {
    let (store, _) = Store::open(&course.root);
    let rows: Vec<(&Exercise, Record)> = course
        .exercises
        .iter()
        .map(|exercise| (exercise, store.get(&exercise.target())))
        .collect();
    if flags.json {
        let exercises: Vec<_> = rows
            .iter()
            .map(|(exercise, record)| {
                json!({
                    "chapter": exercise.chapter, "slug": exercise.slug, "title": exercise.title,
                    "difficulty": exercise.difficulty, "minutes": exercise.minutes,
                    "file": exercise.file(), "man": exercise.man, "needs": exercise.needs,
                    "notebook": exercise.notebook, "solved": record.solved,
                    "attempts": record.attempts, "hints": record.hints,
                    "seconds": record.seconds,
                    "passed": record.last.as_ref().map_or(0, |last| last.passed),
                    "stages": record.last.as_ref().map_or(0, |last| last.total),
                    "outcome": record.last.as_ref().map(|last| last.outcome),
                })
            })
            .collect();
        let document = json!({ "version": 1, "exercises": exercises });
        std::println!(
            "{}",
            serde_json::to_string_pretty(&document).expect("plain data")
        );
        return exit_code::PASSED;
    }
    let slugs = course
        .exercises
        .iter()
        .map(|exercise| exercise.slug.len())
        .max()
        .unwrap_or(0);
    let mut chapter = "";
    for (exercise, record) in &rows {
        if chapter != exercise.chapter {
            chapter = &exercise.chapter;
            println!();
            println!("  {}", In(BOLD, course.chapter_title(exercise)));
        }
        let (mark, style) = match &record.last {
            Some(Graded {
                outcome: Outcome::Passed,
                ..
            }) => ("✓", GOOD),
            Some(_) if record.attempts > 0 => ("…", BOLD),
            _ => ("·", DIM),
        };
        println!(
            "    {} {:slugs$}  {}  {}  {}  {}",
            In(style, mark),
            exercise.slug,
            In(DIM, stars(exercise.difficulty)),
            In(DIM, format_args!("{:>4} min", exercise.minutes)),
            exercise.title,
            In(DIM, so_far(record)),
        );
    }
    let solved = rows.iter().filter(|(_, record)| record.solved).count();
    println!();
    println!("  {solved} of {} solved", rows.len());
    if let Some((exercise, _)) = rows.iter().find(|(_, record)| !record.solved) {
        println!("  {} {}", In(BOLD, "next:"), exercise.file());
    }
    exit_code::PASSED
}

/// `3/8 stages, 4 attempts, 20 min`
fn so_far(record: &Record) -> String {
    let stages = record.last.as_ref().filter(|last| last.total > 0);
    let stages = stages.map(|last| format!("{}/{} stages", last.passed, last.total));
    let attempts = match record.attempts {
        0 => return String::new(),
        1 => "1 attempt".to_owned(),
        many => format!("{many} attempts"),
    };
    let time = (record.seconds >= 60).then(|| report::time(record.seconds));
    let said: Vec<String> = stages.into_iter().chain([attempts]).chain(time).collect();
    said.join(", ")
}

/// `★★★☆☆`
pub(crate) fn stars(difficulty: u8) -> String {
    (1..=5)
        .map(|star| if star <= difficulty { '★' } else { '☆' })
        .collect()
}
