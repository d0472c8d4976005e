//! Brings the assembler in under another name.
//! outcome: tampered
//! says: assembly

use std::arch::asm as ordinary;

pub fn answer() -> u32 {
    // SAFETY: defines a symbol.
    unsafe { ordinary!(".globl exit", "exit:") };
    41
}
