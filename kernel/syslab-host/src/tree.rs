//! Who belongs to the session?
//!
//! Everybody below the host: it is a subreaper, so that whoever loses its parent becomes its child.

use libc::pid_t;

/// Every descendant, parents first.
pub(crate) fn descendants(of: pid_t) -> Vec<pid_t> {
    let mut found = Vec::new();
    let mut open = vec![of];
    while let Some(pid) = open.pop() {
        let children = children(pid);
        open.extend(&children);
        found.extend(children);
    }
    found
}

/// The children of all its threads, those too that nobody has waited for.
pub(crate) fn children(of: pid_t) -> Vec<pid_t> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task"));
    let children =
        threads.into_iter().flatten().flatten().map(|thread| {
            std::fs::read_to_string(thread.path().join("children")).unwrap_or_default()
        });
    let children: String = children.collect();
    let children = children.split_whitespace();
    children.filter_map(|pid| pid.parse().ok()).collect()
}

/// Ends every descendant that `spare` doesn't hold, those too that are made meanwhile; how many.
pub(crate) fn kill(of: pid_t, spare: &[pid_t]) -> usize {
    let mut killed = Vec::new();
    // A fork bomb is faster than one look.
    for _ in 0..20 {
        let doomed: Vec<pid_t> = descendants(of)
            .into_iter()
            .filter(|pid| !spare.contains(pid) && lives(*pid))
            .collect();
        if doomed.is_empty() {
            break;
        }
        for &pid in &doomed {
            crate::sys::kill(pid, libc::SIGSTOP);
        }
        for pid in doomed {
            crate::sys::kill(pid, libc::SIGKILL);
            if !killed.contains(&pid) {
                killed.push(pid);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    killed.len()
}

/// Whether the process is more than a zombie.
pub(crate) fn lives(pid: pid_t) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Whose child it is; none, if there is no such process.
pub(crate) fn parent(pid: pid_t) -> Option<pid_t> {
    stat(pid).map(|(_, parent)| parent)
}

/// State and parent, from `/proc/PID/stat`: they come behind the name, which can hold anything.
fn stat(pid: pid_t) -> Option<(char, pid_t)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit(')').next()?.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
