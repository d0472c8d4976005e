//! `cargo xtask show`: what an exercise asks for, in its own words.

use anstream::println;

use crate::course::{Course, Exercise};
use crate::fail::{Result, exit_code};
use crate::flags::Show;
use crate::paint::{self, BOLD, DIM, In};
use crate::store::Store;
use crate::{list, mime};

pub(crate) fn run(course: &Course, flags: &Show) -> Result<u8> {
    let exercise = match &flags.exercise {
        Some(word) => course.one(word)?,
        None => course.first_open(&Store::open(&course.root).0)?,
    };
    let text = text(course, exercise)?;
    if flags.mime {
        mime::exercise(exercise, &text);
        return Ok(exit_code::PASSED);
    }
    println!();
    for line in paint::prose(&text, "  ", paint::width().min(100)).lines() {
        match line.strip_prefix("  # ") {
            Some(title) => println!("  {}", In(BOLD, title)),
            None => println!("{line}"),
        }
    }
    println!();
    let about = format!(
        "{} · {} min · notebooks/{}",
        list::stars(exercise.difficulty),
        exercise.minutes,
        exercise.notebook
    );
    println!("  {}", In(DIM, about));
    let link = paint::link(&course.root, &exercise.file(), None);
    println!("  next: {link}  then  cargo xtask check {}", exercise.slug);
    Ok(exit_code::PASSED)
}

/// The documentation of the exercise's module, as it stands in the learner's file.
pub(crate) fn text(course: &Course, exercise: &Exercise) -> Result<String> {
    let bytes = course.read(exercise)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    Ok(lines.join("\n"))
}
