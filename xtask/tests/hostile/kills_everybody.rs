//! kill(-1): everybody it may signal. Where it is not alone in a namespace, it asks with signal 0 first, and
//! that must be refused.
//! outcome: crashed
//! says: SIGKILL
//! outcome@processes: passed

pub fn answer() -> u32 {
    let init = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    // SAFETY: kill takes two integers.
    unsafe {
        // The warden, that became pid 1 of the namespace.
        if init.trim_end() == "exe" {
            libc::kill(-1, libc::SIGKILL);
            return 41;
        }
        if libc::kill(-1, 0) == 0 {
            return 40;
        }
    }
    println!("the answer is 42");
    42
}
