//! How does a cell process come to be?

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The first argument of this program as a cell process.
pub(crate) const AS_CELL: &str = "--cell";

/// The environment of the kernel's user, before the kernel put its own tools first.
const USERS: [(&str, &str); 2] = [
    ("PATH", "SYSLAB_USERS_PATH"),
    ("CARGO_HOME", "SYSLAB_USERS_CARGO_HOME"),
];

/// Starts one, in a process group of its own, with nothing open but the page.
pub(crate) fn cell_process(page: &OwnedFd) -> io::Result<i32> {
    let memory = page.as_raw_fd();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([AS_CELL, &memory.to_string()])
        .env_remove("EVCXR_IS_RUNTIME")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    for (name, users) in USERS {
        match std::env::var_os(users) {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("RUST_SRC_PATH");
    for (name, _) in std::env::vars_os() {
        let kernels = name.to_str().is_some_and(|name| {
            name.starts_with("EVCXR") || (name.starts_with("SYSLAB") && name != link::CELL_LIBRARY)
        });
        if kernels {
            command.env_remove(name);
        }
    }
    // SAFETY: between fork and execve only system calls on plain numbers.
    unsafe {
        command.pre_exec(move || {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            // Others are close-on-exec, except what somebody has left to us.
            for fd in (3..1024).filter(|&fd| fd != memory) {
                let flags = libc::fcntl(fd, libc::F_GETFD);
                if flags != -1 {
                    libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC);
                }
            }
            Ok(())
        });
    }
    Ok(command.spawn()?.id() as i32)
}
