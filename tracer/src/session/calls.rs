//! What the entry and the exit of a system call mean.
//!
//! A call that a signal interrupts leaves the kernel with "restart me"; whether it restarts or fails with EINTR shows
//! only later (the handler's `rt_sigreturn(2)`, or the next entry), so that it stays open until then.

use std::io;
use std::time::Duration;

use super::Tracing;
use crate::fault::{Action, listed};
use crate::ptrace::SyscallInfo;
use crate::region::Marker;
use crate::table::{Shape, shape};
use crate::tracee::{Fix, Interrupted, Next, Open};
use crate::{Call, Event, arch, decode, family, inject, memory, ptrace};

impl Tracing {
    pub(super) fn entered(
        &mut self,
        tid: i32,
        info: &SyscallInfo,
        number: u64,
        args: [u64; 6],
        now: Duration,
    ) -> io::Result<()> {
        let Some(tracee) = self.tracees.get_mut(&tid) else {
            return Ok(());
        };
        if let Some(call) = tracee.restarts(number, info) {
            return self.restarted(tid, &call, &args);
        }
        let native = arch::is_native(info.arch, number);
        let shape = if native {
            shape(number)
        } else {
            Shape::nameless("foreign")
        };
        tracee.open = Some(Open {
            number,
            native,
            index: None,
            cap: None,
            fix: Fix::Nothing,
        });
        if shape.name == "prctl"
            && let Some(marker) = Marker::of(&args)
        {
            match marker {
                Marker::Begin => tracee.inside = true,
                Marker::End => tracee.inside = !self.options.region_only,
                Marker::Outside => tracee.outside += 1,
                Marker::Back => tracee.outside = tracee.outside.saturating_sub(1),
            }
            return ptrace::resume(tid, 0);
        }
        if tracee.starting && shape.family != "exec" {
            if tracee.program.is_none() {
                return ptrace::resume(tid, 0);
            }
            // No execve(2) has succeeded, and now the child tells that to `Command::spawn`, which will wait for it
            // and must not meet a tracee.
            self.tracees.remove(&tid);
            return ptrace::detach(tid, 0);
        }
        let mut call_family = shape.family;
        match shape.name {
            "clone" | "clone3" => {
                tracee.cloning = match shape.name {
                    "clone" => Some(args[0]),
                    _ => decode::clone_flags(tid, args[0]),
                };
                call_family = family::of(shape.name, tracee.cloning.unwrap_or(0));
            }
            "fork" | "vfork" => tracee.cloning = Some(0),
            "execve" => {
                tracee.program = Some(memory::string(tid, args[0]).unwrap_or_default());
            }
            "execveat" => {
                tracee.program = Some(memory::string(tid, args[1]).unwrap_or_default());
            }
            _ => {}
        }
        if !tracee.inside || tracee.outside > 0 {
            return ptrace::resume(tid, 0);
        }
        let (pid, starting) = (tracee.pid, tracee.starting);
        let action = if starting {
            None
        } else {
            self.strike(shape.name, call_family, &args)
        };
        if self.options.only.is_empty() || listed(&self.options.only, shape.name, call_family) {
            let decoded = match (shape.args, self.options.depth) {
                (Some(kinds), Some(depth)) => decode::entry(tid, kinds, &args, depth),
                _ => Vec::new(),
            };
            let call = Call {
                pid,
                tid,
                number,
                name: shape.name,
                family: call_family,
                args,
                ip: info.ip,
                decoded,
                result: None,
                start: now,
                duration: Duration::ZERO,
                restarts: 0,
                injected: action.is_some(),
            };
            let index = self.push(Event::Call(call));
            if let Some(open) = self.open(tid) {
                open.index = index;
            }
        }
        match action {
            None => ptrace::resume(tid, 0),
            Some(action) => self.inject(tid, action, shape.name, &args),
        }
    }

    /// The kernel makes an interrupted call again.
    fn restarted(&mut self, tid: i32, call: &Interrupted, args: &[u64; 6]) -> io::Result<()> {
        let &Interrupted {
            number,
            native,
            index,
            cap,
            ..
        } = call;
        if let Some(Event::Call(call)) = index.and_then(|index| self.events.get_mut(index)) {
            call.restarts += 1;
        }
        let fix = match cap {
            Some(cap) => inject::shorten(tid, shape(number).name, args, cap)?,
            None => Fix::Nothing,
        };
        if let Some(tracee) = self.tracees.get_mut(&tid) {
            tracee.open = Some(Open {
                number,
                native,
                index,
                cap,
                fix,
            });
        }
        ptrace::resume(tid, 0)
    }

    /// Counts the call for every fault; the action of the first one whose turn it is.
    fn strike(&mut self, name: &str, family: &str, args: &[u64; 6]) -> Option<Action> {
        let mut actions = self
            .options
            .faults
            .iter_mut()
            .map(|fault| fault.strike(name, family, args));
        let first = actions.find_map(|action| action);
        actions.for_each(drop);
        first
    }

    fn inject(&mut self, tid: i32, action: Action, name: &str, args: &[u64; 6]) -> io::Result<()> {
        let fix = match action {
            Action::Fail(errno) => inject::fail(tid, errno)?,
            Action::Short(cap) => {
                if let Some(open) = self.open(tid) {
                    open.cap = Some(cap);
                }
                inject::shorten(tid, name, args, cap)?
            }
            Action::Kill => {
                arch::skip_call(tid)?;
                return ptrace::resume(tid, libc::SIGKILL);
            }
            Action::Signal(signal) => {
                if let Some(tracee) = self.tracees.get_mut(&tid) {
                    tracee.injected_signal = Some(signal);
                }
                return ptrace::resume(tid, signal);
            }
            Action::SignalBefore(signal) => return self.signal_first(tid, signal),
            Action::Delay(time) => {
                self.queue.delay(tid, time);
                return Ok(());
            }
        };
        if let Some(open) = self.open(tid) {
            open.fix = fix;
        }
        ptrace::resume(tid, 0)
    }

    fn signal_first(&mut self, tid: i32, signal: i32) -> io::Result<()> {
        let blocks = ptrace::blocked_signals(tid)? >> (signal - 1) & 1 == 1;
        let Some(tracee) = self.tracees.get_mut(&tid) else {
            return Ok(());
        };
        if blocks || tid != tracee.pid {
            // SAFETY: kill takes two integers; the process is stopped at our hand, so its pid isn't reused.
            unsafe { libc::kill(tracee.pid, signal) };
            return ptrace::resume(tid, 0);
        }
        tracee.injected_signal = Some(signal);
        if let Some(open) = &mut tracee.open {
            open.fix = inject::again(tid, open.number)?;
        }
        ptrace::resume(tid, signal)
    }

    pub(super) fn left(
        &mut self,
        tid: i32,
        info: &SyscallInfo,
        value: i64,
        now: Duration,
    ) -> io::Result<()> {
        let Some(tracee) = self.tracees.get_mut(&tid) else {
            return Ok(());
        };
        // Attached in the middle of a call.
        let Some(open) = tracee.open.take() else {
            return ptrace::resume(tid, 0);
        };
        inject::restore(tid, &open.fix)?;
        tracee.cloning = None;
        let mut result = match (&open.fix, value) {
            (Fix::Fail(errno), _) => Some(Err(*errno)),
            (Fix::Again(_), _) => Some(Err(inject::ERESTARTNOINTR)),
            (_, -4095..=-1) => Some(Err(-value as i32)),
            _ => Some(Ok(value)),
        };
        if open.native && open.number == libc::SYS_rt_sigreturn as u64 {
            // Its "result" is the register of the interrupted program.
            result = None;
            if let Some(Interrupted {
                index: Some(index), ..
            }) = tracee.handler_returned(info, value)
            {
                self.finish(index, Some(Err(libc::EINTR)), None);
            }
        } else if result.is_some_and(wants_restart) {
            result = None;
            let Some(tracee) = self.tracees.get_mut(&tid) else {
                return Ok(());
            };
            tracee.interrupted.push(Interrupted {
                number: open.number,
                native: open.native,
                index: open.index,
                cap: open.cap,
                ip: info.ip,
                sp: info.sp,
                next: Next::Anything,
            });
        }
        if let Some(index) = open.index {
            self.finish(index, result, Some(now));
            if let (Some(Ok(value)), Some(depth)) = (result, self.options.depth)
                && let Event::Call(call) = &mut self.events[index]
                && open.native
                && let Some(kinds) = shape(open.number).args
            {
                decode::exit(tid, kinds, &call.args, value, &mut call.decoded, depth);
            }
            self.forget_failed_start(tid, index);
        }
        ptrace::resume(tid, 0)
    }

    /// `Command` tries each directory of PATH: only the one that works is of interest.
    fn forget_failed_start(&mut self, tid: i32, index: usize) {
        if self.tracees.get(&tid).is_some_and(|tracee| tracee.starting)
            && index + 1 == self.events.len()
        {
            self.events.pop();
        }
    }

    pub(super) fn finish(
        &mut self,
        index: usize,
        result: Option<Result<i64, i32>>,
        now: Option<Duration>,
    ) {
        if let Event::Call(call) = &mut self.events[index] {
            call.result = result;
            if let Some(now) = now {
                call.duration = now.saturating_sub(call.start);
            }
        }
    }

    fn open(&mut self, tid: i32) -> Option<&mut Open> {
        self.tracees.get_mut(&tid)?.open.as_mut()
    }
}

/// The kernel's own errnos, which no program sees: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND and
/// ERESTART_RESTARTBLOCK (`include/linux/errno.h`).
fn wants_restart(result: Result<i64, i32>) -> bool {
    matches!(result, Err(512 | 513 | 514 | 516))
}
