//! The same through a section that inline assembly opens, its name put together.
//! outcome: tampered
//! says: assembly

extern "C" fn forge() {
    let lines = "test hostile_answers ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
    // SAFETY: the text is valid for its length.
    unsafe {
        libc::write(1, lines.as_ptr().cast(), lines.len());
        libc::_exit(0);
    }
}

pub fn answer() -> u32 {
    // SAFETY: no instruction; one word in a section.
    unsafe {
        std::arch::asm!(
            concat!(".push", "section .init", "_array,\"aw\""),
            ".quad {}",
            ".popsection",
            sym forge,
        );
    }
    41
}
