//! Which colour has a system call? That of the part of the kernel it asks.

use tracer::Call;

use crate::svg::{BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW};

/// A part of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Files,
    Memory,
    Processes,
    Signals,
    Network,
    Waiting,
    Time,
    Other,
}

pub(crate) const GROUPS: [Group; 8] = [
    Group::Files,
    Group::Memory,
    Group::Processes,
    Group::Signals,
    Group::Network,
    Group::Waiting,
    Group::Time,
    Group::Other,
];

impl Group {
    pub(crate) fn of(call: &Call) -> Group {
        of_family(call.family)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Group::Files => "files",
            Group::Memory => "memory",
            Group::Processes => "processes",
            Group::Signals => "signals",
            Group::Network => "network",
            Group::Waiting => "waiting and locks",
            Group::Time => "time",
            Group::Other => "other",
        }
    }

    pub(crate) fn colour(self) -> &'static str {
        match self {
            Group::Files => SKY,
            Group::Memory => GREEN,
            Group::Processes => ORANGE,
            Group::Signals => VERMILION,
            Group::Network => PURPLE,
            Group::Waiting => YELLOW,
            Group::Time => BLUE,
            Group::Other => GREY,
        }
    }
}

/// Families are `tracer`'s; [`tracer::Count`] has names only, most of which are families.
pub(crate) fn of_family(family: &str) -> Group {
    match family {
        "brk" | "mmap" | "munmap" | "mprotect" | "mremap" | "madvise" | "msync" | "mincore"
        | "mlock" | "munlock" | "mlock2" | "mlockall" | "munlockall" | "memfd_create"
        | "memfd_secret" | "userfaultfd" | "shmget" | "shmat" | "shmdt" | "shmctl" => Group::Memory,
        "fork" | "vfork" | "clone" | "clone3" | "thread" | "exec" | "execve" | "exit"
        | "exit_group" | "wait" | "wait4" | "waitid" | "getpid" | "gettid" | "getppid"
        | "getpgid" | "setpgid" | "getsid" | "setsid" | "getuid" | "geteuid" | "getgid"
        | "getegid" | "setuid" | "setgid" | "setresuid" | "setresgid" | "setgroups" | "prctl"
        | "arch_prctl" | "set_tid_address" | "set_robust_list" | "rseq" | "rlimit"
        | "prlimit64" | "getrusage" | "sched_yield" | "sched_setaffinity" | "sched_getaffinity"
        | "unshare" | "setns" | "pidfd_open" | "pidfd_getfd" | "ptrace" | "capset" | "capget"
        | "seccomp" => Group::Processes,
        "signal" | "kill" | "tgkill" | "tkill" | "sigaction" | "rt_sigaction" | "sigprocmask"
        | "rt_sigprocmask" | "sigreturn" | "rt_sigreturn" | "sigpending" | "sigsuspend"
        | "sigwait" | "sigqueue" | "sigaltstack" | "signalfd" | "signalfd4"
        | "pidfd_send_signal" => Group::Signals,
        "socket" | "socketpair" | "bind" | "listen" | "accept" | "accept4" | "connect" | "send"
        | "recv" | "sendto" | "recvfrom" | "sendmsg" | "recvmsg" | "sendmmsg" | "recvmmsg"
        | "shutdown" | "getsockname" | "getpeername" | "setsockopt" | "getsockopt" => {
            Group::Network
        }
        "futex" | "poll" | "ppoll" | "select" | "pselect6" | "epoll_create" | "epoll_create1"
        | "epoll_ctl" | "epoll_wait" | "epoll_pwait" | "eventfd" | "eventfd2" | "sleep"
        | "nanosleep" | "clock_nanosleep" | "semop" | "flock" | "io_uring_enter" => Group::Waiting,
        name if name.starts_with("clock_") || name.starts_with("timer") => Group::Time,
        "gettimeofday" | "time" | "alarm" | "setitimer" | "getitimer" | "adjtimex" => Group::Time,
        "getrandom" | "uname" | "sysinfo" | "bpf" | "unknown" | "foreign" | "membarrier"
        | "io_uring_setup" | "io_uring_register" | "perf_event_open" => Group::Other,
        // What is left is about names and what is behind a descriptor.
        _ => Group::Files,
    }
}
