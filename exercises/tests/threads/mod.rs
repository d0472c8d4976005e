//! What the tests of concurrent code have in common.
//!
//! # Layout
//!
//! | file | question |
//! |---|---|
//! | `atomic.rs` | is it right in every order of the threads' steps? |
//! | `suspend.rs` | does a thread that isn't running hold up others? |

pub mod atomic;
pub mod suspend;
