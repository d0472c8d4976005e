//! Whether this machine lets us trace: asked of the kernel, not of its configuration.

use std::io;

use crate::ptrace;

/// Whether tracing works here: really traces a forked child.
///
/// # Errors
/// EPERM: Yama's `ptrace_scope` is 3 (or 2, without CAP_SYS_PTRACE), or a seccomp filter forbids it. EIO: a kernel
/// older than 5.3.
pub fn available() -> io::Result<()> {
    // SAFETY: the child only waits for a signal, ours or that of our end, and leaves by _exit(2).
    let pid = unsafe {
        match libc::fork() {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
                libc::_exit(0)
            }
            pid => pid,
        }
    };
    let tried = ptrace::seize(pid, ptrace::WITH_CHILDREN).and_then(|()| {
        ptrace::interrupt(pid)?;
        reap(pid);
        ptrace::syscall_info(pid).map(drop)
    });
    // SAFETY: the pid is that of our child, which isn't reaped yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    reap(pid);
    tried
}

/// Waits for a child of ours: for its next stop if it is traced, else for its end. EINTR: waits on.
pub(crate) fn reap(pid: i32) {
    // SAFETY: the status isn't asked for.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } == -1
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}
