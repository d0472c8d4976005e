//! What has to be remembered of a thread between two of its stops.

use crate::arch;
use crate::ptrace::SyscallInfo;

/// A traced thread.
#[derive(Debug)]
pub(crate) struct Tracee {
    /// The process it belongs to.
    pub(crate) pid: i32,
    /// Whether it is in a region, in which case its calls count.
    pub(crate) inside: bool,
    /// How many looks from inside it is in, which are not its own: [`outside`](crate::region::outside).
    pub(crate) outside: u32,
    /// Whether it has not become the program yet that shall be traced.
    pub(crate) starting: bool,
    /// The call it is in.
    pub(crate) open: Option<Open>,
    /// Flags of the `clone(2)` it is in, until the kernel reports the child.
    pub(crate) cloning: Option<u64>,
    /// What it asks `execve(2)` for.
    pub(crate) program: Option<String>,
    /// Calls that a signal interrupted, while its handler runs. The last is the innermost.
    pub(crate) interrupted: Vec<Interrupted>,
    /// A signal that a fault has sent and that was not delivered yet.
    pub(crate) injected_signal: Option<i32>,
}

impl Tracee {
    pub(crate) fn new(pid: i32, inside: bool) -> Tracee {
        Tracee {
            pid,
            inside,
            outside: 0,
            starting: false,
            open: None,
            cloning: None,
            program: None,
            interrupted: Vec::new(),
            injected_signal: None,
        }
    }

    /// At an entry: the interrupted call that this is again.
    pub(crate) fn restarts(&mut self, number: u64, info: &SyscallInfo) -> Option<Interrupted> {
        let last = self.interrupted.last_mut()?;
        let same = last.ip == info.ip
            && last.sp == info.sp
            && (last.number == number || number == libc::SYS_restart_syscall as u64)
            && last.next != Next::Handler;
        if !same {
            last.next = Next::Handler;
            return None;
        }
        self.interrupted.pop()
    }

    /// At the exit of `rt_sigreturn(2)`: the interrupted call that has failed with EINTR now. `info` and `value` are
    /// those of the program that the handler had interrupted.
    pub(crate) fn handler_returned(
        &mut self,
        info: &SyscallInfo,
        value: i64,
    ) -> Option<Interrupted> {
        let again = info.ip + arch::INSTRUCTION;
        // A handler that was left by longjmp(3) has left its call behind for ever.
        let place = self
            .interrupted
            .iter()
            .rposition(|call| call.sp == info.sp && [info.ip, again].contains(&call.ip))?;
        self.interrupted.truncate(place + 1);
        let last = self.interrupted.last_mut()?;
        if last.ip == info.ip && value == -i64::from(libc::EINTR) {
            return self.interrupted.pop();
        }
        last.next = Next::Restart;
        None
    }
}

/// A call between its entry and its exit.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) number: u64,
    pub(crate) native: bool,
    /// Its place in the record.
    pub(crate) index: Option<usize>,
    /// A cap on its byte count, which a restart must get too.
    pub(crate) cap: Option<u64>,
    pub(crate) fix: Fix,
}

/// What has to be set right at the exit of a call that a fault touched.
#[derive(Debug)]
pub(crate) enum Fix {
    Nothing,
    /// The call was skipped: it fails with this errno.
    Fail(i32),
    /// The call was skipped: it, of this number, is to be made again.
    Again(u64),
    /// The thread gets back what it had in this argument's register.
    Argument(usize, u64),
    /// And what it had in its memory: the length of an iovec.
    Vector {
        argument: usize,
        value: u64,
        address: u64,
        length: u64,
    },
}

/// A call whose exit said "restart me": whether that happens, or EINTR, depends on what the signal does.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) number: u64,
    pub(crate) native: bool,
    pub(crate) index: Option<usize>,
    pub(crate) cap: Option<u64>,
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) next: Next,
}

/// What may follow an interrupted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// No handler has been seen: the very next call may be the restart.
    Anything,
    /// A handler makes calls of its own; only its `rt_sigreturn(2)` tells.
    Handler,
    /// The handler returned to the instruction of the call: the next call is the restart.
    Restart,
}
