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

use std::ffi::{CStr, c_char};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::ptr;

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
    let (argv, envp) = (pointers(argv), pointers(envp));
    // Both ends are close-on-exec: std knows no other pipes.
    let (errno, failed) = io::pipe()?;
    // SAFETY: the copy makes only calls of signal-safety(7), and ends in `become_program`.
    match cvt(unsafe { libc::fork() })? {
        0 => become_program(path, &argv, &envp, &failed),
        child => {
            // As long as we hold this end, ours never comes to its end of file.
            drop(failed);
            let errno = sent(errno);
            // Before any error is returned: the copy that failed has to be waited for as well.
            let ended = wait_for(child);
            match errno? {
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => ended,
            }
        }
    }
}

/// The array that execve(2) takes, valid as long as `strings`.
fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([ptr::null()]).collect()
}

/// The life of the copy. Nothing here allocates, takes a lock, or returns.
fn become_program(
    path: &CStr,
    argv: &[*const c_char],
    envp: &[*const c_char],
    mut failed: &PipeWriter,
) -> ! {
    // SAFETY: SIG_DFL is no function. The kernel reads `path`, both arrays up to their null pointers
    // and the strings they point to, all of which live in our caller's frames.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr());
    }
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // Should the caller be gone nobody wants to know.
    let _ = failed.write_all(&errno.to_ne_bytes());
    // SAFETY: ends the process without running anything of it: buffers and exit handlers are the caller's.
    unsafe { libc::_exit(127) }
}

/// The errno that the copy sent; none if execve(2) closed the pipe. EINTR is retried.
fn sent(mut errno: PipeReader) -> io::Result<Option<i32>> {
    let mut bytes = [0; 4];
    match errno.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(i32::from_ne_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for one child to end. EINTR is retried.
fn wait_for(child: libc::pid_t) -> io::Result<Ended> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int to `status` during the call.
        match cvt(unsafe { libc::waitpid(child, &raw mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) if libc::WIFSIGNALED(status) => return Ok(Ended::Killed(libc::WTERMSIG(status))),
            Ok(_) => return Ok(Ended::Exited(libc::WEXITSTATUS(status))),
        }
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
