//! Gives a type of the *test* a `Drop`, which then runs in the test's own process.
//! outcome: tampered
//! says: super

impl Drop for super::Asked {
    fn drop(&mut self) {
        let lines = "test hostile_answers ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        // SAFETY: the text is valid for its length.
        unsafe {
            libc::write(1, lines.as_ptr().cast(), lines.len());
            libc::_exit(0);
        }
    }
}

pub fn answer() -> u32 {
    41
}
