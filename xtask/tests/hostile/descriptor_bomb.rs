//! Opens descriptors until there are no more, and keeps them.
//! outcome: failed
//! says: Too many open files

pub fn answer() -> u32 {
    let mut all = Vec::new();
    for _ in 0..100_000 {
        all.push(std::fs::File::open("/dev/null").unwrap());
    }
    42
}
