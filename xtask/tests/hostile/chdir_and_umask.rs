//! Leaves its folder, its mask, its group and its session for others. What it changed is only its own.
//! outcome: passed

pub fn answer() -> u32 {
    std::env::set_current_dir("/").unwrap();
    // SAFETY: integers only.
    unsafe {
        libc::umask(0o777);
        libc::setpgid(0, 0);
        libc::setsid();
        libc::nice(19);
    }
    println!("the answer is 42");
    42
}
