//! Is Rust, and no u32.
//! outcome: does_not_compile
//! says: mismatched types

pub fn answer() -> u32 {
    "42"
}
