//! What was recorded: one [`Event`] after the other, in the order in which the kernel reported them.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::Call;
use crate::flags::{signal_code_name, signal_name};

/// Something that happened in the traced process tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A system call was entered. Its place is that of its start.
    Call(Call),
    /// A signal was about to be delivered (handled, ignored or fatal alike). SIGKILL is never seen here.
    Signal(SignalEvent),
    /// A process or thread was made.
    Spawn {
        /// The process that made it.
        pid: i32,
        /// The thread that made it.
        tid: i32,
        /// The new process (its pid) or thread (its tid).
        child: i32,
        /// Whether it is a thread of the same process.
        thread: bool,
        /// Since the trace began.
        time: Duration,
    },
    /// `execve(2)` succeeded: every other thread of the process is gone.
    Exec {
        /// The process.
        pid: i32,
        /// The thread that called; from now on its tid is `pid`.
        former: i32,
        /// What it asked for, as it wrote it.
        path: Option<String>,
        /// Since the trace began.
        time: Duration,
    },
    /// A thread ended; a process when `tid == pid`, which the kernel reports after its last thread.
    Exit {
        /// The process.
        pid: i32,
        /// The thread.
        tid: i32,
        /// How.
        status: Status,
        /// Since the trace began.
        time: Duration,
    },
}

impl Event {
    /// The process it happened in.
    pub fn pid(&self) -> i32 {
        match self {
            Event::Call(call) => call.pid,
            Event::Signal(signal) => signal.pid,
            Event::Spawn { pid, .. } | Event::Exec { pid, .. } | Event::Exit { pid, .. } => *pid,
        }
    }

    /// When, since the trace began (`CLOCK_MONOTONIC`).
    pub fn time(&self) -> Duration {
        match self {
            Event::Call(call) => call.start,
            Event::Signal(signal) => signal.time,
            Event::Spawn { time, .. } | Event::Exec { time, .. } | Event::Exit { time, .. } => {
                *time
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Call(call) => call.fmt(f),
            Event::Signal(signal) => signal.fmt(f),
            Event::Spawn { child, thread, .. } => {
                let what = if *thread { "thread" } else { "process" };
                write!(f, "+++ made {what} {child} +++")
            }
            Event::Exec { path, .. } => {
                write!(
                    f,
                    "+++ became {} +++",
                    path.as_deref().unwrap_or("another program")
                )
            }
            Event::Exit { status, .. } => write!(f, "+++ {status} +++"),
        }
    }
}

/// A signal about to be delivered, with its `siginfo_t` (`sigaction(2)`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalEvent {
    /// The process.
    pub pid: i32,
    /// The thread that takes it.
    pub tid: i32,
    /// `si_signo`.
    pub signo: i32,
    /// "SIGTERM".
    pub name: &'static str,
    /// `si_code`.
    pub code: i32,
    /// `si_pid`, as the receiver sees it, when a process sent the signal or a child's end caused it.
    pub sender: Option<i32>,
    /// `si_uid`, with `sender`.
    pub uid: Option<u32>,
    /// `si_addr` of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, when the kernel raised them.
    pub address: Option<u64>,
    /// Whether [`Action::Signal`](crate::Action::Signal) caused it.
    pub injected: bool,
    /// Since the trace began.
    pub time: Duration,
}

impl SignalEvent {
    /// "SI_USER", "SEGV_MAPERR", "CLD_EXITED".
    pub fn code_name(&self) -> Option<&'static str> {
        signal_code_name(self.signo, self.code)
    }
}

impl fmt::Display for SignalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--- {}", self.name)?;
        match self.code_name() {
            Some(code) => write!(f, " {code}")?,
            None => write!(f, " si_code={}", self.code)?,
        }
        if let Some(sender) = self.sender {
            write!(f, " from {sender}")?;
        }
        if let Some(address) = self.address {
            write!(f, " at {address:#x}")?;
        }
        f.write_str(" ---")
    }
}

/// How a process or thread ended (`wait(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// By `exit(2)`, with the low eight bits of its argument.
    Exited(i32),
    /// By a signal.
    Killed {
        /// Which.
        signal: i32,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl Status {
    /// From the status word of `waitpid(2)`, unless it tells of a stop.
    pub(crate) fn of(word: i32) -> Option<Status> {
        if libc::WIFEXITED(word) {
            Some(Status::Exited(libc::WEXITSTATUS(word)))
        } else if libc::WIFSIGNALED(word) {
            Some(Status::Killed {
                signal: libc::WTERMSIG(word),
                core: libc::WCOREDUMP(word),
            })
        } else {
            None
        }
    }

    /// What a shell would show in `$?`: 128 and the signal's number for a killed process.
    pub fn code(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Killed { signal, .. } => 128 + signal,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exited with {code}"),
            Status::Killed { signal, core } => {
                let core = if *core { " (core dumped)" } else { "" };
                write!(f, "killed by {}{core}", signal_name(*signal))
            }
        }
    }
}
