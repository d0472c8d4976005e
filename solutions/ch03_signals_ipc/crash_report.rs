//! # How does a program say why it crashes, and still crash?
//!
//! By a handler that writes one line, puts the default back and returns: the faulting instruction runs again and
//! kills, with everything as it was for the core dump. The traps: a stack overflow leaves no stack for the handler; an
//! alternate one belongs to a thread, and SIGSTKSZ is too small where the CPU has many registers; a signal
//! from kill(2) has no instruction that would run again; SA_RESETHAND lets the crash of a second thread kill
//! the process while the first one still writes.

use std::fmt::{self, Write};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// Where the report goes: a descriptor that is never closed, -1 before [`install`].
static REPORT: AtomicI32 = AtomicI32::new(-1);

const SIGNALS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

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
    let stack = AltStack::new()?;
    let report = report.into_raw_fd();
    if let Err(_before) = REPORT.compare_exchange(-1, report, Ordering::SeqCst, Ordering::SeqCst) {
        // SAFETY: taken out of its owner above, and nobody else has seen it.
        unsafe { libc::close(report) };
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_crash;
    for signal in SIGNALS {
        // SAFETY: an all-zero sigaction is valid, with an empty mask; it lives during the call. `on_crash` has the
        // signature that SA_SIGINFO asks for, and does only what a handler may.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(signal, &raw const action, ptr::null_mut())
        };
        cvt(result)?;
    }
    // This thread keeps it.
    std::mem::forget(stack);
    Ok(())
}

extern "C" fn on_crash(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a siginfo_t that is valid until the handler returns.
    let info = unsafe { &*info };
    let sent = info.si_code <= 0;
    let mut line = Line::default();
    // It fails only when the line is full, and the longest has room.
    let _ = describe(&mut line, signal, info);
    // SAFETY: the kernel reads the written part of the array during the call. The result is of no use: whatever
    // it is, the process ends now.
    unsafe {
        libc::write(
            REPORT.load(Ordering::SeqCst),
            line.bytes.as_ptr().cast(),
            line.length,
        )
    };
    // SAFETY: an all-zero sigaction is SIG_DFL with an empty mask; it lives during the call. raise(3) is for the calling
    // thread, which blocks the signal until this handler has returned.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const default, ptr::null_mut());
        if sent {
            libc::raise(signal);
        }
    }
}

fn describe(line: &mut Line, signal: i32, info: &libc::siginfo_t) -> fmt::Result {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        _ => "SIGILL",
    };
    let code = info.si_code;
    match code_name(signal, code) {
        Some(code) => write!(line, "{name} {code}")?,
        None => write!(line, "{name} code {code}")?,
    }
    match code {
        // SAFETY: of a signal that was sent the kernel has set the sender's pid.
        ..=0 => write!(line, " from process {}", unsafe { info.si_pid() })?,
        SI_KERNEL => {}
        // SAFETY: of a fault of which it knows more it has set the address.
        _ => write!(line, " at {:#x}", unsafe { info.si_addr() } as usize)?,
    }
    line.write_char('\n')
}

/// Text in an array: core::fmt allocates nothing by itself.
struct Line {
    bytes: [u8; 96],
    length: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            bytes: [0; 96],
            length: 0,
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// An alternate stack of the thread that made it, for all signals with SA_ONSTACK. It has room for what the kernel
/// saves on it, which depends on the CPU (`AT_MINSIGSTKSZ`, getauxval(3)), and 16 KiB more.
#[derive(Debug)]
pub struct AltStack {
    /// The mapping, the guard page at its lower end included.
    memory: *mut libc::c_void,
    length: usize,
    before: libc::stack_t,
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
        // SAFETY: integers only; 0 for what the kernel does not tell.
        let (page, least) = unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            (page, libc::getauxval(libc::AT_MINSIGSTKSZ) as usize)
        };
        let size = (least.max(libc::MINSIGSTKSZ) + ROOM).next_multiple_of(page);
        let length = page + size;
        // SAFETY: a new mapping, where nothing else is.
        let memory = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), length, access, flags, -1, 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut before = MaybeUninit::uninit();
        let new = libc::stack_t {
            ss_sp: memory.wrapping_byte_add(page),
            ss_flags: 0,
            ss_size: size,
        };
        // SAFETY: the guard page is the mapping's first. The structs live during the call; the stack stays mapped until
        // the thread has another one, see `drop`.
        let given = unsafe {
            cvt(libc::mprotect(memory, page, libc::PROT_NONE))
                .and_then(|()| cvt(libc::sigaltstack(&raw const new, before.as_mut_ptr())))
        };
        if let Err(error) = given {
            // SAFETY: mapped above, and nobody knows of it.
            unsafe { libc::munmap(memory, length) };
            return Err(error);
        }
        Ok(AltStack {
            memory,
            length,
            // SAFETY: sigaltstack succeeded, so it has written it.
            before: unsafe { before.assume_init() },
            thread: PhantomData,
        })
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        // SAFETY: not Send, so this is the thread that `new` was called by, and no handler of it runs on this stack now:
        // one that did could not drop what it stands on. After sigaltstack nobody uses the mapping.
        unsafe {
            libc::sigaltstack(&raw const self.before, ptr::null_mut());
            libc::munmap(self.memory, self.length);
        }
    }
}

/// What a handler may use of an [`AltStack`], beside what the kernel saves there.
const ROOM: usize = 16 << 10;

fn cvt(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

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
