//! Who has stopped or ended?

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::ptrace;

/// What `waitpid(2)` reports of a tracee: its tid and status.
pub(crate) type Report = (i32, i32);

/// Reports of this thread's tracees, in an order that starves none.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Reported by the kernel, not looked at yet.
    reports: VecDeque<Report>,
    /// Tracees that stay stopped until then.
    delayed: Vec<(Instant, i32)>,
}

impl Queue {
    /// The next report; `None` when no tracee is left. EINTR: waits on. `many`: there is more than one tracee.
    ///
    /// # Errors
    /// Those of `waitpid(2)`.
    pub(crate) fn next(&mut self, many: bool) -> io::Result<Option<Report>> {
        /// While a tracee is delayed, how long the others may have to wait for us.
        const STEP: Duration = Duration::from_micros(200);
        if let Some(report) = self.reports.pop_front() {
            return Ok(Some(report));
        }
        loop {
            let flags = if self.delayed.is_empty() {
                0
            } else {
                libc::WNOHANG
            };
            match wait(flags) {
                Ok(Some(report)) => {
                    self.reports.push_back(report);
                    if many {
                        self.collect();
                    }
                    return Ok(self.reports.pop_front());
                }
                Ok(None) => std::thread::sleep(STEP),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ECHILD) => return Ok(None),
                    Some(libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
            self.end_delays();
        }
    }

    /// Takes what else is there before anybody goes on. The kernel looks at tracees in order of age, and two busy
    /// old ones would starve the rest; and who has been stopped for a while is off its CPU, which `ptrace(2)` would
    /// otherwise wait for.
    fn collect(&mut self) {
        while let Ok(Some((tid, status))) = wait(libc::WNOHANG) {
            if status >> 16 == libc::PTRACE_EVENT_EXEC {
                // A leader that was stopped while another thread became it: that stop is over.
                self.reports.retain(|&(earlier, _)| earlier != tid);
            }
            self.reports.push_back((tid, status));
        }
    }

    /// This tracee, stopped now, goes on after so long.
    pub(crate) fn delay(&mut self, tid: i32, time: Duration) {
        self.delayed.push((Instant::now() + time, tid));
    }

    /// This tracee has ended.
    pub(crate) fn ended(&mut self, tid: i32) {
        self.delayed.retain(|&(_, delayed)| delayed != tid);
    }

    fn end_delays(&mut self) {
        let now = Instant::now();
        self.delayed.retain(|&(until, tid)| {
            let over = until <= now;
            if over {
                // ESRCH: killed meanwhile.
                let _ = ptrace::resume(tid, 0);
            }
            !over
        });
    }
}

/// One `waitpid(2)` for the tracees of this thread. `None`: WNOHANG, and nobody has anything to report.
fn wait(flags: i32) -> io::Result<Option<Report>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    match unsafe {
        libc::waitpid(
            -1,
            &raw mut status,
            libc::__WALL | libc::__WNOTHREAD | flags,
        )
    } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        tid => Ok(Some((tid, status))),
    }
}
