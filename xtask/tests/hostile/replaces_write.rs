//! Its `write` takes the place of libc's in the whole program.
//! outcome: tampered
//! says: no_mangle

#[unsafe(no_mangle)]
extern "C" fn write(_: i32, _: *const u8, count: usize) -> isize {
    count as isize
}

pub fn answer() -> u32 {
    41
}
