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
use std::process::Command;

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
    // TODO: 1. Start the command, wait for it, and translate its status. Which function takes the
    //          status apart if the signal is a real-time one?
    // TODO: 2. Become the parent of orphans, and wait for any child, not only for this one.
    // TODO: 3. Before all that, block the signals, and keep the old mask for `Err`. The command must not inherit that: what runs
    //          between its fork(2) and execve(2)?
    // TODO: 4. Then loop: fetch a signal. SIGCHLD: reap until there is nobody to reap. Another: send it on.
    todo!("start the command, wait for its end, and return its exit status")
}
