//! Which arguments a system call takes. A call that isn't here is shown with its bare registers.

use std::collections::HashMap;
use std::sync::LazyLock;

use syscalls::Sysno;

use crate::family;
use crate::flags::{self as f, Names};

/// What kind of argument.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// An `int` or what is passed as one.
    Int,
    /// An `off_t`.
    Offset,
    /// A `size_t`, or bits.
    Size,
    Address,
    Mode,
    /// A mode that counts only if the flags before it make a file.
    CreateMode,
    /// What `fcntl(2)` takes depends on its command.
    FcntlArg,
    Fd,
    Path,
    Argv,
    Signal,
    /// A pointer to a set of signals.
    Signals,
    /// A pointer to a `struct sigaction` that is read.
    Action,
    /// A pointer to a `struct timespec` that is read.
    Time,
    Flags(&'static Names),
    /// A buffer that is read, its length in that argument.
    In(usize),
    /// A buffer that is filled, its length in the result.
    Out,
    /// An array of iovecs that is read or filled, their number in that argument.
    Vectors(usize),
    /// A socket address that is read, its length in that argument.
    AddressIn(usize),
    /// A socket address that is filled, its length behind that argument.
    AddressOut(usize),
    /// Two descriptors that are filled in.
    Pair,
    /// A wait status that is filled in.
    Wait,
    /// `struct open_how`.
    OpenHow,
    /// `struct clone_args`.
    CloneArgs,
}
use Kind::{
    Action, Address, AddressIn, AddressOut, Argv, CloneArgs, CreateMode, FcntlArg, Fd, Flags, In,
    Int, Mode, Offset, OpenHow, Out, Pair, Path, Signal, Signals, Size, Time, Vectors, Wait,
};

/// What is known of one system call number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Its family; a `clone(2)` that makes a thread is of another.
    pub(crate) family: &'static str,
    /// `None`: not known.
    pub(crate) args: Option<&'static [Kind]>,
}

impl Shape {
    /// Of a call of which only the number is known.
    pub(crate) const fn nameless(name: &'static str) -> Shape {
        Shape {
            name,
            family: name,
            args: None,
        }
    }
}

/// The shape of a native system call.
pub(crate) fn shape(number: u64) -> Shape {
    static BY_NUMBER: LazyLock<Vec<Shape>> = LazyLock::new(|| {
        let by_name: HashMap<&str, &'static [Kind]> = TABLE.iter().copied().collect();
        let name = |number| Sysno::new(number).map_or("unknown", |call| call.name());
        (0..=Sysno::last().id() as usize)
            .map(name)
            .map(|name| Shape {
                name,
                family: family::of(name, 0),
                args: by_name.get(name).copied(),
            })
            .collect()
    });
    usize::try_from(number)
        .ok()
        .and_then(|number| BY_NUMBER.get(number))
        .copied()
        .unwrap_or(Shape::nameless("unknown"))
}

/// Whether nothing decoded means that there is nothing to show.
pub(crate) fn takes_nothing(name: &str) -> bool {
    TABLE
        .iter()
        .any(|(known, args)| *known == name && args.is_empty())
}

/// Whether the result is a pointer.
pub(crate) fn returns_address(name: &str) -> bool {
    matches!(name, "brk" | "mmap" | "mremap" | "shmat")
}

#[rustfmt::skip]
const TABLE: &[(&str, &[Kind])] = &[
    // Files
    ("read", &[Fd, Out, Size]),
    ("write", &[Fd, In(2), Size]),
    ("pread64", &[Fd, Out, Size, Offset]),
    ("pwrite64", &[Fd, In(2), Size, Offset]),
    ("readv", &[Fd, Vectors(2), Int]),
    ("writev", &[Fd, Vectors(2), Int]),
    ("preadv", &[Fd, Vectors(2), Int, Offset]),
    ("pwritev", &[Fd, Vectors(2), Int, Offset]),
    ("preadv2", &[Fd, Vectors(2), Int, Offset, Int, Int]),
    ("pwritev2", &[Fd, Vectors(2), Int, Offset, Int, Int]),
    ("open", &[Path, Flags(&f::OPEN), CreateMode]),
    ("openat", &[Fd, Path, Flags(&f::OPEN), CreateMode]),
    ("openat2", &[Fd, Path, OpenHow, Size]),
    ("creat", &[Path, Mode]),
    ("close", &[Fd]),
    ("close_range", &[Int, Int, Int]),
    ("lseek", &[Fd, Offset, Flags(&f::SEEK)]),
    ("stat", &[Path, Address]),
    ("lstat", &[Path, Address]),
    ("fstat", &[Fd, Address]),
    ("newfstatat", &[Fd, Path, Address, Flags(&f::AT)]),
    ("statx", &[Fd, Path, Flags(&f::AT), Address, Address]),
    ("statfs", &[Path, Address]),
    ("fstatfs", &[Fd, Address]),
    ("access", &[Path, Flags(&f::ACCESS)]),
    ("faccessat", &[Fd, Path, Flags(&f::ACCESS)]),
    ("faccessat2", &[Fd, Path, Flags(&f::ACCESS), Flags(&f::AT)]),
    ("rename", &[Path, Path]),
    ("renameat", &[Fd, Path, Fd, Path]),
    ("renameat2", &[Fd, Path, Fd, Path, Flags(&f::RENAME)]),
    ("unlink", &[Path]),
    ("unlinkat", &[Fd, Path, Flags(&f::UNLINK)]),
    ("rmdir", &[Path]),
    ("mkdir", &[Path, Mode]),
    ("mkdirat", &[Fd, Path, Mode]),
    ("mknod", &[Path, Mode, Int]),
    ("mknodat", &[Fd, Path, Mode, Int]),
    ("link", &[Path, Path]),
    ("linkat", &[Fd, Path, Fd, Path, Flags(&f::AT)]),
    ("symlink", &[Path, Path]),
    ("symlinkat", &[Path, Fd, Path]),
    ("readlink", &[Path, Out, Size]),
    ("readlinkat", &[Fd, Path, Out, Size]),
    ("chmod", &[Path, Mode]),
    ("fchmod", &[Fd, Mode]),
    ("fchmodat", &[Fd, Path, Mode]),
    ("fchmodat2", &[Fd, Path, Mode, Flags(&f::AT)]),
    ("chown", &[Path, Int, Int]),
    ("lchown", &[Path, Int, Int]),
    ("fchown", &[Fd, Int, Int]),
    ("fchownat", &[Fd, Path, Int, Int, Flags(&f::AT)]),
    ("utimensat", &[Fd, Path, Address, Flags(&f::AT)]),
    ("truncate", &[Path, Offset]),
    ("ftruncate", &[Fd, Offset]),
    ("fallocate", &[Fd, Flags(&f::FALLOCATE), Offset, Offset]),
    ("fsync", &[Fd]),
    ("fdatasync", &[Fd]),
    ("syncfs", &[Fd]),
    ("sync", &[]),
    ("sync_file_range", &[Fd, Offset, Offset, Int]),
    ("getdents64", &[Fd, Address, Size]),
    ("getcwd", &[Out, Size]),
    ("chdir", &[Path]),
    ("fchdir", &[Fd]),
    ("chroot", &[Path]),
    ("umask", &[Mode]),
    ("dup", &[Fd]),
    ("dup2", &[Fd, Int]),
    ("dup3", &[Fd, Int, Flags(&f::CLOEXEC)]),
    ("pipe", &[Pair]),
    ("pipe2", &[Pair, Flags(&f::CLOEXEC)]),
    ("fcntl", &[Fd, Flags(&f::FCNTL), FcntlArg]),
    ("flock", &[Fd, Flags(&f::FLOCK)]),
    ("ioctl", &[Fd, Address, Address]),
    ("sendfile", &[Fd, Fd, Address, Size]),
    ("splice", &[Fd, Address, Fd, Address, Size, Flags(&f::SPLICE)]),
    ("tee", &[Fd, Fd, Size, Flags(&f::SPLICE)]),
    ("vmsplice", &[Fd, Vectors(2), Int, Flags(&f::SPLICE)]),
    ("copy_file_range", &[Fd, Address, Fd, Address, Size, Int]),
    ("fadvise64", &[Fd, Offset, Offset, Int]),
    ("readahead", &[Fd, Offset, Size]),
    ("memfd_create", &[Path, Flags(&f::MEMFD)]),
    ("mount", &[Path, Path, Path, Flags(&f::MOUNT), Address]),
    ("umount2", &[Path, Flags(&f::UMOUNT)]),
    ("pivot_root", &[Path, Path]),
    ("inotify_init1", &[Flags(&f::CLOEXEC)]),
    ("inotify_add_watch", &[Fd, Path, Address]),
    ("inotify_rm_watch", &[Fd, Int]),
    ("getxattr", &[Path, Path, Out, Size]),
    ("setxattr", &[Path, Path, In(3), Size, Int]),
    ("fgetxattr", &[Fd, Path, Out, Size]),
    ("fsetxattr", &[Fd, Path, In(3), Size, Int]),
    ("name_to_handle_at", &[Fd, Path, Address, Address, Flags(&f::AT)]),
    // Memory
    ("brk", &[Address]),
    ("mmap", &[Address, Size, Flags(&f::PROT), Flags(&f::MAP), Fd, Size]),
    ("munmap", &[Address, Size]),
    ("mprotect", &[Address, Size, Flags(&f::PROT)]),
    ("mremap", &[Address, Size, Size, Flags(&f::MREMAP), Address]),
    ("madvise", &[Address, Size, Flags(&f::MADVISE)]),
    ("msync", &[Address, Size, Flags(&f::MSYNC)]),
    ("mlock", &[Address, Size]),
    ("munlock", &[Address, Size]),
    ("mincore", &[Address, Size, Address]),
    ("membarrier", &[Int, Int, Int]),
    // Processes
    ("fork", &[]),
    ("vfork", &[]),
    ("clone", &[Flags(&f::CLONE), Address]),
    ("clone3", &[CloneArgs, Size]),
    ("unshare", &[Flags(&f::CLONE)]),
    ("setns", &[Fd, Flags(&f::CLONE)]),
    ("execve", &[Path, Argv, Address]),
    ("execveat", &[Fd, Path, Argv, Address, Flags(&f::AT)]),
    ("exit", &[Int]),
    ("exit_group", &[Int]),
    ("wait4", &[Int, Wait, Flags(&f::WAIT), Address]),
    ("waitid", &[Flags(&f::ID_TYPE), Int, Address, Flags(&f::WAIT), Address]),
    ("getpid", &[]),
    ("getppid", &[]),
    ("gettid", &[]),
    ("getuid", &[]),
    ("geteuid", &[]),
    ("getgid", &[]),
    ("getegid", &[]),
    ("setuid", &[Int]),
    ("setgid", &[Int]),
    ("setreuid", &[Int, Int]),
    ("setregid", &[Int, Int]),
    ("setresuid", &[Int, Int, Int]),
    ("setresgid", &[Int, Int, Int]),
    ("getpgrp", &[]),
    ("getpgid", &[Int]),
    ("setpgid", &[Int, Int]),
    ("getsid", &[Int]),
    ("setsid", &[]),
    ("getpriority", &[Int, Int]),
    ("setpriority", &[Int, Int, Int]),
    ("prctl", &[Flags(&f::PRCTL), Address, Address, Address, Address]),
    ("prlimit64", &[Int, Flags(&f::RLIMIT), Address, Address]),
    ("getrlimit", &[Flags(&f::RLIMIT), Address]),
    ("setrlimit", &[Flags(&f::RLIMIT), Address]),
    ("getrusage", &[Int, Address]),
    ("uname", &[Address]),
    ("sethostname", &[In(1), Size]),
    ("sysinfo", &[Address]),
    ("arch_prctl", &[Address, Address]),
    ("set_tid_address", &[Address]),
    ("set_robust_list", &[Address, Size]),
    ("rseq", &[Address, Size, Int, Address]),
    ("getcpu", &[Address, Address, Address]),
    ("sched_yield", &[]),
    ("sched_getaffinity", &[Int, Size, Address]),
    ("sched_setaffinity", &[Int, Size, Address]),
    ("pidfd_open", &[Int, Int]),
    ("pidfd_getfd", &[Fd, Int, Int]),
    ("pidfd_send_signal", &[Fd, Signal, Address, Int]),
    ("capget", &[Address, Address]),
    ("capset", &[Address, Address]),
    ("getrandom", &[Address, Size, Flags(&f::RANDOM)]),
    // Signals
    ("kill", &[Int, Signal]),
    ("tkill", &[Int, Signal]),
    ("tgkill", &[Int, Int, Signal]),
    ("rt_sigaction", &[Signal, Action, Address, Size]),
    ("rt_sigprocmask", &[Flags(&f::SIG_HOW), Signals, Address, Size]),
    ("rt_sigreturn", &[]),
    ("rt_sigpending", &[Address, Size]),
    ("rt_sigsuspend", &[Signals, Size]),
    ("rt_sigtimedwait", &[Signals, Address, Time, Size]),
    ("rt_sigqueueinfo", &[Int, Signal, Address]),
    ("rt_tgsigqueueinfo", &[Int, Int, Signal, Address]),
    ("sigaltstack", &[Address, Address]),
    ("pause", &[]),
    ("alarm", &[Int]),
    ("restart_syscall", &[]),
    ("signalfd4", &[Fd, Signals, Size, Flags(&f::CLOEXEC)]),
    // Sockets
    ("socket", &[Flags(&f::FAMILY), Flags(&f::SOCKET), Int]),
    ("socketpair", &[Flags(&f::FAMILY), Flags(&f::SOCKET), Int, Pair]),
    ("bind", &[Fd, AddressIn(2), Int]),
    ("connect", &[Fd, AddressIn(2), Int]),
    ("listen", &[Fd, Int]),
    ("accept", &[Fd, AddressOut(2), Address]),
    ("accept4", &[Fd, AddressOut(2), Address, Flags(&f::SOCKET)]),
    ("getsockname", &[Fd, AddressOut(2), Address]),
    ("getpeername", &[Fd, AddressOut(2), Address]),
    ("sendto", &[Fd, In(2), Size, Flags(&f::MSG), AddressIn(5), Int]),
    ("recvfrom", &[Fd, Out, Size, Flags(&f::MSG), AddressOut(5), Address]),
    ("sendmsg", &[Fd, Address, Flags(&f::MSG)]),
    ("recvmsg", &[Fd, Address, Flags(&f::MSG)]),
    ("shutdown", &[Fd, Flags(&f::SHUTDOWN)]),
    ("setsockopt", &[Fd, Flags(&f::SOCKET_LEVEL), Int, Address, Int]),
    ("getsockopt", &[Fd, Flags(&f::SOCKET_LEVEL), Int, Address, Address]),
    // Message queues
    ("mq_open", &[Path, Flags(&f::OPEN), Mode, Address]),
    ("mq_unlink", &[Path]),
    ("mq_timedsend", &[Fd, In(2), Size, Int, Time]),
    ("mq_timedreceive", &[Fd, Out, Size, Address, Time]),
    ("mq_notify", &[Fd, Address]),
    ("mq_getsetattr", &[Fd, Address, Address]),
    // Waiting
    ("poll", &[Address, Int, Int]),
    ("ppoll", &[Address, Int, Time, Signals, Size]),
    ("select", &[Int, Address, Address, Address, Address]),
    ("pselect6", &[Int, Address, Address, Address, Time, Address]),
    ("epoll_create1", &[Flags(&f::EPOLL)]),
    ("epoll_ctl", &[Fd, Flags(&f::EPOLL_CTL), Fd, Address]),
    ("epoll_wait", &[Fd, Address, Int, Int]),
    ("epoll_pwait", &[Fd, Address, Int, Int, Signals, Size]),
    ("epoll_pwait2", &[Fd, Address, Int, Time, Signals, Size]),
    ("eventfd2", &[Int, Address]),
    ("futex", &[Address, Flags(&f::FUTEX), Int, Address, Address, Int]),
    ("nanosleep", &[Time, Address]),
    ("clock_nanosleep", &[Flags(&f::CLOCK), Flags(&f::TIMER), Time, Address]),
    ("clock_gettime", &[Flags(&f::CLOCK), Address]),
    ("clock_getres", &[Flags(&f::CLOCK), Address]),
    ("gettimeofday", &[Address, Address]),
    ("timerfd_create", &[Flags(&f::CLOCK), Flags(&f::CLOEXEC)]),
    ("timerfd_settime", &[Fd, Int, Address, Address]),
    ("setitimer", &[Int, Address, Address]),
    ("getitimer", &[Int, Address]),
    ("io_uring_setup", &[Int, Address]),
    ("io_uring_enter", &[Fd, Int, Int, Int, Address, Size]),
    ("io_uring_register", &[Fd, Int, Address, Int]),
    ("bpf", &[Int, Address, Size]),
    ("seccomp", &[Int, Int, Address]),
    ("ptrace", &[Int, Int, Address, Address]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// x86_64 has every call that any architecture ever had here.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_shape_is_that_of_a_call() {
        let nameless = TABLE
            .iter()
            .filter(|(name, _)| name.parse::<Sysno>().is_err());
        assert_eq!(nameless.map(|(name, _)| name).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn every_call_has_one_shape() {
        let mut names = HashSet::new();
        assert!(TABLE.iter().all(|(name, _)| names.insert(name)));
    }

    #[test]
    fn a_length_is_in_an_argument_that_the_call_has() {
        for (name, kinds) in TABLE {
            for kind in *kinds {
                if let In(at) | Vectors(at) | AddressIn(at) | AddressOut(at) = kind {
                    assert!(*at < kinds.len(), "{name}");
                }
            }
        }
    }
}
