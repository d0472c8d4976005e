//! Takes memory until there is none, and writes to every page.
//! outcome: crashed
//! says: SIGABRT | SIGKILL

pub fn answer() -> u32 {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 16 << 20]);
    }
}
