//! What the tests share: a probe, and the calls that a forked child needs.

#![allow(dead_code)]

use std::process::Command;

use tracer::{Call, Event, Status, Trace};

/// Whether this machine lets us trace; says so in one line if not.
pub(crate) fn traceable() -> bool {
    match tracer::available() {
        Ok(()) => true,
        Err(error) => {
            eprintln!("skipped: ptrace(2) is not available here: {error}");
            false
        }
    }
}

/// Leaves the test if this machine doesn't let us trace.
macro_rules! needs_ptrace {
    () => {
        if !common::traceable() {
            return;
        }
    };
}
pub(crate) use needs_ptrace;

pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

pub(crate) fn of<'a>(trace: &'a Trace, family: &str) -> Vec<&'a Call> {
    trace.calls().filter(|call| call.family == family).collect()
}

/// The new process or thread of each birth, and whether it is a thread.
pub(crate) fn births(trace: &Trace) -> Vec<(i32, bool)> {
    let birth = |event: &Event| match event {
        Event::Spawn { child, thread, .. } => Some((*child, *thread)),
        _ => None,
    };
    trace.events.iter().filter_map(birth).collect()
}

pub(crate) fn end_of(trace: &Trace, tid: i32) -> Option<Status> {
    trace.events.iter().find_map(|event| match event {
        Event::Exit {
            tid: ended, status, ..
        } if *ended == tid => Some(*status),
        _ => None,
    })
}

/// In a traced child: an assertion that needs no unwinding and no allocation. Its status is then 99.
pub(crate) fn demand(holds: bool) {
    if !holds {
        exit(99);
    }
}

/// `_exit(2)`.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: ends the process and returns to nobody.
    unsafe { libc::_exit(status) }
}

/// `fork(2)`, the child running `f` and ending with its value.
pub(crate) fn fork(f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs the closure, which the tests keep to system calls and small allocations, and leaves by
    // _exit(2).
    match unsafe { libc::fork() } {
        0 => exit(f()),
        pid => {
            demand(pid > 0);
            pid
        }
    }
}

/// `waitpid(2)`: the raw status. EINTR: waits on.
pub(crate) fn wait(pid: i32, flags: i32) -> i32 {
    let mut status = -1;
    loop {
        // SAFETY: the kernel writes one int.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        if got >= 0 {
            return status;
        }
        demand(std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted);
    }
}

/// Until this process, which has nothing else to wait for, is blocked in a call.
pub(crate) fn until_asleep(pid: i32) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
        {
            Some('S') => return,
            Some(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            None => demand(false),
        }
    }
}

/// `pipe2(2)` with O_CLOEXEC.
pub(crate) fn pipe() -> [i32; 2] {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two ints.
    demand(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0);
    ends
}

/// `read(2)` into as many bytes as the buffer has: the result or the errno.
pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into it.
    result(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// `write(2)`: the result or the errno.
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the kernel reads `bytes.len()` bytes from it.
    result(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

pub(crate) fn result(returned: isize) -> Result<usize, i32> {
    usize::try_from(returned)
        .map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// `sigaction(2)`.
pub(crate) fn handle(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    // SAFETY: all zero is a value of the structure; the handler makes only async-signal-safe calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        demand(libc::sigaction(signal, &raw const action, std::ptr::null_mut()) == 0);
    }
}

/// `getppid(2)`: a call that does nothing, as a mark in the record.
pub(crate) fn mark() {
    // SAFETY: takes nothing and touches no memory.
    unsafe { libc::getppid() };
}
