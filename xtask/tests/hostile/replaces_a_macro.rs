//! Exports a macro under the name of a function, which the tests import.
//! outcome: tampered
//! says: re-export

macro_rules! forge {
    ($($any:tt)*) => {
        // SAFETY: takes an integer.
        unsafe { libc::_exit(0) }
    };
}

pub(crate) use forge as answer;

pub fn answer() -> u32 {
    41
}
