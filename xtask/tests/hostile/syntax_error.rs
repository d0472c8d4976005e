//! Is no Rust.
//! outcome: does_not_compile
//! says: error

pub fn answer() -> u32 {
    42 +
}
