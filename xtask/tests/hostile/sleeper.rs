//! Leaves a child asleep that holds descriptors 1 and 2.
//! outcome: leaked
//! says: sleep

use std::process::Command;

pub fn answer() -> u32 {
    println!("the answer is 42");
    Command::new("sleep").arg("86399").spawn().unwrap();
    42
}
