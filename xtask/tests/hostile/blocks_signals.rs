//! Blocks every signal that can be blocked, and sleeps.
//! outcome: timed_out
//! says: still running
//! seconds: 1

pub fn answer() -> u32 {
    nix::sys::signal::SigSet::all().thread_block().unwrap();
    loop {
        std::thread::sleep(std::time::Duration::from_secs(86399));
    }
}
