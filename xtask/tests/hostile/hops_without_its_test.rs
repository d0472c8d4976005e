//! Kills its keeper and its test, and hops on: each process forks, leaves group and session, and ends.
//! outcome: crashed
//! says: SIGKILL

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
}

pub fn answer() -> u32 {
    let keeper = parent(std::process::id() as i32).unwrap();
    let test = parent(keeper).unwrap();
    // SAFETY: forks in a process of one thread; the rest takes integers.
    unsafe {
        for _ in 0..4 {
            if libc::fork() == 0 {
                loop {
                    libc::setsid();
                    if libc::fork() > 0 {
                        libc::_exit(0);
                    }
                }
            }
        }
        libc::kill(test, libc::SIGKILL);
        libc::kill(keeper, libc::SIGKILL);
        loop {
            libc::pause();
        }
    }
}
