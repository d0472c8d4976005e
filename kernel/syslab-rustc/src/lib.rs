//! Stands between evcxr and the compiler.
//!
//! evcxr builds each cell with `cargo build`. Most of that is the same every time; this program stands first on its
//! PATH as `cargo` and runs rustc alone, with the arguments that cargo once used. Where a crate was added it lets cargo
//! build it, once, and goes on from there.
//!
//! # Layout
//! - [`request`]: what does evcxr want of cargo, and with which crates?
//! - [`template`]: what was compiled beforehand, and is a crate among it?
//! - [`recipe`]: which arguments did cargo use, and how do they change for a cell?
//! - [`rewrite`]: what is changed in the text that evcxr generates? [`statics`]: so that a `static` is one for all cells
//! - [`types`]: which types did rustc find for the variables of a cell?
//! - [`compile`]: the short way, from one to the other; [`first`]: the cell that is the same in every session
//! - [`cargo`]: the long way; [`answers`]: what is asked at each start

pub mod answers;
pub mod cargo;
pub mod compile;
pub mod first;
pub mod recipe;
pub mod request;
pub mod rewrite;
pub mod statics;
pub mod template;
pub mod types;

/// The environment variable that names the template's folder.
pub const TEMPLATE: &str = "SYSLAB_TEMPLATE";
