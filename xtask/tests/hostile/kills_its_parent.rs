//! Kills its parent for as long as it has one that is not init.
//! outcome: crashed | failed
//! says: SIGKILL | killed its parent

pub fn answer() -> u32 {
    for _ in 0..1000 {
        // SAFETY: kill takes two integers.
        unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    41
}
