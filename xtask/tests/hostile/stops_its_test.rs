//! Stops every process above it, so that nobody watches the limit.
//! outcome: timed_out
//! says: still running
//! limit: 4

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
}

pub fn answer() -> u32 {
    let mut above = parent(std::process::id() as i32);
    while let Some(pid) = above.filter(|pid| *pid > 1) {
        above = parent(pid);
        // SAFETY: kill takes two integers.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
    }
    loop {
        std::thread::park();
    }
}
