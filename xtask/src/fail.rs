//! What does the grader say when it cannot do its work?
//!
//! One sentence that names the thing, and the next command to type. Never a
//! backtrace, never a list of causes to puzzle over.

use std::path::Path;
use std::process::Command;
use std::{fmt, io};

/// Exit codes of every subcommand; `cargo xtask check --help` lists them.
pub(crate) mod exit_code {
    /// Everything that was asked for passed.
    pub(crate) const PASSED: u8 = 0;
    /// Something that was asked for did not pass.
    pub(crate) const NOT_PASSED: u8 = 1;
    /// The grader itself could not run; the message says why.
    pub(crate) const CANNOT_RUN: u8 = 2;
    /// Stopped by SIGINT, SIGTERM or SIGHUP; results so far are kept.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Why the grader stops, and what the person can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: Option<String>,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// `what` names the thing (path, exercise, tool) and what is wrong with it.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: None,
        }
    }

    /// A tool that is not there, or may not be executed.
    pub(crate) fn cannot_run(command: &Command, error: &io::Error) -> Self {
        let program = Path::new(command.get_program());
        // Cargo is often called by its whole path: the one that has started us.
        let next = match program.file_name() {
            Some(name) if name == "cargo" => {
                "install Rust with rustup (https://rustup.rs), then run this again"
            }
            _ => "cargo xtask doctor",
        };
        Self::new(format!("cannot run {}: {error}", program.display())).next(next)
    }

    /// The next command to type, or the next thing to do.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n  next: {next}"),
            None => Ok(()),
        }
    }
}

/// From now on a full disk below stdout is an error like any other, and no panic.
///
/// `println!` has no other way to say it; by then nothing can be shown any more.
pub(crate) fn when_output_is_lost() {
    let other = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default();
        let Some(what) = message.strip_prefix("failed printing to ") else {
            return other(info);
        };
        let failure = Failure::new(format!("cannot write to {what}"))
            .next("make room there, or look at it on a terminal");
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("error: {failure}\n").as_bytes(),
        );
        // SAFETY: `_exit(2)` takes no pointer; wardens notice it and end their tests.
        unsafe { libc::_exit(exit_code::CANNOT_RUN.into()) }
    }));
}

/// Names the thing that an `io::Error` is about; the error alone never does.
pub(crate) trait About<T> {
    /// `what` is a phrase such as "cannot read exercises.toml".
    fn about(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> About<T> for std::result::Result<T, E> {
    fn about(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_that_cannot_be_run_is_told_by_its_name_wherever_it_lies() {
        let error = io::Error::from_raw_os_error(libc::ENOENT);
        let said = |program| Failure::cannot_run(&Command::new(program), &error).to_string();
        for cargo in ["cargo", "/gone/bin/cargo"] {
            assert!(said(cargo).contains("next: install Rust with rustup"));
        }
        assert!(said("/gone/git").starts_with("cannot run /gone/git: No such file"));
        assert!(said("git").ends_with("next: cargo xtask doctor"));
    }
}
