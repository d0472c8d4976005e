//! Speaks the Jupyter messaging protocol 5.5 for a kernel that is somebody else.
//!
//! ```no_run
//! # fn engine() -> std::sync::Arc<dyn wire::Engine> { todo!() }
//! wire::serve(std::path::Path::new("connection.json"), engine())?;
//! # Ok::<(), wire::Error>(())
//! ```
//!
//! # Layout
//!
//! | file | answers |
//! |---|---|
//! | `engine.rs` | what does a kernel have to answer? |
//! | `publisher.rs` | through what does a cell speak while it runs, and later? |
//! | `pieces.rs` | how long may one stream message be? |
//! | `server.rs` | which thread does what, from the first socket to the last? |
//! | `dispatch.rs` | who answers which request? |
//! | `execute.rs` | in which order do cells run, which are counted, which aborted? |
//! | `outcome.rs` | what does a reply say of a cell that has ended? |
//! | `question.rs` | how do completion, inspection and their like get answered while a cell runs? |
//! | `info.rs` | what does the kernel say about itself? |
//! | `guard.rs` | what if the engine itself panics? |
//! | `history.rs` | what was typed in this session? |
//! | `glob.rs` | does a text match a pattern? |
//! | `input.rs` | who waits for a line from the front end? |
//! | `hub.rs` | how do all threads send, in one order? |
//! | `session.rs` | how does a message get its frames, and lose them? |
//! | `request.rs` | what came in, or why is it not answered? |
//! | `signature.rs` | is this message from somebody who knows the key? |
//! | `connection.rs` | where do the sockets listen? |
//! | `sockets.rs` | how do requests come in and replies go out? |
//! | `iopub.rs` | how does output reach every front end, and a stalled one harm none? |
//! | `subscriber.rs` | how much may wait for one front end, and what is lost first? |
//! | `zmtp.rs` | which bytes does ZeroMQ put around a message? |
//! | `error.rs` | what can keep a kernel from starting? |
//!
//! The crate knows nothing of Rust cells, compilers or processes.

mod connection;
mod dispatch;
mod engine;
mod error;
mod execute;
mod glob;
mod guard;
mod history;
mod hub;
mod info;
mod input;
mod iopub;
mod outcome;
mod pieces;
mod publisher;
mod question;
mod request;
mod server;
mod session;
mod signature;
mod sockets;
mod subscriber;
mod zmtp;

pub use engine::*;
pub use error::Error;
pub use guard::guarded;
pub use input::InputError;
pub use publisher::{Published, Publisher, StreamName};
pub use server::serve;
