//! The same by the crate's own name.
//! outcome: tampered
//! says: crate

extern crate self as test;

impl Drop for test::Asked {
    fn drop(&mut self) {
        // SAFETY: takes an integer.
        unsafe { libc::_exit(0) }
    }
}

pub fn answer() -> u32 {
    41
}
