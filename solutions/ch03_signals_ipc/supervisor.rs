//! # Who restarts what crashes, and stops it when asked?
//!
//! One loop around poll(2). Whatever can happen is a descriptor: a pidfd for each worker's end, a pipe for its
//! output, a signalfd for what is asked of the supervisor; what has to happen at some time is the timeout. What is
//! wanted of a worker (a command, or nothing) is kept apart from what there is of it (a process, or none), and every
//! event only brings the second nearer to the first: so a SIGHUP while a worker is being stopped, or waits to be
//! started, is no special case.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

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
    let wanted = read(config)?;
    // From here on a signal waits in the descriptor.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals.add(Signal::SIGTERM);
    let signals = {
        signals.thread_block()?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?
    };
    let mut log = Log(log);
    let mut workers = Vec::new();
    want(&mut workers, wanted, pace);
    let mut ending = false;
    loop {
        for worker in &mut workers {
            worker.proceed(pace, &mut log);
        }
        workers.retain(Worker::needed);
        if ending && workers.is_empty() {
            return Ok(());
        }
        let ready = wait(&signals, &workers);
        for (worker, ready) in workers.iter_mut().zip(ready.workers) {
            worker.look(ready, pace, &mut log);
        }
        if !ready.signals {
            continue;
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                ending = true;
                want(&mut workers, Vec::new(), pace);
            } else if !ending {
                match read(config) {
                    Ok(wanted) => want(&mut workers, wanted, pace),
                    Err(error) => log.note(&format!("{} is not used: {error}", config.display())),
                }
            }
        }
    }
}

/// A program and its arguments.
type Words = Vec<String>;

/// The workers that a file names, in its order.
fn read(config: &Path) -> io::Result<Vec<(String, Words)>> {
    let text = String::from_utf8(fs::read(config)?).map_err(|_| Errno::EINVAL)?;
    let mut workers: Vec<(String, Words)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(name) = words.next() else {
            continue;
        };
        let command: Words = words.collect();
        if command.is_empty() || workers.iter().any(|(other, _)| *other == name) {
            return Err(Errno::EINVAL.into());
        }
        workers.push((name, command));
    }
    Ok(workers)
}

/// Tells all workers what is wanted of them from now on; there are new ones among them, perhaps.
fn want(workers: &mut Vec<Worker>, wanted: Vec<(String, Words)>, pace: Pace) {
    let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let mut wanted: HashMap<String, Words> = wanted.into_iter().collect();
    for worker in workers.iter_mut() {
        worker.want(wanted.remove(&worker.name), pace);
    }
    for name in names {
        if let Some(command) = wanted.remove(&name) {
            workers.push(Worker {
                name,
                wanted: Some(command),
                process: None,
                due: Instant::now(),
                wait: pace.first,
            });
        }
    }
}

/// A name of the config, or one that it had and whose process has not ended yet.
struct Worker {
    name: String,
    /// What is to run; none: nothing any more.
    wanted: Option<Words>,
    process: Option<Process>,
    /// When it is to be started; of no meaning while it runs.
    due: Instant,
    /// How long to wait after its next end.
    wait: Duration,
}

/// A worker that runs, or has ended and was not waited for.
struct Process {
    child: Child,
    command: Words,
    pidfd: OwnedFd,
    output: Option<PipeReader>,
    /// The beginning of a line whose end is still to come.
    line: Vec<u8>,
    since: Instant,
    /// When it is sent SIGKILL; some from when it was sent SIGTERM.
    kill_at: Option<Instant>,
}

impl Worker {
    fn needed(&self) -> bool {
        self.wanted.is_some() || self.process.is_some()
    }

    fn want(&mut self, command: Option<Words>, pace: Pace) {
        if self.wanted != command {
            self.due = Instant::now();
            self.wait = pace.first;
        }
        self.wanted = command;
        if let Some(process) = &mut self.process
            && process.kill_at.is_none()
            && self.wanted.as_ref() != Some(&process.command)
        {
            process.signal(libc::SIGTERM);
            process.kill_at = Some(after(pace.grace));
        }
    }

    /// When there is something to do without any event.
    fn deadline(&self) -> Option<Instant> {
        match &self.process {
            Some(process) => process.kill_at,
            None => self.wanted.as_ref().map(|_| self.due),
        }
    }

    /// Does what is due.
    fn proceed(&mut self, pace: Pace, log: &mut Log) {
        if self
            .deadline()
            .is_none_or(|deadline| deadline > Instant::now())
        {
            return;
        }
        match (&mut self.process, &self.wanted) {
            (Some(process), _) => {
                process.signal(libc::SIGKILL);
                // Sent once; its end is an event.
                process.kill_at = Some(after(Duration::MAX));
            }
            (None, Some(command)) => match Process::start(command) {
                Ok(process) => self.process = Some(process),
                Err(error) => {
                    log.note(&format!("{} cannot be started: {error}", self.name));
                    self.wait_longer(pace);
                }
            },
            (None, None) => {}
        }
    }

    /// Takes note of what poll(2) said.
    fn look(&mut self, ready: Ready, pace: Pace, log: &mut Log) {
        let Some(process) = &mut self.process else {
            return;
        };
        if ready.ended || ready.output {
            process.read(&self.name, log);
        }
        if !ready.ended {
            return;
        }
        process.finish(&self.name, log);
        let (since, stopped) = (process.since, process.kill_at.is_some());
        self.process = None;
        if stopped {
            // By us, and what is wanted now has nothing to do with how it ended.
            self.due = Instant::now();
            self.wait = pace.first;
        } else {
            if since.elapsed() >= pace.calm {
                self.wait = pace.first;
            }
            self.wait_longer(pace);
        }
    }

    fn wait_longer(&mut self, pace: Pace) {
        let wait = self.wait.min(pace.most);
        self.due = after(wait);
        self.wait = wait.saturating_mul(2).min(pace.most);
    }
}

impl Process {
    fn start(command: &Words) -> io::Result<Process> {
        let (output, theirs) = io::pipe()?;
        // Only the description of the reading end: the worker's is another.
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut program = Command::new(&command[0]);
        program
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(theirs.try_clone()?)
            .stderr(theirs);
        // A mask survives execve(2), and std leaves it as it is: the worker would be deaf to SIGTERM.
        let unblock = || SigSet::empty().thread_set_mask().map_err(io::Error::from);
        // SAFETY: between fork and exec `unblock` makes one call that signal-safety(7) lists, and allocates nothing.
        let mut child = unsafe { program.pre_exec(unblock) }.spawn()?;
        // Our copies of the writing end: with them the pipe would never end.
        drop(program);
        // No other process can have this pid: nobody but us waits for the child.
        let pidfd = match pidfd_open(child.id()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // One that cannot be watched must not run.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        Ok(Process {
            child,
            command: command.clone(),
            pidfd,
            output: Some(output),
            line: Vec::new(),
            since: Instant::now(),
            kill_at: None,
        })
    }

    fn signal(&self, signal: i32) {
        // SAFETY: integers and a null siginfo, which is allowed. ESRCH: it has ended, which is what was asked for.
        unsafe {
            let info = std::ptr::null::<libc::siginfo_t>();
            let pidfd = self.pidfd.as_raw_fd();
            libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, info, 0);
        }
    }

    /// Logs what is in the pipe, at most as much as fits into it: somebody may write faster than we read.
    fn read(&mut self, name: &str, log: &mut Log) {
        let mut part = vec![0; PIPE];
        let mut left = PIPE;
        while let Some(output) = &mut self.output
            && left > 0
        {
            match output.read(&mut part[..left]) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    left -= count;
                    self.line.extend_from_slice(&part[..count]);
                    self.log_lines(name, log);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn log_lines(&mut self, name: &str, log: &mut Log) {
        let mut start = 0;
        while let Some(length) = self.line[start..].iter().position(|byte| *byte == b'\n') {
            log.line(name, &self.line[start..start + length]);
            start += length + 1;
        }
        self.line.drain(..start);
        // Whoever never ends a line must not fill our memory.
        if self.line.len() > PIPE {
            log.line(name, &self.line);
            self.line.clear();
        }
    }

    /// Waits for it, who has ended: this takes no time.
    fn finish(&mut self, name: &str, log: &mut Log) {
        let _ = self.child.wait();
        if !self.line.is_empty() {
            log.line(name, &self.line);
        }
    }
}

/// How much a pipe holds: pipe(7).
const PIPE: usize = 64 << 10;

/// Where lines go. One that cannot be written (the disk is full) is lost; the workers matter more.
struct Log(File);

impl Log {
    fn line(&mut self, name: &str, line: &[u8]) {
        let _ = self
            .0
            .write_all(&[name.as_bytes(), b": ", line, b"\n"].concat());
    }

    fn note(&mut self, text: &str) {
        self.line("supervisor", text.as_bytes());
    }
}

/// What poll(2) said.
struct AllReady {
    signals: bool,
    /// In the order of the workers.
    workers: Vec<Ready>,
}

#[derive(Clone, Copy, Default)]
struct Ready {
    ended: bool,
    output: bool,
}

/// Sleeps until something has happened or is due.
fn wait(signals: &SignalFd, workers: &[Worker]) -> AllReady {
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    for process in workers.iter().filter_map(|worker| worker.process.as_ref()) {
        fds.push(PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN));
        if let Some(output) = &process.output {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
    }
    let deadline = workers.iter().filter_map(Worker::deadline).min();
    match poll(&mut fds, timeout(deadline)) {
        Ok(_) | Err(Errno::EINTR) => {}
        // No memory just now: the workers are not left alone for that.
        Err(_) => thread::sleep(Duration::from_millis(100)),
    }
    let mut ready = fds.iter().map(|fd| fd.any() == Some(true));
    let mut next = || ready.next() == Some(true);
    AllReady {
        signals: next(),
        workers: workers
            .iter()
            .map(|worker| match &worker.process {
                Some(process) => Ready {
                    ended: next(),
                    output: process.output.is_some() && next(),
                },
                None => Ready::default(),
            })
            .collect(),
    }
}

/// So much later; as good as never where a clock doesn't reach.
fn after(wait: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(10 << 25);
    Instant::now() + wait.min(YEARS)
}

/// The milliseconds to `deadline`, rounded up: rounded down, the last one would be a busy loop.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: integers only. Close-on-exec is set by the kernel.
    match unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: just made, owned by nobody else.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    }
}
