//! Stops itself: it neither runs nor ends.
//! outcome: timed_out
//! says: SIGSTOP
//! seconds: 1

pub fn answer() -> u32 {
    // SAFETY: raise takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
    42
}
