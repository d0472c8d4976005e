//! # Who gets the keys that you press, and the Ctrl-C?
//!
//! A terminal belongs to one session, and within it to one process group at a time: the foreground.
//! It may read; whoever else tries gets SIGTTIN and is stopped. Ctrl-C and Ctrl-Z are signals to all of
//! the foreground group, sent by the kernel. A shell with job control does three things, then: it
//! makes each pipeline a process group, it hands the terminal to one of them (tcsetpgrp(3)), and it
//! takes it back when that one has ended *or stopped*.
//!
//! The traps are between those steps. fork(2) makes two processes, and nobody knows which runs
//! first: the program must not read before its group is the foreground, and the shell must not
//! wait for a group that does not exist yet. So both of them call setpgid(2), and the second call
//! does no harm. Also, a process that is not in the foreground and takes the terminal gets SIGTTOU,
//! even if it is the shell; and what the shell ignores, its children ignore, unless told otherwise.
//!
//! Build [`shell`]. It has a prompt, quotes, pipelines, `$?`, `&`, `jobs`, `fg`, `bg`: a day's work. The
//! stages come in this order, so begin with one program in the foreground.
//!
//! ```text
//! line     = [ pipeline [ "&" ] ]
//! pipeline = command { "|" command }
//! command  = word { word }
//! word     = piece { piece }                    pieces without a blank between them
//! piece    = character                          any but  blank tab ' " \ | &
//!          | "\" character                      that character
//!          | "'" { any but ' } "'"              as it stands
//!          | '"' { any but " } '"'              as it stands, but for $?
//! ```
//!
//! `$?` outside of `'…'` and not behind `\` is the last status, in decimal. That is all: `;`, `<`, `*`, any other
//! `$` and, in `"…"`, `\` are characters as others are. You need no more than execvp(3) to find a program.
//!
//! Man pages: credentials(7), setpgid(2), tcsetpgrp(3), tcgetattr(3), wait(2), signal(7), execve(2), pipe(2),
//! kill(2), termios(3).
//! Notebook: `02-processes.ipynb#sessions-and-process-groups`.

use std::io;

/// Reads lines from the terminal that is descriptor 0 and runs them, until `exit` or end of file (Ctrl-D).
/// Called by the only thread of a process that leads the terminal's foreground group. Returns the
/// status: of `exit N` it is N, else the last one.
///
/// Before each line it writes the prompt `$ ` to descriptor 1. Ctrl-C, Ctrl-\ and Ctrl-Z do nothing to the
/// shell. Messages to the user, in your own words, go to descriptor 2.
///
/// **Pipelines.** The commands run side by side, each one's output being the next one's input; the
/// rest of the descriptors 0, 1 and 2 is the shell's, and no other is open. The shell itself keeps no end of a
/// pipe. All are in one process group, which the first one leads, from before execve(2). No signal is
/// blocked, or ignored (SIGPIPE included).
///
/// **Foreground.** Without `&` the pipeline's group is the terminal's foreground from before the programs
/// start until it ended or stopped: it is stopped when none of its processes runs any more, but not all have
/// ended. Then the shell is the foreground again. If the job was stopped, or its last command was
/// killed by a signal, the shell writes a newline (the cursor stands behind `^Z`), and gives the terminal the
/// modes back that it had before the job could change them, tcgetattr(3); if it exited, its
/// modes stay, as is `stty`'s purpose.
///
/// **Status.** `$?` is at first 0; after a foreground job the exit status of its last command, 128 + n if
/// signal n killed it, or stopped the job; 127 if the program isn't found, 126 if it can't be executed
/// otherwise; 0 after `&`; 2 for a line that is none (an open quote, `\` at the end, `|` without a
/// command at each side, `&` without one before or with something behind), of which nothing runs. An empty line leaves it.
///
/// **Jobs.** What is started with `&`, or stops in the foreground, gets a number: one more than the
/// largest in use, or 1. `&` writes `[1] 4711`, the number and the process group. Before a prompt the shell writes
/// which jobs have stopped or ended since it last said so, in order; what ended is then forgotten. It says
/// `[N] STATE TEXT`: `Running`, `Stopped`, or `Done` and the status; then the line, without `&` and the blanks
/// around. `[1] Stopped cat | wc -l`, `[2] Done 143 sleep 60`. All that ended has been waited for by then.
///
/// **Builtins**, in a line of one command without `&` (elsewhere, names like any other). `$?` is 0, after `fg` the
/// job's, or 1 after a message:
/// - `exit [N]`; `cd DIR`;
/// - `jobs` writes `[N] STATE TEXT` of each, as it is at this moment, also if it was continued by others;
/// - `fg [%N]` writes TEXT, and takes the job to the foreground. It goes on if it was stopped;
/// - `bg [%N]` lets it go on in the background, and writes `[N] Running TEXT`. Without `%N`, the largest is meant.
///
/// # Errors
/// - `ENOTTY`: descriptor 0 is no terminal.
/// - What reading from it fails with.
pub fn shell() -> io::Result<i32> {
    // TODO: 1. Prompt, read a line, take it apart into words, fork(2), execvp(3), wait: `exit`, `$?`.
    // TODO: 2. Pipelines: pipe2(2) with O_CLOEXEC. A process group each, made by the shell *and* by the child.
    // TODO: 3. What the shell ignores, and where that ends. The terminal goes to the job and comes back.
    // TODO: 4. WUNTRACED: a table of jobs with the state of each process. `fg`.
    // TODO: 5. `&`, and before each prompt what has changed: WNOHANG, WCONTINUED. `jobs`, `bg`.
    todo!("write the prompt, read a line, and split it into words")
}
