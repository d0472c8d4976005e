//! Does a thread sleep, and does it go on sleeping?

use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// How often a thread that sleeps now has gone to sleep; nothing of one that is awake, or gone.
pub fn switches(pid: i32, tid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let value = |name| {
        status
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim()))
    };
    let asleep = value("State:")?.starts_with('S');
    let switches = value("voluntary_ctxt_switches:")?.parse().ok()?;
    asleep.then_some(switches)
}

/// Whether a process's first thread sleeps: looked at twice, since on its way it may sleep elsewhere for a moment.
pub fn asleep(pid: i32) -> bool {
    let before = switches(pid, pid);
    sleep(Duration::from_millis(20));
    before.is_some() && before == switches(pid, pid)
}

/// In the child: tells the test, which looks at descriptor 1, that it is so far.
pub fn say() {
    // SAFETY: one byte of a constant is read.
    assert_eq!(unsafe { libc::write(1, b"!".as_ptr().cast(), 1) }, 1);
}
