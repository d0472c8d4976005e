//! What the tests of a server stand on: the server in a child, its clients and what they ask for, and where in its
//! life a signal came.

mod client;
mod handler;
mod place;
mod server;

pub use client::{read_answer, send, visit};
pub use handler::{BIG, Gate, took_sigterm};
pub use place::{Place, serves};
pub use server::{LONG, Server, served};
