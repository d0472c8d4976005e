//! What does the cell process have that no copy of it can have?
//!
//! [`fork(2)`](https://man7.org/linux/man-pages/man2/fork.2.html) lists it: threads, children, timers, locks on files and
//! on memory. It is counted when a checkpoint has been made, and said when that takes over.

use std::sync::atomic::Ordering;

use libc::c_int;

use crate::page::Page;
use crate::tree;

/// What earlier cells have given to the process, and a death takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    threads: usize,
    children: usize,
    timers: usize,
    record_locks: usize,
    locked_memory: bool,
}

impl Own {
    /// Of the cell process, which has counted what only itself can see.
    pub(super) fn of(cell: c_int, page: &Page) -> Own {
        let status = std::fs::read_to_string(format!("/proc/{cell}/status")).unwrap_or_default();
        let field = |name: &str| -> Option<usize> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Own {
            threads: field("Threads:").map_or(0, |all| all.saturating_sub(1)),
            children: tree::children(cell).len(),
            timers: page.timers.load(Ordering::SeqCst) as usize,
            record_locks: record_locks(cell),
            locked_memory: field("VmLck:").is_some_and(|kib| kib > 0),
        }
    }

    /// A line for each kind.
    pub(super) fn losses(self) -> Vec<String> {
        let counted = [
            (
                self.threads,
                "threads",
                "those that earlier cells had started",
            ),
            (
                self.children,
                "children",
                "wait(2) does not find those that earlier cells had started",
            ),
            (self.timers, "timers", "those that earlier cells had set"),
            (
                self.record_locks,
                "record locks",
                "those that earlier cells had taken by fcntl(2)",
            ),
        ];
        let mut said: Vec<String> = counted
            .into_iter()
            .filter(|&(count, ..)| count > 0)
            .map(|(count, what, why)| format!("{what} lost: {count} ({why})"))
            .collect();
        if self.locked_memory {
            said.push("memory locks lost: all (mlock(2) is not inherited)".into());
        }
        said
    }
}

/// Its locks in `/proc/locks`: "1: POSIX  ADVISORY  WRITE 4711 00:1f:23 0 EOF".
fn record_locks(process: c_int) -> usize {
    let all = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let held = all.lines().filter(|line| {
        let mut words = line.split_whitespace().skip(1);
        let of = (words.next(), words.nth(2).and_then(|pid| pid.parse().ok()));
        of == (Some("POSIX"), Some(process))
    });
    held.count()
}
