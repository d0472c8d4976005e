//! What the tests of programs that fork have in common: what a caller was before and after, and whether its copies
//! keep to what a copy may do.

// Each specification takes what it needs.
#![allow(unused_imports)]

mod allocator;
mod caller;

pub use allocator::{ALLOCATES, watch_copies};
pub use caller::{
    Answer, answer, beside_another_child, end, fails, observed, to_its_end, told, wait,
};
