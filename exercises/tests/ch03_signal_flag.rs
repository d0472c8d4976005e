//! A flag is seen by what it tells, its handler by what it does to the code that it interrupts: to its errno, its
//! memory, its locks and its system calls.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/signal_flag.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/signal_flag.rs")]
mod signal_flag;

mod handlers;
mod sleeping;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use handlers::{SAFE, disturbance, in_handler, prints};
use libc::{SIGKILL, SIGSTOP, SIGUSR1, SIGUSR2, SIGWINCH};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use observe::{
    Action, Calls, Child, End, Failure, Fault, Matches, Process, Run, Started, assert_seen, errno,
    needs,
};
use signal_flag::{Interrupted, SignalFlag};
use sleeping::{asleep, say, switches};

/// Where a wrong answer sleeps for ever.
const LIMIT: Duration = Duration::from_secs(6);

#[test]
fn every_signal_raises_its_own_flag() {
    let signals = [SIGUSR1, SIGUSR2, 1, libc::SIGRTMIN(), libc::SIGRTMAX()];
    let taken = Child::new()
        .run(|| {
            let flags = signals.map(|signal| install(signal, Interrupted::Restarts));
            let look = || flags.iter().map(SignalFlag::take).collect::<Vec<_>>();
            let mut taken = vec![look()];
            for signal in signals {
                raise(signal);
                raise(signal);
                taken.push(look());
            }
            taken.push(look());
            taken
        })
        .returned();
    for (at, taken) in taken.iter().enumerate() {
        let came = at.checked_sub(1).and_then(|at| signals.get(at));
        for (signal, taken) in signals.into_iter().zip(taken) {
            let expected = came == Some(&signal);
            let name = observe::Signal(signal);
            let came = came.map_or("no signal".to_owned(), |came| observe::Signal(*came).name());
            assert!(
                *taken == expected,
                "{came} had come since the last look, and the flag of {name} was {}",
                if *taken { "up" } else { "down" }
            );
        }
    }
}

#[test]
fn what_cannot_be_caught_is_einval_and_a_second_flag_is_ebusy() {
    let refused = [
        0,
        -1,
        SIGKILL,
        SIGSTOP,
        libc::SIGRTMAX() + 1,
        1000,
        i32::MIN,
    ];
    let (refusals, second, up, still) = Child::new()
        .run(|| {
            let failure = |signal| errno(SignalFlag::install(signal, Interrupted::Fails)).err();
            let refusals = refused.map(failure);
            let first = install(SIGUSR1, Interrupted::Restarts);
            raise(SIGUSR1);
            let second = failure(SIGUSR1);
            // Where it was not refused the signal may kill now.
            let up = second.is_none() || first.take();
            let still = second.is_none() || {
                raise(SIGUSR1);
                first.take()
            };
            (refusals, second, up, still)
        })
        .returned();
    for (signal, failure) in refused.into_iter().zip(refusals) {
        assert_refused(failure, libc::EINVAL, &format!("{signal} can't be caught"));
    }
    assert_refused(second, libc::EBUSY, "SIGUSR1 has a flag already");
    assert!(
        up,
        "a second flag for SIGUSR1 was refused, and the first one, which was up, is down"
    );
    assert!(
        still,
        "after a second flag for SIGUSR1 was refused, the first one was raised no more"
    );
}

#[test]
fn dropped_flag_puts_back_what_was_there() {
    let (default, ignored, handled, again) = Child::new()
        .run(|| {
            let action = |handler| SigAction::new(handler, SaFlags::SA_NODEFER, SigSet::all());
            let with = |handler: Option<SigHandler>| {
                if let Some(handler) = handler {
                    // SAFETY: the handler does nothing.
                    unsafe { sigaction(Signal::SIGWINCH, &action(handler)) }.unwrap();
                }
                let flag = install(SIGWINCH, Interrupted::Fails);
                let during = disposition();
                raise(SIGWINCH);
                drop(flag);
                (during, disposition())
            };
            let default = with(None);
            let ignored = with(Some(SigHandler::SigIgn));
            let handled = with(Some(SigHandler::Handler(nothing)));
            let again = install(SIGWINCH, Interrupted::Fails).take();
            (default, ignored, handled, again)
        })
        .returned();
    let mut seen = Vec::new();
    for (before, (during, after)) in [
        ("default, no flags, empty mask", default),
        ("ignored, SA_NODEFER, full mask", ignored),
        ("the test's handler, SA_NODEFER, full mask", handled),
    ] {
        assert!(
            after == before,
            "SIGWINCH was {before:?}, and when its flag was dropped {after:?}"
        );
        let during = during.split(',').next().unwrap_or_default().to_owned();
        seen.push(format!("{before} → {during} → {after}"));
    }
    assert!(
        !again,
        "a new flag was up at once: the signal had come to the one before it"
    );
    assert_seen!("ch03_signal_flag__dispositions", seen);
}

#[test]
fn interrupted_read_restarts_or_fails_as_asked() {
    let mut seen = Vec::new();
    for interrupted in [Interrupted::Restarts, Interrupted::Fails] {
        let (reader, mut writer) = io::pipe().unwrap();
        let child = Child::new().keep(&reader).limit(LIMIT).start(move || {
            let flag = install(SIGUSR1, interrupted);
            say();
            let read = errno((&reader).read(&mut [0; 8]).map(|count| count as i64));
            (read, flag.take())
        });
        let in_read = |child: &Started<_>| !child.stdout().is_empty() && asleep(child.pid());
        let child = child.does("sleep in read(2)", in_read);
        child.signal(SIGUSR1).unwrap();
        let child = child.does("take SIGUSR1", |child| took(child.pid(), SIGUSR1));
        if interrupted == Interrupted::Restarts {
            child.until(Duration::from_secs(1), in_read);
        }
        // Nobody may be there to read it.
        let _ = writer.write_all(b"later");
        let (read, taken) = child.wait().returned();
        let expected = match interrupted {
            Interrupted::Restarts => "returned 5",
            Interrupted::Fails => "failed with EINTR (Interrupted system call)",
        };
        let read = match read {
            Ok(count) => format!("returned {count}"),
            Err(failure) => format!("failed with {failure}"),
        };
        assert!(
            read == expected,
            "a read(2) slept when a signal with {interrupted:?} came: it {read}, and should have {expected}"
        );
        assert!(taken, "a signal interrupted read(2), and its flag was down");
        seen.push(format!("{interrupted:?}: the read(2) that slept {read}"));
    }
    assert_seen!("ch03_signal_flag__interrupted", seen);
}

#[test]
fn handler_does_only_what_a_handler_may() {
    if !needs("ptrace") {
        return;
    }
    let during = |faults: Vec<Fault>| {
        let child = faults.into_iter().fold(Child::new(), Child::fault);
        child.limit(LIMIT).run(|| {
            let flag = install(SIGUSR1, Interrupted::Restarts);
            // SAFETY: getppid takes nothing.
            let disturbance = disturbance(|| unsafe {
                libc::getppid();
            });
            (disturbance, flag.take())
        })
    };
    let signal = Fault::new("getppid", Action::Signal(SIGUSR1));
    let run = during(vec![signal.clone()]);
    let calls = run.calls.clone();
    let in_handler = in_handler(&calls);
    for call in &in_handler {
        assert!(!prints(call), "the handler printed: {call}");
        assert!(
            SAFE.iter().any(|safe| call.is(safe)),
            "the handler called {call}, which signal-safety(7) does not list"
        );
    }
    let (disturbance, taken) = run.returned();
    assert!(taken, "a signal came, and its flag was down");
    assert!(
        disturbance == "nothing",
        "what the handler did to the code that it interrupted: {disturbance}"
    );
    // What errno is afterwards when a call of its own fails.
    if let Some(first) = in_handler.first() {
        let earlier = calls.iter().take_while(|call| call.start < first.start);
        let nth = 1 + earlier.filter(|call| call.is(first.family)).count() as u32;
        let fail = Fault::new(first.family, Action::Fail(libc::EAGAIN)).nth(nth);
        let (disturbance, _) = during(vec![signal, fail]).returned();
        assert!(
            disturbance == "nothing",
            "{}(2) failed in the handler, and the code that it interrupted saw it: {disturbance}",
            first.family
        );
    }
}

/// So many that at least one comes at the worst instruction.
const SIGNALS: usize = 2000;

#[test]
fn no_signal_is_lost_or_waits_for_a_lock() {
    let (mut reader, writer) = io::pipe().unwrap();
    let child = Child::new()
        .keep(&writer)
        .limit(Duration::from_secs(20))
        .start(move || {
            let flag = install(SIGUSR1, Interrupted::Restarts);
            (&writer).write_all(b"!").unwrap();
            for _ in 0..SIGNALS {
                while !flag.take() {}
                (&writer).write_all(b"!").unwrap();
            }
        });
    let mut told = || {
        let mut ready = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        let came = poll(&mut ready, 6000_u16);
        came.is_ok_and(|count| count > 0) && reader.read_exact(&mut [0]).is_ok()
    };
    if told() {
        for number in 1..=SIGNALS {
            child.signal(SIGUSR1).unwrap();
            assert!(
                told() || child.process().is_err(),
                "signal {number} of {SIGNALS}, while the program did nothing but take, was never told of: \
                 it was lost, or the handler waits for a lock that the program holds"
            );
        }
    }
    child.wait().returned();
}

#[test]
fn wait_sleeps_through_other_signals_and_keeps_the_mask() {
    let child = Child::new().limit(LIMIT).start(|| {
        let flag = install(SIGUSR1, Interrupted::Fails);
        let _other = install(SIGUSR2, Interrupted::Restarts);
        SigSet::from(Signal::SIGALRM).thread_block().unwrap();
        let before = Process::me().signals.blocked;
        raise(SIGUSR1);
        flag.wait();
        let early = flag.take();
        say();
        flag.wait();
        say();
        let after = Process::me().signals.blocked;
        SigSet::from(Signal::SIGUSR1).thread_block().unwrap();
        raise(SIGUSR1);
        flag.wait();
        say();
        let own = Process::me().signals.blocked;
        (early, flag.take(), before, after, own)
    });
    let child = child.does(
        "return from wait with its flag up, and sleep in the next",
        |child| !child.stdout().is_empty() && asleep(child.pid()),
    );
    let before = switches(child.pid(), child.pid());
    sleep(Duration::from_millis(300));
    assert!(
        before == switches(child.pid(), child.pid()),
        "no signal came, and the thread woke in wait all the same: it looks now and then"
    );
    // If it were not blocked, it would kill.
    child.signal(libc::SIGALRM).unwrap();
    let _ = child.signal(SIGUSR2);
    let child = child.does("run the handler of SIGUSR2 in wait", |child| {
        took(child.pid(), SIGUSR2)
    });
    // It may have ended, by SIGALRM; or have returned, by SIGUSR2.
    let returned = |child: &Started<_>| child.stdout().len() > 1;
    let _ = child.until(LIMIT, |child| returned(child) || asleep(child.pid()));
    let returned = returned(&child);
    let _ = child.signal(SIGUSR1);
    let run = child.wait();
    assert!(
        !matches!(run.end, End::Killed(by) if by == libc::SIGALRM.into()),
        "SIGALRM, which the caller blocks, was delivered during wait, and killed the program"
    );
    assert!(!returned, "SIGUSR2 came, and the wait for SIGUSR1 returned");
    if matches!(run.end, End::TimedOut(_)) {
        match run.stdout.len() {
            1 => panic!("SIGUSR1 came, and wait slept on"),
            2 => panic!("SIGUSR1 was blocked by the caller of wait and pending, and wait slept on"),
            _ => {}
        }
    }
    let (early, late, before, after, mut own) = run.returned();
    assert!(!early && !late, "wait returned and left the flag up");
    assert!(
        before == after,
        "wait was called with {before:?} blocked, and left {after:?} blocked"
    );
    own.retain(|signal| *signal != SIGUSR1.into());
    assert!(
        own == before,
        "wait was called with SIGUSR1 blocked, and left {own:?} blocked beside it"
    );
}

#[test]
fn signal_at_any_moment_ends_wait() {
    if !needs("ptrace") {
        return;
    }
    let run = |fault: Option<Fault>| {
        let child = fault.map_or(Child::new().traced(), |fault| Child::new().fault(fault));
        child.limit(LIMIT).start(|| {
            let flag = install(SIGUSR1, Interrupted::Fails);
            // SAFETY: getppid takes nothing.
            unsafe { libc::getppid() };
            flag.wait();
        })
    };
    let child = run(None).does("sleep in wait", |child| asleep(child.pid()));
    child.signal(SIGUSR1).unwrap();
    let first = child.wait();
    let calls = first.calls.clone();
    first.returned();
    // From behind the getppid to that in which it slept, which took longest.
    let start = calls.iter().position(|call| call.is("getppid"));
    let start = start.expect("the test itself calls getppid") + 1;
    let slept = (start..calls.len()).max_by_key(|at| calls[*at].duration);
    let end = slept.map_or(start, |at| at + 1);
    for (before, nth) in calls[start..end].iter().zip(start as u32 + 1..) {
        let fault = Fault::new(Matches::every(), Action::SignalBefore(SIGUSR1)).nth(nth);
        let run: Run<()> = run(Some(fault)).wait();
        assert!(
            !matches!(run.end, End::TimedOut(_)),
            "SIGUSR1 came just before {}, and wait slept on",
            name(&run.calls, before)
        );
        run.returned();
    }
}

/// The call before which the signal came, or the one that was made there the first time.
fn name(calls: &Calls, otherwise: &observe::Call) -> String {
    let injected = calls.iter().find(|call| call.injected);
    let name = injected.unwrap_or(otherwise).name;
    format!("{}(2)", name.trim_start_matches("rt_"))
}

/// In the child.
#[track_caller]
fn install(signal: i32, interrupted: Interrupted) -> SignalFlag {
    SignalFlag::install(signal, interrupted).unwrap_or_else(|error| {
        let (name, failure) = (observe::Signal(signal), Failure::from(error));
        panic!("there was no flag to be had for {name}: {failure}")
    })
}

fn raise(signal: i32) {
    // SAFETY: takes an integer.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

extern "C" fn nothing(_signal: i32) {}

/// In the child: what SIGWINCH does now, in words.
fn disposition() -> String {
    // SAFETY: a null pointer changes nothing; the struct is written during the call.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(
            libc::sigaction(SIGWINCH, std::ptr::null(), &raw mut action),
            0
        );
        action
    };
    let handler = match action.sa_sigaction {
        libc::SIG_DFL => "default",
        libc::SIG_IGN => "ignored",
        handler if handler == nothing as *const () as usize => "the test's handler",
        _ => "the exercise's handler",
    };
    let nodefer = action.sa_flags & libc::SA_NODEFER != 0;
    // SAFETY: the set is an initialised one.
    let masked = unsafe { libc::sigismember(&raw const action.sa_mask, libc::SIGALRM) } == 1;
    format!(
        "{handler}, {}, {} mask",
        if nodefer { "SA_NODEFER" } else { "no flags" },
        if masked { "full" } else { "empty" }
    )
}

#[track_caller]
fn assert_refused(failure: Option<Failure>, expected: i32, why: &str) {
    let expected = observe::Errno(expected);
    match failure {
        Some(failure) => assert!(
            failure.is(expected.0),
            "{why}, and install failed with {failure} instead of {expected}"
        ),
        None => panic!("{why}, and install returned a flag instead of {expected}"),
    }
}

/// Whether a signal is no longer on its way to a process.
fn took(pid: i32, signal: i32) -> bool {
    let process = Process::of(pid);
    process.map_or(true, |process| {
        process.zombie() || !process.signals.pending.contains(&signal.into())
    })
}
