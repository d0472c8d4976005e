//! An honest neighbour of the fork bomb, begun before it: forks now and then, and each fork has to succeed.
//! outcome: passed

pub fn answer() -> u32 {
    for _ in 0..40 {
        // SAFETY: a fork in a process of one thread; the child ends at once.
        unsafe {
            let pid = libc::fork();
            assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
            if pid == 0 {
                libc::_exit(0);
            }
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!("the answer is 42");
    42
}
