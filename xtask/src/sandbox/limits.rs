//! Which resources may a test use, and what does it start with?

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// Bytes of address space a process (`RLIMIT_AS`).
pub(super) const ADDRESS_SPACE: u64 = 2 << 30;
/// Bytes of one file (`RLIMIT_FSIZE`); over it the writer gets SIGXFSZ.
pub(super) const FILE_SIZE: u64 = 64 << 20;
/// Processes and threads (`RLIMIT_NPROC`, cgroup `pids.max`).
pub(super) const PROCESSES: u64 = 256;
/// Descriptors (`RLIMIT_NOFILE`).
pub(super) const OPEN_FILES: u64 = 4096;
/// Bytes of memory of the whole test, where a cgroup counts them.
pub(super) const MEMORY: u64 = 2 << 30;
/// Bytes that the private TMPDIR may hold.
pub(super) const SCRATCH: u64 = 256 << 20;

/// Sets the limits of the calling process; `nproc` counts what this user runs already.
pub(super) fn apply(nproc: u64) -> nix::Result<()> {
    for (resource, limit) in [
        (Resource::RLIMIT_AS, ADDRESS_SPACE),
        (Resource::RLIMIT_FSIZE, FILE_SIZE),
        (Resource::RLIMIT_NPROC, nproc),
        (Resource::RLIMIT_NOFILE, OPEN_FILES),
        (Resource::RLIMIT_CORE, 0),
    ] {
        let (_, hard) = nix::sys::resource::getrlimit(resource)?;
        // A limit that is lower already stays: raising it needs a privilege.
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

/// Gives up what must not reach the test: blocked signals, privileges, and the way back.
pub(super) fn shed() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    // Rust's runtime ignores SIGPIPE in the grader, and exec would hand that on.
    // SAFETY: SIG_DFL is a valid disposition; this process has one thread.
    unsafe {
        nix::sys::signal::signal(
            nix::sys::signal::SIGPIPE,
            nix::sys::signal::SigHandler::SigDfl,
        )
    }?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // So that root, too, is held by permissions and by the mounts made read-only:
    // after exec its capabilities are those of the bounding set, none.
    for capability in 0..64 {
        // SAFETY: takes two integers; EINVAL says that there is no such capability.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
    nix::sys::prctl::set_no_new_privs()
}

/// Threads of this user in the whole system, which `RLIMIT_NPROC` counts too.
pub(super) fn processes_of_this_user() -> u64 {
    let uid = nix::unistd::getuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            use std::os::unix::fs::MetadataExt as _;
            entry.metadata().is_ok_and(|metadata| metadata.uid() == uid)
        })
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter_map(|status| {
            let threads = status
                .lines()
                .find_map(|line| line.strip_prefix("Threads:"))?;
            threads.trim().parse::<u64>().ok()
        })
        .sum()
}
