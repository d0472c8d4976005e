//! A cell under `:trace`: the host is its tracer already, and hands what it hears to a recording.

use std::collections::{BTreeMap, HashSet};
use std::io;

use libc::c_int;
use link::TraceRequest;
use tracer::Tracer;
use tracer::recording::{OPTIONS, Recording};

use crate::inbox;

/// What the host wants to hear of a cell process that isn't recorded: threads, `execve(2)`, ends.
pub(crate) const QUIET: c_int =
    libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXEC;

/// And of one that is.
const RECORDED: c_int = QUIET | OPTIONS;

/// A recording, and how it shall be shown.
pub(crate) struct Traced {
    pub(crate) recording: Recording,
    request: TraceRequest,
}

impl Traced {
    /// Begins: from here on every stop of these threads goes to the recording.
    pub(crate) fn begin(cell: c_int, threads: &HashSet<c_int>, request: TraceRequest) -> Traced {
        let tracer = Tracer::new().only(request.only.iter()).fd_targets(false);
        let mut recording = Recording::begin(tracer, cell, threads.iter().copied());
        for &tid in threads {
            if let Some(status) = stop(tid) {
                set_options(tid, RECORDED);
                let _ = recording.report(tid, status);
            }
        }
        Traced { recording, request }
    }

    /// Ends: threads of the cell process are quiet again, its children are let go; what there is to show.
    pub(crate) fn end(self, cell_threads: &HashSet<c_int>) -> BTreeMap<String, String> {
        for tid in self.recording.tracees() {
            let Some(status) = stop(tid) else {
                continue;
            };
            let signal = undelivered(status);
            if cell_threads.contains(&tid) {
                set_options(tid, QUIET);
                resume(tid, signal);
            } else {
                // SAFETY: a stopped tracee of this thread, and a number.
                unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, 0, signal) };
            }
        }
        self.show()
    }

    /// What there is to show of a process that has died.
    pub(crate) fn show(self) -> BTreeMap<String, String> {
        let trace = self.recording.end();
        let pictures = if self.request.summary {
            vec![lens::summary(&trace)]
        } else if trace.events.is_empty() {
            vec![lens::calls(&trace)]
        } else {
            vec![lens::time_line(&trace), lens::calls(&trace)]
        };
        let join = |part: fn(&lens::Picture) -> String| {
            let parts: Vec<String> = pictures.iter().map(part).collect();
            parts.join("\n")
        };
        BTreeMap::from([
            ("text/html".to_owned(), join(lens::Picture::html)),
            ("text/plain".to_owned(), join(lens::Picture::text)),
        ])
    }
}

/// Stops a tracee; its status, unless it is gone. A stop at a signal or an event is as good as the one asked for.
fn stop(tid: c_int) -> Option<c_int> {
    // SAFETY: two integers; `waitpid(2)` writes one.
    unsafe {
        if libc::ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) == -1 {
            return None;
        }
        let mut status = 0;
        while libc::waitpid(tid, &raw mut status, libc::__WALL) == -1 {
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return None;
            }
        }
        libc::WIFSTOPPED(status).then_some(status)
    }
}

/// The signal of a signal-delivery stop, else 0.
fn undelivered(status: c_int) -> c_int {
    match libc::WSTOPSIG(status) {
        signal if status >> 16 == 0 && signal != libc::SIGTRAP | 0x80 => signal,
        _ => 0,
    }
}

fn set_options(tid: c_int, options: c_int) {
    // SAFETY: a stopped tracee of this thread, and a number.
    unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, tid, 0, options) };
}

/// `PTRACE_CONT`, with a signal or 0.
pub(crate) fn resume(tid: c_int, signal: c_int) {
    // SAFETY: a stopped tracee of this thread, and a number.
    unsafe { libc::ptrace(libc::PTRACE_CONT, tid, 0, signal) };
}

/// `PTRACE_SEIZE`: whether it is our tracee now.
pub(crate) fn seize(tid: c_int) -> io::Result<()> {
    // SAFETY: two integers.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid, 0, QUIET | libc::PTRACE_O_EXITKILL) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `PTRACE_GETEVENTMSG`.
pub(crate) fn event_message(tid: c_int) -> libc::c_ulong {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one number.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, 0, &raw mut message) };
    message
}

/// Whatever else there is to report, without waiting.
pub(crate) fn pending() -> Option<(c_int, c_int)> {
    inbox::wait(libc::WNOHANG).ok().flatten()
}
