//! `cargo xtask reset`: an exercise as it was given; the learner's file is kept.

use std::path::{Path, PathBuf};

use anstream::println;
use tempfile::NamedTempFile;

use crate::course::{Course, Exercise};
use crate::fail::{About as _, Result, exit_code};
use crate::flags::Reset;
use crate::manifest::Manifest;
use crate::source;
use crate::store::Store;

pub(crate) fn run(course: &Course, flags: &Reset) -> Result<u8> {
    let exercise = course.one(&flags.exercise)?;
    let path = exercise.file();
    match reset(course, exercise)? {
        Done::Untouched => {
            println!("  {path} is as it was given");
            return Ok(exit_code::PASSED);
        }
        Done::Replaced { kept } => {
            println!("  {path} is as it was given");
            println!("  yours is kept: {}", kept.display());
        }
        Done::Restored => println!("  {path} is there again"),
    }
    println!("  next: cargo xtask check {}", exercise.slug);
    Ok(exit_code::PASSED)
}

/// What a reset did.
pub(crate) enum Done {
    /// Nothing: the file is as it was given.
    Untouched,
    /// The learner's file is kept at this place.
    Replaced { kept: PathBuf },
    /// There was no file.
    Restored,
}

/// Puts the pristine file in place of the learner's, which is backed up first.
pub(crate) fn reset(course: &Course, exercise: &Exercise) -> Result<Done> {
    let path = exercise.file();
    let manifest = Manifest::load(&course.root)?;
    if manifest.untouched(&path) {
        return Ok(Done::Untouched);
    }
    let pristine = manifest.pristine(&path)?;
    let there = course.root.join(&path);
    // A file that is missing has nothing to lose.
    if there.symlink_metadata().is_err() {
        put(&course.root, &path, &pristine)?;
        return Ok(Done::Restored);
    }
    let (store, _) = Store::open(&course.root);
    // Before anything is moved: the disk may be full.
    let new = beside(&course.root, &path, &pristine)?;
    let kept = match source::read(&there) {
        Ok(_) => store.back_up(&course.root, &path)?,
        // A folder, a link to nowhere, or what may not be read.
        Err(_) => store.move_away(&course.root, &path)?,
    };
    in_place(new, &course.root, &path)?;
    Ok(Done::Replaced { kept })
}

/// Writes beside and renames, so that a full disk leaves the file that was there.
pub(crate) fn put(root: &Path, path: &str, text: &[u8]) -> Result<()> {
    in_place(beside(root, path, text)?, root, path)
}

/// `text` in a file of its own, in the folder of `path`.
fn beside(root: &Path, path: &str, text: &[u8]) -> Result<NamedTempFile> {
    let write = || -> std::io::Result<NamedTempFile> {
        let to = root.join(path);
        let folder = to.parent().expect("below the root");
        std::fs::create_dir_all(folder)?;
        let mut beside = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        std::io::Write::write_all(&mut beside, text)?;
        Ok(beside)
    };
    write().about(format!("cannot write {path}; it is as it was"))
}

fn in_place(new: NamedTempFile, root: &Path, path: &str) -> Result<()> {
    let done = new.persist(root.join(path)).map_err(|error| error.error);
    done.map(drop).about(format!("cannot write {path}"))
}
