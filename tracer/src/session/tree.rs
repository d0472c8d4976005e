//! How the tree of tracees grows and shrinks: births, `execve(2)`, ends.

use std::io;
use std::time::Duration;

use super::Tracing;
use crate::tracee::{Open, Tracee};
use crate::{Event, Status, ptrace};

impl Tracing {
    pub(super) fn spawned(&mut self, tid: i32, time: Duration) -> io::Result<()> {
        let child = ptrace::event_message(tid)?;
        let Some(parent) = self.tracees.get_mut(&tid) else {
            return Ok(());
        };
        let (pid, inside) = (parent.pid, parent.inside);
        let thread = match parent.cloning.take() {
            Some(flags) => flags & libc::CLONE_THREAD as u64 != 0,
            None => id_of(child, "Tgid:") != Some(child),
        };
        if inside {
            self.push(Event::Spawn {
                pid,
                tid,
                child,
                thread,
                time,
            });
        }
        let owner = if thread { pid } else { child };
        let stillborn = self.stillborn.remove(&child);
        // A number that comes again is another child's.
        if let Some((status, time)) = stillborn.filter(|_| !lives(child)) {
            self.push(Event::Exit {
                pid: owner,
                tid: child,
                status,
                time,
            });
        } else {
            self.adopt(child, owner, inside)?;
        }
        ptrace::resume(tid, 0)
    }

    /// A new child has stopped before its parent's event: only that tells what the child inherits.
    pub(super) fn hold(&mut self, tid: i32, status: i32) -> io::Result<()> {
        self.held.insert(tid, status);
        self.release_if_orphan(tid)
    }

    /// Lets a held child go if its parent was killed before the event, which then never comes.
    fn release_if_orphan(&mut self, tid: i32) -> io::Result<()> {
        let pid = id_of(tid, "Tgid:").unwrap_or(tid);
        let parent = if pid == tid {
            id_of(tid, "PPid:")
        } else {
            Some(pid)
        };
        let alive = |pid| self.tracees.values().any(|tracee| tracee.pid == pid);
        if parent.is_some_and(alive) {
            return Ok(());
        }
        self.adopt(tid, pid, self.orphans_inside)
    }

    /// A new tracee, which goes on if it has been held.
    fn adopt(&mut self, tid: i32, pid: i32, inside: bool) -> io::Result<()> {
        // Its place is taken if it was let go before its parent's event (CLONE_PARENT makes an orphan of it).
        self.tracees
            .entry(tid)
            .or_insert_with(|| Tracee::new(pid, inside))
            .inside = inside;
        match self.held.remove(&tid) {
            Some(status) => self.report(tid, status),
            None => Ok(()),
        }
    }

    pub(super) fn executed(&mut self, tid: i32, time: Duration) -> io::Result<()> {
        let former = ptrace::event_message(tid)?;
        let leader = self.tracees.remove(&tid);
        let Some(mut tracee) = (if former == tid {
            leader
        } else {
            self.tracees.remove(&former)
        }) else {
            return ptrace::resume(tid, 0);
        };
        tracee.interrupted.clear();
        tracee.starting = false;
        let path = tracee.program.take();
        let (pid, inside) = (tracee.pid, tracee.inside);
        self.tracees.insert(tid, tracee);
        if inside {
            self.push(Event::Exec {
                pid,
                former,
                path,
                time,
            });
        }
        ptrace::resume(tid, 0)
    }

    pub(super) fn ended(&mut self, tid: i32, status: Status, now: Duration) {
        if tid == self.options.pid {
            self.status = Some(status);
        }
        self.queue.ended(tid);
        let Some(tracee) = self.tracees.remove(&tid) else {
            self.held.remove(&tid);
            self.stillborn.insert(tid, (status, now));
            return;
        };
        if let Some(Open {
            index: Some(index), ..
        }) = tracee.open
        {
            self.finish(index, None, Some(now));
        }
        self.push(Event::Exit {
            pid: tracee.pid,
            tid,
            status,
            time: now,
        });
        if tracee.cloning.is_some() {
            self.orphans_inside = tracee.inside;
        }
        for child in self.held.keys().copied().collect::<Vec<_>>() {
            // ESRCH: killed too.
            let _ = self.release_if_orphan(child);
        }
    }
}

/// Whether there is a thread of this number that is more than a zombie.
fn lives(tid: i32) -> bool {
    status_line(tid, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// A number in `/proc/TID/status`; `None` if the thread is gone.
fn id_of(tid: i32, name: &str) -> Option<i32> {
    status_line(tid, name)?.parse().ok()
}

fn status_line(tid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim().to_owned())
}
