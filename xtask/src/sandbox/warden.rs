//! The process between the grader and one test.
//!
//! It answers for three things: the deadline, the grader's SIGTERM, and one JSON
//! document on its stdout. The test never gets that descriptor, nor any other of
//! the grader's: what it writes goes to memory files that nobody waits on, so a
//! child that keeps them open holds up nothing.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::process::ExitCode;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid, setsid};

use super::cgroup::Cgroup;
use super::job::{Ended, Exit, Job, Mode};
use super::{limits, namespaces, processes, sweep};

/// First argument that makes this program a warden.
pub(crate) const WARDEN: &str = "__warden";
/// First argument that makes this program end at once, with success.
pub(crate) const NOTHING: &str = "__nothing";

/// The descriptor that a test's `observe` reports on.
pub(crate) const REPORT_FD: RawFd = 3;

/// As much of an output as a person would read; the beginning is dropped.
const KEEP: u64 = 256 * 1024;
/// As much as the reports of one test may be.
const KEEP_NOTES: u64 = 4 * 1024 * 1024;

/// What the test writes to, and what is read when it has ended.
pub(super) struct Outputs {
    pub(super) stdout: File,
    pub(super) stderr: File,
    pub(super) notes: File,
}

/// What is known of the one process whose end is the test's end.
pub(super) struct Held {
    pub(super) exit: Exit,
    pub(super) left_processes: Vec<String>,
    pub(super) left_files: Vec<String>,
}

/// The warden's `main`: a job on stdin, its end on stdout.
pub(crate) fn main() -> ExitCode {
    let mut text = String::new();
    if std::io::stdin().read_to_string(&mut text).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(job) = serde_json::from_str::<Job>(&text) else {
        return ExitCode::FAILURE;
    };
    let started = Instant::now();
    let mut ended = hold(&job).unwrap_or_else(|error| Ended::not_started(error.to_string()));
    ended.seconds = started.elapsed().as_secs_f64();
    let text = serde_json::to_vec(&ended).expect("plain data");
    match std::io::stdout().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn hold(job: &Job) -> std::io::Result<Ended> {
    let grader = getppid();
    // If the grader is killed, the test must not go on without it.
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    if getppid() != grader {
        return Err(std::io::Error::other("the grader is gone"));
    }
    setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut watched = SigSet::empty();
    watched.add(Signal::SIGTERM);
    watched.thread_block()?;
    let term = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    let mut outputs = Outputs {
        stdout: memory_file(c"stdout")?,
        stderr: memory_file(c"stderr")?,
        notes: memory_file(c"notes")?,
    };
    let mut used = Vec::new();
    let cgroup = Cgroup::create();
    used.extend(cgroup.iter().map(Cgroup::describe));

    let held = match job.mode {
        Mode::Namespaces => {
            namespaces::unshare_all()?;
            used.extend(namespaces::USED.map(String::from));
            hold_namespaces(job, &outputs, cgroup.as_ref(), &term)?
        }
        Mode::Processes => {
            used.extend(processes::used());
            hold_processes(job, &outputs, cgroup.as_ref(), &term)?
        }
    };
    if let Some(cgroup) = cgroup {
        cgroup.remove();
    }
    if getppid() != grader {
        // It was killed, and can't clear up any more; the last warden takes the folder
        // around the others' away.
        let _ = crate::scratch::remove(&job.scratch);
        let _ = job.scratch.parent().map(std::fs::remove_dir);
    }
    Ok(Ended {
        exit: held.exit,
        stdout: tail(&mut outputs.stdout, KEEP)?,
        stderr: tail(&mut outputs.stderr, KEEP)?,
        notes: tail(&mut outputs.notes, KEEP_NOTES)?,
        left_processes: held.left_processes,
        left_files: held.left_files,
        seconds: 0.0,
        used,
    })
}

/// The child is pid 1 of the namespaces: its end is the end of everything in them.
fn hold_namespaces(
    job: &Job,
    outputs: &Outputs,
    cgroup: Option<&Cgroup>,
    term: &SignalFd,
) -> std::io::Result<Held> {
    let mut answer = memory_file(c"answer")?;
    let (go, ready) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread, so the child may do anything.
    let init = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(ready);
            let mut byte = [0];
            // Waits until it is in its cgroup; EOF says that the warden is gone.
            let started = matches!(nix::unistd::read(&go, &mut byte), Ok(1));
            if started {
                namespaces::init(job, outputs, &answer);
            }
            // SAFETY: `_exit(2)` takes no pointer; nothing of the warden's runs twice.
            unsafe { libc::_exit(1) };
        }
    };
    drop(go);
    if let Some(cgroup) = cgroup {
        cgroup.add(init);
    }
    nix::unistd::write(&ready, b"g")?;
    let in_time = wait_for_end(init, job, term)?;
    if !in_time {
        // SIGKILL from outside ends pid 1, and the kernel ends the rest with it.
        kill(init, Signal::SIGKILL)?;
    }
    let status = waitpid(init, None)?;
    if !in_time {
        return Ok(Held {
            exit: Exit::TimedOut,
            left_processes: Vec::new(),
            left_files: Vec::new(),
        });
    }
    let text = tail(&mut answer, KEEP)?;
    let (exit, left_processes, left_files) = serde_json::from_str(&text).unwrap_or_else(|_| {
        (
            Exit::NotStarted(format!("pid 1 of the sandbox ended early ({status:?})")),
            vec![],
            vec![],
        )
    });
    Ok(Held {
        exit,
        left_processes,
        left_files,
    })
}

/// The child is the test itself; whatever it starts is found by its ancestry.
fn hold_processes(
    job: &Job,
    outputs: &Outputs,
    cgroup: Option<&Cgroup>,
    term: &SignalFd,
) -> std::io::Result<Held> {
    // Without namespaces a test could read the verdict's descriptor in /proc.
    nix::sys::prctl::set_dumpable(false)?;
    let me = nix::unistd::getpid();
    // So that the test's end is one call, and no error of ours reaches the user's processes.
    let alone = processes::signal_only_own();
    let nproc = limits::processes_of_this_user() + limits::PROCESSES;
    // SAFETY: this process has one thread, so the child may do anything.
    let test = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            if let Some(cgroup) = cgroup {
                cgroup.add(nix::unistd::getpid());
            }
            let error = processes::become_test(job, outputs, me, nproc);
            let _ = writeln!(&outputs.stderr, "{NOT_STARTED}{error}");
            // SAFETY: as above.
            unsafe { libc::_exit(NOT_STARTED_STATUS) };
        }
    };
    let in_time = wait_for_end(test, job, term)?;
    // Not reaped yet: its pid can't be another's while the tree is walked.
    let left = sweep::settle(me, test);
    let left_processes = if in_time { left } else { Vec::new() };
    let reaped = sweep::end_descendants(cgroup, alone);
    let status = reaped
        .get(&test.as_raw())
        .copied()
        .unwrap_or(WaitStatus::StillAlive);
    let mut exit = if in_time {
        exit_of(status)
    } else {
        Exit::TimedOut
    };
    if exit == Exit::Exited(NOT_STARTED_STATUS) {
        let text = tail(&mut outputs.stderr.try_clone()?, KEEP)?;
        if let Some(reason) = text.strip_prefix(NOT_STARTED) {
            exit = Exit::NotStarted(reason.trim().to_owned());
        }
    }
    Ok(Held {
        exit,
        left_processes,
        left_files: files_of(job),
    })
}

/// How a child says, before it is the test, that it cannot become it.
pub(super) const NOT_STARTED: &str = "the test could not be started: ";
pub(super) const NOT_STARTED_STATUS: i32 = 124;

/// Waits for `child`'s end without reaping it; false at the deadline or on SIGTERM.
fn wait_for_end(child: Pid, job: &Job, term: &SignalFd) -> std::io::Result<bool> {
    let pidfd = pidfd_open(child)?;
    let deadline = Instant::now() + job.limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(term.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        if fds[0].any() == Some(true) {
            return Ok(true);
        }
        if fds[1].any() == Some(true) || Instant::now() >= deadline {
            return Ok(false);
        }
    }
}

/// Puts a test's descriptors in place and closes all others; for a child before exec.
pub(super) fn take_descriptors(outputs: &Outputs) -> nix::Result<()> {
    let null = File::open("/dev/null")
        .map_err(|error| nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
    // Closed with the rest below; closing it twice would be an error.
    let null = std::mem::ManuallyDrop::new(null);
    let wanted = [&*null, &outputs.stdout, &outputs.stderr, &outputs.notes];
    // First out of the way, so that no dup2 hits a source that is still needed.
    let mut high = Vec::new();
    for file in wanted {
        high.push(nix::fcntl::fcntl(
            file.as_fd(),
            nix::fcntl::FcntlArg::F_DUPFD(64),
        )?);
    }
    for (fd, high) in (0..).zip(&high) {
        // SAFETY: takes two integers; descriptors 0 to 3 of this child are ours to replace.
        nix::Error::result(unsafe { libc::dup2(*high, fd) })?;
    }
    // SAFETY: takes integers; nothing in this child uses a descriptor above 3 before exec.
    nix::Error::result(unsafe { libc::close_range((REPORT_FD + 1).cast_unsigned(), u32::MAX, 0) })?;
    Ok(())
}

pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match status {
        WaitStatus::Exited(_, code) => Exit::Exited(code),
        WaitStatus::Signaled(_, signal, _) => Exit::Killed(signal as i32),
        other => Exit::NotStarted(format!("wait(2) gave {other:?}")),
    }
}

/// Names of what is in `folder`, a few levels deep at most.
/// What is left in the folders of a job.
pub(super) fn files_of(job: &Job) -> Vec<String> {
    let folders = [&job.scratch].into_iter().chain(&job.disk);
    folders.flat_map(|folder| files_in(folder)).collect()
}

fn files_in(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.truncate(20);
    names
}

pub(super) fn memory_file(name: &std::ffi::CStr) -> nix::Result<File> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    // Appending, so that two writers with their own offsets can't overwrite each other.
    nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_APPEND),
    )?;
    Ok(file)
}

fn tail(file: &mut File, keep: u64) -> std::io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(keep)))?;
    let mut bytes = Vec::new();
    file.take(keep).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn pidfd_open(pid: Pid) -> std::io::Result<OwnedFd> {
    // SAFETY: takes two integers and returns a descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = nix::Error::result(fd)? as RawFd;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
