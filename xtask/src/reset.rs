//! `cargo xtask reset`: an exercise as it was given; the learner's file is kept.

use anstream::println;

use crate::course::Course;
use crate::fail::{About as _, Result, exit_code};
use crate::flags::Reset;
use crate::manifest::Manifest;
use crate::store::Store;

pub(crate) fn run(course: &Course, flags: &Reset) -> Result<u8> {
    let exercise = course.one(&flags.exercise)?;
    let path = exercise.file();
    let manifest = Manifest::load(&course.root)?;
    if manifest.untouched(&path) {
        println!("  {path} is as it was given");
        return Ok(exit_code::PASSED);
    }
    let pristine = manifest.pristine(&path);
    // A file that is missing has nothing to lose.
    if course.root.join(&path).exists() {
        let pristine = pristine?;
        let (store, _) = Store::open(&course.root);
        let kept = store.back_up(&course.root, &path)?;
        put(course, &path, &pristine)?;
        println!("  {path} is as it was given");
        println!("  yours is kept: {}", kept.display());
    } else {
        put(course, &path, &pristine?)?;
        println!("  {path} is there again");
    }
    println!("  next: cargo xtask check {}", exercise.slug);
    Ok(exit_code::PASSED)
}

/// Writes beside and renames, so that a full disk leaves the file that was there.
fn put(course: &Course, path: &str, text: &[u8]) -> Result<()> {
    let to = course.root.join(path);
    let write = || -> std::io::Result<()> {
        let folder = to.parent().expect("below the root");
        std::fs::create_dir_all(folder)?;
        let mut beside = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        std::io::Write::write_all(&mut beside, text)?;
        beside.persist(&to).map_err(|error| error.error)?;
        Ok(())
    };
    write().about(format!("cannot write {path}; it is as it was"))
}
