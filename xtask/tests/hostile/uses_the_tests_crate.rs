//! Tells the tests' own crate to look away.
//! outcome: tampered
//! says: observe

pub fn answer() -> u32 {
    ::observe::region::end();
    41
}
