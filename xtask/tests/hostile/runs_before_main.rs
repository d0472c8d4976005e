//! Code in `.init_array` prints libtest's lines and ends the process, before libtest begins.
//! outcome: tampered
//! says: .init_array

extern "C" fn forge() {
    let lines = "test hostile_answers ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
    // SAFETY: the text is valid for its length.
    unsafe {
        libc::write(1, lines.as_ptr().cast(), lines.len());
        libc::_exit(0);
    }
}

#[unsafe(link_section = ".init_array")]
#[used]
static FORGE: extern "C" fn() = forge;

pub fn answer() -> u32 {
    41
}
