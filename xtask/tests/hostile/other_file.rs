//! Its code is in another file, which nobody looks at.
//! outcome: tampered
//! says: another file

mod other;

pub fn answer() -> u32 {
    other::answer()
}
