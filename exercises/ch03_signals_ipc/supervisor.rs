//! # Who restarts what crashes, and stops it when asked?
//!
//! systemd, runit, a container's pid 1: each starts workers, notices their end, and starts them again. The
//! usual recipe, waitpid(-1) on SIGCHLD, has three traps. Signals don't queue: three workers that end
//! together are one SIGCHLD. waitpid(-1) takes away the status of children that others in the process started.
//! And a pid means a process only until it was waited for: kill(2) a moment later hits a stranger. A pidfd,
//! pidfd_open(2), has none of them: poll(2) says that this one process has ended. signalfd(2) makes
//! a descriptor of SIGHUP and SIGTERM too, the workers' output is one anyway, so one loop waits for all.
//!
//! Then there is what people notice in production: a worker that crashes at once must not be started a
//! thousand times a second, its last words must be in the log, and after a year no zombie and no descriptor
//! may be left over.
//!
//! Build [`supervise`]; it is the main loop of a program that does nothing else.
//!
//! Man pages: pidfd_open(2), pidfd_send_signal(2), waitid(2), signalfd(2), poll(2), pipe(7), signal(7).
//! Notebook: `03-signals-ipc.ipynb#asking-a-server-to-stop`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How patient a supervisor is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long it waits before it starts a worker again that has ended.
    pub first: Duration,
    /// That wait doubles each time the worker ends again, up to this.
    pub most: Duration,
    /// A worker that ran for so long, or longer, is given `first` again.
    pub calm: Duration,
    /// How long a worker may take to end after SIGTERM. Then it is sent SIGKILL.
    pub grace: Duration,
}

/// Runs the workers that the file `config` names until SIGTERM; what they print goes to `log`.
///
/// A line of `config` is a name, a program and its arguments, separated by blanks: `web /usr/bin/httpd -p 80`.
/// Empty lines and those that begin with `#` say nothing. Each name stands there once.
///
/// **Workers.** Each has one process at any time, never two. Its stdin is /dev/null, stdout and stderr are
/// one pipe to the supervisor; no other descriptor is open, no signal blocked or ignored. When it ends, no
/// matter how, it is waited for and started again, at the [`Pace`]; meanwhile the others are cared for.
/// While nothing happens, and nothing is due, the supervisor sleeps: it does not look now and then.
/// One that can't be started (no such program) is treated as if it had ended at once, and a line of the log
/// that begins with `supervisor: ` names it.
///
/// **Log.** Each line that the worker NAME prints becomes one line `NAME: line`, in their order, whole up to
/// 64 KiB, byte for byte. A last line without `\n` gets one. All that a worker had printed when it ended is
/// logged, also if it was killed; a child of its own that holds the pipe open delays nothing.
///
/// **SIGHUP** reads `config` again. New workers are started. Those that it no longer names are sent SIGTERM,
/// and SIGKILL after the grace. Those whose program or arguments are others likewise, and the new process is
/// started when the old one has ended, without any other wait. The rest notices nothing. If the file can't
/// be read or is malformed, nothing changes, and a line of the log that begins with `supervisor: ` says so.
///
/// **SIGTERM** starts nobody any more: every worker is sent SIGTERM, and SIGKILL after the grace. When the
/// last one was waited for, `supervise` returns, and nothing that it opened is left open. Both signals may
/// come at any moment from when the first worker runs.
///
/// Children of this process that are no workers are left alone: whoever started them can wait for them.
///
/// # Errors
/// Before anything is started; later there is none:
/// - `ENOENT`, `EACCES` …: what open(2) says of `config`.
/// - `EINVAL`: a line has no program, a name stands there twice, or it is not UTF-8.
/// - `EMFILE`, `ENOMEM`: no descriptor or memory to begin with.
pub fn supervise(config: &Path, pace: Pace, log: File) -> io::Result<()> {
    // TODO: 1. Read `config`. Start each worker with std::process::Command, with a pipe for its output.
    //       2. A loop around poll(2): the signals, and a pidfd and a pipe for each worker; wake up in
    //          time for whoever is to be started or killed next.
    //       3. Output: complete lines to the log. A pidfd that is readable: wait, and read what is left.
    //       4. Back-off; then SIGTERM and the grace; then SIGHUP.
    todo!("read the config: one worker a line")
}
