//! A daemon whose main thread has ended: it looks like a zombie, and another thread of it goes on.
//! outcome: leaked

pub fn answer() -> u32 {
    println!("the answer is 42");
    // SAFETY: forks in a process of one thread; exit(2) ends the calling thread alone.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::setsid();
            if libc::fork() == 0 {
                std::thread::spawn(|| loop {
                    std::thread::park();
                });
                libc::syscall(libc::SYS_exit, 0);
            }
            libc::_exit(0);
        }
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    42
}
