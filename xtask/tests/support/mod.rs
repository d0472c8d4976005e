//! What both suites stand on: a small course like the real one, and the real grader run on it.
//!
//! - [`course`]: a folder with exercises, tests, manifest and repository
//! - [`site`]: where, as whom and how `xtask` is run there
//! - [`traces`]: what is still running, and what has been written

#![allow(dead_code, reason = "each suite uses a part")]

pub(crate) mod course;
pub(crate) mod site;
pub(crate) mod traces;
