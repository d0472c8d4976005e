//! What does a panic say, and to whom?
//!
//! One in the thread that runs the cell goes to the notebook, which knows which line of the cell that is. One in another
//! thread, or in a child that the cell has forked, goes to stderr as usual, but without the place when that is a line of
//! generated code.

use std::panic::{self, PanicHookInfo};
use std::thread;

use crate::note;

/// The file that a cell is compiled from.
const CELL: &str = "cell/lib.rs";

pub(crate) fn install() {
    panic::set_hook(Box::new(say));
}

fn say(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("Box<dyn Any>");
    let (file, line) = info
        .location()
        .map_or(("", 0), |place| (place.file(), place.line()));
    if in_main_thread() && note::tell(note::PANIC, &format!("{file}\n{line}\n{message}")) {
        return;
    }
    let thread = thread::current();
    let name = thread.name().unwrap_or(if in_main_thread() {
        "main"
    } else {
        "<unnamed>"
    });
    if file.ends_with(CELL) {
        eprintln!("thread '{name}' panicked: {message}");
    } else {
        eprintln!("thread '{name}' panicked at {file}:{line}: {message}");
    }
}

/// The process was not started by Rust's runtime as this library knows it, and so its main thread has no name.
fn in_main_thread() -> bool {
    // SAFETY: both take nothing.
    unsafe { libc::gettid() == libc::getpid() }
}
