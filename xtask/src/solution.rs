//! `cargo xtask solution`: one way to solve what one has solved.

use anstream::println;

use crate::course::Course;
use crate::fail::{Failure, Result, exit_code};
use crate::flags::Solution;
use crate::store::Store;

pub(crate) fn run(course: &Course, flags: &Solution) -> Result<u8> {
    let exercise = course.one(&flags.exercise)?;
    let (store, _) = Store::open(&course.root);
    if !flags.spoil && !store.get(&exercise.target()).solved {
        return Err(
            Failure::new(format!("{} has not passed yet", exercise.slug)).next(format!(
                "cargo xtask check {0}  (or `cargo xtask solution {0} --spoil`)",
                exercise.slug
            )),
        );
    }
    let path = exercise.solution();
    let text = std::fs::read_to_string(course.root.join(&path)).map_err(|error| {
        Failure::new(format!("cannot read {path}: {error}")).next(format!("git checkout -- {path}"))
    })?;
    println!("// {path}");
    println!("{text}");
    Ok(exit_code::PASSED)
}
