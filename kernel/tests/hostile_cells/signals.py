"""What a cell does with signals: sends them to itself and its group, blocks, ignores and handles them."""

from . import LOOP, Case, Interrupt, error, interrupted, ok

CAN_BE_INTERRUPTED = interrupted(LOOP)

UNBLOCK = ok("unsafe { let mut s: libc::sigset_t = std::mem::zeroed(); libc::sigemptyset(&mut s); "
             "libc::pthread_sigmask(libc::SIG_SETMASK, &s, std::ptr::null_mut()); }")

NOTHING = 'extern "C" fn nothing(_: i32) {}\n'

CASES = [
    *(
        Case(f"{name.lower()}_to_itself", error(name, f"unsafe {{ libc::raise(libc::{name}); }}"))
        for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1")
    ),
    # Any status: the handler that libstd installs lets one that no access caused pass.
    Case("sigsegv_sent_by_kill", ok("unsafe { libc::kill(libc::getpid(), libc::SIGSEGV); }", status=None)),
    Case("sigalrm", error("SIGALRM", "unsafe { libc::alarm(1); loop { libc::pause(); } }")),
    Case("sigalrm_between_cells", ok("unsafe { libc::alarm(1); }", late="SIGALRM")),
    Case(
        "sigstop_to_itself",
        ok('println!("looping"); unsafe { libc::raise(libc::SIGSTOP); }', status=None, interrupt=Interrupt(after=1)),
    ),
    Case(
        "sigtstp_to_itself",
        ok('println!("looping"); unsafe { libc::raise(libc::SIGTSTP); }', status=None, interrupt=Interrupt(after=1)),
    ),
    Case("sigkill_to_the_group", error("SIGKILL", "unsafe { libc::kill(0, libc::SIGKILL); }")),
    Case("sigterm_to_the_group", error("SIGTERM", "unsafe { libc::kill(0, libc::SIGTERM); }")),
    Case(
        "sigint_to_the_group",
        error("SIGINT|Interrupted", "unsafe { libc::kill(0, libc::SIGINT); }"),
    ),
    Case(
        "kills_its_parent",
        ok('println!("looping"); unsafe { libc::kill(libc::getppid(), libc::SIGKILL); } loop { std::thread::park(); }',
           status=None, interrupt=Interrupt(after=2)),
        alone=True,
        loss="(?i)lost",
    ),
    Case(
        "stops_its_parent",
        ok("unsafe { libc::kill(libc::getppid(), libc::SIGSTOP); }", status=None, interrupt=Interrupt(seen=None, after=1)),
    ),
    Case(
        "stopped_again_and_again",
        ok(
            """
let me: i32 = unsafe { libc::getpid() };
if unsafe { libc::fork() } == 0 {
    for _ in 0..20 { unsafe { libc::kill(me, libc::SIGSTOP); libc::usleep(5000); } }
    unsafe { libc::_exit(0); }
}""",
        ),
        after=(ok("unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 }", value="true"),),
    ),
    Case(
        "ignores_sigint",
        interrupted("unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN); }" + LOOP),
        after=(CAN_BE_INTERRUPTED,),
    ),
    Case(
        "ignored_sigint_of_an_earlier_cell",
        interrupted(LOOP),
        before=(ok("unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN); }"),),
        after=(ok("unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL); }"),),
    ),
    Case(
        "handles_sigint",
        ok(
            """
static ASKED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
extern "C" fn ask(_: i32) { ASKED.store(true, std::sync::atomic::Ordering::SeqCst); }
unsafe { libc::signal(libc::SIGINT, ask as *const () as usize); }
println!("looping");
while !ASKED.load(std::sync::atomic::Ordering::SeqCst) { std::thread::sleep(std::time::Duration::from_millis(5)); }
println!("asked to stop");
unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL); }""",
            status=None,
            interrupt=Interrupt(),
            stdout=("asked to stop",),
        ),
    ),
    Case(
        "blocks_all_signals",
        ok("unsafe { let mut s: libc::sigset_t = std::mem::zeroed(); libc::sigfillset(&mut s); "
           "libc::pthread_sigmask(libc::SIG_BLOCK, &s, std::ptr::null_mut()); }"),
        after=(CAN_BE_INTERRUPTED, UNBLOCK),
    ),
    Case(
        "handles_every_signal",
        ok(NOTHING + "for s in 1..=64 { unsafe { libc::signal(s, nothing as *const () as usize); } }"),
        after=(CAN_BE_INTERRUPTED, ok("for s in 1..=64 { unsafe { libc::signal(s, libc::SIG_DFL); } }")),
    ),
    Case(
        "ignores_sigchld",
        ok("unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN); }"),
        after=(
            ok('let _ = std::process::Command::new("true").spawn().unwrap().wait();'),
            ok("unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL); }"),
        ),
    ),
    Case(
        "storm_of_timer_signals",
        ok(
            NOTHING
            + """
unsafe {
    libc::signal(libc::SIGALRM, nothing as *const () as usize);
    let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    libc::setitimer(libc::ITIMER_REAL, &libc::itimerval { it_interval: every, it_value: every }, std::ptr::null_mut());
}"""
        ),
        after=(
            ok('println!("in the storm");', stdout=("in the storm",)),
            ok("unsafe { let off: libc::itimerval = std::mem::zeroed(); "
               "libc::setitimer(libc::ITIMER_REAL, &off, std::ptr::null_mut()); }"),
        ),
    ),
    Case(
        "handler_of_an_earlier_cell_sets_a_static",
        ok("unsafe { libc::raise(libc::SIGUSR1); } HITS.load(std::sync::atomic::Ordering::SeqCst)", value="1"),
        before=(
            ok(
                """
static HITS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
extern "C" fn hit(_: i32) { HITS.fetch_add(1, std::sync::atomic::Ordering::SeqCst); }
unsafe { libc::signal(libc::SIGUSR1, hit as *const () as usize); }"""
            ),
        ),
        after=(ok("unsafe { libc::signal(libc::SIGUSR1, libc::SIG_DFL); }"),),
    ),
    Case(
        "handler_of_an_earlier_cell_crashes",
        error("SIGSEGV|SIGABRT", "unsafe { libc::raise(libc::SIGUSR2); }"),
        before=(
            ok('extern "C" fn fall(_: i32) { unsafe { *(0x10 as *mut i32) = 7; } }\n'
               "unsafe { libc::signal(libc::SIGUSR2, fall as *const () as usize); }"),
        ),
        after=(ok("unsafe { libc::signal(libc::SIGUSR2, libc::SIG_DFL); }"),),
    ),
]
