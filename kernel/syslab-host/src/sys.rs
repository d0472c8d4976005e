//! The system calls that several rooms of the host use, each in one line.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, pid_t};

/// `pipe2(2)` with O_CLOEXEC: read end, write end.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors, which are ours from then on.
    unsafe {
        match libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))),
        }
    }
}

/// `openpty(3)`: master, slave, and the slave's path. It echoes nothing, because the front end shows what is typed, and
/// leaves newlines alone.
pub(crate) fn terminal() -> io::Result<(OwnedFd, OwnedFd, String)> {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: the kernel writes two descriptors, which are ours from then on; the settings are a local that
    // tcgetattr(3) fills; all zero is a value of it.
    unsafe {
        let none = std::ptr::null_mut();
        if libc::openpty(
            &raw mut master,
            &raw mut slave,
            none,
            std::ptr::null(),
            std::ptr::null(),
        ) == -1
        {
            return Err(io::Error::last_os_error());
        }
        for fd in [master, slave] {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        let (master, slave) = (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave));
        let mut settings: libc::termios = std::mem::zeroed();
        libc::tcgetattr(slave.as_raw_fd(), &raw mut settings);
        settings.c_lflag &= !libc::ECHO;
        settings.c_oflag &= !libc::ONLCR;
        libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const settings);
        let path = std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd()))?;
        Ok((master, slave, path.display().to_string()))
    }
}

/// `st_dev` and `st_ino` of an open descriptor: what it refers to.
pub(crate) fn identity(fd: c_int) -> Option<(u64, u64)> {
    // SAFETY: all zero is a value of stat, which the kernel fills.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &raw mut stat) == 0).then_some((stat.st_dev, stat.st_ino))
    }
}

/// `pidfd_open(2)`.
pub(crate) fn pidfd(pid: pid_t) -> io::Result<OwnedFd> {
    // SAFETY: two integers in; the descriptor that comes out is ours.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as c_int)),
        }
    }
}

/// `pidfd_getfd(2)`: a copy of another process's descriptor.
///
/// # Errors
/// EPERM: Yama, a seccomp filter, or the process isn't dumpable. EBADF: it has no such descriptor.
pub(crate) fn getfd(pidfd: c_int, target: c_int) -> io::Result<c_int> {
    // SAFETY: three integers in; the descriptor that comes out is the caller's.
    match unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, target, 0) } {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd as c_int),
    }
}

/// `kill(2)`; nobody there is as good as done.
pub(crate) fn kill(pid: pid_t, signal: c_int) {
    // SAFETY: two integers.
    unsafe { libc::kill(pid, signal) };
}

/// `getpgid(2)`; none where there is no such process.
pub(crate) fn group(pid: pid_t) -> Option<pid_t> {
    // SAFETY: takes an integer.
    let group = unsafe { libc::getpgid(pid) };
    (group > 0).then_some(group)
}

/// `prctl(2)` with one number.
pub(crate) fn prctl(option: c_int, argument: libc::c_ulong) {
    // SAFETY: the options used here take a number, and fail with an errno that doesn't matter.
    unsafe { libc::prctl(option, argument, 0, 0, 0) };
}

/// Whether orphans below this process become its children (`PR_SET_CHILD_SUBREAPER`).
pub(crate) fn is_subreaper() -> bool {
    let mut set: c_int = 0;
    // SAFETY: the kernel writes one int.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut set) };
    set != 0
}

/// Sets the name that `ps` shows.
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the kernel copies at most 16 bytes of a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}
