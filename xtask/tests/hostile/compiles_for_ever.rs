//! rustc would compute its constant until the end of time.
//! outcome: tampered
//! says: long_running_const_eval

#[allow(long_running_const_eval)]
const ANSWER: u32 = {
    let mut n = 0_u32;
    loop {
        n = n.wrapping_add(1);
    }
};

pub fn answer() -> u32 {
    ANSWER
}
