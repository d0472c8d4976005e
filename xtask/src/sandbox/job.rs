//! What is run, and what is known when it has ended.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a test is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// In namespaces of its own.
    Namespaces,
    /// By resource limits, Landlock, seccomp and a walk of the process tree.
    Processes,
}

/// One program to run below a warden.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub(crate) env: Vec<(String, String)>,
    /// The folder it may write to: its TMPDIR, HOME and working folder.
    pub(crate) scratch: PathBuf,
    /// A second one, on a disk: `scratch` may be in memory.
    pub(crate) disk: Option<PathBuf>,
    /// Wall-clock limit.
    pub(crate) limit: Duration,
    pub(crate) mode: Mode,
    /// Processes that it must not be able to signal.
    pub(crate) protect: Vec<i32>,
}

/// How the program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Exit {
    Exited(i32),
    /// By this signal.
    Killed(i32),
    TimedOut,
    /// Not at all; why it could not be started.
    NotStarted(String),
    /// The warden is gone; what is known of that.
    WardenLost(String),
}

/// What is known of a program that has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// The end of what it wrote to descriptor 1.
    pub(crate) stdout: String,
    /// The end of what it wrote to descriptor 2.
    pub(crate) stderr: String,
    /// What `observe` wrote to the report descriptor, a JSON object a line.
    pub(crate) notes: String,
    /// Processes that were still there, as `"sleep (pid 3)"`.
    pub(crate) left_processes: Vec<String>,
    /// Files that were still in its scratch folder.
    pub(crate) left_files: Vec<String>,
    pub(crate) seconds: f64,
    /// What held it, in words.
    pub(crate) used: Vec<String>,
}

impl Ended {
    pub(crate) fn not_started(reason: impl Into<String>) -> Self {
        Self {
            exit: Exit::NotStarted(reason.into()),
            stdout: String::new(),
            stderr: String::new(),
            notes: String::new(),
            left_processes: Vec::new(),
            left_files: Vec::new(),
            seconds: 0.0,
            used: Vec::new(),
        }
    }
}

/// Becomes the job's program; returns only when that fails.
pub(super) fn exec(job: &Job) -> std::io::Error {
    use std::os::unix::process::CommandExt as _;
    std::process::Command::new(&job.program)
        .args(&job.args)
        .env_clear()
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&job.scratch)
        .exec()
}
