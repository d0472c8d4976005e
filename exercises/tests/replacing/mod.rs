//! What the tests of a file's replacement stand on: a place where one replacer is held up while another works,
//! and the order of calls that a power cut respects.

// Each specification takes what it needs.
#![allow(unused_imports)]

mod gate;
mod order;

pub use gate::{Gate, slow_fsync};
pub use order::{WRITES, assert_durable, has_flag, place};
