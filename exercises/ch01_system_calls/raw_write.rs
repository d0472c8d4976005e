//! # What is a system call, without a library in between?
//!
//! Code can compute on its own, and nothing else. To print, to read, to wait, it asks the kernel: it
//! puts a number and some arguments into registers and executes one instruction. When the next
//! instruction runs, one register holds the answer. `println!` ends there, and so does libc's
//! `write`. You will go there directly, in three small functions: [`decode`], [`raw_write`], [`write`].
//!
//! | `uname -m` | number  | arguments     | instruction | result | also lost |
//! |------------|---------|---------------|-------------|--------|-----------|
//! | x86_64     | rax = 1 | rdi, rsi, rdx | `syscall`   | rax    | rcx, r11  |
//! | aarch64    | x8 = 64 | x0, x1, x2    | `svc 0`     | x0     |           |
//!
//! Write the row of your own machine with [`std::arch::asm!`], in Rust alone: nothing of libc is
//! called. There is no `errno` either. That variable is libc's; the kernel answers with a negative
//! number.
//!
//! Man pages: write(2), syscall(2) (the registers), errno(3).
//! Notebook: `01-system-calls.ipynb#the-syscall-instruction`.

use std::arch::asm;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// What the result register of a system call means.
///
/// A value from -4095 to -1 is an error, and the errno is that value without its sign. Every other
/// value is the result, also one that looks negative: -4096 is no error.
///
/// # Errors
/// The errno in `ret`, as [`io::Error::raw_os_error`] gives it back: -9 is `EBADF` (9).
pub fn decode(ret: isize) -> io::Result<usize> {
    // TODO: 1. Is `ret` in the range of errors? io::Error::from_raw_os_error makes an error of an errno.
    //       2. Otherwise it is the value.
    todo!("tell an errno from a value")
}

/// One write(2), and the answer of the kernel as it stands in the register: a count, or `-errno`.
///
/// All three arguments reach the kernel as they are, and the kernel judges them: a count of zero, a
/// count beyond 32 bits, a descriptor that isn't open, an address where no memory is.
///
/// # Safety
/// - `fd` is not a descriptor that belongs to someone who doesn't expect your bytes in it.
/// - No thread writes to the `count` bytes at `buf` until this returns. They need not exist: the
///   kernel looks before it reads, and answers `-EFAULT`.
pub unsafe fn raw_write(fd: RawFd, buf: *const u8, count: usize) -> isize {
    // TODO: 1. unsafe { asm!("...", ...) } with the instruction of your machine.
    //       2. in("register") value for each argument.
    //       3. inlateout("register") value => variable where a register carries one thing in and
    //          another out.
    //       4. out("register") _ for each register that is lost. The compiler believes you. If you
    //          forget one it may keep a value there, and no test can be sure to notice.
    todo!("execute the system call instruction")
}

/// Writes `bytes` with one write(2); the count may be less than `bytes.len()`.
///
/// As write(2) itself: a short count is a result and `EINTR` is an error. The caller decides whether
/// to go on, so this never makes a second call.
///
/// # Errors
/// Whatever the kernel says, among others
/// - `EBADF`: `fd` is not open for writing.
/// - `EPIPE`: nobody is left to read the other end. (The `SIGPIPE` that comes with it would end a C
///   program; Rust's runtime ignores that signal before `main`.)
/// - `EINTR`: a signal came before any byte was written.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // TODO: 1. fd.as_fd().as_raw_fd() is the number that raw_write wants.
    //       2. decode what it returns.
    todo!("make raw_write safe to call")
}
