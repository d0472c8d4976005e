//! What each stop means, and how the tracee goes on.
//!
//! The traps of `ptrace(2)` that this file is about:
//! - a new child's first stop may be reported before its parent's event: it is held until the parent has spoken;
//! - a thread that isn't the leader and calls `execve(2)` becomes the leader: its tid changes;
//! - a tracee may be killed at any time, then every request fails with ESRCH and the next wait says the rest;
//! - a group stop is not a signal: the tracee must stay stopped (`PTRACE_LISTEN`) until SIGCONT.
//!
//! The first two are dealt with in `tree.rs`; `calls.rs` has those of interrupted calls.

mod attach;
mod calls;
mod signals;
mod tree;

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::decode::Depth;
use crate::fault::Armed;
use crate::ptrace::Syscall;
use crate::tracee::Tracee;
use crate::wait::Queue;
use crate::{Event, Status, Trace, ptrace};

/// What a [`Tracer`](crate::Tracer) was told.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) pid: i32,
    /// `PTRACE_O_*`.
    pub(crate) ptrace: i32,
    /// Empty: all.
    pub(crate) only: Vec<String>,
    pub(crate) faults: Vec<Armed>,
    pub(crate) region_only: bool,
    pub(crate) depth: Option<Depth>,
    pub(crate) limit: usize,
}

/// A process tree under trace. Belongs to the thread that made it.
#[derive(Debug)]
pub(crate) struct Tracing {
    options: Options,
    pub(crate) tracees: HashMap<i32, Tracee>,
    /// New children that have stopped before their parent's event, with their wait status.
    pub(crate) held: HashMap<i32, i32>,
    /// Whether the last parent that ended in a fork was in a region.
    orphans_inside: bool,
    /// New children that have ended before their parent's event.
    stillborn: HashMap<i32, (Status, Duration)>,
    queue: Queue,
    began: Instant,
    events: Vec<Event>,
    dropped: u64,
    status: Option<Status>,
}

impl Tracing {
    /// Nothing recorded yet, of these tracees.
    pub(crate) fn new(options: Options, tracees: HashMap<i32, Tracee>) -> Tracing {
        Tracing {
            options,
            tracees,
            held: HashMap::new(),
            orphans_inside: false,
            stillborn: HashMap::new(),
            queue: Queue::default(),
            began: Instant::now(),
            events: Vec::new(),
            dropped: 0,
            status: None,
        }
    }

    /// The first process hasn't become its program yet: what it does until then isn't recorded.
    pub(crate) fn starting(&mut self) {
        if let Some(tracee) = self.tracees.get_mut(&self.options.pid) {
            tracee.starting = true;
        }
    }

    /// Traces until nobody is left.
    pub(crate) fn run(&mut self) -> io::Result<Trace> {
        while let Some((tid, status)) = self.queue.next(self.tracees.len() > 1)? {
            self.report(tid, status)?;
        }
        Ok(self.take())
    }

    /// What was recorded so far.
    pub(crate) fn take(&mut self) -> Trace {
        Trace {
            events: std::mem::take(&mut self.events),
            pid: self.options.pid,
            status: self.status,
            dropped: self.dropped,
            duration: self.began.elapsed(),
        }
    }

    pub(crate) fn report(&mut self, tid: i32, status: i32) -> io::Result<()> {
        let now = self.began.elapsed();
        let done = if let Some(end) = Status::of(status) {
            self.ended(tid, end, now);
            Ok(())
        } else if !self.tracees.contains_key(&tid) {
            self.hold(tid, status)
        } else {
            self.stopped(tid, status, now)
        };
        match done {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            done => done,
        }
    }

    fn stopped(&mut self, tid: i32, status: i32, now: Duration) -> io::Result<()> {
        const SYSCALL: i32 = libc::SIGTRAP | 0x80;
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            0 if signal == SYSCALL => {
                let info = ptrace::syscall_info(tid)?;
                match info.syscall() {
                    Syscall::Entry { number, args } => self.entered(tid, &info, number, args, now),
                    Syscall::Exit { value } => self.left(tid, &info, value, now),
                    // Another thread has become this tid since: its own stop is still to be reported.
                    Syscall::None => Ok(()),
                }
            }
            0 => self.signalled(tid, signal, now),
            ptrace::EVENT_STOP => first_or_group_stop(tid, signal),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.spawned(tid, now)
            }
            libc::PTRACE_EVENT_EXEC => self.executed(tid, now),
            _ => ptrace::resume(tid, 0),
        }
    }

    /// Its place in the record, unless that is full.
    fn push(&mut self, event: Event) -> Option<usize> {
        if self.events.len() >= self.options.limit {
            self.dropped += 1;
            return None;
        }
        self.events.push(event);
        Some(self.events.len() - 1)
    }
}

/// `PTRACE_EVENT_STOP`: with a stopping signal it is a group stop, with SIGTRAP a new tracee, the answer to an
/// interrupt, or the end of a group stop.
fn first_or_group_stop(tid: i32, signal: i32) -> io::Result<()> {
    match signal {
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => ptrace::listen(tid),
        _ => ptrace::resume(tid, 0),
    }
}
