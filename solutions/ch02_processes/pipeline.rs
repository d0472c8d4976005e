//! # Who has to close a pipe before its reader sees the end?
//!
//! `a | b | c` is three processes and two pipes. Each pipe has two ends, each fork(2) copies all that
//! are open, and a reader gets end of file only when *nobody* has the write end any more: not the left
//! neighbour, not the shell, not `c`, which got it by accident and never writes. One that is left
//! open, anywhere, and `c` waits for ever. The other way round, `yes` in `yes | head` is ended by SIGPIPE
//! only when the last reader is gone.
//!
//! A pipeline is also one *job*: Ctrl-C and Ctrl-Z mean all of it, so its processes form one process
//! group. Who puts them there? If the shell does it, a program may already run before it is done;
//! if each process does it, the second may come before the first has founded the group. So both do.
//!
//! Build [`pipeline`]. Its group is not given the terminal: that is `mini_shell`'s.
//!
//! Man pages: pipe(2), pipe(7), dup(2), fork(2), execvp(3), setpgid(2), waitpid(2), bash(1).
//! Notebook: `02-processes.ipynb#a-shell-runs-a-command`.

use std::ffi::{CStr, c_char};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

/// Runs `commands[0] | commands[1] | …`, waits for the end of all, and tells how that went.
///
/// A command is its arguments, the name first, which execvp(3) looks for in PATH. All run at the same
/// time. A program
/// - has as descriptor 1 a pipe to the next one, and as descriptor 0 the pipe from the one before. The
///   first one's 0, the last one's 1 and everybody's 2 are the caller's. That also holds if the
///   caller has 0, 1 or 2 closed;
/// - has no other descriptor of ours: neither another end of its own pipes nor one of its neighbours';
/// - is in a process group that its pipeline has for itself and that the first one leads, from its
///   first instruction on;
/// - has SIGPIPE at its default.
///
/// The result is that of `set -o pipefail`: the status of the last command that failed, the
/// rightmost, or 0 if none did. The status of a command is its exit status; 128 + n if signal n killed it;
/// 127 if there is no such program (`ENOENT`), and 126 if it cannot be executed for another reason. The
/// others run all the same then.
///
/// Whatever is returned, the caller is then what it was: no descriptor and no child more, and
/// only one process has returned. Its other children are not waited for. A call that a signal
/// interrupts (EINTR) is made again. Between fork and exec no memory is allocated or freed.
///
/// # Errors
/// - `EINVAL`: there is no command, or one without a name. Nothing was run.
/// - `EMFILE` from pipe(2), `EAGAIN` or `ENOMEM` from fork(2). Commands that run already are killed
///   (SIGKILL).
pub fn pipeline(commands: &[&[&CStr]]) -> io::Result<i32> {
    if commands.is_empty() || commands.iter().any(|argv| argv.is_empty()) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut started = Vec::new();
    let all = start(commands, &mut started);
    if let (Err(_), Some(group)) = (&all, started.first()) {
        // SAFETY: takes two integers. The group is ours: its leader has not been waited for.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    // All of them are waited for before an error ends this.
    let statuses: Vec<_> = started.into_iter().map(wait_for).collect();
    all?;
    let mut result = 0;
    for status in statuses {
        match status? {
            0 => {}
            failed => result = failed,
        }
    }
    Ok(result)
}

/// Starts the commands from left to right. The caller never has more than one pipe and a half open.
fn start(commands: &[&[&CStr]], started: &mut Vec<libc::pid_t>) -> io::Result<()> {
    let mut input = None;
    for (index, argv) in commands.iter().enumerate() {
        let argv = pointers(argv);
        let (next_input, output) = if index + 1 < commands.len() {
            // Close-on-exec, so that no program but the two it is for ever has it.
            let (reader, writer) = io::pipe()?;
            (Some(reader), Some(writer))
        } else {
            (None, None)
        };
        // 0 founds a group: the first one's own.
        let group = started.first().copied().unwrap_or(0);
        // SAFETY: the copy makes only calls that are safe in one of a process with threads, and ends in
        // `become_program`.
        match cvt(unsafe { libc::fork() })? {
            0 => become_program(&argv, group, input.as_ref(), output.as_ref()),
            pid => {
                // EACCES: it has called exec, so it has done it itself.
                // SAFETY: takes two integers.
                unsafe { libc::setpgid(pid, group) };
                started.push(pid);
            }
        }
        // Drops the reader that the new program has, and with this iteration the writer.
        input = next_input;
    }
    Ok(())
}

/// The array that execvp(3) takes, valid as long as `strings`.
fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([ptr::null()]).collect()
}

/// The life of a copy. Nothing here allocates, takes a lock, or returns.
fn become_program(
    argv: &[*const c_char],
    group: libc::pid_t,
    input: Option<&PipeReader>,
    output: Option<&PipeWriter>,
) -> ! {
    if let Some(input) = input {
        give(input.as_raw_fd(), 0);
    }
    if let Some(output) = output {
        give(output.as_raw_fd(), 1);
    }
    // SAFETY: integers; SIG_DFL is no function; and execvp reads the array up to its null pointer and
    // the strings it points to, all of which live in our caller's frames.
    unsafe {
        libc::setpgid(0, group);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execvp(argv[0], argv.as_ptr());
    }
    let status = match io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOENT) => 127,
        _ => 126,
    };
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(status) }
}

/// Makes `to` refer to what `from` refers to, across exec.
///
/// They are equal if the caller had `to` closed: dup2(2) does nothing then, and the pipe would stay
/// close-on-exec. The writer never has the number 0, as pipe(2) gives the reader the lower one.
fn give(from: RawFd, to: RawFd) {
    // SAFETY: integers only. Whoever owned `to` owns it in the caller; in this copy nobody does any more.
    unsafe {
        if from == to {
            libc::fcntl(to, libc::F_SETFD, 0);
        } else {
            libc::dup2(from, to);
        }
    }
}

/// Waits for one child to end, and gives its status as a shell does. EINTR is retried.
fn wait_for(child: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int to `status` during the call.
        match cvt(unsafe { libc::waitpid(child, &raw mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) if libc::WIFSIGNALED(status) => return Ok(128 + libc::WTERMSIG(status)),
            Ok(_) => return Ok(libc::WEXITSTATUS(status)),
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
