//! Which `ptrace(2)` requests are used. All of them want the tracee stopped and the thread that seized it, except
//! [`seize`] and [`interrupt`]; ESRCH from any means that the tracee was killed meanwhile, which the next
//! `waitpid(2)` tells.

use std::io;
use std::mem::size_of;

use libc::{c_int, c_void, siginfo_t};

/// The type of the first argument of `ptrace(2)`: glibc has an enum there, musl an int.
#[cfg(not(target_env = "musl"))]
pub(crate) type Request = libc::c_uint;
/// The type of the first argument of `ptrace(2)`: glibc has an enum there, musl an int.
#[cfg(target_env = "musl")]
pub(crate) type Request = c_int;

/// `PTRACE_EVENT_STOP`: a group stop, the first stop of a new tracee, or the answer to [`interrupt`].
pub(crate) const EVENT_STOP: c_int = 128;

/// The tracee dies with the tracing thread: a panic of ours leaves nobody stopped.
pub(crate) const ALONE: c_int =
    libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
/// And its children come under trace too.
pub(crate) const WITH_CHILDREN: c_int =
    ALONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;

/// `PTRACE_SEIZE`.
///
/// # Errors
/// EPERM: Yama's `ptrace_scope`, a missing capability, or somebody traces it already. ESRCH: no such thread.
pub(crate) fn seize(tid: i32, options: c_int) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, number(options as usize))
}

/// `PTRACE_INTERRUPT`: stop at the next chance, without a signal.
pub(crate) fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, number(0))
}

/// `PTRACE_SYSCALL`: run to the next entry or exit of a system call, taking `signal` (0: none) along.
pub(crate) fn resume(tid: i32, signal: c_int) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, 0, number(signal as usize))
}

/// `PTRACE_LISTEN`: stay in the group stop, but report when SIGCONT ends it.
pub(crate) fn listen(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, tid, 0, number(0))
}

/// `PTRACE_DETACH`: run on untraced.
pub(crate) fn detach(tid: i32, signal: c_int) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, number(signal as usize))
}

/// `PTRACE_GETEVENTMSG`: the new child's tid, or the former tid of an exec.
pub(crate) fn event_message(tid: i32) -> io::Result<i32> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, tid, 0, (&raw mut message).cast())?;
    Ok(message as i32)
}

/// `PTRACE_GETSIGMASK`: what the thread blocks; bit n - 1 is signal n.
pub(crate) fn blocked_signals(tid: i32) -> io::Result<u64> {
    const GETSIGMASK: Request = 0x420a;
    let mut set = 0u64;
    request(GETSIGMASK, tid, size_of::<u64>(), (&raw mut set).cast())?;
    Ok(set)
}

/// `PTRACE_GETSIGINFO`.
pub(crate) fn siginfo(tid: i32) -> io::Result<siginfo_t> {
    // SAFETY: siginfo_t is plain numbers; all zero is a value of it.
    let mut info: siginfo_t = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETSIGINFO, tid, 0, (&raw mut info).cast())?;
    Ok(info)
}

/// `struct ptrace_syscall_info` (`ptrace(2)`); `data` is nr and args at entry, rval and is_error at exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SyscallInfo {
    pub(crate) op: u8,
    pad: [u8; 3],
    pub(crate) arch: u32,
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    data: [u64; 8],
}

/// What kind of stop it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Syscall {
    Entry {
        number: u64,
        args: [u64; 6],
    },
    Exit {
        value: i64,
    },
    /// Not a system call stop.
    None,
}

impl SyscallInfo {
    pub(crate) fn syscall(&self) -> Syscall {
        let [first, args @ .., _] = self.data;
        match self.op {
            1 => Syscall::Entry {
                number: first,
                args,
            },
            2 => Syscall::Exit {
                value: first as i64,
            },
            _ => Syscall::None,
        }
    }
}

/// `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).
pub(crate) fn syscall_info(tid: i32) -> io::Result<SyscallInfo> {
    const GET_SYSCALL_INFO: Request = 0x420e;
    let mut info = SyscallInfo::default();
    request(
        GET_SYSCALL_INFO,
        tid,
        size_of::<SyscallInfo>(),
        (&raw mut info).cast(),
    )?;
    Ok(info)
}

/// `PTRACE_POKEDATA`: writes one word, into read-only memory too.
pub(crate) fn poke(tid: i32, address: u64, word: u64) -> io::Result<()> {
    request(
        libc::PTRACE_POKEDATA,
        tid,
        address as usize,
        number(word as usize),
    )
}

/// One `ptrace(2)`. Callers pass as `data` a [`number`] or a pointer to something of theirs that the request fills.
pub(crate) fn request(
    request: Request,
    tid: i32,
    address: usize,
    data: *mut c_void,
) -> io::Result<()> {
    // SAFETY: where the request writes to `data`, it points to a local of the caller, of the size that the request
    // defines, alive until this returns; `address` is an offset, a size, or an address in the tracee.
    match unsafe { libc::ptrace(request, tid, number(address), data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A plain number where `ptrace(2)` has a pointer.
pub(crate) fn number(value: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(value)
}
