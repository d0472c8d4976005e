//! What an exercise's test sees with: what a program *did*, never what it says of itself.
//!
//! A learner's function is only ever called inside a [`Child`]: it may crash, hang, exit, close every descriptor
//! or leave processes behind, and the test goes on and says so in one sentence.
//!
//! # Layout
//!
//! | file | question |
//! |---|---|
//! | `child.rs` | how is code run that may do anything? |
//! | `started.rs` | how does a test watch a child that is still running? |
//! | `run.rs` | what became of it? |
//! | `launch.rs`, `canary.rs` | how is a process with several threads forked? |
//! | `watch.rs` | who watches the limit, who ends what is left? (a thread of the test) |
//! | `keeper.rs` | who adopts what the child leaves behind? (a process between test and child) |
//! | `inside.rs` | what happens in the child before the exercise's first line and after its last? |
//! | `stack.rs` | how does the closure survive in a copy without its thread? |
//! | `arena.rs` | how do they tell each other, without a descriptor? |
//! | `sweep.rs` | how is every descendant found and ended? |
//! | `terminal.rs` | how is a child given a terminal? |
//! | `process.rs`, `descriptors.rs`, `signals.rs`, `mappings.rs` | what kind of process is this? |
//! | `facts.rs` | how is that told in words that are the same each time? |
//! | `calls.rs`, `roles.rs` | which system calls did it make, on what? |
//! | `crash.rs` | what is left when it is killed in the middle? |
//! | `errno.rs` | how does an error cross to the test? |
//! | `text.rs`, `seen.rs` | how does data read in a snapshot? |
//! | `report.rs` | what does the grader learn? |
//! | `scratch.rs` | where may a test write files? |
//! | `disk.rs` | where do files lie that can leave memory? |
//! | `needs.rs` | what does this machine offer? |

#[cfg(not(target_os = "linux"))]
compile_error!("what is observed here is Linux: /proc, ptrace(2), child subreapers");

mod arena;
mod calls;
mod canary;
mod child;
mod crash;
mod descriptors;
mod disk;
mod errno;
mod facts;
mod inside;
mod keeper;
mod launch;
mod mappings;
mod needs;
mod process;
pub mod report;
mod roles;
mod run;
mod scratch;
mod seen;
mod signals;
mod stack;
mod started;
mod sweep;
mod terminal;
mod text;
mod watch;

pub use calls::{Call, Calls};
pub use child::Child;
pub use crash::{Crash, kill_at_every_call};
pub use descriptors::{Descriptor, Descriptors};
pub use disk::{DISK, disk};
pub use errno::{Errno, Failure, assert_failed, errno};
pub use facts::Facts;
pub use mappings::Mapping;
pub use needs::needs;
pub use process::{Process, Signals, Thread};
pub use run::{Elsewhere, End, Left, Panic, Run};
pub use scratch::{Scratch, redact};
pub use seen::seen;
pub use signals::Signal;
pub use started::Started;
pub use sweep::{descendants, subreaper, zombies};
pub use text::{count, text};

pub use tracer::{Action, Arg, Fault, Matches, region};

#[doc(hidden)]
pub use insta as __insta;
