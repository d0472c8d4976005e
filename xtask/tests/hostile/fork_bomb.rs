//! Every process it makes makes more of them.
//! outcome: timed_out
//! says: still running
//! seconds: 2

pub fn answer() -> u32 {
    loop {
        // SAFETY: fork(2) takes nothing; a failure is tried again.
        unsafe { libc::fork() };
    }
}
