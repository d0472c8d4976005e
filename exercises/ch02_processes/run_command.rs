//! # How do you learn that a program could not be started?
//!
//! There is no call on Linux that starts a program. fork(2) makes a copy of the caller; execve(2), in
//! the copy, puts the program in its place; waitpid(2) tells the caller how it ended. When execve
//! fails it is too late for a return value: it fails in the copy, and the caller is another process.
//! system(3) and shells exit with 127 then, which a program may do for its own reasons.
//!
//! The way out is a pipe that execve closes (`O_CLOEXEC`). If the program starts, the caller reads end
//! of file; if not, the copy writes its errno there. Go, Python and, where it forks, std do it this way.
//!
//! The copy is a strange place. It has one thread, and all the locks that the other threads held when it
//! was made, malloc's perhaps: it may make only the calls of signal-safety(7), allocate nothing,
//! and never return.
//!
//! Build [`run_command`] of fork(2), execve(2) and waitpid(2).
//!
//! Man pages: fork(2), execve(2), waitpid(2), pipe(2), signal-safety(7), _exit(2).
//! Notebook: `02-processes.ipynb#exec-replaces-the-program`.

use std::ffi::CStr;
use std::io;

/// How a program ended, as wait(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited, with this status (0 to 255).
    Exited(i32),
    /// It was killed by the signal of this number.
    Killed(i32),
}

/// Runs a program in a child process and waits for its end.
///
/// `path` is not searched for in PATH. `argv` are all of its arguments, its name first; `envp` is all of
/// its environment, each as `NAME=value`. Both arrive as they are, in their order. May be called in a
/// process with threads: between fork and execve the copy neither allocates nor frees memory.
///
/// The program
/// - has the descriptors of its caller (except those that execve(2) closes), and none of ours;
/// - has SIGPIPE at its default: Rust programs ignore it, and what is ignored stays ignored over
///   execve(2). `yes | head` would never end.
///
/// Whatever is returned, the caller is then what it was: it has no descriptor and no child more, its
/// signals are as before, and only one process has returned. Text that it had buffered comes out
/// once. Its *other* children are not waited for; their statuses stay theirs. A call that a signal
/// interrupts (EINTR) is made again.
///
/// # Errors
/// The program was not run:
/// - `ENOENT`, `EACCES`, `ENOTDIR`, `E2BIG`, `ENOEXEC` … from execve(2). A program that exits
///   with status 127 is no error: that is `Ok(Exited(127))`.
/// - `EAGAIN` or `ENOMEM` from fork(2), `EMFILE` from pipe(2).
///
/// It was run, and nobody knows how it ended:
/// - `ECHILD`: the caller ignores SIGCHLD, so the kernel keeps no status.
pub fn run_command(path: &CStr, argv: &[&CStr], envp: &[&CStr]) -> io::Result<Ended> {
    // TODO: 1. execve(2) wants arrays of pointers with a null pointer at the end. Make them here, while
    //          memory may be allocated.
    // TODO: 2. A pipe whose ends are close-on-exec, then fork(2).
    // TODO: 3. In the copy: SIGPIPE, execve(2). It returned? Write errno to the pipe, and _exit(2).
    // TODO: 4. In the caller: close the end that is the copy's (or end of file never comes), read the
    //          other one.
    // TODO: 5. waitpid(2) for this child, also if it failed: a process that nobody waits for stays as a
    //          zombie. Take the status apart.
    todo!("make the arrays for execve(2) and the pipe, then fork(2)")
}
