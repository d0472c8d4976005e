//! # How does a program say why it crashes, and still crash?
//!
//! A bad address, a division by zero, an instruction that isn't one: the CPU raises an exception, and the kernel makes
//! a signal of it, with a `siginfo_t` that says what and where. A handler can write that down. It must not do
//! more: the program is broken in the middle of anything, with malloc's lock taken perhaps. And it must not swallow the
//! crash: who started the program learns from wait(2) by which signal it died, and `_exit(139)` only looks like it.
//!
//! When the handler returns, the instruction runs again. With the default disposition put back, it kills; but
//! a signal that came from kill(2) has no instruction, and the program would live on.
//! The crash most in need of a report is the one of which most handlers say nothing: a stack overflow leaves no stack for
//! the handler to run on. It needs one of its own, and sigaltstack(2) gives it to *one thread*.
//!
//! Man pages: sigaction(2) (SA_SIGINFO, SA_ONSTACK, the table of si_code), sigaltstack(2) (NOTES),
//! signal-safety(7), getauxval(3), raise(3), signal(7).
//! Notebook: `03-signals-ipc.ipynb#exceptions-become-signals`.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

/// Installs the handler for SIGSEGV, SIGBUS, SIGFPE and SIGILL, and gives the calling thread an alternate stack to
/// the end of the process. To be called once, at the start.
///
/// When one of them comes, from a fault or from kill(2), the handler writes a line to `report`, by one write(2):
///
/// | what happened | line |
/// |---|---|
/// | a fault (`si_code` > 0) | `SIGSEGV SEGV_MAPERR at 0x10` and `\n`, the address being `si_addr` |
/// | a fault of which the kernel doesn't say where (SI_KERNEL) | `SIGSEGV SI_KERNEL` and `\n` |
/// | a signal that was sent (`si_code` ≤ 0) | `SIGSEGV SI_USER from process 42` and `\n`, `si_pid` |
///
/// In the place of a code without a name stands `code 7`. Then the signal does what it does by default, so that the
/// parent learns from wait(2) which signal killed the process, and a core is dumped where that is wanted.
///
/// - A sent signal kills as surely as a fault.
/// - It works on an overflow of the calling thread's stack; in other threads, of those that have an [`AltStack`].
/// - The handler makes only calls of signal-safety(7), takes no lock, allocates nothing, and prints nothing but
///   this line.
/// - A report that can't be written (nobody reads the pipe, or it is full and non-blocking) changes nothing else. (Rust
///   programs ignore the SIGPIPE that comes with it.)
/// - Of threads that crash at the same moment at least one is reported before the process ends.
///
/// # Errors
/// - `EBUSY`: it was installed before.
/// - `ENOMEM`: no memory for the alternate stack.
pub fn install(report: OwnedFd) -> io::Result<()> {
    // TODO: 1. Keep the descriptor where a handler finds it, for ever: a static atomic.
    //       2. An AltStack for this thread, and sigaction(2) with SA_SIGINFO | SA_ONSTACK.
    //       3. In the handler: make the line in an array on the stack, write(2) it, sigaction(2) to SIG_DFL, and
    //          return. If the signal was sent: send it again, to this thread.
    todo!("install a handler that writes the name of the signal")
}

/// An alternate stack of the thread that made it, for all signals with SA_ONSTACK. It has room for what the kernel
/// saves on it, which depends on the CPU (`AT_MINSIGSTKSZ`, getauxval(3)), and 16 KiB more.
#[derive(Debug)]
pub struct AltStack {
    // TODO: the memory, and which alternate stack the thread had before.
    /// It belongs to a thread: not `Send`.
    thread: PhantomData<*mut ()>,
}

impl AltStack {
    /// Makes one and gives it to the calling thread, sigaltstack(2). Dropped, it gives the thread back what it had
    /// before, and the memory to the system.
    ///
    /// # Errors
    /// - `ENOMEM`: no memory for it.
    pub fn new() -> io::Result<AltStack> {
        todo!("map memory and hand it to sigaltstack(2)")
    }
}

// TODO: what happens when an AltStack is dropped?

/// What si_code is when the kernel raised the signal and tells no more.
const SI_KERNEL: i32 = 0x80;

/// The name of an `si_code` of sigaction(2); none for one that is not of this list.
fn code_name(signal: i32, code: i32) -> Option<&'static str> {
    Some(match (signal, code) {
        (_, libc::SI_USER) => "SI_USER",
        (_, libc::SI_QUEUE) => "SI_QUEUE",
        (_, libc::SI_TKILL) => "SI_TKILL",
        (_, SI_KERNEL) => "SI_KERNEL",
        (libc::SIGSEGV, 1) => "SEGV_MAPERR",
        (libc::SIGSEGV, 2) => "SEGV_ACCERR",
        (libc::SIGBUS, 1) => "BUS_ADRALN",
        (libc::SIGBUS, 2) => "BUS_ADRERR",
        (libc::SIGFPE, 1) => "FPE_INTDIV",
        (libc::SIGILL, 1) => "ILL_ILLOPC",
        (libc::SIGILL, 2) => "ILL_ILLOPN",
        _ => return None,
    })
}
