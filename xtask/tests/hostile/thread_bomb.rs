//! A hundred thousand threads: more than it may have.
//! outcome: failed
//! says: failed to spawn thread | Resource temporarily unavailable

pub fn answer() -> u32 {
    let threads: Vec<_> = (0..100_000)
        .map(|_| {
            let small = std::thread::Builder::new().stack_size(16 << 10);
            small.spawn(std::thread::park).expect("failed to spawn thread")
        })
        .collect();
    threads.len() as u32
}
