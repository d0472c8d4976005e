//! # Who buries a process whose parent is dead?
//!
//! A process that has ended stays in the kernel's table until its parent has asked how: a zombie.
//! When the parent ends first, its children are orphans and get a new one, init: process 1, or the
//! nearest ancestor that has made itself a subreaper (PR_SET_CHILD_SUBREAPER: "give me the orphans").
//! A pid namespace counts its processes from 1 anew, and a container's process 1 is often a program
//! that never heard of that duty. Its zombies pile up until fork(2) fails.
//! Also, the kernel throws away every signal to process 1 that has no handler: `docker stop` sends
//! SIGTERM to nobody, waits for 10 seconds, and kills. So one puts a small init in front.
//!
//! Its whole work is waiting, and the trap is there: signals of one kind don't queue. When 100 children
//! end together, SIGCHLD may come once. And a signal that comes before init is ready for it must
//! not be lost either, nor one between a look at a flag and a sleep. So block them all, first of
//! all, and fetch them one by one with sigwaitinfo(2); but a blocked signal stays blocked across fork(2) and execve(2).
//!
//! Build [`init`], to be used like this: `process::exit(init(command)?)`.
//!
//! Man pages: wait(2), pid_namespaces(7), prctl(2), signal(7), sigprocmask(2), sigwaitinfo(2), kill(2).
//! Notebook: `02-processes.ipynb#daemons`.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::ptr::null_mut;

/// Starts `command` and is init to it and to all it leaves behind, until it ends. Called by the only
/// thread of a process, be it process 1 of a pid namespace or not: then its orphans get the
/// calling process as their parent all the same.
///
/// The command is started with no signal blocked, also where the caller of `init` had some blocked.
/// SIGPIPE has its default disposition (what happens on a signal: the default, nothing, or a handler).
/// SIGCHLD is not ignored when `init` is called.
///
/// Until the command has ended, `init`
/// - reaps every child that ends, the command's orphans and children from before `init` among them: no
///   zombie stays, however many end at the same time. One that is dead already when `init` is called
///   may wait for the next;
/// - sends every signal that the process gets on to the command, and to nobody else, from when
///   `init` is called: also one that comes before the command is started. This goes for all that
///   can be caught, real-time signals included; not for SIGCHLD, which is for `init` itself. What
///   tells a process of its own fault is neither blocked nor sent on, and ends `init`: SIGILL,
///   SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS;
/// - sleeps while nothing happens: it does not wake to look.
///
/// Returns the command's exit status, or 128 + n when signal n killed it, as a shell does. By then it
/// has reaped every child that had ended before; whoever still runs, it does not wait for. (In a
/// pid namespace, the kernel kills those when process 1 ends.)
///
/// The signals stay blocked when it returns `Ok`: one that came too late to be sent on must not kill
/// the process before it has passed on the status. On `Err` the mask is as it was before.
///
/// # Errors
/// The errno of what failed, such as `ENOENT` or `EACCES` if the command cannot be executed. Then no process is
/// left behind.
pub fn init(command: Command) -> io::Result<i32> {
    // First of all: what comes from here on stays pending until it is fetched.
    let (all, before) = block()?;
    let result = serve(command, &all);
    if result.is_err() {
        mask(&before)?;
    }
    result
}

fn serve(mut command: Command, all: &libc::sigset_t) -> io::Result<i32> {
    if process::id() != 1 {
        // SAFETY: integers only.
        cvt(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
    }
    // SAFETY: the closure makes one system call and touches no memory but its own stack.
    unsafe { command.pre_exec(unblock) };
    let child = command.spawn()?.id().cast_signed();
    loop {
        match fetch(all)? {
            libc::SIGCHLD => {
                if let Some(status) = reap(child)? {
                    return Ok(status);
                }
            }
            // The command was not reaped so far, so the pid is its own; a zombie takes any signal.
            // SAFETY: integers only.
            signal => drop(cvt(unsafe { libc::kill(child, signal) })?),
        }
    }
}

/// Blocks all signals but those that a fault of this process raises: blocked, those kill at once. Gives the set, and
/// the mask as it was.
fn block() -> io::Result<(libc::sigset_t, libc::sigset_t)> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset writes all of the set, and only then it is read.
    let mut set = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    };
    for fault in [
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGSYS,
    ] {
        // SAFETY: changes the set in place.
        unsafe { libc::sigdelset(&raw mut set, fault) };
    }
    Ok((set, mask(&set)?))
}

/// Runs in the command's process, which has inherited the mask and would hand it on.
fn unblock() -> io::Result<()> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes all of the set, and only then it is read.
    let none = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        none.assume_init()
    };
    mask(&none).map(drop)
}

/// Makes `set` the mask, and gives the one before.
fn mask(set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: the kernel reads one set and, where it succeeds, writes all of the other during the call.
    unsafe {
        cvt(libc::sigprocmask(
            libc::SIG_SETMASK,
            set,
            before.as_mut_ptr(),
        ))?;
        Ok(before.assume_init())
    }
}

/// Sleeps until a signal is there, and takes it. EINTR, as after SIGSTOP and SIGCONT, is retried.
fn fetch(set: &libc::sigset_t) -> io::Result<i32> {
    loop {
        // SAFETY: the set is read during the call; a null siginfo is allowed.
        match cvt(unsafe { libc::sigwaitinfo(set, null_mut()) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            signal => return signal,
        }
    }
}

/// Reaps all who have ended: one SIGCHLD may stand for many. The command's status, if it is among them.
fn reap(command: libc::pid_t) -> io::Result<Option<i32>> {
    let mut found = None;
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one int during the call. With WNOHANG it neither blocks nor gives EINTR.
        match cvt(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }) {
            Ok(0) => return Ok(found),
            Ok(pid) if pid == command => found = Some(code(status)),
            Ok(_orphan) => {}
            // No child at all: the command was the last.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

/// A wait status as a shell's `$?`. By libc's macros: nix's WaitStatus knows no real-time signal.
fn code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    }
}

/// The errno of a call that returned -1.
fn cvt(result: i32) -> io::Result<i32> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
