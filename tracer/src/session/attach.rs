//! How a process that runs already comes under trace, with all its threads.

use std::collections::HashMap;
use std::io;

use super::{Options, Tracing};
use crate::ptrace;
use crate::tracee::Tracee;

impl Tracing {
    /// Seizes a process with all its threads; every call from here on will be seen.
    pub(crate) fn attach(options: Options) -> io::Result<Tracing> {
        let pid = options.pid;
        ptrace::seize(pid, options.ptrace)?;
        let mut tracing = Tracing::new(options, HashMap::new());
        let mut unseen = vec![tracing.seized(pid)?];
        unseen.extend(tracing.seize_threads(pid));
        while !unseen.is_empty() {
            let Some((tid, status)) = tracing.queue.next(false)? else {
                break;
            };
            unseen.retain(|&waited| waited != tid);
            tracing.report(tid, status)?;
        }
        Ok(tracing)
    }

    fn seized(&mut self, tid: i32) -> io::Result<i32> {
        ptrace::interrupt(tid)?;
        self.tracees.insert(
            tid,
            Tracee::new(self.options.pid, !self.options.region_only),
        );
        Ok(tid)
    }

    /// Seizes the other threads, again and again until a look finds no new one.
    fn seize_threads(&mut self, pid: i32) -> Vec<i32> {
        let mut seized = Vec::new();
        let mut refused = Vec::new();
        loop {
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
                return seized;
            };
            let tids =
                tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<i32>().ok());
            let new: Vec<i32> = tids
                .filter(|tid| !self.tracees.contains_key(tid) && !refused.contains(tid))
                .collect();
            if new.is_empty() {
                return seized;
            }
            for tid in new {
                // EPERM: made by a thread that we had already, and so traced from its birth. ESRCH: it has ended.
                match ptrace::seize(tid, self.options.ptrace).and_then(|()| self.seized(tid)) {
                    Ok(tid) => seized.push(tid),
                    Err(_) => refused.push(tid),
                }
            }
        }
    }
}
