//! What does `waitpid(2)` say, and how does the tracee go on?
//!
//! The cell process is stopped at signals, new threads, `execve(2)` and its end. Where a recording runs, everything goes
//! through that.

use std::collections::HashSet;

use libc::c_int;
use link::FromHost;

use super::{Host, STOPPED};
use crate::death::Crash;
use crate::inbox::Timer;
use crate::traced;

impl Host {
    pub(super) fn report(&mut self, tid: c_int, status: c_int) {
        if libc::WIFSTOPPED(status) {
            return self.stopped(tid, status);
        }
        self.threads.remove(&tid);
        if let Some(recorded) = &mut self.recorded {
            let _ = recorded.recording.report(tid, status);
        }
        if tid == self.cell && self.dying.is_none() {
            self.dying = Some(status);
        } else if Some(tid) == self.checkpoint {
            self.checkpoint = None;
        }
    }

    fn stopped(&mut self, tid: c_int, status: c_int) {
        let signal = libc::WSTOPSIG(status);
        let event = status >> 16;
        match event {
            0 if signal != libc::SIGTRAP | 0x80 => {
                if let Ok(crash) = Crash::of(tid) {
                    self.crashes.insert(tid, crash);
                }
            }
            libc::PTRACE_EVENT_EXIT => {
                if tid == self.cell && self.dying.is_none() && !self.other_thread_execs() {
                    // Held here until the checkpoint has its descriptors.
                    self.dying = Some(traced::event_message(tid) as c_int);
                } else {
                    traced::resume(tid, 0);
                }
                return;
            }
            libc::PTRACE_EVENT_EXEC if tid == self.cell => {
                let program = std::fs::read_link(format!("/proc/{tid}/exe"));
                self.executed = Some(program.map_or_else(
                    |_| "another program".into(),
                    |path| path.display().to_string(),
                ));
                self.threads = HashSet::from([tid]);
            }
            libc::PTRACE_EVENT_CLONE => {
                let child = traced::event_message(tid) as c_int;
                if self.is_thread(child) {
                    self.threads.insert(child);
                }
            }
            _ => {}
        }
        let group_stop = event == libc::PTRACE_EVENT_STOP
            && [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
        if group_stop && tid == self.cell {
            let said = FromHost::Continued {
                cell: self.settings.cell,
                signal: tracer::signal_name(signal).to_owned(),
            };
            self.line.say(&said, b"");
            self.inbox.later(STOPPED, Timer::Continue(tid));
        }
        if let Some(recorded) = &mut self.recorded {
            let _ = recorded.recording.report(tid, status);
            return;
        }
        match event {
            _ if group_stop => {
                // SAFETY: a tracee in a group stop, where it shall stay.
                unsafe { libc::ptrace(libc::PTRACE_LISTEN, tid, 0, 0) };
            }
            0 if signal != libc::SIGTRAP | 0x80 => traced::resume(tid, signal),
            libc::PTRACE_EVENT_STOP if !self.threads.contains(&tid) && !self.is_thread(tid) => {
                // clone(2) without an exit signal: a process, and none of our business.
                // SAFETY: a stopped tracee of this thread.
                unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, 0, 0) };
            }
            libc::PTRACE_EVENT_STOP => {
                self.threads.insert(tid);
                traced::resume(tid, 0);
            }
            _ => traced::resume(tid, 0),
        }
    }

    /// Whether the first thread ends only because another one is in `execve(2)`, and will be the process.
    fn other_thread_execs(&self) -> bool {
        self.threads
            .iter()
            .filter(|&&tid| tid != self.cell)
            .any(|tid| {
                let call =
                    std::fs::read_to_string(format!("/proc/{}/task/{tid}/syscall", self.cell))
                        .unwrap_or_default();
                let number = call
                    .split_whitespace()
                    .next()
                    .and_then(|word| word.parse::<libc::c_long>().ok());
                matches!(number, Some(libc::SYS_execve | libc::SYS_execveat))
            })
    }

    pub(super) fn is_thread(&self, tid: c_int) -> bool {
        std::path::Path::new(&format!("/proc/{}/task/{tid}", self.cell)).exists()
    }
}
