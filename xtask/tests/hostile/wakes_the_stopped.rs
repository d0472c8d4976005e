//! Eight processes that wake each other all the time, so that nobody can be stopped, and fork meanwhile. Their
//! test is dead.
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
        for _ in 0..3 {
            libc::fork();
        }
        libc::kill(test, libc::SIGKILL);
        libc::kill(keeper, libc::SIGKILL);
        loop {
            libc::kill(0, libc::SIGCONT);
            if libc::fork() == 0 {
                libc::_exit(0);
            }
            libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG);
        }
    }
}
