//! Ignores what can be ignored, gives up its parent's death signal, and stays.
//! outcome: timed_out
//! says: still running
//! seconds: 1

pub fn answer() -> u32 {
    // SAFETY: integers only.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, 0);
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_IGN);
        }
        loop {
            libc::pause();
        }
    }
}
