//! Signals are seen, delivered, and leave interrupted calls as the program sees them.

mod common;

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use common::{births, demand, end_of, fork, handle, needs_ptrace, of, pipe, read, sh, wait, write};
use tracer::{Action, Event, Fault, Status, Tracer, trace};

extern "C" fn nothing(_: i32) {}

#[test]
fn a_signal_is_seen_with_its_sender() {
    needs_ptrace!();
    let trace = trace(|| {
        handle(libc::SIGUSR1, nothing, 0);
        // SAFETY: takes nothing; kill takes two integers, and the parent waits for us.
        wait(
            fork(|| unsafe { libc::kill(libc::getppid(), libc::SIGUSR1) }),
            0,
        );
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [(child, _)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    let signal = trace
        .signals()
        .find(|signal| signal.signo == libc::SIGUSR1)
        .unwrap();
    assert_eq!(
        (signal.name, signal.code_name()),
        ("SIGUSR1", Some("SI_USER"))
    );
    assert_eq!((signal.pid, signal.sender), (trace.pid, Some(child)));
    // SAFETY: takes nothing.
    assert_eq!(signal.uid, Some(unsafe { libc::getuid() }));
}

#[test]
fn a_childs_end_is_a_signal_from_it() {
    needs_ptrace!();
    let trace = Tracer::new().command(&mut sh("(exit 1); :")).unwrap();
    let [(child, _)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    let signal = trace
        .signals()
        .find(|signal| signal.signo == libc::SIGCHLD)
        .unwrap();
    assert_eq!(
        (signal.sender, signal.code_name()),
        (Some(child), Some("CLD_EXITED"))
    );
}

#[test]
fn a_fault_is_seen_with_its_address() {
    needs_ptrace!();
    let trace = trace(|| {
        // SAFETY: the structure is filled; signal(2) takes integers. The write is meant to fail: nothing is mapped
        // in the first page.
        unsafe {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            std::ptr::without_provenance_mut::<u8>(0x10).write_volatile(1);
        }
    })
    .unwrap();
    let signal = trace.signals().last().unwrap();
    assert_eq!(
        (signal.name, signal.address, signal.sender),
        ("SIGSEGV", Some(0x10), None)
    );
    assert_eq!(signal.code_name(), Some("SEGV_MAPERR"));
    assert_eq!(
        trace.status,
        Some(Status::Killed {
            signal: libc::SIGSEGV,
            core: false
        })
    );
}

#[test]
fn a_job_control_stop_is_not_an_end() {
    needs_ptrace!();
    let trace = trace(|| {
        let go = pipe();
        // SAFETY: raise and kill take integers; the child isn't reaped yet.
        unsafe {
            let child = fork(|| {
                libc::raise(libc::SIGSTOP);
                demand(read(go[0], &mut [0]) == Ok(1));
                7
            });
            let stopped = wait(child, libc::WUNTRACED);
            demand(libc::WIFSTOPPED(stopped) && libc::WSTOPSIG(stopped) == libc::SIGSTOP);
            demand(libc::kill(child, libc::SIGCONT) == 0);
            demand(libc::WIFCONTINUED(wait(child, libc::WCONTINUED)));
            demand(write(go[1], b"x") == Ok(1));
            demand(libc::WEXITSTATUS(wait(child, 0)) == 7);
        }
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [(child, _)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    let names: Vec<&str> = trace
        .signals()
        .filter(|signal| signal.pid == child)
        .map(|signal| signal.name)
        .collect();
    assert_eq!(names, ["SIGSTOP", "SIGCONT"]);
    assert_eq!(end_of(&trace, child), Some(Status::Exited(7)));
}

#[test]
fn a_stopped_process_makes_no_call_until_it_is_continued() {
    needs_ptrace!();
    let trace = trace(|| {
        let ends = pipe();
        // SAFETY: integers only; a non-blocking descriptor of ours; the child isn't reaped yet.
        unsafe {
            let child = fork(|| {
                libc::raise(libc::SIGSTOP);
                i32::from(write(ends[1], b"x") != Ok(1))
            });
            wait(child, libc::WUNTRACED);
            libc::fcntl(ends[0], libc::F_SETFL, libc::O_NONBLOCK);
            demand(read(ends[0], &mut [0]) == Err(libc::EAGAIN));
            libc::kill(child, libc::SIGCONT);
            demand(wait(child, 0) == 0);
            demand(read(ends[0], &mut [0]) == Ok(1));
        }
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
}

#[test]
fn a_process_killed_while_it_is_stopped_ends() {
    needs_ptrace!();
    let trace = trace(|| {
        // SAFETY: integers only; the child isn't reaped yet.
        unsafe {
            let child = fork(|| libc::raise(libc::SIGSTOP));
            wait(child, libc::WUNTRACED);
            libc::kill(child, libc::SIGKILL);
            demand(libc::WTERMSIG(wait(child, 0)) == libc::SIGKILL);
        }
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
}

#[test]
fn an_interrupted_call_fails_with_eintr() {
    needs_ptrace!();
    let tracer = Tracer::new().fault(Fault::new("read", Action::Signal(libc::SIGUSR1)));
    let trace = tracer
        .closure(|| {
            handle(libc::SIGUSR1, nothing, 0);
            let ends = pipe();
            demand(read(ends[0], &mut [0]) == Err(libc::EINTR));
        })
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [read] = of(&trace, "read")[..] else {
        panic!("{trace:?}")
    };
    assert_eq!((read.result, read.restarts), (Some(Err(libc::EINTR)), 0));
    assert!(
        trace
            .signals()
            .any(|signal| signal.signo == libc::SIGUSR1 && signal.injected)
    );
}

/// Where the handler below writes.
static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn wake(_: i32) {
    let _ = write(WAKE.load(Ordering::Relaxed), b"woken");
}

#[test]
fn a_restarted_call_is_one_call() {
    needs_ptrace!();
    let tracer = Tracer::new().fault(Fault::new("read", Action::Signal(libc::SIGUSR1)));
    let trace = tracer
        .closure(|| {
            let ends = pipe();
            WAKE.store(ends[1], Ordering::Relaxed);
            handle(libc::SIGUSR1, wake, libc::SA_RESTART);
            demand(read(ends[0], &mut [0; 8]) == Ok(5));
        })
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [read] = of(&trace, "read")[..] else {
        panic!("{trace:?}")
    };
    assert_eq!((read.result, read.restarts), (Some(Ok(5)), 1));
}

#[test]
fn an_interrupted_handler_is_told_from_the_call_it_interrupted() {
    needs_ptrace!();
    // The handler of one signal blocks in a read of its own, which a second signal interrupts.
    extern "C" fn outer(_: i32) {
        demand(read(WAKE.load(Ordering::Relaxed), &mut [0]) == Err(libc::EINTR));
    }
    let tracer = Tracer::new()
        .fault(Fault::new("pause", Action::Signal(libc::SIGUSR1)))
        .fault(Fault::new("ppoll", Action::Signal(libc::SIGUSR1)))
        .fault(Fault::new("read", Action::Signal(libc::SIGUSR2)));
    let trace = tracer
        .closure(|| {
            let ends = pipe();
            WAKE.store(ends[0], Ordering::Relaxed);
            handle(libc::SIGUSR1, outer, libc::SA_RESTART);
            handle(libc::SIGUSR2, nothing, 0);
            let none = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: no descriptors, no time limit, no mask: nothing is read or written.
            demand(unsafe { libc::syscall(libc::SYS_ppoll, none, 0, none, none, 8) } == -1);
        })
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    assert_eq!(of(&trace, "poll")[0].result, Some(Err(libc::EINTR)));
    assert_eq!(of(&trace, "read")[0].result, Some(Err(libc::EINTR)));
}

#[test]
fn a_sleep_goes_on_after_a_stop() {
    needs_ptrace!();
    let tracer = Tracer::new().fault(Fault::new("sleep", Action::Signal(libc::SIGSTOP)));
    let trace = tracer
        .closure(|| {
            // SAFETY: kill takes two integers; the child isn't reaped yet.
            unsafe {
                let child = fork(|| {
                    std::thread::sleep(Duration::from_millis(20));
                    0
                });
                demand(libc::WIFSTOPPED(wait(child, libc::WUNTRACED)));
                demand(libc::kill(child, libc::SIGCONT) == 0);
                demand(wait(child, 0) == 0);
            }
        })
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [sleep] = of(&trace, "sleep")[..] else {
        panic!("{trace:?}")
    };
    assert_eq!((sleep.result, sleep.restarts > 0), (Some(Ok(0)), true));
}

#[test]
fn a_deadly_signal_comes_before_the_end() {
    needs_ptrace!();
    let trace = Tracer::new().command(&mut sh("kill -TERM $$")).unwrap();
    assert_eq!(
        trace.status,
        Some(Status::Killed {
            signal: libc::SIGTERM,
            core: false
        })
    );
    assert_eq!(trace.status.unwrap().code(), 128 + libc::SIGTERM);
    let [.., Event::Signal(signal), Event::Exit { .. }] = &trace.events[..] else {
        panic!("{trace:?}")
    };
    assert_eq!((signal.name, signal.sender), ("SIGTERM", Some(trace.pid)));
}
