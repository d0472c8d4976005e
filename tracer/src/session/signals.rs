//! What a signal about to be delivered says about itself.

use std::io;
use std::time::Duration;

use super::Tracing;
use crate::{Event, SignalEvent, flags, ptrace};

impl Tracing {
    pub(super) fn signalled(&mut self, tid: i32, signal: i32, time: Duration) -> io::Result<()> {
        let info = ptrace::siginfo(tid)?;
        let Some(tracee) = self.tracees.get_mut(&tid) else {
            return Ok(());
        };
        let injected = tracee.injected_signal == Some(signal);
        if injected {
            tracee.injected_signal = None;
        }
        if tracee.inside {
            let code = info.si_code;
            let sent = code <= 0 || signal == libc::SIGCHLD;
            let faulted = [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGFPE,
                libc::SIGILL,
                libc::SIGTRAP,
            ]
            .contains(&signal);
            // SAFETY: which member of the union is valid is said by signo and code, which the kernel has set.
            let (sender, uid, address) = unsafe {
                (
                    sent.then(|| info.si_pid()),
                    sent.then(|| info.si_uid()),
                    (faulted && code > 0 && code != libc::SI_KERNEL).then(|| info.si_addr() as u64),
                )
            };
            let pid = tracee.pid;
            let name = flags::signal_name(signal);
            self.push(Event::Signal(SignalEvent {
                pid,
                tid,
                signo: signal,
                name,
                code,
                sender,
                uid,
                address,
                injected,
                time,
            }));
        }
        ptrace::resume(tid, signal)
    }
}
