//! How is a program held that may do anything?
//!
//! Each test runs below a *warden*: this program, executed once more as a small
//! single-threaded process (only such a one may `unshare(2)` a user namespace,
//! and only its death is certain to reach everything below it).
//!
//! # Layout
//! - [`job`]: what is run, and what is known when it has ended
//! - [`warden`]: the process between the grader and the test: deadline, SIGTERM, result
//! - [`namespaces`]: user, pid, mount, net and ipc namespaces; pid 1 is ours
//! - [`mounts`]: what is to be seen there of the file tree, and what of it changed
//! - [`processes`]: where namespaces are denied: subreaper, Landlock, seccomp
//! - [`limits`]: resource limits and what every test starts with
//! - [`cgroup`]: memory and pids limits where the hierarchy is writable
//! - [`sweep`]: finds and ends what a test left running

mod cgroup;
mod job;
mod limits;
mod mounts;
mod namespaces;
mod processes;
mod sweep;
pub(crate) mod warden;

use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use job::{Ended, Exit, Job, Mode};
pub(crate) use sweep::{end_adopted, end_below, end_tree};
pub(crate) use warden::REPORT_FD;

use crate::fail::{Failure, Result};
use crate::flags::Confinement;
use crate::interrupt;

/// What holds the tests of this run, for the report's first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    pub(crate) mode: Mode,
    /// What is used, in words: `"user namespace"`, `"cgroup (v1)"`, …
    pub(crate) used: Vec<String>,
    /// What this machine does not offer, with the kernel's reason.
    pub(crate) missing: Vec<String>,
}

impl Sandbox {
    /// Tries, in a process that changes nothing, what this machine allows.
    pub(crate) fn probe(wanted: Confinement, private: &Path) -> Result<Self> {
        let mut missing = Vec::new();
        if wanted != Confinement::Processes {
            match try_mode(Mode::Namespaces, private) {
                Ok(used) => {
                    return Ok(Self {
                        mode: Mode::Namespaces,
                        used,
                        missing,
                    });
                }
                Err(reason) if wanted == Confinement::Namespaces => {
                    return Err(
                        Failure::new(format!("namespaces are not available: {reason}"))
                            .next("cargo xtask check --sandbox auto"),
                    );
                }
                Err(reason) => missing.push(format!("namespaces ({reason})")),
            }
        }
        match try_mode(Mode::Processes, private) {
            Ok(used) => {
                missing.extend(processes::missing());
                Ok(Self {
                    mode: Mode::Processes,
                    used,
                    missing,
                })
            }
            Err(reason) => {
                Err(Failure::new(format!("cannot start a test: {reason}"))
                    .next("cargo xtask doctor"))
            }
        }
    }
}

/// Runs `true`-like nothing in `mode`; what was used, or the kernel's reason.
fn try_mode(mode: Mode, private: &Path) -> Result<Vec<String>, String> {
    let scratch = tempfile::Builder::new()
        .prefix("probe-")
        .tempdir_in(private)
        .map_err(|error| format!("cannot make a folder in {}: {error}", private.display()))?;
    let job = Job {
        program: "/proc/self/exe".into(),
        args: vec![warden::NOTHING.into()],
        env: Vec::new(),
        scratch: scratch.path().to_owned(),
        disk: None,
        limit: Duration::from_secs(20),
        mode,
        protect: vec![std::process::id().cast_signed()],
    };
    match run(&job) {
        Ended {
            exit: Exit::Exited(0),
            used,
            ..
        } => Ok(used),
        Ended {
            exit: Exit::NotStarted(reason),
            ..
        } => Err(reason),
        other => Err(format!(
            "a program that does nothing ended with {:?}: {}",
            other.exit,
            other.stderr.trim()
        )),
    }
}

/// Runs one job below a warden and waits for its end, or for Ctrl-C.
pub(crate) fn run(job: &Job) -> Ended {
    match run_warden(job) {
        Ok(ended) => ended,
        Err(error) => Ended::not_started(format!("cannot start the warden: {error}")),
    }
}

fn run_warden(job: &Job) -> std::io::Result<Ended> {
    let mut text = warden::memory_file(c"job")?;
    text.write_all(&serde_json::to_vec(job)?)?;
    text.rewind()?;
    let mut warden = Command::new("/proc/self/exe")
        .arg(warden::WARDEN)
        .stdin(text)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let watched = interrupt::forward(&warden);
    // Only the warden holds the other end: it is close-on-exec for the test.
    let mut answer = Vec::new();
    let mut stdout = warden.stdout.take().expect("stdout is piped");
    stdout.read_to_end(&mut answer)?;
    // Its pid can be another's as soon as it is reaped.
    drop(watched);
    let status = warden.wait()?;
    if interrupt::requested() {
        return Ok(Ended::not_started("interrupted"));
    }
    Ok(serde_json::from_slice(&answer).unwrap_or_else(|_| Ended {
        exit: Exit::WardenLost(match status.signal() {
            Some(signal) => format!("the warden was killed by signal {signal}"),
            None => format!("the warden ended early ({status})"),
        }),
        ..Ended::not_started("")
    }))
}
