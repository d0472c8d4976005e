//! What happens between fork(2) and the exercise's first line, and after its last?
//!
//! The thread that forked is the only one in the child, and its main thread by the kernel's count.

use crate::arena::{Arena, Kind, set_and_wake, wait_nonzero};
use crate::process::Process;
use crate::run::Panic;
use serde::Serialize;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

/// The arena of this process when it is a child, or a descendant of one that did not exec.
pub(crate) static ARENA: AtomicPtr<Arena> = AtomicPtr::new(std::ptr::null_mut());

/// The pid of the child whose closure this process runs, of its keeper, and the session it was started in.
static CHILD: AtomicI32 = AtomicI32::new(0);
static KEEPER: AtomicI32 = AtomicI32::new(0);
static SESSION: AtomicI32 = AtomicI32::new(0);

/// Whether this process is such a child, or below one, and traced.
static TRACED: AtomicBool = AtomicBool::new(false);

/// Bytes that a child may write to one file, its stdout included.
pub(crate) const FILE_LIMIT: u64 = 16 << 20;

/// What the child is given.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Descriptors 0, 1, 2 are made from these.
    pub(crate) stdio: [i32; 3],
    /// Standard input is the slave of a pseudoterminal: it becomes the controlling terminal.
    pub(crate) terminal: bool,
    /// Descriptors above 2 that stay open, in ascending order.
    pub(crate) keep: Vec<i32>,
    /// Whether a tracer is to know where the closure begins and ends.
    pub(crate) traced: bool,
}

/// Runs in the child, to its end.
pub(crate) fn live(arena: &Arena, setup: &Setup, body: &mut dyn FnMut()) -> ! {
    let header = arena.header();
    // SAFETY: getpid takes nothing.
    let me = unsafe { libc::getpid() };
    header.child.store(me, Ordering::Release);
    if let Err(error) = prepare(setup) {
        let _ = arena.record(Kind::Broken, error.to_string().as_bytes());
        set_and_wake(&header.ready);
        exit(101);
    }
    ARENA.store(std::ptr::from_ref(arena).cast_mut(), Ordering::Relaxed);
    CHILD.store(me, Ordering::Relaxed);
    // SAFETY: getppid takes nothing, getsid an integer.
    let (keeper, session) = unsafe { (libc::getppid(), libc::getsid(0)) };
    KEEPER.store(keeper, Ordering::Relaxed);
    SESSION.store(session, Ordering::Relaxed);
    TRACED.store(setup.traced, Ordering::Relaxed);
    catch_faults();
    set_and_wake(&header.ready);
    wait_nonzero(&header.go, None);
    arena.give_up_header();
    // A panic was recorded by the hook; here it only ends the process.
    let outcome = catch_unwind(AssertUnwindSafe(body));
    if setup.traced {
        tracer::region::end();
    }
    flush();
    if outcome.is_err() {
        let _ = arena.record(Kind::Unwound, b"");
        exit(101);
    }
    exit(0)
}

/// Sends the closure's value to the test. Called in whichever process returned from the closure.
pub(crate) fn returned<T: Serialize>(value: &T) {
    flush();
    let arena = ARENA.load(Ordering::Relaxed);
    // SAFETY: set in `live` to an arena that lives as long as this process, and never unset.
    let Some(arena) = (unsafe { arena.as_ref() }) else {
        return;
    };
    note_unreaped(arena);
    let sent = match serde_json::to_vec(value) {
        Ok(bytes) => arena.record(Kind::Returned, &bytes),
        Err(error) => arena.record(
            Kind::Broken,
            format!("the value cannot cross: {error}").as_bytes(),
        ),
    };
    if sent.is_err() {
        let _ = arena.record(Kind::Broken, b"the value is too large to cross");
    }
}

/// Notes the children that nobody waited for. Here and not from outside: once the child has ended they are its
/// keeper's, and a forgotten zombie looks like an orphan that ended by itself.
fn note_unreaped(arena: &Arena) {
    // SAFETY: getpid takes nothing; an all-zero siginfo_t is valid and written during the call, which with WNOWAIT
    // and WNOHANG neither reaps nor blocks.
    let children = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::getpid() == CHILD.load(Ordering::Relaxed)
            && libc::waitid(
                libc::P_ALL,
                0,
                &raw mut info,
                libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
            ) == 0
    };
    if !children {
        return;
    }
    for pid in Process::me().children {
        if let Some(bytes) = Process::of(pid)
            .ok()
            .and_then(|process| serde_json::to_vec(&process).ok())
        {
            let _ = arena.record(Kind::Unreaped, &bytes);
        }
    }
}

/// Every look at /proc goes through here: made by a child's closure, its calls are not the exercise's. They are not
/// recorded, and no fault strikes or counts them.
pub(crate) fn unseen<T>(look: impl FnOnce() -> T) -> T {
    if TRACED.load(Ordering::Relaxed) {
        tracer::region::outside(look)
    } else {
        look()
    }
}

/// Called by the panic hook: records a panic of a child. False in the test's own process.
pub(crate) fn panicked(info: &PanicHookInfo<'_>) -> bool {
    let arena = ARENA.load(Ordering::Relaxed);
    // SAFETY: as in `returned`.
    let Some(arena) = (unsafe { arena.as_ref() }) else {
        return false;
    };
    let (file, line) = crate::report::location(info);
    let panic = Panic {
        message: crate::report::message(info),
        file,
        line,
    };
    // Not through std's stderr: its lock may be held by whatever panicked.
    let text = printed(&panic);
    // SAFETY: `text` is valid for its length during the call.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    let _ = arena.record(
        Kind::Panicked,
        &serde_json::to_vec(&panic).unwrap_or_default(),
    );
    true
}

/// What a panic of a child writes to its stderr.
pub(crate) fn printed(panic: &Panic) -> String {
    let Panic {
        message,
        file,
        line,
    } = panic;
    format!("panicked at {file}:{line}:\n{message}\n")
}

/// _exit(2): no atexit(3) handler of the test harness runs in a child.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: fflush(NULL) writes out every stdio stream of this process.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

fn prepare(setup: &Setup) -> io::Result<()> {
    // SAFETY: integers only; TIOCSCTTY takes one too. The descriptors that dup2 replaces belong to nobody in this copy.
    unsafe {
        if setup.terminal {
            check("setsid", libc::setsid())?;
            check("TIOCSCTTY", libc::ioctl(setup.stdio[0], libc::TIOCSCTTY, 0))?;
        } else {
            check("setpgid", libc::setpgid(0, 0))?;
        }
        for (to, from) in (0..).zip(setup.stdio) {
            check("dup2", libc::dup2(from, to))?;
        }
    }
    close_all_but(&setup.keep)?;
    lower_limit(libc::RLIMIT_FSIZE, FILE_LIMIT)?;
    lower_limit(libc::RLIMIT_CORE, 0)?;
    default_signals();
    // SAFETY: integers only; and this thread is the only one, so that nobody reads the environment meanwhile.
    unsafe {
        libc::umask(0o022);
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        libc::unsetenv(c"SYSLAB_REPORT_FD".as_ptr());
    }
    Ok(())
}

/// Sets a soft and hard limit; one that is lower already stays.
fn lower_limit(what: libc::__rlimit_resource_t, limit: u64) -> io::Result<()> {
    // SAFETY: an all-zero rlimit is valid; it is written and read during the calls.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        check("getrlimit", libc::getrlimit(what, &raw mut now))?;
        now.rlim_max = now.rlim_max.min(limit);
        now.rlim_cur = now.rlim_max;
        check("setrlimit", libc::setrlimit(what, &raw const now))
    }
}

/// Names the call that failed in this process's own preparation.
fn check(name: &str, result: i32) -> io::Result<()> {
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(error.kind(), format!("{name}: {error}")));
    }
    Ok(())
}

/// Closes everything above 2 except `keep`, which is sorted.
fn close_all_but(keep: &[i32]) -> io::Result<()> {
    let mut from = 3;
    for &fd in keep.iter().filter(|fd| **fd > 2) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, i32::MAX)
}

/// close_range(2), or one by one where the kernel (before 5.9) or a seccomp filter has not got it.
pub(crate) fn close_range(first: i32, last: i32) -> io::Result<()> {
    // SAFETY: the descriptors closed belong to this process, whose Rust owners live in the parent: in this
    // copy of its memory nobody will use or drop them.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return Ok(());
    }
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in open {
        // SAFETY: as above; EBADF for the directory that was just read.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Every signal to its default and none blocked, but SIGPIPE ignored: what `main` of a Rust program finds.
fn default_signals() {
    // SAFETY: an all-zero sigaction is SIG_DFL with an empty mask; the structs live across the calls.
    // SIGKILL, SIGSTOP and the two that glibc keeps for itself are refused with EINVAL.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        action.sa_sigaction = libc::SIG_IGN;
        libc::sigaction(libc::SIGPIPE, &raw const action, std::ptr::null_mut());
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Notes the address of a SIGSEGV or SIGBUS and lets the signal end the process, as std's own handler does.
///
/// On an alternate stack, because a stack overflow leaves no room on the other.
fn catch_faults() {
    const STACK: usize = 64 << 10;
    // SAFETY: the alternate stack is leaked memory of STACK bytes, valid to the end of the process;
    // `note_fault` has the signature that SA_SIGINFO promises.
    unsafe {
        let stack = libc::stack_t {
            ss_sp: Vec::<u8>::with_capacity(STACK).leak().as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: STACK,
        };
        libc::sigaltstack(&raw const stack, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn note_fault(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t; ARENA was set before this handler was installed; only
    // atomics, getpid and sigaction are used, all async-signal-safe.
    unsafe {
        let arena = &*ARENA.load(Ordering::Relaxed);
        // si_code > 0: the kernel's own, so that si_addr means something; a kill(2) has none.
        if (*info).si_code > 0 && libc::getpid() == CHILD.load(Ordering::Relaxed) {
            let said = arena.said();
            said.fault_address
                .store((*info).si_addr() as u64, Ordering::Relaxed);
            said.fault_signal.store(signal, Ordering::Release);
        }
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        if (*info).si_code <= 0 {
            libc::raise(signal); // pending until this handler returns
        }
    }
}

/// Longest time that setting up a child may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Keeper, child and the child's first session, when this process is below a child.
pub(crate) fn relation() -> Option<(i32, i32, i32)> {
    let [keeper, child, session] = [&KEEPER, &CHILD, &SESSION].map(|it| it.load(Ordering::Relaxed));
    (child != 0).then_some((keeper, child, session))
}
