//! A test where namespaces are denied (Ubuntu's AppArmor, Docker's seccomp).
//!
//! What is left to an ordinary user is enough for most of it: Landlock keeps
//! files from being written outside the scratch folder and signals from processes
//! outside the test; where it is too old for signals, a seccomp filter keeps at
//! least the grader and `kill(-1, …)` from them; resource limits hold the rest,
//! and the warden finds the leftovers.

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use nix::sys::signal::kill;
use nix::unistd::{Pid, getppid, setsid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::job::Job;
use super::limits;
use super::warden::{Outputs, take_descriptors};

/// What holds a test here, in words.
pub(super) fn used() -> Vec<String> {
    let mut used = vec![
        "resource limits".to_owned(),
        "seccomp".to_owned(),
        "process tree".to_owned(),
    ];
    if landlock_abi().is_some() {
        used.push("Landlock".to_owned());
    }
    used
}

/// What does not hold a test on this machine, for the report.
pub(super) fn missing() -> Vec<String> {
    match landlock_abi() {
        Some(6..) => Vec::new(),
        Some(_) => vec!["Landlock for signals (your other processes can be signalled)".to_owned()],
        None => vec![
            "Landlock (files outside TMPDIR can be written, your other processes signalled)"
                .to_owned(),
        ],
    }
}

/// Version of Landlock that the kernel offers (`landlock_create_ruleset(2)`).
fn landlock_abi() -> Option<i64> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: a null attribute of size 0 with this flag asks for the version only.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    (version > 0).then_some(version)
}

/// Shuts the caller in with what it will start: from here on it can signal nothing else.
///
/// False where Landlock is older than version 6.
pub(super) fn signal_only_own() -> bool {
    let confine = || -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        // Every domain forbids to link and rename from one folder to another (EXDEV), whatever it is
        // about, unless it says otherwise.
        let refer = PathBeneath::new(PathFd::new("/")?, AccessFs::Refer);
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .scope(Scope::Signal)?
            .handle_access(AccessFs::Refer)?
            .create()?
            .add_rule(refer)?;
        Ok(ruleset.restrict_self()?.ruleset)
    };
    // What comes of a mistake here is too bad to rely on one answer.
    confine().is_ok_and(|status| status == RulesetStatus::FullyEnforced)
        && kill(getppid(), None) == Err(nix::Error::EPERM)
}

/// Returns only when it could not.
pub(super) fn become_test(job: &Job, outputs: &Outputs, warden: Pid, nproc: u64) -> std::io::Error {
    let prepare = || -> std::io::Result<()> {
        setsid()?;
        // Non-dumpable is the warden's; a test must be able to read its own /proc.
        nix::sys::prctl::set_dumpable(true)?;
        limits::apply(nproc)?;
        take_descriptors(outputs)?;
        limits::shed()?;
        confine_files(job).map_err(std::io::Error::other)?;
        let mut protected = job.protect.clone();
        protected.push(warden.as_raw());
        confine_signals(&protected).map_err(std::io::Error::other)
    };
    match prepare() {
        Ok(()) => super::job::exec(job),
        Err(error) => error,
    }
}

/// Files that a program of any user may write to, and none can be made there.
const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/kvm",
];

/// Everything may be read, nothing written but in the folders of the job, in devices and in /proc;
/// no signal and no abstract socket leads to a process outside.
fn confine_files(job: &Job) -> Result<(), String> {
    // Best effort (the crate's default): an older kernel handles fewer rights.
    let abi = ABI::V3;
    let writing = AccessFs::from_write(abi);
    let confine = || -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        let mut ruleset = Ruleset::default()
            .handle_access(writing)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?;
        for folder in [&job.scratch].into_iter().chain(&job.disk) {
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(folder)?, writing))?;
        }
        // Not root's /proc: whoever may write to its sysctls commands the kernel, and
        // uid 0 needs no capability for that.
        let proc = (!nix::unistd::getuid().is_root()).then_some("/proc");
        for path in DEVICES.into_iter().chain(proc) {
            let Ok(path) = PathFd::new(path) else {
                continue;
            };
            let rule = PathBeneath::new(path, AccessFs::WriteFile | AccessFs::Truncate);
            ruleset = ruleset.add_rule(rule)?;
        }
        Ok(ruleset.restrict_self()?.ruleset)
    };
    confine()
        .map(drop)
        .map_err(|error| format!("Landlock: {error}"))
}

/// Lets no signal, pidfd or ptrace reach `protected`, their groups, or everybody; nor
/// limits another process, nor leaves System V objects, which outlive all processes.
fn confine_signals(protected: &[i32]) -> Result<(), String> {
    let mut rules = std::collections::BTreeMap::new();
    let groups: Vec<i32> = protected
        .iter()
        .filter_map(|pid| nix::unistd::getpgid(Some(Pid::from_raw(*pid))).ok())
        .map(|group| -group.as_raw())
        .collect();
    let one = |argument: u8, value: i32| -> Result<SeccompRule, seccompiler::BackendError> {
        let value = u64::from(value.cast_unsigned());
        let is = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![is])
    };
    let program = || -> Result<BpfProgram, seccompiler::BackendError> {
        let targets: Vec<i32> = protected
            .iter()
            .copied()
            .chain(groups.iter().copied())
            .chain([-1])
            .collect();
        for (call, argument) in [
            (libc::SYS_kill, 0),
            (libc::SYS_tkill, 0),
            (libc::SYS_tgkill, 0),
            (libc::SYS_rt_sigqueueinfo, 0),
            (libc::SYS_rt_tgsigqueueinfo, 0),
            (libc::SYS_pidfd_open, 0),
            (libc::SYS_ptrace, 1),
        ] {
            let refused: Result<Vec<_>, _> =
                targets.iter().map(|pid| one(argument, *pid)).collect();
            rules.insert(call, refused?);
        }
        // prlimit(2) of RLIMIT_CPU is a signal, too; 0 is the caller itself.
        let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
        rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![other])?]);
        for call in [
            libc::SYS_shmget,
            libc::SYS_semget,
            libc::SYS_msgget,
            libc::SYS_mq_open,
        ] {
            rules.insert(call, Vec::new());
        }
        let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            refuse,
            std::env::consts::ARCH.try_into()?,
        )?
        .try_into()
    };
    let program = program().map_err(|error| format!("seccomp: {error}"))?;
    seccompiler::apply_filter(&program).map_err(|error| format!("seccomp: {error}"))
}
