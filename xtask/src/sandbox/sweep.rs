//! What did a test leave running, and how is it ended for certain?
//!
//! A process is the test's if its ancestry leads to the warden, which adopts
//! orphans (`PR_SET_CHILD_SUBREAPER`): neither `setsid(2)` nor a second fork
//! leads out of it. When the warden has no child left (ECHILD), nothing is left.
//!
//! Killing one by one loses against processes that fork and end faster than they
//! can be looked at. Where the warden can signal nothing but the test's processes
//! (Landlock), `kill(-1, …)` reaches all of them at once; elsewhere they are
//! stopped and killed again and again, its own children most often of all.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroup::Cgroup;

/// One line of `/proc/PID/stat`.
struct Entry {
    parent: i32,
    state: char,
    name: String,
}

/// Longest time that ending a test's processes may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a process that is already on its way out is not called left behind.
const SETTLE: Duration = Duration::from_millis(200);

/// Waits a moment for what is ending by itself, then names what still lives.
///
/// `test` is left unreaped for the caller.
pub(super) fn settle(warden: Pid, test: Pid) -> Vec<String> {
    let until = Instant::now() + SETTLE;
    loop {
        let table = table();
        let mut left: Vec<(i32, &Entry)> = descendants(&table, warden.as_raw())
            .into_iter()
            .filter(|pid| *pid != test.as_raw())
            .filter_map(|pid| table.get(&pid).map(|entry| (pid, entry)))
            .filter(|(_, entry)| entry.state != 'Z')
            .collect();
        left.sort_by_key(|(pid, _)| *pid);
        if left.is_empty() || Instant::now() > until {
            return left
                .into_iter()
                .map(|(pid, entry)| describe(pid, entry))
                .collect();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn describe(pid: i32, entry: &Entry) -> String {
    format!("{} (pid {pid})", entry.name)
}

/// Ends everything below the caller, and everything in `cgroup`.
///
/// `alone` says that the caller can signal nothing else, so that -1 means just that.
/// Gives how each child of the caller ended.
pub(super) fn end_descendants(cgroup: Option<&Cgroup>, alone: bool) -> HashMap<i32, WaitStatus> {
    let me = nix::unistd::getpid();
    let mut reaped = HashMap::new();
    let until = Instant::now() + PATIENCE;
    if let Some(cgroup) = cgroup {
        cgroup.forbid_forks();
    }
    while Instant::now() < until {
        if alone {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
        let table = table();
        let mut found = descendants(&table, me.as_raw());
        found.extend(
            cgroup
                .iter()
                .flat_map(|group| group.members())
                .map(Pid::as_raw),
        );
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for pid in &found {
                let _ = kill(Pid::from_raw(*pid), signal);
            }
        }
        for _ in 0..20 {
            for pid in own_children(me) {
                let _ = kill(pid, Signal::SIGKILL);
            }
            if !reap(&mut reaped) {
                return reaped;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    reaped
}

/// The caller's children, in one short look (`CONFIG_PROC_CHILDREN`; none without it).
fn own_children(me: Pid) -> Vec<Pid> {
    let path = format!("/proc/{me}/task/{me}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// Reaps the children that have ended, and notes how. False when there is no child left.
fn reap(reaped: &mut HashMap<i32, WaitStatus>) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => match status.pid() {
                Some(pid) => reaped.insert(pid.as_raw(), status),
                None => return true,
            },
            Err(nix::Error::EINTR) => continue,
            Err(_) => return false,
        };
    }
}

/// In pid 1 of a namespace everything but itself is the test's; names it.
pub(super) fn settle_namespace() -> Vec<String> {
    let until = Instant::now() + SETTLE;
    loop {
        reap(&mut HashMap::new());
        let table = table();
        let mut left: Vec<(&i32, &Entry)> = table
            .iter()
            .filter(|(pid, entry)| **pid != 1 && entry.state != 'Z')
            .collect();
        left.sort_by_key(|(pid, _)| **pid);
        if left.is_empty() || Instant::now() > until {
            return left
                .into_iter()
                .map(|(pid, entry)| describe(*pid, entry))
                .collect();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends children of the grader that are not its wardens: what a lost warden left.
pub(crate) fn end_adopted(wardens: &HashSet<i32>) {
    let me = std::process::id().cast_signed();
    let until = Instant::now() + PATIENCE;
    loop {
        let table = table();
        let strangers: Vec<i32> = table
            .iter()
            .filter(|(pid, entry)| entry.parent == me && !wardens.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if strangers.is_empty() || Instant::now() > until {
            return;
        }
        for stranger in strangers {
            for pid in descendants(&table, stranger).into_iter().chain([stranger]) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = waitpid(Pid::from_raw(stranger), None);
        }
    }
}

/// Ends `root` and everything below it: programs that do not resist.
pub(crate) fn end_tree(root: i32) {
    // Stopped, so that it starts nothing else meanwhile.
    let _ = kill(Pid::from_raw(root), Signal::SIGSTOP);
    end_below(root);
    let _ = kill(Pid::from_raw(root), Signal::SIGKILL);
}

/// Ends everything below `root`.
pub(crate) fn end_below(root: i32) {
    for pid in descendants(&table(), root) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn descendants(table: &HashMap<i32, Entry>, ancestor: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, entry) in table {
        children.entry(entry.parent).or_default().push(*pid);
    }
    let mut found = Vec::new();
    let mut next = vec![ancestor];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        next.extend(below);
    }
    found
}

/// `/proc` at this moment. A process that ends while it is read is not in it.
fn table() -> HashMap<i32, Entry> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse(&stat)?))
        })
        .collect()
}

/// proc_pid_stat(5): the name stands in parentheses and may hold some itself.
fn parse(stat: &str) -> Option<Entry> {
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once(" (")?.1.to_owned();
    let fields: Vec<&str> = after.split(' ').collect();
    let parent = fields.get(1)?.parse().ok()?;
    let threads: u32 = fields.get(17)?.parse().ok()?;
    let state = match fields.first()?.chars().next()? {
        // Its main thread has ended, the others go on.
        'Z' if threads > 1 => 'S',
        state => state,
    };
    Some(Entry {
        parent,
        state,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_read_whole() {
        let entry = parse("42 (a) b) (c) S 7 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0").unwrap();
        assert_eq!(
            (entry.name.as_str(), entry.state, entry.parent),
            ("a) b) (c", 'S', 7)
        );
    }

    #[test]
    fn a_zombie_with_threads_is_none() {
        let state = |threads: u32| {
            let stat = format!("7 (a) Z 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 {threads} 0");
            parse(&stat).unwrap().state
        };
        assert_eq!((state(1), state(2)), ('Z', 'S'));
    }

    #[test]
    fn descendants_are_found_through_every_generation() {
        let entry = |parent| Entry {
            parent,
            state: 'S',
            name: String::new(),
        };
        let table = HashMap::from([(2, entry(1)), (3, entry(2)), (4, entry(3)), (5, entry(1))]);
        let mut found = descendants(&table, 2);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }
}
