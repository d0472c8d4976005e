//! Which names bits and numbers have.

use std::borrow::Cow;
use std::fmt::Write as _;

use nix::sys::signal::Signal;

/// "ENOENT"; `None` if no errno has this number.
pub fn errno_name(errno: i32) -> Option<&'static str> {
    syscalls::Errno::new(errno).name()
}

/// "No such file or directory", as `strerror(3)` has it.
pub(crate) fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// "SIGTERM"; all real-time signals are "SIGRT".
pub fn signal_name(signal: i32) -> &'static str {
    match Signal::try_from(signal) {
        Ok(signal) => signal.as_str(),
        Err(_) if (32..=64).contains(&signal) => "SIGRT",
        Err(_) if signal == 0 => "0",
        Err(_) => "SIG?",
    }
}

/// The name of `si_code`, which depends on the signal (`sigaction(2)`).
pub(crate) fn signal_code_name(signal: i32, code: i32) -> Option<&'static str> {
    let names: &[&str] = match (signal, code) {
        (_, libc::SI_USER) => return Some("SI_USER"),
        (_, libc::SI_KERNEL) => return Some("SI_KERNEL"),
        (_, libc::SI_QUEUE) => return Some("SI_QUEUE"),
        (_, libc::SI_TIMER) => return Some("SI_TIMER"),
        (_, libc::SI_MESGQ) => return Some("SI_MESGQ"),
        (_, libc::SI_ASYNCIO) => return Some("SI_ASYNCIO"),
        (_, libc::SI_SIGIO) => return Some("SI_SIGIO"),
        (_, libc::SI_TKILL) => return Some("SI_TKILL"),
        (libc::SIGSEGV, _) => &["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"],
        (libc::SIGBUS, _) => &[
            "BUS_ADRALN",
            "BUS_ADRERR",
            "BUS_OBJERR",
            "BUS_MCEERR_AR",
            "BUS_MCEERR_AO",
        ],
        (libc::SIGILL, _) => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
        ],
        (libc::SIGFPE, _) => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        (libc::SIGTRAP, _) => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"],
        (libc::SIGCHLD, _) => &[
            "CLD_EXITED",
            "CLD_KILLED",
            "CLD_DUMPED",
            "CLD_TRAPPED",
            "CLD_STOPPED",
            "CLD_CONTINUED",
        ],
        (libc::SIGIO, _) => &[
            "POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP",
        ],
        (libc::SIGSYS, _) => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => return None,
    };
    names
        .get(usize::try_from(code).ok()?.checked_sub(1)?)
        .copied()
}

/// How a number is made of names: a part that is one of several values, and bits.
#[derive(Debug)]
pub(crate) struct Names {
    /// Bits that say nothing and aren't shown.
    pub(crate) implied: u64,
    /// The bits in which `values` lie; 0 if there are only bits.
    pub(crate) mask: u64,
    pub(crate) values: &'static [(u64, &'static str)],
    pub(crate) bits: &'static [(u64, &'static str)],
}

impl Names {
    /// "O_WRONLY|O_CREAT"; what has no name is shown in hexadecimal.
    pub(crate) fn text(&self, number: u64) -> Cow<'static, str> {
        let number = number & !self.implied;
        let value = self
            .values
            .iter()
            .find(|(value, _)| *value == number & self.mask);
        let mut rest = if value.is_some() {
            number & !self.mask
        } else {
            number
        };
        if rest == 0
            && let Some((_, name)) = value
        {
            return Cow::Borrowed(name);
        }
        if value.is_none()
            && let Some((_, name)) = self.bits.iter().find(|(bits, _)| *bits == number)
        {
            return Cow::Borrowed(name);
        }
        let mut text = value.map_or(String::new(), |(_, name)| (*name).to_owned());
        for (bits, name) in self.bits {
            if *bits != 0 && rest & bits == *bits {
                push(&mut text, name);
                rest &= !bits;
            }
        }
        if rest != 0 || text.is_empty() {
            if !text.is_empty() {
                text.push('|');
            }
            if rest == 0 {
                text.push('0');
            } else {
                // Writing to a String can't fail.
                let _ = write!(text, "{rest:#x}");
            }
        }
        Cow::Owned(text)
    }
}

fn push(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push('|');
    }
    text.push_str(name);
}

/// One [`Names`]: the mask, the values in it, the bits; each name a constant of `libc`.
macro_rules! names {
    ($mask:expr; $($value:ident)*; $($bit:ident)*) => {
        Names {
            implied: 0,
            mask: $mask as u64,
            values: &[$((libc::$value as u64, stringify!($value))),*],
            bits: &[$((libc::$bit as u64, stringify!($bit))),*],
        }
    };
}

// O_SYNC contains O_DSYNC and O_TMPFILE contains O_DIRECTORY: the larger come first.
pub(crate) static OPEN: Names = Names {
    // A 64-bit kernel adds it to every open(2), and musl writes it.
    implied: crate::arch::O_LARGEFILE,
    ..names!(3; O_RDONLY O_WRONLY O_RDWR; O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_SYNC O_DSYNC O_ASYNC
        O_DIRECT O_TMPFILE O_DIRECTORY O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH)
};
pub(crate) static FD: Names = names!(u64::MAX; FD_CLOEXEC;);
pub(crate) static CLOEXEC: Names = names!(0;; O_CLOEXEC O_NONBLOCK O_DIRECT);
pub(crate) static AT: Names =
    names!(0;; AT_SYMLINK_NOFOLLOW AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH);
pub(crate) static UNLINK: Names = names!(0;; AT_REMOVEDIR);
pub(crate) static ACCESS: Names = Names {
    implied: 0,
    mask: u64::MAX,
    values: &[
        (0, "F_OK"),
        (1, "X_OK"),
        (2, "W_OK"),
        (3, "W_OK|X_OK"),
        (4, "R_OK"),
        (5, "R_OK|X_OK"),
        (6, "R_OK|W_OK"),
        (7, "R_OK|W_OK|X_OK"),
    ],
    bits: &[],
};
pub(crate) static RENAME: Names = names!(0;; RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT);
pub(crate) static SEEK: Names = names!(u64::MAX; SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE;);
pub(crate) static PROT: Names = names!(7; PROT_NONE; PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN
    PROT_GROWSUP);
pub(crate) static MAP: Names = names!(3; MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE; MAP_FIXED
    MAP_ANONYMOUS MAP_GROWSDOWN MAP_LOCKED MAP_NORESERVE MAP_DENYWRITE MAP_POPULATE MAP_NONBLOCK MAP_STACK MAP_HUGETLB MAP_SYNC
    MAP_FIXED_NOREPLACE);
pub(crate) static MADVISE: Names = names!(u64::MAX; MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED
    MADV_FREE MADV_REMOVE MADV_DONTFORK MADV_DOFORK MADV_HUGEPAGE MADV_NOHUGEPAGE MADV_DONTDUMP MADV_DODUMP
    MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT MADV_POPULATE_READ MADV_POPULATE_WRITE;);
pub(crate) static MSYNC: Names = names!(0;; MS_ASYNC MS_SYNC MS_INVALIDATE);
pub(crate) static MREMAP: Names = names!(0;; MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP);
pub(crate) static MEMFD: Names =
    names!(0;; MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB MFD_NOEXEC_SEAL MFD_EXEC);
pub(crate) static CLONE: Names = names!(0xff; SIGCHLD; CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND
    CLONE_PIDFD CLONE_PTRACE CLONE_VFORK CLONE_PARENT CLONE_THREAD CLONE_NEWNS CLONE_SYSVSEM CLONE_SETTLS
    CLONE_PARENT_SETTID CLONE_CHILD_CLEARTID CLONE_UNTRACED CLONE_CHILD_SETTID CLONE_NEWCGROUP CLONE_NEWUTS
    CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET CLONE_IO);
pub(crate) static WAIT: Names =
    names!(0;; WNOHANG WUNTRACED WEXITED WCONTINUED WNOWAIT __WALL __WCLONE __WNOTHREAD);
pub(crate) static ID_TYPE: Names = names!(u64::MAX; P_ALL P_PID P_PGID P_PIDFD;);
pub(crate) static SIG_HOW: Names = names!(u64::MAX; SIG_BLOCK SIG_UNBLOCK SIG_SETMASK;);
pub(crate) static SIGACTION: Names = names!(0;; SA_NOCLDSTOP SA_NOCLDWAIT SA_SIGINFO SA_ONSTACK SA_RESTART SA_NODEFER
    SA_RESETHAND);
pub(crate) static FAMILY: Names = names!(u64::MAX; AF_UNSPEC AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_VSOCK
    AF_ALG;);
pub(crate) static SOCKET: Names = names!(0xf; SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET; SOCK_CLOEXEC SOCK_NONBLOCK);
pub(crate) static MSG: Names = names!(0;; MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR
    MSG_WAITALL MSG_NOSIGNAL MSG_MORE MSG_WAITFORONE MSG_CMSG_CLOEXEC MSG_ERRQUEUE MSG_FASTOPEN);
pub(crate) static SHUTDOWN: Names = names!(u64::MAX; SHUT_RD SHUT_WR SHUT_RDWR;);
pub(crate) static SOCKET_LEVEL: Names =
    names!(u64::MAX; SOL_SOCKET IPPROTO_TCP IPPROTO_UDP IPPROTO_IP IPPROTO_IPV6;);
pub(crate) static FCNTL: Names = names!(u64::MAX; F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW
    F_SETOWN F_GETOWN F_DUPFD_CLOEXEC F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_SETLEASE F_GETLEASE
    F_NOTIFY F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS;);
pub(crate) static FLOCK: Names = names!(11; LOCK_SH LOCK_EX LOCK_UN; LOCK_NB);
pub(crate) static FALLOCATE: Names = names!(0;; FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE FALLOC_FL_COLLAPSE_RANGE
    FALLOC_FL_ZERO_RANGE FALLOC_FL_INSERT_RANGE FALLOC_FL_UNSHARE_RANGE);
pub(crate) static RANDOM: Names = names!(0;; GRND_NONBLOCK GRND_RANDOM GRND_INSECURE);
pub(crate) static EPOLL: Names = names!(0;; EPOLL_CLOEXEC);
pub(crate) static EPOLL_CTL: Names = names!(u64::MAX; EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD;);
pub(crate) static CLOCK: Names = names!(u64::MAX; CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID
    CLOCK_THREAD_CPUTIME_ID CLOCK_MONOTONIC_RAW CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME
    CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM CLOCK_TAI;);
pub(crate) static TIMER: Names = names!(0;; TIMER_ABSTIME);
pub(crate) static FUTEX: Names = Names {
    implied: 0,
    mask: 0x7f,
    values: &[
        (0, "FUTEX_WAIT"),
        (1, "FUTEX_WAKE"),
        (3, "FUTEX_REQUEUE"),
        (4, "FUTEX_CMP_REQUEUE"),
        (5, "FUTEX_WAKE_OP"),
        (6, "FUTEX_LOCK_PI"),
        (7, "FUTEX_UNLOCK_PI"),
        (8, "FUTEX_TRYLOCK_PI"),
        (9, "FUTEX_WAIT_BITSET"),
        (10, "FUTEX_WAKE_BITSET"),
        (11, "FUTEX_WAIT_REQUEUE_PI"),
        (12, "FUTEX_CMP_REQUEUE_PI"),
        (13, "FUTEX_LOCK_PI2"),
    ],
    bits: &[(128, "FUTEX_PRIVATE_FLAG"), (256, "FUTEX_CLOCK_REALTIME")],
};
pub(crate) static RLIMIT: Names = names!(u64::MAX; RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS
    RLIMIT_NPROC RLIMIT_NOFILE RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE
    RLIMIT_RTPRIO RLIMIT_RTTIME;);
pub(crate) static PRCTL: Names = names!(u64::MAX; PR_SET_PDEATHSIG PR_GET_PDEATHSIG PR_GET_DUMPABLE PR_SET_DUMPABLE
    PR_SET_KEEPCAPS PR_GET_KEEPCAPS PR_SET_NAME PR_GET_NAME PR_GET_SECCOMP PR_SET_SECCOMP PR_CAPBSET_READ
    PR_CAPBSET_DROP PR_SET_TIMERSLACK PR_GET_TIMERSLACK PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER
    PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS PR_CAP_AMBIENT PR_SET_PTRACER PR_SET_VMA;);
pub(crate) static MOUNT: Names = names!(0;; MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT
    MS_MANDLOCK MS_DIRSYNC MS_NOATIME MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_UNBINDABLE MS_PRIVATE MS_SLAVE
    MS_SHARED MS_RELATIME MS_STRICTATIME MS_LAZYTIME);
pub(crate) static UMOUNT: Names = names!(0;; MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW);
pub(crate) static SPLICE: Names =
    names!(0;; SPLICE_F_MOVE SPLICE_F_NONBLOCK SPLICE_F_MORE SPLICE_F_GIFT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_as_its_value_and_its_bits() {
        assert_eq!(
            OPEN.text((libc::O_RDWR | libc::O_APPEND) as u64),
            "O_RDWR|O_APPEND"
        );
        assert_eq!(OPEN.text(0), "O_RDONLY");
        assert_eq!(OPEN.text(libc::O_TMPFILE as u64), "O_RDONLY|O_TMPFILE");
        assert_eq!(PROT.text(3), "PROT_READ|PROT_WRITE");
        assert_eq!(
            CLONE.text(libc::SIGCHLD as u64 | libc::CLONE_VM as u64),
            "SIGCHLD|CLONE_VM"
        );
    }

    #[test]
    fn what_has_no_name_is_shown_in_hexadecimal() {
        assert_eq!(UNLINK.text(0), "0");
        assert_eq!(UNLINK.text(0x200 | 0x8000), "AT_REMOVEDIR|0x8000");
        assert_eq!(SEEK.text(77), "0x4d");
    }

    #[test]
    fn the_meaning_of_a_code_depends_on_its_signal() {
        assert_eq!(signal_code_name(libc::SIGSEGV, 1), Some("SEGV_MAPERR"));
        assert_eq!(signal_code_name(libc::SIGCHLD, 1), Some("CLD_EXITED"));
        assert_eq!(
            signal_code_name(libc::SIGTERM, libc::SI_USER),
            Some("SI_USER")
        );
        assert_eq!(signal_code_name(libc::SIGTERM, 1), None);
    }
}
