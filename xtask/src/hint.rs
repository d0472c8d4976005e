//! `cargo xtask hint`: where to look, then what to call, then the shape of the code.

use anstream::println;

use crate::course::Course;
use crate::fail::{Failure, Result, exit_code};
use crate::flags::Hint;
use crate::mime;
use crate::paint::{self, BOLD, DIM, In};
use crate::store::Store;

pub(crate) const TIERS: [&str; 3] = ["where to look", "what to call", "the shape of the code"];

pub(crate) fn run(course: &Course, flags: &Hint) -> Result<u8> {
    let (mut store, _) = Store::open(&course.root);
    let exercise = match &flags.exercise {
        Some(word) => course.one(word)?,
        None => course.first_open(&store)?,
    };
    let record = store.get(&exercise.target());
    let tier = flags.tier.unwrap_or_else(|| (record.hints + 1).min(3));
    let Some(hint) = exercise.hints.get(usize::from(tier - 1)) else {
        return Err(
            Failure::new(format!("{} has no hint {tier}", exercise.slug))
                .next(format!("read {}", exercise.file())),
        );
    };
    if flags.mime {
        mime::hint(exercise, tier, &shown(hint, 90));
        store.hints_shown(&exercise.target(), tier)?;
        return Ok(exit_code::PASSED);
    }
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
    println!("{}", shown(hint, paint::width().min(100)));
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
    } else {
        let last = "that was the last hint; once it passes, one way to do it:";
        println!("  {} cargo xtask solution {}", In(DIM, last), exercise.slug);
    }
    store.hints_shown(&exercise.target(), tier)?;
    Ok(exit_code::PASSED)
}

/// A hint as it is shown: prose is wrapped at `width`; code, which is indented, stays as it is.
pub(crate) fn shown(hint: &str, width: usize) -> String {
    paint::prose(hint, "    ", width)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn prose_is_wrapped_and_code_is_not() {
        let hint =
            "one two three four\nfive six seven\n\n    let a_line_of_code = 1; // as it is\n";
        assert_eq!(
            shown(hint, 26),
            "    one two three four\n    five six seven\n\n        let a_line_of_code = 1; // as it is"
        );
    }
}
