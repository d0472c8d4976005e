//! The system calls that several rooms of the host use, each in one line.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

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

/// `prctl(2)` with one number.
pub(crate) fn prctl(option: c_int, argument: libc::c_ulong) {
    // SAFETY: the options used here take a number, and fail with an errno that doesn't matter.
    unsafe { libc::prctl(option, argument, 0, 0, 0) };
}

/// Sets the name that `ps` shows.
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the kernel copies at most 16 bytes of a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}
