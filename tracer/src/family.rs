//! Which calls are the same question to the kernel: `fork` is `clone` in one libc and `clone3` in another, and
//! aarch64 has no `open`. A record by families reads the same on each of them.

/// The family of a call, its own name if it has no relatives.
///
/// `clone3(2)` keeps its flags in memory: from the arguments alone it is taken for a `fork`.
/// [`Call::family`](crate::Call::family) knows better.
pub fn family(name: &'static str, args: &[u64; 6]) -> &'static str {
    of(name, if name == "clone" { args[0] } else { 0 })
}

/// The same, with the flags of `clone(2)` or `clone3(2)` known.
pub(crate) fn of(name: &'static str, clone_flags: u64) -> &'static str {
    match name {
        "clone" | "clone3" if clone_flags & libc::CLONE_THREAD as u64 != 0 => "thread",
        "fork" | "vfork" | "clone" | "clone3" => "fork",
        "execve" | "execveat" => "exec",
        "exit" | "exit_group" => "exit",
        "wait4" | "waitid" => "wait",
        "kill" | "tkill" | "tgkill" => "signal",
        "open" | "openat" | "openat2" | "creat" => "open",
        "dup" | "dup2" | "dup3" => "dup",
        "pipe" | "pipe2" => "pipe",
        "pread64" => "pread",
        "pwrite64" => "pwrite",
        "preadv" | "preadv2" => "preadv",
        "pwritev" | "pwritev2" => "pwritev",
        "stat" | "fstat" | "lstat" | "newfstatat" | "statx" => "stat",
        "statfs" | "fstatfs" => "statfs",
        "access" | "faccessat" | "faccessat2" => "access",
        "rename" | "renameat" | "renameat2" => "rename",
        "unlink" | "unlinkat" => "unlink",
        "mkdir" | "mkdirat" => "mkdir",
        "mknod" | "mknodat" => "mknod",
        "link" | "linkat" => "link",
        "symlink" | "symlinkat" => "symlink",
        "readlink" | "readlinkat" => "readlink",
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => "chmod",
        "chown" | "fchown" | "lchown" | "fchownat" => "chown",
        "utime" | "utimes" | "futimesat" | "utimensat" => "utimes",
        "truncate" | "ftruncate" => "truncate",
        "getdents" | "getdents64" => "getdents",
        "chdir" | "fchdir" => "chdir",
        "sync" | "syncfs" => "sync",
        "fsync" | "fdatasync" => "fsync",
        "umount2" => "umount",
        "poll" | "ppoll" => "poll",
        "select" | "pselect6" => "select",
        "epoll_create" | "epoll_create1" => "epoll_create",
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => "epoll_wait",
        "eventfd" | "eventfd2" => "eventfd",
        "signalfd" | "signalfd4" => "signalfd",
        "inotify_init" | "inotify_init1" => "inotify_init",
        "accept" | "accept4" => "accept",
        "recvfrom" => "recv",
        "sendto" => "send",
        "rt_sigaction" => "sigaction",
        "rt_sigprocmask" => "sigprocmask",
        "rt_sigreturn" => "sigreturn",
        "rt_sigpending" => "sigpending",
        "rt_sigsuspend" | "pause" => "sigsuspend",
        "rt_sigtimedwait" => "sigwait",
        "rt_sigqueueinfo" | "rt_tgsigqueueinfo" => "sigqueue",
        "nanosleep" | "clock_nanosleep" => "sleep",
        "getrlimit" | "setrlimit" | "prlimit64" => "rlimit",
        "getpgid" | "getpgrp" => "getpgid",
        other => other,
    }
}
