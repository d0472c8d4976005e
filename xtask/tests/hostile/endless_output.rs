//! Writes to descriptor 1 for ever.
//! outcome: crashed
//! says: SIGXFSZ

pub fn answer() -> u32 {
    let line = "the answer is 42, the answer is 42, the answer is 42, the answer is 42\n".repeat(1000);
    loop {
        print!("{line}");
    }
}
