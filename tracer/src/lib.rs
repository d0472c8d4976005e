//! Records the system calls and signals of a process tree with `ptrace(2)`.
//!
//! ```no_run
//! let trace = tracer::Tracer::new()
//!     .only(["open", "write"])
//!     .command(std::process::Command::new("date").arg("+%s"))?;
//! for call in trace.calls() {
//!     println!("{call}");
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Layout
//!
//! | file | answers |
//! |---|---|
//! | `available.rs` | does this machine let us trace? |
//! | `tracer.rs` | what shall be recorded, and of whom? |
//! | `gate.rs` | where does a new process wait until its tracer has it? |
//! | `session.rs` | what does each stop mean, and how does the tracee go on? |
//! | `session/attach.rs` | how does a process that runs already come under trace? |
//! | `session/calls.rs` | what do the entry and the exit of a call mean? |
//! | `session/signals.rs` | what does a signal say about itself? |
//! | `session/tree.rs` | how does the tree of tracees grow and shrink? |
//! | `wait.rs` | who has stopped or ended? |
//! | `tracee.rs` | what has to be remembered of a thread between two of its stops? |
//! | `ptrace.rs` | which `ptrace(2)` requests are used, and what do wait statuses say? |
//! | `arch.rs` | what differs between x86_64 and aarch64? |
//! | `memory.rs` | how is another process's memory read without crossing an unmapped page? |
//! | `table.rs` | which arguments does a system call take? |
//! | `decode.rs` | what do the six registers mean? |
//! | `flags.rs` | which names do bits and numbers have? |
//! | `family.rs` | which calls are the same question to the kernel? |
//! | `fault.rs` | which call shall go wrong, and how? |
//! | `inject.rs` | how is a stopped call made to go wrong, and put right again? |
//! | `recording.rs` | how does somebody record who traces and waits already? |
//! | `region.rs` | how does a tracee say "from here" and "to here"? |
//! | `call.rs`, `event.rs`, `trace.rs` | what was recorded, and how does it read? |
//!
//! The crate knows nothing of tests, exercises or notebooks.

#[cfg(not(target_os = "linux"))]
compile_error!("ptrace(2) as used here is Linux's");

mod arch;
mod available;
mod call;
mod decode;
mod event;
mod family;
mod fault;
mod flags;
mod gate;
mod inject;
mod memory;
mod ptrace;
pub mod recording;
pub mod region;
mod session;
mod table;
mod trace;
mod tracee;
mod tracer;
mod wait;

pub use available::available;
pub use call::{Arg, Call};
pub use event::{Event, SignalEvent, Status};
pub use family::family;
pub use fault::{Action, Fault, Matches};
pub use flags::{errno_name, signal_name};
pub use trace::{Count, Trace};
pub use tracer::{Session, Tracer, trace};
