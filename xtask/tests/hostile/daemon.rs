//! A second fork and a session of its own: no group and no parent leads to it.
//! outcome: leaked

pub fn answer() -> u32 {
    println!("the answer is 42");
    // SAFETY: forks in a process of one thread.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::setsid();
            if libc::fork() == 0 {
                loop {
                    libc::pause();
                }
            }
            libc::_exit(0);
        }
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    42
}
