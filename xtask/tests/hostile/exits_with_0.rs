//! Ends its process with success before anybody could ask.
//! outcome: failed
//! says: exited with status 0

pub fn answer() -> u32 {
    println!("the answer is 42");
    std::process::exit(0)
}
