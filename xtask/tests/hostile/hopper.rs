//! Forks, and ends, and so does the child: whoever looks for a pid finds one that has ended.
//! outcome: leaked | timed_out

pub fn answer() -> u32 {
    println!("the answer is 42");
    // SAFETY: forks in a process of one thread.
    unsafe {
        if libc::fork() == 0 {
            loop {
                libc::setsid();
                if libc::fork() > 0 {
                    libc::_exit(0);
                }
            }
        }
    }
    42
}
