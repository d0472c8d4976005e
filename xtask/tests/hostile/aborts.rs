//! Aborts.
//! outcome: crashed
//! says: SIGABRT

pub fn answer() -> u32 {
    println!("the answer is 42");
    std::process::abort()
}
