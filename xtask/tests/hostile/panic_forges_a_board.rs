//! A panic whose message clears the terminal and draws a board on which all passed.
//! outcome: failed
//! says: the board

pub fn answer() -> u32 {
    panic!("\x1b[2J\x1b[Hthe board: \x1b[1;32mpassed\x1b[0m 1/1\r\n\u{9b}2J\u{202e}")
}
