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

use std::ffi::CStr;
use std::io;

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
    // TODO: 1. One command: fork, execvp, waitpid, its status. Make the array for execvp before the fork.
    // TODO: 2. Two: a pipe, close-on-exec. Which end does whom give which number? Who drops which end, and
    //          when?
    // TODO: 3. Any number: in a loop, what is one command's reader is the next one's input.
    // TODO: 4. setpgid(2), in the copy and in the caller. An error in the caller means that the copy
    //          was faster.
    // TODO: 5. When all are started: wait for each, and find the result.
    // TODO: 6. A pipe or a fork fails in the middle: kill(2) the group, wait for those that were started.
    todo!("run one command: fork, execvp, waitpid")
}
