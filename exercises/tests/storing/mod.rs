//! What the tests of a store stand on: the log as bytes, written and read without the exercise; the disk, which may
//! have any part of what was not synced; and the store that is opened on it.

mod disk;
mod failure;
mod log;
mod power;
mod recovery;
mod world;

pub use disk::{Cut, Disk, Files};
pub use failure::{assert_result, go_wrong};
pub use log::{Line, MAGIC, log, record, told, torn};
pub use power::{HOME, Step, cut_power, cut_power_after_failed_sync};
pub use recovery::recover;
pub use world::{World, applied, commit, contents, files, open, remove, set};
