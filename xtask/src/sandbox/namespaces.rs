//! A test in namespaces of its own: it sees no other process, no network but
//! loopback, and nothing it can write to but its scratch folder.
//!
//! Pid 1 inside is ours. A daemon's parent really is pid 1 there, and when pid 1
//! ends, the kernel ends every process of the namespace: no walk, no race.
//!
//! The user namespace maps this user to itself, so a test sees the user id it
//! would see outside. It has no capability there: those of pid 1 end at exec.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getgid, getuid, setsid};

use super::job::{Exit, Job};
use super::sweep::settle_namespace;
use super::warden::{
    NOT_STARTED, NOT_STARTED_STATUS, Outputs, exit_of, files_of, take_descriptors,
};
use super::{limits, mounts};

/// What [`unshare_all`] and [`init`] use, in words.
pub(super) const USED: [&str; 6] = [
    "user namespace",
    "pid namespace",
    "read-only mounts",
    "own /dev",
    "own loopback",
    "resource limits",
];

/// Leaves the grader's namespaces; the next child is pid 1 of the new ones.
///
/// The mounts stay the warden's: it must remove its cgroup, which is read-only inside.
///
/// Ubuntu's AppArmor profile and Docker's seccomp profile deny this: EPERM or EACCES.
pub(super) fn unshare_all() -> std::io::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    let others = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    unshare(CloneFlags::CLONE_NEWUSER | others)
        .map_err(|errno| named("unshare(2) of a user namespace", errno))?;
    // Without this the kernel lets nobody but root map a group.
    std::fs::write("/proc/self/setgroups", "deny")
        .map_err(|error| std::io::Error::other(format!("/proc/self/setgroups: {error}")))?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))
        .map_err(|error| std::io::Error::other(format!("/proc/self/uid_map: {error}")))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
        .map_err(|error| std::io::Error::other(format!("/proc/self/gid_map: {error}")))
}

/// Pid 1: furnishes the namespaces, runs the test, answers the warden.
pub(super) fn init(job: &Job, outputs: &Outputs, answer: &File) {
    let answered = furnish(job).and_then(|()| run(job, outputs));
    let answered =
        answered.unwrap_or_else(|error| (Exit::NotStarted(error.to_string()), vec![], vec![]));
    let text = serde_json::to_vec(&answered).expect("plain data");
    let _ = (&mut &*answer).write_all(&text);
    // SAFETY: `_exit(2)` takes no pointer; pid 1 has nothing to flush.
    unsafe { libc::_exit(0) };
}

type Answer = (Exit, Vec<String>, Vec<String>);

fn run(job: &Job, outputs: &Outputs) -> std::io::Result<Answer> {
    // SAFETY: pid 1 has one thread, so the child may do anything.
    let test = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let error = become_test(job, outputs);
            let _ = writeln!(&outputs.stderr, "{NOT_STARTED}{error}");
            // SAFETY: as above.
            unsafe { libc::_exit(NOT_STARTED_STATUS) };
        }
    };
    let status = loop {
        match waitpid(None::<Pid>, None) {
            Ok(status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)))
                if pid == test =>
            {
                break status;
            }
            // Somebody's orphan.
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let left = settle_namespace();
    Ok((exit_of(status), left, files_of(job)))
}

/// Returns only when it could not.
fn become_test(job: &Job, outputs: &Outputs) -> std::io::Error {
    let prepare = || -> std::io::Result<()> {
        setsid()?;
        limits::apply(limits::PROCESSES)?;
        take_descriptors(outputs)?;
        limits::shed()?;
        Ok(())
    };
    match prepare() {
        Ok(()) => super::job::exec(job),
        Err(error) => error,
    }
}

fn furnish(job: &Job) -> std::io::Result<()> {
    // The warden's death is this namespace's death.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| named("unshare(2) of the mounts", errno))?;
    mounts::furnish(job)?;
    loopback_up().map_err(|error| std::io::Error::other(format!("loopback: {error}")))
}

/// A new network namespace has a loopback device that is down (netdevice(7)).
fn loopback_up() -> std::io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `ifreq` is plain data for which all zero bytes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    use std::os::fd::AsRawFd as _;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one `ifreq` during the call.
    let result = unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) };
    nix::Error::result(result).map(drop).map_err(Into::into)
}

fn named(what: &str, errno: nix::Error) -> std::io::Error {
    std::io::Error::other(format!("{what}: {errno}"))
}
