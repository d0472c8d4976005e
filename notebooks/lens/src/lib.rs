//! Draws what the kernel says, for a notebook cell whose last expression it is.
//!
//! ```no_run
//! let trace = lens::trace(|| println!("hello"))?;
//! lens::time_line(&trace)
//! # ;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Every function gives a [`Picture`]: SVG for eyes, the same as text for everything else. The processes of
//! [`memory_map`], [`process_tree`], [`descriptors`], [`connections`], [`signals`], [`namespaces`] and [`mounts`] are named by their pid; 0 is the
//! calling process, as in `getsid(2)`.
//!
//! # Layout
//!
//! | file | answers |
//! |---|---|
//! | `calls.rs` | which system calls were made, one by one? |
//! | `time_line.rs` | who did what when, and who waited? |
//! | `summary.rs` | how many calls of which kind, and how long did they take? |
//! | `measure.rs` | how long does one call of this closure take? |
//! | `latency.rs` | how do several measured things compare, spread included? |
//! | `throughput.rs` | how many bytes a second do several ways move, spread included? |
//! | `spread.rs` | what do the pictures of measured series have in common? |
//! | `lines.rs` | how does one quantity depend on another? |
//! | `memory_map.rs` | what lies where in an address space? |
//! | `process_tree.rs` | who descends from whom? |
//! | `descriptors.rs` | what is behind each descriptor? |
//! | `connections.rs` | which processes hold the ends of which pipes, files and sockets? |
//! | `signals.rs` | what will a signal do to this process? |
//! | `namespaces.rs` | which namespaces is a process in, and which of them are its parent's? |
//! | `mounts.rs` | which file system begins where in the tree of names? |
//! | `page_cache.rs` | which pages of a file are in memory, and which of them has no disk yet? |
//! | `picture.rs` | how does a value show itself in a notebook? |
//! | `svg.rs`, `axis.rs`, `table.rs` | how are shapes, scales and tables written, in any theme? |
//! | `group.rs` | which colour has a system call? |
//! | `number.rs` | how do durations and sizes read? |
//! | `proc.rs` | what does `/proc/PID` say, and what if it does not? |
//!
//! Nothing here looks at a notebook or at its kernel: the input is a [`Trace`], numbers, or `/proc`.

mod axis;
mod calls;
mod connections;
mod descriptors;
mod group;
mod latency;
mod lines;
mod measure;
mod memory_map;
mod mounts;
mod namespaces;
mod number;
mod page_cache;
mod picture;
mod proc;
mod process_tree;
mod signals;
mod spread;
mod summary;
mod svg;
mod table;
mod throughput;
mod time_line;

pub use axis::{Axis, Unit};
pub use calls::calls;
pub use connections::connections;
pub use descriptors::descriptors;
pub use latency::latency;
pub use lines::{Line, lines};
pub use measure::{Series, measure};
pub use memory_map::{file_at, memory_map};
pub use mounts::mounts;
pub use namespaces::namespaces;
pub use page_cache::page_cache;
pub use picture::{Picture, clear_output};
pub use proc::Pid;
pub use process_tree::process_tree;
pub use signals::signals;
pub use summary::summary;
pub use throughput::throughput;
pub use time_line::time_line;
pub use tracer::{self, Trace, Tracer, trace};
