//! What became of a child?

use crate::arena::{Arena, Kind};
use crate::calls::Calls;
use crate::process::Process;
use crate::report::{Note, fail, tidy_path};
use crate::signals::Signal;
use crate::watch::{Ended, Outcome};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A child that has ended, and what it left.
#[derive(Debug)]
pub struct Run<T> {
    /// How it ended.
    pub end: End<T>,
    /// What was written to descriptor 1, by the child and by its descendants.
    pub stdout: Vec<u8>,
    /// What was written to descriptor 2.
    pub stderr: Vec<u8>,
    /// What was written to the terminal, when there was one.
    pub terminal: Vec<u8>,
    /// The system calls of the closure; empty unless traced.
    pub calls: Calls,
    /// Descendants at the child's end: still running, or zombies that it never waited for. They were killed.
    pub left: Vec<Left>,
    /// Panics of any thread of any process of the child's tree, oldest first.
    pub panics: Vec<Panic>,
    /// Values of closures that returned in a *descendant*: of a fork(2) that fell out of the exercise, or of a
    /// daemon, whose first process has exited.
    pub elsewhere: Vec<Elsewhere<T>>,
    pub(crate) stopped_by: Option<Signal>,
    pub(crate) fault: Option<u64>,
    pub(crate) broken: Option<String>,
    pub(crate) keeper_killed: bool,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<T> {
    /// The closure returned.
    Returned(T),
    /// The closure panicked.
    Panicked(Panic),
    /// The process exited inside the closure.
    Exited(i32),
    /// A signal ended it.
    Killed(Signal),
    /// It was ended at the limit.
    TimedOut(Duration),
}

/// A panic inside a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The panic's message.
    pub message: String,
    /// The file, relative to the workspace.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// A process that a child left behind.
#[derive(Clone, Debug)]
pub struct Left {
    /// Its pid. It has been killed since.
    pub pid: i32,
    /// Whether it was a zombie: ended, and not waited for.
    pub zombie: bool,
    /// Its facts at the child's end.
    pub process: Process,
}

/// A closure's value from another process than the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere<T> {
    /// Its pid. It has ended since.
    pub pid: i32,
    /// What the closure returned there.
    pub value: T,
}

impl Left {
    /// "a zombie that it never waited for", "a fork of it", "a process (sleep 1000)".
    pub fn words(&self) -> String {
        let command = self.process.command.join(" ");
        if self.zombie {
            "a zombie that it never waited for".to_owned()
        } else if self.process.command == std::env::args().collect::<Vec<_>>() {
            "a fork of it that still runs".to_owned()
        } else if command.is_empty() {
            format!("a process ({})", self.process.name)
        } else {
            format!("a process ({command})")
        }
    }

    pub(crate) fn of(pid: i32) -> Option<Left> {
        Process::of(pid).ok().map(Left::new)
    }

    pub(crate) fn new(process: Process) -> Left {
        Left {
            pid: process.pid,
            zombie: process.zombie(),
            process,
        }
    }
}

/// `words` in a list; what comes more than once is there once, with its count.
fn counted(words: impl Iterator<Item = String>) -> String {
    let mut counts: Vec<(String, u32)> = Vec::new();
    for word in words {
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let said = counts.into_iter().map(|(word, count)| match count {
        1 => word,
        _ => format!("{word} ({count} times)"),
    });
    said.collect::<Vec<_>>().join(", ")
}

impl Panic {
    /// Whether it came from `todo!()`, by libstd's message.
    pub fn todo(&self) -> bool {
        self.message.starts_with("not yet implemented")
    }

    /// What was given to `todo!()`.
    fn todo_text(&self) -> &str {
        let rest = self
            .message
            .strip_prefix("not yet implemented")
            .unwrap_or(&self.message);
        rest.strip_prefix(": ").unwrap_or(rest)
    }
}

impl<T> Run<T> {
    /// The closure's value; any other end, or a process left behind, is the test's failure, told in one sentence.
    #[track_caller]
    pub fn returned(self) -> T {
        if matches!(self.end, End::Returned(_)) && !self.left.is_empty() {
            let left = counted(self.left.iter().map(Left::words));
            let message = format!("the exercise returned and left behind: {left}");
            fail(
                &Note::Leaked {
                    message: message.clone(),
                },
                &message,
            );
        }
        self.returned_and_left().0
    }

    /// The closure's value and what it left behind, for exercises whose work goes on in another process.
    #[track_caller]
    pub fn returned_and_left(self) -> (T, Vec<Left>) {
        if let End::Returned(value) = self.end {
            return (value, self.left);
        }
        self.fail(Location::caller(), "instead of returning")
    }

    /// Asserts that the exercise ended its process with `status`.
    #[track_caller]
    pub fn exited(&self, status: i32) {
        if self.end.exit_status() != Some(status) {
            self.fail(
                Location::caller(),
                &format!("instead of exiting with status {status}"),
            );
        }
    }

    /// Asserts that `signal` ended the exercise.
    #[track_caller]
    pub fn killed_by(&self, signal: impl Into<Signal>) {
        let signal = signal.into();
        if !matches!(self.end, End::Killed(by) if by == signal) {
            self.fail(
                Location::caller(),
                &format!("instead of being killed by {signal}"),
            );
        }
    }

    /// Where a copy of the exercise's process has stopped at a `todo!`, the test sees no more than how that ended: fails
    /// and says what there is to do.
    #[track_caller]
    pub fn tell_todo(&self) {
        if self.panics.iter().any(Panic::todo) {
            self.fail(Location::caller(), "instead of returning");
        }
    }

    /// Standard output as text; bytes that are not UTF-8 are replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; bytes that are not UTF-8 are replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The terminal's output as text, with `\r\n` as `\n`.
    pub fn terminal_text(&self) -> String {
        String::from_utf8_lossy(&self.terminal).replace("\r\n", "\n")
    }

    /// The end in words, as "was killed by SIGSEGV at address 0x0".
    pub fn sentence(&self) -> String {
        match &self.end {
            End::Returned(_) => "returned".to_owned(),
            End::Panicked(panic) if panic.todo() => {
                format!("stopped at todo!({:?})", panic.todo_text())
            }
            End::Panicked(panic) => format!(
                "panicked at {}:{}: {}",
                panic.file, panic.line, panic.message
            ),
            End::Exited(status) => format!("exited with status {status}"),
            End::Killed(Signal(libc::SIGXFSZ)) => {
                let limit = crate::inside::FILE_LIMIT >> 20;
                format!(
                    "was killed by SIGXFSZ: it wrote more than {limit} MiB to one file or stream"
                )
            }
            End::Killed(_) if self.keeper_killed => "killed its parent process".to_owned(),
            End::Killed(signal) => match self.fault {
                Some(address) => format!("was killed by {signal} at address {address:#x}"),
                None => format!("was killed by {signal}"),
            },
            End::TimedOut(limit) => match self.stopped_by {
                Some(signal) => format!(
                    "was stopped by {signal} and had not ended after {}",
                    seconds(*limit)
                ),
                None => format!("was still running after {}", seconds(*limit)),
            },
        }
    }

    pub(crate) fn fail(&self, caller: &Location<'_>, instead: &str) -> ! {
        let (file, line) = (tidy_path(caller.file()), caller.line());
        if let Some(broken) = &self.broken {
            let message = format!("the exercise could not be run: {broken}");
            fail(
                &Note::Failed {
                    message: message.clone(),
                    file,
                    line,
                },
                &message,
            );
        }
        // The panic of a thread reaches its joiner as another panic: the first one is the cause.
        if let Some(todo) = self.panics.iter().find(|panic| panic.todo()) {
            let note = Note::Todo {
                message: todo.todo_text().to_owned(),
                file: todo.file.clone(),
                line: todo.line,
            };
            fail(
                &note,
                &format!("the exercise stopped at todo!({:?})", todo.todo_text()),
            );
        }
        let mut message = format!("the exercise {}", self.sentence());
        let note = match &self.end {
            End::TimedOut(limit) => Note::TimedOut {
                seconds: limit.as_secs(),
                message: message.clone(),
            },
            End::Killed(signal) => {
                if let Some(panic) = self.panics.last() {
                    message = format!("{message}, after a panic: {}", panic.message);
                } else if signal.0 == libc::SIGABRT
                    && let Some(last) = self
                        .stderr_text()
                        .lines()
                        .rfind(|line| !line.trim().is_empty() && !line.starts_with("note:"))
                {
                    // What abort(3) is called for is said there: by std, by glibc's malloc.
                    message = format!("{message}: {last}");
                }
                Note::Crashed {
                    signal: signal.name(),
                    message: message.clone(),
                }
            }
            End::Panicked(panic) => {
                // What a test says in its child is its own sentence, and its place stands below.
                if panic.file.starts_with("exercises/tests/") {
                    message.clone_from(&panic.message);
                }
                if let Some(first) = self.panics.first().filter(|first| *first != panic) {
                    message = format!("{message}, after a panic: {}", first.message);
                }
                Note::Failed {
                    message: message.clone(),
                    file: panic.file.clone(),
                    line: panic.line,
                }
            }
            End::Exited(_) | End::Returned(_) => {
                message = format!("{message} {instead}");
                Note::Failed {
                    message: message.clone(),
                    file,
                    line,
                }
            }
        };
        fail(&note, &message)
    }
}

impl<T> End<T> {
    /// The exit status, when the process exited inside the closure.
    pub fn exit_status(&self) -> Option<i32> {
        match self {
            End::Exited(status) => Some(*status),
            _ => None,
        }
    }
}

/// Captured bytes of a run.
#[derive(Default)]
pub(crate) struct Captured {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) terminal: Vec<u8>,
}

impl<T: DeserializeOwned> Run<T> {
    pub(crate) fn new(
        arena: &Arena,
        outcome: Outcome,
        limit: Duration,
        captured: Captured,
        calls: Calls,
    ) -> Run<T> {
        let header = arena.header();
        let child = header.child.load(Ordering::Relaxed);
        let mut run = Run {
            end: End::TimedOut(limit),
            stdout: captured.stdout,
            stderr: captured.stderr,
            terminal: captured.terminal,
            calls,
            left: outcome.left,
            panics: Vec::new(),
            elsewhere: Vec::new(),
            stopped_by: None,
            fault: None,
            broken: None,
            keeper_killed: outcome.ended == Ended::KeeperKilled,
        };
        let (mut value, mut unwound) = (None, false);
        for record in arena.records() {
            match record.kind {
                Kind::Returned => match serde_json::from_slice(&record.bytes) {
                    Ok(it) if record.pid == child => value = Some(it),
                    Ok(it) => run.elsewhere.push(Elsewhere {
                        pid: record.pid,
                        value: it,
                    }),
                    Err(error) => run.broken = Some(format!("its value did not cross: {error}")),
                },
                Kind::Panicked => run.panics.extend(record.panic()),
                Kind::Unwound => unwound |= record.pid == child,
                Kind::Unreaped => {}
                Kind::Broken => {
                    run.broken = Some(String::from_utf8_lossy(&record.bytes).into_owned());
                }
            }
        }
        run.end = match outcome.ended {
            Ended::Exited(_) if unwound => {
                End::Panicked(run.panics.last().cloned().unwrap_or(Panic {
                    message: "a panic without a message".to_owned(),
                    file: String::new(),
                    line: 0,
                }))
            }
            Ended::Exited(status) => match value {
                Some(value) => End::Returned(value),
                None => End::Exited(status),
            },
            Ended::Killed(signal) => {
                let said = arena.said();
                if said.fault_signal.load(Ordering::Acquire) == signal {
                    run.fault = Some(said.fault_address.load(Ordering::Relaxed));
                }
                End::Killed(Signal(signal))
            }
            Ended::TimedOut { stopped_by } => {
                run.stopped_by = (stopped_by != 0).then_some(Signal(stopped_by));
                End::TimedOut(limit)
            }
            Ended::KeeperKilled => End::Killed(Signal(libc::SIGKILL)),
        };
        run
    }
}

/// "10 s", "0.5 s".
pub(crate) fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
