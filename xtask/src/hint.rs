//! `cargo xtask hint`: where to look, then what to call, then the shape of the code.

use anstream::println;

use crate::course::{Course, Exercise};
use crate::fail::{Failure, Result, exit_code};
use crate::flags::Hint;
use crate::paint::{self, BOLD, DIM, In};
use crate::store::Store;

const TIERS: [&str; 3] = ["where to look", "what to call", "the shape of the code"];

pub(crate) fn run(course: &Course, flags: &Hint) -> Result<u8> {
    let (mut store, _) = Store::open(&course.root);
    let exercise = match &flags.exercise {
        Some(word) => course.one(word)?,
        None => first_open(course, &store)?,
    };
    let record = store.get(&exercise.target());
    let tier = flags.tier.unwrap_or_else(|| (record.hints + 1).min(3));
    let Some(hint) = exercise.hints.get(usize::from(tier - 1)) else {
        return Err(
            Failure::new(format!("{} has no hint {tier}", exercise.slug))
                .next(format!("read {}", exercise.file())),
        );
    };
    println!();
    println!(
        "  {} {}",
        In(BOLD, &exercise.slug),
        In(
            DIM,
            format_args!("hint {tier} of 3: {}", TIERS[usize::from(tier - 1)])
        )
    );
    println!();
    println!("{}", shown(hint));
    println!();
    if tier == 1 {
        let pages = format!("man pages: {}", exercise.man.join(", "));
        println!(
            "{}",
            In(DIM, paint::wrap(&pages, "  ", paint::width().min(100)))
        );
        let notebook = exercise.notebook.split('#').next().unwrap_or_default();
        if course.root.join("notebooks").join(notebook).is_file() {
            println!(
                "  {} notebooks/{}",
                In(DIM, "shown live in:"),
                exercise.notebook
            );
        }
    }
    if tier < 3 {
        println!(
            "  {} cargo xtask hint {}",
            In(DIM, "next hint:"),
            exercise.slug
        );
    }
    store.hints_shown(&exercise.target(), tier)?;
    Ok(exit_code::PASSED)
}

/// Prose is wrapped; code, which has line breaks of its own, stays as it is.
fn shown(hint: &str) -> String {
    if hint.trim_end().contains('\n') {
        hint.trim_end()
            .lines()
            .map(|line| format!("    {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    } else {
        paint::wrap(hint, "    ", paint::width().min(100))
    }
}

fn first_open<'a>(course: &'a Course, store: &Store) -> Result<&'a Exercise> {
    course
        .exercises
        .iter()
        .find(|exercise| !store.get(&exercise.target()).solved)
        .ok_or_else(|| {
            Failure::new("every exercise is solved")
                .next("cargo xtask hint EXERCISE, for one of them")
        })
}
