//! Leaves System V shared memory, a semaphore set and a message queue behind: they outlive every process.
//! outcome: passed
//! outcome@processes: failed
//! says@processes: Operation not permitted

pub fn answer() -> u32 {
    // SAFETY: integers only.
    unsafe {
        let all = [
            libc::shmget(libc::IPC_PRIVATE, 4096, 0o600),
            libc::semget(libc::IPC_PRIVATE, 1, 0o600),
            libc::msgget(libc::IPC_PRIVATE, 0o600),
        ];
        assert!(all.iter().all(|id| *id >= 0), "{}", std::io::Error::last_os_error());
    }
    println!("the answer is 42");
    42
}
