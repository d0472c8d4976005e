//! How is every process that a test started found and ended, even one that left its session?
//!
//! By parenthood: with a child subreaper above it (`PR_SET_CHILD_SUBREAPER`, prctl(2)) an orphan does not
//! escape to init, so that the descendants in /proc are all there are.

use crate::inside::unseen;
use std::fs;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Makes this process the child subreaper of its descendants: it adopts their orphans.
///
/// [`Child`](crate::Child) calls it; calling it again does no harm.
pub fn subreaper() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer and no memory.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    });
}

/// The living and the zombie descendants of a process, parents before children.
pub fn descendants(pid: i32) -> Vec<i32> {
    let all: Vec<(i32, i32)> = unseen(|| {
        pids()
            .filter_map(|pid| Some((pid, Stat::of(pid)?.ppid)))
            .collect()
    });
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(
            all.iter()
                .filter(|(_, ppid)| *ppid == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.remove(0);
    found
}

/// The descendants that have ended and were not waited for: one look at /proc, however many there are.
pub fn zombies(pid: i32) -> Vec<i32> {
    let mut found = descendants(pid);
    unseen(|| found.retain(|pid| Stat::of(*pid).is_some_and(|stat| stat.state == 'Z')));
    found
}

/// Kills all descendants of this process with SIGKILL and reaps those that are its children.
///
/// A process may fork while it is being hunted: the hunt repeats until none is left, at most `limit`.
/// Returns whether all are gone.
pub(crate) fn kill_descendants(limit: Duration) -> bool {
    let me = std::process::id() as i32;
    hunt(limit, || descendants(me))
}

/// Kills the orphans that this process has adopted, and their descendants: of a keeper that was killed. `keepers` are
/// spared, and so is what was started in this process's own session, which a keeper leaves.
pub(crate) fn kill_orphans(keepers: &Mutex<Vec<i32>>, limit: Duration) -> bool {
    let me = std::process::id() as i32;
    let own = Stat::of(me).map(|stat| stat.session);
    hunt(limit, || {
        // Locked while looking: a keeper that is forked now is not in this list of descendants.
        let keepers = keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut orphans = descendants(me);
        for keeper in keepers.iter() {
            let kept = descendants(*keeper);
            orphans.retain(|pid| pid != keeper && !kept.contains(pid));
        }
        orphans.retain(|pid| Stat::of(*pid).map(|stat| stat.session) != own);
        orphans
    })
}

fn hunt(limit: Duration, prey: impl Fn() -> Vec<i32>) -> bool {
    let until = Instant::now() + limit;
    let own_group = Stat::of(std::process::id() as i32).map(|stat| stat.pgrp);
    loop {
        let left = prey();
        if left.is_empty() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        for pid in left {
            // A whole group at once, kill(2) being atomic over it: one that forks and exits all the time is never
            // where it was seen.
            if let Some(stat) =
                Stat::of(pid).filter(|stat| stat.pgrp > 1 && Some(stat.pgrp) != own_group)
            {
                // SAFETY: kill takes two integers.
                unsafe { libc::kill(-stat.pgrp, libc::SIGKILL) };
            }
            kill(pid, libc::SIGKILL);
            // A zombie of another parent is that parent's to reap, or ours when the parent has gone.
            // SAFETY: a null status pointer is allowed; WNOHANG never blocks.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// kill(2); a process that has gone is no error here.
pub(crate) fn kill(pid: i32, signal: i32) {
    if pid > 1 {
        // SAFETY: kill takes two integers.
        unsafe { libc::kill(pid, signal) };
    }
}

/// What /proc/PID/stat says, as far as it is needed here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) ppid: i32,
    pub(crate) pgrp: i32,
    pub(crate) session: i32,
    pub(crate) tty_nr: i32,
    pub(crate) tpgid: i32,
}

impl Stat {
    pub(crate) fn of(pid: i32) -> Option<Stat> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The command stands in parentheses and may itself hold any byte: fields begin after the last ')'.
        let after = text.iter().rposition(|byte| *byte == b')')?;
        let fields = String::from_utf8_lossy(&text[after + 1..]).into_owned();
        let mut fields = fields.split_ascii_whitespace();
        Some(Stat {
            state: fields.next()?.chars().next()?,
            ppid: fields.next()?.parse().ok()?,
            pgrp: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            tty_nr: fields.next()?.parse().ok()?,
            tpgid: fields.next()?.parse().ok()?,
        })
    }
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
