//! `cargo xtask lab`: from a fresh clone to a notebook, in one command.
//!
//! # Layout
//! - [`place`]: where everything lies; [`python`]: the venv with JupyterLab;
//!   [`kernel`]: the kernel's programs, template and kernelspec; [`server`]: JupyterLab
//! - [`work`]: minutes of another program, on one line
//!
//! Everything is made where it is used and marked as done last, so that one that is
//! interrupted anywhere goes on from there.

pub(crate) mod kernel;
pub(crate) mod place;
pub(crate) mod python;
mod server;
pub(crate) mod work;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anstream::{eprintln, println};

use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Lab;
use crate::interrupt;
use crate::progress::{Spinner, Tasks};
use place::Place;
use work::Cancel;

pub(crate) fn run(root: &Path, flags: &Lab) -> Result<u8> {
    interrupt::watch().about("cannot watch for Ctrl-C")?;
    let place = match prepare(root) {
        Ok(place) => place,
        Err(_) if interrupt::requested() => {
            eprintln!("  stopped; `cargo xtask lab` goes on from here");
            return Ok(exit_code::INTERRUPTED);
        }
        Err(failure) => return Err(failure),
    };
    if flags.prepare {
        println!("  ready: cargo xtask lab");
        return Ok(exit_code::PASSED);
    }
    server::run(&place, flags)
}

/// Makes what is missing, or no longer as it should be; takes a second when nothing is.
pub(crate) fn prepare(root: &Path) -> Result<Place> {
    let place = Place::new(root);
    if !place.root.join("kernel/Cargo.toml").is_file() {
        return Err(Failure::new("this checkout has no kernel/").next("git checkout -- kernel"));
    }
    let python = if python::current(&place) {
        None
    } else {
        Some(python::find()?)
    };
    require_linker()?;
    let _alone = lock(&place)?;
    // Another `lab` may have made it meanwhile.
    let python = python.filter(|_| !python::current(&place));
    kernel::require_room(&place)?;

    let tasks = Tasks::new();
    let cancel = Cancel::default();
    let failed = Mutex::new(None);
    let give_up = |failure| {
        let mut first = failed.lock().expect("no panic while it is held");
        first.get_or_insert(failure);
        cancel.set();
    };
    let built = std::thread::scope(|scope| {
        scope.spawn(|| {
            let task = tasks.task("JupyterLab");
            python::make(&place, python.as_ref(), &cancel, &task).unwrap_or_else(give_up);
        });
        let task = tasks.task("kernel");
        let built = kernel::build(&place, &cancel, &task).and_then(|program| {
            drop(task);
            let task = tasks.task("libraries");
            kernel::prepare_template(&place, &program, &cancel, &task)?;
            Ok(program)
        });
        built.map_err(give_up).ok()
    });
    if let Some(failure) = failed.into_inner().expect("no thread panicked") {
        return Err(failure);
    }
    let program = built.expect("it has not failed");
    kernel::write_spec(&place, &program)?;
    std::fs::create_dir_all(place.jupyter())
        .about(format_args!("cannot make {}", place.jupyter().display()))?;
    Ok(place)
}

/// A C compiler links the kernel, and every cell.
fn require_linker() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join("cc").is_file()) {
        return Ok(());
    }
    Err(
        Failure::new("there is no C compiler to link with: cc is not on PATH")
            .next("cargo xtask doctor  (says how to install it)"),
    )
}

/// Waits until no other `lab` of this checkout is preparing; held until dropped.
fn lock(place: &Place) -> Result<File> {
    let open = || {
        std::fs::create_dir_all(&place.folder)?;
        File::create(place.folder.join("lock"))
    };
    let file = open().map_err(|error: std::io::Error| {
        let place = place.folder.display();
        let failure = Failure::new(format!("cannot write to {place}: {error}"));
        if error.kind() == std::io::ErrorKind::StorageFull {
            failure.next("make room (`df -h .`), then `cargo xtask lab`")
        } else {
            failure.next("copy the course to a folder of your own")
        }
    })?;
    let mut spinner = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                let text = "another `cargo xtask lab` is preparing; waiting for it";
                spinner.get_or_insert_with(|| Spinner::new(text));
                if interrupt::requested() {
                    return Err(Failure::new("interrupted"));
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).about(format_args!("cannot lock {}", place.folder.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prepares_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path());
        let first = lock(&place).unwrap();
        let second = File::create(place.folder.join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        assert!(second.try_lock().is_ok());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_the_next_step() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(".lab"), "a file").unwrap();
        let text = lock(&Place::new(root.path())).unwrap_err().to_string();
        assert!(
            text.contains("/.lab: ") && text.contains("next: "),
            "{text}"
        );
    }
}
