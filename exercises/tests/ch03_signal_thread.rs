//! Who blocks what is in /proc; what became of a signal is told by `handle`, which runs in the child.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/signal_thread.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/signal_thread.rs")]
mod signal_thread;

mod sleeping;

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use libc::{SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGPIPE, SIGSEGV, SIGSTOP};
use libc::{SIGCHLD, SIGTERM, SIGURG, SIGUSR1, SIGUSR2, SIGWINCH};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use observe::{
    Action, Child, End, Failure, Fault, Matches, Process, Run, assert_seen, errno, needs,
};
use signal_thread::SignalThread;
use sleeping::{say, switches};

/// Signal, sender and value, and the thread in which `handle` was called.
type Got = (i32, i32, i32, i32);

/// How long a signal may take from kill(2) to `handle`.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn signal_is_handled_in_a_thread_of_its_own() {
    let (one, other) = (SIGUSR1, libc::SIGRTMIN() + 1);
    let sent = [(one, 0), (other, 42), (other, -7), (SIGTERM, 0)];
    let child = Child::new().start(|| {
        let (thread, told) = start(&[one, SIGTERM, other]);
        say();
        let got: Vec<Got> = (0..sent.len()).map_while(|_| next(&told)).collect();
        thread.stop();
        // SAFETY: takes nothing.
        (got, unsafe { libc::gettid() })
    });
    let child = child.does("start", |child| !child.stdout().is_empty());
    for (number, (signal, value)) in (1..).zip(sent) {
        send(child.pid(), signal, value);
        // One after the other: of two different ones the kernel chooses.
        child.until(PATIENCE, |child| child.stdout().len() > number);
    }
    let (got, main) = child.wait().returned();
    let me = std::process::id() as i32;
    let mut seen = Vec::new();
    for (at, (signal, value)) in sent.into_iter().enumerate() {
        let name = observe::Signal(signal);
        let Some((handled, sender, came, tid)) = got.get(at).copied() else {
            panic!("{name} was sent to the process, and handle was not called");
        };
        assert!(
            handled == signal,
            "{name} was sent, and handle was called for {}",
            observe::Signal(handled)
        );
        assert!(
            sender == me,
            "the sender of {name} was process {me}, and handle was told {sender}"
        );
        assert!(
            came == value,
            "{name} came with the value {value}, and handle was told {came}"
        );
        assert!(
            tid != main && tid == got[0].3,
            "handle was called in thread {tid}, where the main thread is {main} and it was called first in {}",
            got[0].3
        );
        seen.push(format!("{name} with {came}, from the process that sent it"));
    }
    assert_seen!("ch03_signal_thread__handled", seen);
}

#[test]
fn every_thread_blocks_the_signals() {
    let signals = [SIGUSR1, SIGTERM, libc::SIGRTMAX()];
    let (reader, writer) = io::pipe().unwrap();
    let child = Child::new().keep(&reader).start(move || {
        SigSet::from(Signal::SIGALRM).thread_block().unwrap();
        let before = Process::me();
        let (signal_thread, _told) = start(&signals);
        thread::scope(|scope| {
            for name in ["worker 1", "worker 2", "worker 3"] {
                let worker = thread::Builder::new().name(name.to_owned());
                worker
                    .spawn_scoped(scope, || (&reader).read(&mut [0]))
                    .unwrap();
            }
            say();
            let _ = (&reader).read(&mut [0]);
        });
        signal_thread.stop();
        before
    });
    let workers = |process: Process| {
        let named = |thread: &&observe::Thread| thread.name.starts_with("worker");
        process.threads.iter().filter(named).count()
    };
    let child = child.does("start", |child| {
        child.process().is_ok_and(|it| workers(it) == 3)
    });
    let process = child.process().unwrap();
    let mut seen = Vec::new();
    for thread in &process.threads {
        let name = match &thread.name {
            _ if thread.tid == process.pid => "the main thread",
            name if name.starts_with("worker") => name,
            // sigwaitinfo(2) unblocks what it waits for, so that this one may look as if it blocked nothing.
            _ => continue,
        };
        for signal in signals.map(observe::Signal) {
            assert!(
                thread.blocked.contains(&signal),
                "{name} does not block {signal}, and may be interrupted by it"
            );
        }
        seen.push(format!("{name} blocks {:?}", thread.blocked));
    }
    seen.sort();
    for descriptor in process.descriptors.0.iter().filter(|(fd, _)| **fd > 2) {
        let (fd, file) = descriptor;
        assert!(
            file.close_on_exec(),
            "a program that is started inherits descriptor {fd}, {}",
            file.target()
        );
    }
    let naps = || {
        let threads = process.threads.iter();
        let naps: Option<Vec<u64>> = threads.map(|it| switches(process.pid, it.tid)).collect();
        naps
    };
    // On its way to sleep a thread may sleep elsewhere for a moment.
    let mut last = None;
    let settled = child.until(PATIENCE, |_| {
        let before = last.replace(naps());
        thread::sleep(Duration::from_millis(20));
        last.as_ref().is_some_and(Option::is_some) && before == last
    });
    thread::sleep(Duration::from_millis(300));
    assert!(
        settled && last == Some(naps()),
        "no signal came, and a thread was awake all the same: it looks now and then"
    );
    drop(writer);
    let before = child.wait().returned();
    let mut expected = signals.map(observe::Signal).to_vec();
    expected.extend(&before.signals.blocked);
    expected.sort();
    let blocked = &process.signals.blocked;
    assert!(
        *blocked == expected,
        "the main thread blocked {:?} before start, and {blocked:?} after it",
        before.signals.blocked
    );
    assert!(
        process.signals.caught == before.signals.caught,
        "start changed which signals have a handler, from {:?} to {:?}",
        before.signals.caught,
        process.signals.caught
    );
    assert_seen!("ch03_signal_thread__masks", seen);
}

#[test]
fn signals_that_are_ignored_come_too() {
    // The first three by default, SIGPIPE because Rust programs do.
    let signals = [SIGCHLD, SIGWINCH, SIGURG, SIGPIPE];
    let got = Child::new()
        .run(|| {
            let (thread, told) = start(&signals);
            let got = signals.map(|signal| {
                send(std::process::id() as i32, signal, 0);
                next(&told).map(|(signal, ..)| signal)
            });
            thread.stop();
            got
        })
        .returned();
    for (signal, got) in signals.into_iter().zip(got) {
        let name = observe::Signal(signal);
        match got.map(observe::Signal) {
            Some(handled) => assert!(
                handled == name,
                "{name} was sent, and handle was called for {handled}"
            ),
            None => {
                panic!("{name}, which is ignored otherwise, was sent, and handle was not called")
            }
        }
    }
}

/// More than a pipe or a buffer of signals would hold.
const SIGNALS: usize = 1000;

#[test]
fn no_signal_is_lost_and_no_call_interrupted() {
    let signal = libc::SIGRTMIN() + 3;
    let child = Child::new().limit(Duration::from_secs(30)).start(|| {
        let (signal_thread, told) = start(&[signal]);
        let (reader, writer) = io::pipe().unwrap();
        thread::scope(|scope| {
            let read = || errno((&reader).read(&mut [0]));
            let workers = [(); 3].map(|()| scope.spawn(read));
            say();
            let values = (0..SIGNALS).map_while(|_| next(&told));
            let values: Vec<i32> = values.map(|(.., value, _)| value).collect();
            drop(writer);
            let reads = workers.map(|worker| worker.join().unwrap());
            signal_thread.stop();
            (values, reads)
        })
    });
    let child = child.does("start", |child| !child.stdout().is_empty());
    for value in 0..SIGNALS {
        send(child.pid(), signal, value as i32);
    }
    let (values, reads) = child.wait().returned();
    for (expected, value) in values.iter().enumerate() {
        assert!(
            *value == expected as i32,
            "signal {expected} of {SIGNALS} was expected, and signal {value} came"
        );
    }
    assert!(
        values.len() == SIGNALS,
        "{SIGNALS} realtime signals were sent, and handle was called {} times",
        values.len()
    );
    for read in reads {
        assert!(
            read == Ok(0),
            "signals came, and a read(2) of another thread failed with {}",
            read.map_or_else(|failure| failure.to_string(), |count| format!("{count}"))
        );
    }
}

#[test]
fn stop_hands_over_what_was_sent_and_puts_the_mask_back() {
    let (first, more) = (SIGUSR1, libc::SIGRTMIN() + 1);
    let (got, before, after) = Child::new()
        .run(|| {
            SigSet::from(Signal::SIGALRM).thread_block().unwrap();
            let before = Process::me();
            let (entered, inside) = channel();
            let (go, gate) = channel::<()>();
            let (tell, told) = channel();
            let thread = started(&[first, SIGUSR2, more, SIGALRM], move |signal, value| {
                entered.send(()).unwrap();
                let _ = gate.recv();
                tell.send((signal, value)).unwrap();
            });
            let me = std::process::id() as i32;
            send(me, first, 0);
            // While `handle` is busy with the first one.
            let _ = inside.recv_timeout(PATIENCE);
            send(me, SIGUSR2, 0);
            (1..=5).for_each(|value| send(me, more, value));
            drop(go);
            thread.stop();
            // The thread has ended, and its closure is dropped, or this waits.
            let got: Vec<(i32, i32)> = told.iter().collect();
            (got, before, settled())
        })
        .returned();
    let expected = [(first, 0), (SIGUSR2, 0)]
        .into_iter()
        .chain((1..=5).map(|value| (more, value)));
    for (signal, value) in expected {
        assert!(
            got.contains(&(signal, value)),
            "{} with the value {value} was sent before stop was called, and handle was not called for it",
            observe::Signal(signal)
        );
    }
    assert!(
        got.len() == 7,
        "7 signals were sent before stop was called, and handle was called {} times",
        got.len()
    );
    let blocked = [&before, &after].map(|process| &process.signals.blocked);
    assert!(
        blocked[0] == blocked[1],
        "before start the thread blocked {:?}, and after stop {:?}",
        blocked[0],
        blocked[1]
    );
    assert!(
        after.threads.len() == 1,
        "stop returned, and the thread is still there"
    );
    let open = [&before, &after].map(|process| process.descriptors.above_stderr());
    assert!(
        open[0] == open[1],
        "before start descriptors {:?} were open, and after stop {:?}",
        open[0],
        open[1]
    );
}

/// So many that at least once the thread finds both, the signal and that it is to stop.
const STOPS: i32 = 200;

#[test]
fn signal_right_before_stop_is_handed_over() {
    let run = Child::new().run(|| {
        (1..=STOPS)
            .find_map(|value| {
                let (thread, told) = start(&[SIGUSR2]);
                send(std::process::id() as i32, SIGUSR2, value);
                thread.stop();
                let values: Vec<i32> = told.iter().map(|(.., value, _)| value).collect();
                (values != [value]).then_some((value, values))
            })
            .unwrap_or_default()
    });
    assert!(
        !matches!(run.end, End::Killed(by) if by == SIGUSR2.into()),
        "SIGUSR2 was sent right before stop, and stop let it kill the process"
    );
    let (value, values) = run.returned();
    assert!(
        value == 0,
        "SIGUSR2 with the value {value} was sent right before stop, and handle got {values:?}"
    );
}

#[test]
fn what_cannot_be_waited_for_is_einval() {
    let refused = [
        0, -1, 65, 1000, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
    ];
    let all = Child::new()
        .run(|| refused.map(|signal| tried(|| SignalThread::start(&[SIGUSR1, signal], |_| ()))))
        .returned();
    for (signal, (failure, left)) in refused.into_iter().zip(all) {
        let name = observe::Signal(signal);
        assert_failed(
            failure,
            libc::EINVAL,
            &format!("{name} can't be waited for"),
        );
        assert!(left.is_empty(), "start refused {name}, and left {left}");
    }
}

#[test]
fn failed_start_leaves_nothing() {
    let start = || SignalThread::start(&[SIGUSR1, SIGTERM], |_| ());
    let run = Child::new().run(|| {
        tried(|| {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            // Three are open.
            setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
            let started = start();
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            started
        })
    });
    let (failure, left) = run.returned();
    // Who needs no descriptor does not fail.
    let how = if failure.is_some() {
        assert_failed(failure, libc::EMFILE, "no descriptor was free");
        "start failed with EMFILE"
    } else {
        "start did without a descriptor and was stopped"
    };
    assert!(left.is_empty(), "{how}, and left {left}");
    if !needs("ptrace") {
        return;
    }
    let no_thread = Fault::new("thread", Action::Fail(libc::EAGAIN)).always();
    let run = Child::new().fault(no_thread).run(|| tried(start));
    let (failure, left) = run.returned();
    assert_failed(failure, libc::EAGAIN, "no thread could be made");
    assert!(left.is_empty(), "start failed with EAGAIN, and left {left}");
}

/// More system calls than it takes to start a thread.
const PLACES: u32 = 100;

#[test]
fn no_moment_of_start_loses_a_signal() {
    if !needs("ptrace") {
        return;
    }
    let mut handled = 0;
    for nth in 1..=PLACES {
        let fault = Fault::new(Matches::every(), Action::SignalBefore(SIGUSR1)).nth(nth);
        let run: Run<usize> = Child::new().fault(fault).run(|| {
            let (thread, told) = start(&[SIGUSR1]);
            // SAFETY: getppid takes nothing.
            unsafe { libc::getppid() };
            thread.stop();
            told.iter().count()
        });
        let calls = run.calls.clone();
        let Some(at) = calls.iter().position(|call| call.injected) else {
            run.returned();
            break;
        };
        if calls[..at].iter().any(|call| call.is("getppid")) {
            break;
        }
        let place = format!("SIGUSR1 came just before {}(2)", calls[at].name);
        let made = |call: &observe::Call| call.is("thread") && matches!(call.result, Some(Ok(_)));
        if matches!(run.end, End::Killed(by) if by == SIGUSR1.into()) {
            assert!(
                !calls[..at].iter().any(made),
                "{place}, when the thread was there to take it, and killed the process"
            );
            continue;
        }
        let count = run.returned();
        assert!(count == 1, "{place}, and handle was called {count} times");
        handled += 1;
    }
    assert!(
        handled > 0,
        "there was no moment in start at which a signal was taken by the thread"
    );
}

/// In the child: a signal thread, and what its `handle` was called for.
#[track_caller]
fn start(signals: &[i32]) -> (SignalThread, Receiver<Got>) {
    let (tell, told) = channel();
    let thread = SignalThread::start(signals, move |got| {
        // SAFETY: takes nothing.
        let tid = unsafe { libc::gettid() };
        let _ = tell.send((got.signal, got.sender, got.value, tid));
    });
    (well(signals, thread), told)
}

/// In the child: the same with a `handle` of the test's.
#[track_caller]
fn started(signals: &[i32], handle: impl Fn(i32, i32) + Send + 'static) -> SignalThread {
    let thread = SignalThread::start(signals, move |got| handle(got.signal, got.value));
    well(signals, thread)
}

#[track_caller]
fn well(signals: &[i32], started: io::Result<SignalThread>) -> SignalThread {
    let signals: Vec<_> = signals.iter().copied().map(observe::Signal).collect();
    match errno(started) {
        Ok(thread) => thread,
        Err(failure) => panic!("start with {signals:?} failed with {failure}"),
    }
}

/// In the child: what the next call of `handle` was told.
fn next(told: &Receiver<Got>) -> Option<Got> {
    let got = told.recv_timeout(PATIENCE).ok();
    say();
    got
}

/// In the child: why `start` failed, and what it left. One that did not fail is stopped.
fn tried(start: impl FnOnce() -> io::Result<SignalThread>) -> (Option<Failure>, String) {
    let before = Process::me();
    let failure = errno(start().map(SignalThread::stop)).err();
    let after = settled();
    let left = if before.signals.blocked != after.signals.blocked {
        format!("{:?} blocked", after.signals.blocked)
    } else if before.descriptors.above_stderr() != after.descriptors.above_stderr() {
        format!("descriptors {:?} open", after.descriptors.above_stderr())
    } else if after.threads.len() > 1 {
        "a thread".to_owned()
    } else {
        String::new()
    };
    (failure, left)
}

/// In the child: this process when it has one thread again. One that was waited for is in /proc for a moment more.
fn settled() -> Process {
    let mut me = Process::me();
    for _ in 0..1000 {
        if me.threads.len() == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(5));
        me = Process::me();
    }
    me
}

#[track_caller]
fn assert_failed(failure: Option<Failure>, expected: i32, why: &str) {
    let expected = observe::Errno(expected);
    match failure {
        Some(failure) => assert!(
            failure.is(expected.0),
            "{why}, and start failed with {failure} instead of {expected}"
        ),
        None => panic!("{why}, and start returned Ok instead of {expected}"),
    }
}

/// sigqueue(3) with a value, kill(2) without one; again while the queue of all signals of this user is full.
fn send(pid: i32, signal: i32, value: i32) {
    loop {
        // SAFETY: integers only; the value is not used as a pointer.
        let sent = unsafe {
            if value == 0 {
                libc::kill(pid, signal)
            } else {
                let sival_ptr = std::ptr::without_provenance_mut(value as u32 as usize);
                libc::sigqueue(pid, signal, libc::sigval { sival_ptr })
            }
        };
        if sent == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EAGAIN) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
