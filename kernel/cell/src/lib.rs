//! What does every cell share?
//!
//! This library is loaded once into the process in which cells run, and every cell is linked with it and with the
//! crates it brings along: so a crate's own globals (signal-hook's registry, tokio's thread locals) are one instance
//! for all cells. It stands where evcxr would copy its own runtime into each cell, and what evcxr would print on
//! stdout, which a cell may have closed, it hands to the process directly.
//!
//! # Layout
//! - [`store`]: the variables between two cells
//! - [`note`]: what a cell tells its process; `kind`: of which kinds
//! - [`show`]: how a value is shown that has no way of its own
//! - [`hook`]: what a panic says

pub mod hook;
mod kind;
pub mod note;
pub mod show;
pub mod store;

pub use show::{LacksDebug, ShowDebug};
pub use store::{VariableStore, create_variable_store};

// Linked in, so that cells find them here and nowhere else; not named, so that nobody is told to write `syslab_cell::nix`.
extern crate lens as _;
extern crate libc as _;
extern crate memmap2 as _;
extern crate nix as _;
extern crate serde as _;
extern crate serde_json as _;
extern crate signal_hook as _;
extern crate tokio as _;

/// Called by the process before the first cell: `tell` takes what cells have to say.
#[unsafe(no_mangle)]
pub extern "C" fn syslab_cell_start(tell: note::Tell) {
    note::start(tell);
    hook::install();
    // The first hash map of a thread asks the kernel for random numbers: not in a learner's trace.
    drop(std::hash::RandomState::new());
}

/// Called by the process after each cell: what is still in the standard library's buffers goes out.
#[unsafe(no_mangle)]
pub extern "C" fn syslab_cell_flush() {
    use std::io::Write;
    // Whatever stdout is by now, there is nobody to tell.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
}
