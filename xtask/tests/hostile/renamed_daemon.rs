//! A daemon that takes another name, with parentheses, a newline and an escape in it.
//! outcome: leaked

pub fn answer() -> u32 {
    println!("the answer is 42");
    // SAFETY: forks in a process of one thread; the name is a C string.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::setsid();
            libc::prctl(libc::PR_SET_NAME, c"ch66_) S 1 \x1b[2J\n".as_ptr());
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
