//! What does a cell tell its process, and how does it get there?
//!
//! Through a function pointer into memory that the process shares with its host: a cell that has closed or redirected
//! its descriptors is heard all the same, and nothing that it prints can be mistaken for a note.

use std::sync::OnceLock;

pub(crate) use crate::kind::*;

/// Takes a note: what kind it is, and its bytes. Whether somebody hears it: a child that a cell has forked is alone.
pub type Tell = extern "C" fn(kind: u32, bytes: *const u8, length: usize) -> bool;

static TELL: OnceLock<Tell> = OnceLock::new();

pub(crate) fn start(tell: Tell) {
    let _ = TELL.set(tell);
}

pub(crate) fn tell(kind: u32, text: &str) -> bool {
    TELL.get()
        .is_some_and(|tell| tell(kind, text.as_ptr(), text.len()))
}

/// The cell panicked out of its end.
pub fn panicked() {
    tell(PANICKED, "");
}

/// This variable is given up. Always false, for the check that all variables are there.
pub fn variable_lost(name: &str) -> bool {
    tell(VARIABLE_LOST, name);
    false
}

/// A `?` ended the cell.
pub fn question_mark(error: &str) {
    tell(QUESTION_MARK, error);
}
