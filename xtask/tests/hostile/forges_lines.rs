//! Writes libtest's lines to every descriptor there is, and ends with success.
//! outcome: failed
//! says: exited with status 0

const LINES: &str = "\ntest hostile_answers ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";

pub fn answer() -> u32 {
    for fd in 0..4096 {
        // SAFETY: the text is valid for its length; EBADF where there is no descriptor.
        unsafe { libc::write(fd, LINES.as_ptr().cast(), LINES.len()) };
    }
    // SAFETY: takes an integer.
    unsafe { libc::_exit(0) }
}
