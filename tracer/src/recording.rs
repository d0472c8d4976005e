//! How does somebody record who traces already, and waits for its tracees itself?
//!
//! A process has one tracer, and that one may have reasons of its own to wait (to hold a tracee at its end, say).
//! It hands every report of a tracee to a [`Recording`] as long as that lasts.

use std::collections::HashMap;
use std::io;

use crate::session::Tracing;
use crate::tracee::Tracee;
use crate::{Trace, Tracer, ptrace};

/// The `PTRACE_O_*` options that tracees need while they are recorded: those of the caller may be added.
pub const OPTIONS: i32 = ptrace::WITH_CHILDREN;

/// A record of tracees that somebody else waits for, in regions ([`region`](crate::region)) only.
#[derive(Debug)]
pub struct Recording {
    tracing: Tracing,
}

impl Recording {
    /// Begins with these threads of a process: each is a tracee of this thread with [`OPTIONS`] set, and its next
    /// stop will be [reported](Recording::report).
    pub fn begin(tracer: Tracer, pid: i32, threads: impl IntoIterator<Item = i32>) -> Recording {
        let options = tracer.region_only().options(pid);
        let tracees: HashMap<i32, Tracee> = threads
            .into_iter()
            .map(|tid| (tid, Tracee::new(pid, false)))
            .collect();
        Recording {
            tracing: Tracing::new(options, tracees),
        }
    }

    /// What `waitpid(2)` has said of a tracee. One that has stopped goes on, to its next system call.
    ///
    /// # Errors
    /// Those of `ptrace(2)` that don't mean that the tracee has ended.
    pub fn report(&mut self, tid: i32, status: i32) -> io::Result<()> {
        self.tracing.report(tid, status)
    }

    /// The threads and processes that are under trace now.
    pub fn tracees(&self) -> Vec<i32> {
        let known = self.tracing.tracees.keys();
        known.chain(self.tracing.held.keys()).copied().collect()
    }

    /// What was recorded. The tracees stay as they are.
    pub fn end(mut self) -> Trace {
        self.tracing.take()
    }
}
