//! # What is a system call, without a library in between?
//!
//! A number and arguments in registers, one instruction, an answer in a register. The trap is in what
//! the compiler is told about it: the instruction overwrites registers that no line of this file
//! mentions otherwise (on x86_64 rcx takes the return address and r11 the flags), and it reads memory
//! that only a pointer names, so `options(nomem)` or `options(pure)` would let the compiler leave out
//! the stores that fill the buffer, or the call itself.

use std::arch::asm;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

#[cfg(target_arch = "x86_64")]
const SYS_WRITE: usize = 1;
#[cfg(target_arch = "aarch64")]
const SYS_WRITE: usize = 64;

/// `MAX_ERRNO` of the kernel's include/linux/err.h: the last page of addresses stands for errors, so
/// that a call may return any other address.
const MAX_ERRNO: isize = 4095;

/// What the result register of a system call means.
///
/// A value from -4095 to -1 is an error, and the errno is that value without its sign. Every other
/// value is the result, also one that looks negative: -4096 is no error.
///
/// # Errors
/// The errno in `ret`, as [`io::Error::raw_os_error`] gives it back: -9 is `EBADF` (9).
pub fn decode(ret: isize) -> io::Result<usize> {
    if (-MAX_ERRNO..0).contains(&ret) {
        Err(io::Error::from_raw_os_error(-ret as i32))
    } else {
        Ok(ret as usize)
    }
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
    let ret: isize;
    // SAFETY: write(2) changes no memory of this process and reads at most `count` bytes at `buf`, all
    // before the instruction ends; the caller vouches for `fd` and for those bytes. The kernel
    // restores every register but the result, rcx and r11, which are named, and uses no stack of ours.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_WRITE => ret,
            in("rdi") fd,
            in("rsi") buf,
            in("rdx") count,
            out("rcx") _,
            out("r11") _,
            options(nostack, readonly),
        );
    }
    // SAFETY: as above; svc keeps every register but x0.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") SYS_WRITE,
            inlateout("x0") fd as isize => ret,
            in("x1") buf,
            in("x2") count,
            options(nostack, readonly),
        );
    }
    ret
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
    let fd = fd.as_fd();
    // SAFETY: `fd` is borrowed, so it is open, and stays open, and may be written to; `bytes` is
    // borrowed shared, so nobody changes it until the call returns.
    let ret = unsafe { raw_write(fd.as_raw_fd(), bytes.as_ptr(), bytes.len()) };
    decode(ret)
}
