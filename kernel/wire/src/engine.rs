//! What does a kernel have to answer, and through what does it speak while a cell runs?
//!
//! The server ([`serve`](crate::serve)) knows Jupyter and nothing of Rust; an [`Engine`] knows Rust and nothing of
//! sockets. Offsets in code are Unicode characters, as the protocol counts them.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Publisher;

/// MIME type to content: a string, or JSON for `application/json` and `*+json`.
pub type MimeBundle = Map<String, Value>;

/// A kernel behind the protocol. Its methods block; each is called on a thread of its own kind, so that completion,
/// interrupt and a running cell don't wait for each other.
pub trait Engine: Send + Sync + 'static {
    /// What the kernel is. Called at any time, before the first cell is possible too.
    fn about(&self) -> About;

    /// Runs a cell to its end. One at a time; the `publisher` may be kept for output that comes later.
    fn execute(&self, cell: Cell, publisher: &Publisher) -> Outcome;

    /// The value of an expression, for `user_expressions`. Called after a cell, on the same thread.
    fn evaluate(&self, expression: &str) -> Result<MimeBundle, Failure>;

    /// Ends what runs now (a cell, its compilation, a shell command); does nothing when idle. Returns at once.
    fn interrupt(&self);

    /// What could stand at the cursor. May be called while a cell runs.
    fn complete(&self, code: &str, cursor: usize) -> Completion;

    /// The documentation of what stands at the cursor, if any. May be called while a cell runs.
    fn inspect(&self, code: &str, cursor: usize, detail: u8) -> Option<MimeBundle>;

    /// Whether the code could be run as it is.
    fn is_complete(&self, code: &str) -> Completeness;

    /// Ends the session: no process and no file is left when it returns.
    fn shutdown(&self, restart: bool);
}

/// A cell to run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What was typed.
    pub code: String,
    /// The number the front end shows, from 1.
    pub count: usize,
    /// Whether nothing may be shown.
    pub silent: bool,
    /// Whether the cell may ask for input; without, its stdin is at its end.
    pub allow_stdin: bool,
}

/// How a cell ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Well; with the value of its last expression, if it has one.
    Done(Option<MimeBundle>),
    /// Well; with a text beside the notebook's own: documentation, in whatever the front end has for a pager.
    Paged(MimeBundle),
    /// It did not compile, panicked, crashed or was interrupted.
    Failed(Failure),
}

/// An error as a notebook shows it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its kind: "E0308", "Panic", "SIGSEGV", "Interrupted".
    pub name: String,
    /// One sentence.
    pub value: String,
    /// Lines, with ANSI colours.
    pub traceback: Vec<String>,
}

/// Answer to [`Engine::complete`]: each match would replace `start..end`.
#[derive(Clone, Debug, Default)]
pub struct Completion {
    /// Best first.
    pub matches: Vec<Match>,
    /// First character replaced.
    pub start: usize,
    /// One past the last character replaced.
    pub end: usize,
}

/// One completion.
#[derive(Clone, Debug)]
pub struct Match {
    /// What is put in.
    pub text: String,
    /// "function", "class", "module", "instance", "keyword", "magic" …
    pub kind: String,
}

/// Answer to [`Engine::is_complete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It can be run.
    Complete,
    /// It needs more lines; the next one would be indented by this.
    Incomplete(String),
    /// No further line can mend it.
    Invalid,
}

/// What `kernel_info_reply` says beyond the protocol's own fields.
#[derive(Clone, Debug)]
pub struct About {
    /// "syslab".
    pub implementation: String,
    /// The kernel's version.
    pub version: String,
    /// The compiler's version: "1.95.0".
    pub language_version: String,
    /// A line or two for the console.
    pub banner: String,
    /// Text and address.
    pub help_links: Vec<(String, String)>,
}

/// An engine that several threads hold.
pub type SharedEngine = Arc<dyn Engine>;
