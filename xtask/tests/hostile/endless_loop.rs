//! Never returns, and takes all of a processor meanwhile.
//! outcome: timed_out
//! says: still running
//! seconds: 1

pub fn answer() -> u32 {
    loop {
        std::hint::spin_loop();
    }
}
