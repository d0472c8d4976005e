//! Calls itself until the stack ends.
//! outcome: crashed
//! says: SIGSEGV

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box([depth; 64])[1] + deeper(depth + 1)
}

pub fn answer() -> u32 {
    deeper(0) as u32
}
