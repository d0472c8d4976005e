//! Opens the memory, the descriptors and the threads of every process above it. Answers only if all is refused.
//! outcome: passed

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
}

fn reached(pid: i32) -> Option<&'static str> {
    let memory = std::fs::OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
    if memory.is_ok() {
        return Some("memory");
    }
    if (0..64).any(|fd| std::fs::File::open(format!("/proc/{pid}/fd/{fd}")).is_ok()) {
        return Some("descriptors");
    }
    let mut byte = [0_u8; 1];
    let local = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: answer as *mut libc::c_void, iov_len: 1 };
    // SAFETY: `local` describes one byte that is ours; the rest are integers.
    unsafe {
        if libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) == 1 {
            return Some("memory, by process_vm_readv");
        }
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if pidfd >= 0 {
            for fd in 0..64 {
                if libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) >= 0 {
                    return Some("descriptors, by pidfd_getfd");
                }
            }
        }
        if libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) == 0 {
            return Some("threads, by ptrace");
        }
    }
    None
}

pub fn answer() -> u32 {
    let mut above = parent(std::process::id() as i32);
    while let Some(pid) = above.filter(|pid| *pid > 0) {
        if let Some(what) = reached(pid) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            panic!("it reached the {what} of {name}");
        }
        above = parent(pid);
    }
    println!("the answer is 42");
    42
}
