//! A thread panics, and it waits for its answer.
//! outcome: failed
//! says: the thread has lost its way

pub fn answer() -> u32 {
    std::thread::spawn(|| -> u32 { panic!("the thread has lost its way") }).join().unwrap()
}
