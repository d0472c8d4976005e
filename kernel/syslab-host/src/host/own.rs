//! What does the cell process have that no copy of it can have?
//!
//! [`fork(2)`](https://man7.org/linux/man-pages/man2/fork.2.html) lists it: threads, children, timers, locks on files and
//! on memory. It is counted when a checkpoint has been made, and said when that takes over.

use std::collections::HashSet;
use std::fs::DirEntry;
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

/// Descriptors up to which each is asked for its locks. To ask the kernel for all locks of all processes
/// (`/proc/locks`) stops every other locker for ten milliseconds, which each cell would wait.
const ASKED: usize = 200;

/// Its record locks, from lines like "1: POSIX  ADVISORY  WRITE 4711 00:1f:23 0 EOF".
fn record_locks(process: c_int) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{process}/fdinfo"));
    let descriptors: Vec<_> = folder.into_iter().flatten().flatten().collect();
    let text = if descriptors.len() > ASKED {
        std::fs::read_to_string("/proc/locks").unwrap_or_default()
    } else {
        let read = |entry: &DirEntry| std::fs::read_to_string(entry.path()).unwrap_or_default();
        descriptors.iter().map(read).collect()
    };
    // Two descriptors of one file tell of the same locks.
    let held: HashSet<&str> = text
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("lock:").unwrap_or(line);
            let (_number, lock) = line.trim_start().split_once(' ')?;
            let mut words = lock.split_whitespace();
            let of = (words.next(), words.nth(2).and_then(|pid| pid.parse().ok()));
            (of == (Some("POSIX"), Some(process))).then_some(lock)
        })
        .collect();
    held.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn record_locks_are_counted_once_however_many_descriptors_there_are() {
        let own = std::process::id() as c_int;
        assert_eq!(record_locks(own), 0);
        let path = std::env::temp_dir().join(format!("syslab-locks-{own}"));
        let file = std::fs::File::create(&path).unwrap();
        for start in [0, 10] {
            // SAFETY: all zero is a value of flock; the descriptor is open.
            let locked = unsafe {
                let mut lock: libc::flock = std::mem::zeroed();
                (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as _, start, 5);
                libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock)
            };
            assert_eq!(locked, 0);
        }
        let again: Vec<_> = (0..3).map(|_| file.try_clone().unwrap()).collect();
        assert_eq!(record_locks(own), 2);
        let many: Vec<_> = (0..ASKED).map(|_| file.try_clone().unwrap()).collect();
        assert_eq!(record_locks(own), 2);
        drop((again, many));
        std::fs::remove_file(&path).unwrap();
    }
}
