//! Does what it is asked for. No neighbour may take that away.
//! outcome: passed

pub fn answer() -> u32 {
    println!("the answer is 42");
    42
}
