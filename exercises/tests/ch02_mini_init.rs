//! Who is reaped, what reaches the command, and with what init ends.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/mini_init.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/mini_init.rs")]
mod mini_init;
mod reaping;

use libc::{SIGABRT, SIGCHLD, SIGCONT, SIGKILL, SIGPIPE, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2};
use mini_init::init;
use nix::sys::signal::{SigSet, Signal as Named};
use observe::{
    Action, Child, End, Fault, Process, Signal, Started, assert_seen, count, descendants, errno,
    zombies,
};
use reaping::{Answer, LIMIT, PATIENCE, Site, end_of, ended, over, said, status};
use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn status_of_the_command_is_passed_on() {
    let site = Site::new();
    let mut seen = BTreeMap::new();
    for code in [0, 7, 255] {
        let script = format!("exit {code}");
        let run = over(Child::new().start(|| site.init(&script)));
        seen.insert(script, status(run.returned()));
    }
    for signal in [SIGTERM, SIGKILL, libc::SIGRTMIN()].map(Signal) {
        let script = format!("kill -{} $$; echo lived", signal.0);
        let run = over(Child::new().start(|| site.init(&script)));
        assert!(
            run.stdout_text() != "lived\n",
            "the command sent itself {signal} and lived: is it blocked in it?"
        );
        let name = signal.name();
        let line = format!("kill -{} $$", name.trim_start_matches("SIG"));
        seen.insert(line, status(run.returned()));
    }
    assert_seen!("ch02_mini_init__statuses", seen);
}

#[test]
fn command_that_cannot_run_is_an_errno() {
    let site = Site::new();
    site.scratch.write("plain", "exit 0\n");
    for (name, expected) in [("absent", libc::ENOENT), ("plain", libc::EACCES)] {
        let expected = observe::Errno(expected);
        let run = Child::new().run(|| {
            block(Named::SIGUSR2);
            let answer = errno(init(Command::new(site.scratch.join(name))));
            (answer, Process::me().signals.blocked)
        });
        let (answer, blocked) = run.returned();
        match answer {
            Ok(status) => panic!("the command cannot be run, and init returned status {status}"),
            Err(failure) => assert!(
                failure.is(expected.0),
                "the command cannot be run, and init failed with {failure} instead of {expected}"
            ),
        }
        assert!(
            blocked == [Signal(SIGUSR2)],
            "SIGUSR2 was blocked when init was called, and when it had failed {} were",
            count(blocked.len(), "signal")
        );
    }
}

#[test]
fn command_starts_with_no_signal_blocked() {
    let site = Site::new();
    // Its caller may have blocked one before.
    let started = site.start_cat(|| block(Named::SIGUSR2));
    let command = started.process().unwrap().children[0];
    let Process { signals, .. } = Process::of(command).unwrap();
    assert!(
        signals.blocked.is_empty(),
        "the command was started with {} blocked: who asks it to end, asks in vain",
        count(signals.blocked.len(), "signal")
    );
    assert!(
        !signals.ignored.contains(&Signal(SIGPIPE)),
        "the command was started with SIGPIPE ignored"
    );
    site.release("end", || started.process().is_err());
    assert_eq!(status(over(started).returned()), 0, "the status of cat");
}

#[test]
fn init_sleeps_while_nothing_happens() {
    let site = Site::new();
    let started = site.start_cat(|| ());
    assert!(
        started.falls_asleep(PATIENCE),
        "init does not sleep, though nothing happens"
    );
    // Nothing is there for which it could wake.
    let before = woken(started.pid());
    sleep(Duration::from_secs(1));
    let times = woken(started.pid()).saturating_sub(before);
    assert!(
        times <= 3,
        "init woke {times} times in a second in which nothing happened"
    );
    // While a process waits for a signal the kernel shows it unblocked: only its coming tells.
    let fault = Signal(SIGABRT);
    started.signal(fault).unwrap();
    assert!(
        started.until(PATIENCE, ended),
        "{fault} was sent to init, which lives: is it blocked, though it tells of a fault?"
    );
    let run = started.wait();
    assert!(
        run.end == End::Killed(fault),
        "{fault} was sent to init, which {} instead of being killed: was it sent on?",
        end_of(&run)
    );
}

#[test]
fn children_from_before_are_reaped_too() {
    let site = Site::new();
    let run = over(Child::new().start(|| {
        // SAFETY: the copy does nothing but exit; then a siginfo is written that nobody reads.
        unsafe {
            let before = libc::fork();
            if before == 0 {
                libc::_exit(3);
            }
            let mut info = std::mem::zeroed();
            let look = libc::WEXITED | libc::WNOWAIT;
            assert!(libc::waitid(libc::P_PID, before.cast_unsigned(), &raw mut info, look) == 0);
        }
        site.init("exit 6")
    }));
    let zombies = run.left.iter().filter(|left| left.zombie).count();
    assert!(
        zombies == 0,
        "a child had ended with status 3 before init was called; init returned and left {}",
        count(zombies, "zombie")
    );
    assert_eq!(
        status(run.returned()),
        6,
        "the status of the command, where another child had ended with 3"
    );
}

#[test]
fn every_signal_reaches_the_command() {
    let site = Site::new();
    // Neither SIGKILL and SIGSTOP, which nobody catches, nor SIGCHLD, nor what a fault raises.
    let forwarded: Vec<i32> = (1..=31)
        .filter(|signal| ![SIGKILL, SIGSTOP, SIGCHLD].contains(signal) && !FAULTS.contains(signal))
        .chain([34, 37, 64])
        .collect();
    let numbers: Vec<String> = forwarded.iter().map(i32::to_string).collect();
    let script = format!(
        "for signal in {}; do trap \"echo $signal\" $signal; done
        sleep 60 & : >trapped; while :; do wait; done",
        numbers.join(" ")
    );
    let started = site.start(&script);
    let started = started.does("run its command", |_| site.scratch.join("trapped").exists());
    let mut reached = Vec::new();
    for signal in forwarded.into_iter().map(Signal) {
        let _ = started.signal(signal);
        started.until(PATIENCE, |started| {
            said(started, signal) > 0 || ended(started)
        });
        if said(&started, signal) == 0 {
            let then = match ended(&started) {
                true => end_of(&started.wait()),
                false => "runs on".to_owned(),
            };
            panic!("{signal} was sent to init and did not reach the command; init {then}");
        }
        reached.push(signal);
    }
    assert_seen!("ch02_mini_init__signals", reached);
}

#[test]
fn nobody_else_gets_them() {
    if !observe::needs("ptrace") {
        return;
    }
    let site = Site::new();
    let script = format!(
        "(cat hold &)
        for signal in {SIGTERM} {SIGUSR1}; do trap \"echo $signal\" $signal; done
        sleep 60 & : >trapped; while :; do wait; done"
    );
    let orphan = |started: &Started<Answer>| {
        let held = |other: &Process| other.command == ["cat", "hold"];
        started.others().iter().any(held)
    };
    let kills = ["kill", "tkill", "tgkill", "rt_sigqueueinfo"];
    let started = Child::new()
        .only(&kills)
        .limit(LIMIT)
        .start(|| site.init(&script));
    let started = started.does("run its command and leave its orphan alone", |started| {
        site.scratch.join("trapped").exists() && orphan(started)
    });
    let init = started.process().unwrap();
    let shell = |pid: &&i32| Process::of(**pid).is_ok_and(|it| it.name == "sh");
    let command = *init.children.iter().find(shell).unwrap();
    let reaches = |signal, times| {
        started.signal(signal).unwrap();
        assert!(
            started.until(PATIENCE, |started| said(started, Signal(signal)) == times),
            "{} was sent to init {times} times and reached the command {} times",
            Signal(signal),
            said(&started, Signal(signal))
        );
    };
    reaches(SIGTERM, 1);
    reaches(SIGUSR1, 1);
    // A SIGCHLD of init's own, and one for the command after it.
    site.release("hold", || !orphan(&started));
    assert!(
        started.until(PATIENCE, |started| zombies(started.pid()).is_empty()),
        "an orphan of the command has ended and is a zombie still"
    );
    reaches(SIGUSR1, 2);
    // SAFETY: integers only; the command is init's child, and nobody has waited for it.
    unsafe { libc::kill(command, SIGKILL) };
    for call in over(started).calls.of_process(1).iter() {
        let signal = match call.name {
            "tgkill" => call.args[2],
            _ => call.args[1],
        } as i32;
        let (target, name) = (call.args[0] as i32, call.name);
        let signal = Signal(signal);
        assert!(
            signal.0 == 0 || target == command,
            "init called {name}({target}, {signal}), and the command is process {command}"
        );
        assert!(
            signal.0 != SIGCHLD,
            "init called {name}({target}, {signal}): it sent SIGCHLD on to the command"
        );
    }
}

#[test]
fn signal_before_the_command_starts_is_not_lost() {
    if !observe::needs("ptrace") {
        return;
    }
    let site = Site::new();
    let term = Fault::new(["fork", "vfork"], Action::SignalBefore(SIGTERM));
    let run = Child::new()
        .fault(term)
        .limit(Duration::from_secs(8))
        .run(|| site.init("exec sleep 60"));
    run.tell_todo();
    let sentence = run.sentence();
    assert!(
        !sentence.contains("SIGTERM"),
        "SIGTERM came just before init made the command's process, and init {sentence}"
    );
    assert!(
        !sentence.contains("still running"),
        "SIGTERM came just before init made the command's process, and the command never got it"
    );
    assert_eq!(
        status(run.returned()),
        128 + SIGTERM,
        "the status of a command that SIGTERM has killed"
    );
}

#[test]
fn a_hundred_orphans_leave_no_zombie() {
    let site = Site::new();
    let started = site.start(&format!("{ORPHANS} touch all; cat end; exit 3"));
    site.all_adopted(&started);
    site.end_while_stopped(&started, "hold", 100);
    started.signal(SIGCONT).unwrap();
    started.until(PATIENCE, |started| {
        ended(started) || zombies(started.pid()).is_empty()
    });
    if ended(&started) {
        let status = status(started.wait().returned_and_left().0);
        panic!("init returned {status} while its command was running");
    }
    let left = zombies(started.pid()).len();
    assert!(
        left == 0,
        "of 100 orphans that ended at the same time {left} are zombies still"
    );
    // That was all: the command runs on, and its status counts.
    site.release("end", || started.process().is_err());
    assert_eq!(
        status(over(started).returned()),
        3,
        "the status of the command"
    );
}

#[test]
fn init_ends_with_its_command() {
    let site = Site::new();
    let started = site.start("(cat hold &) ; exit 4");
    let (answer, left) = over(started).returned_and_left();
    assert_eq!(
        status(answer),
        4,
        "the status of a command that leaves an orphan"
    );
    let left: Vec<_> = left.iter().filter(|left| !left.zombie).collect();
    assert!(
        left.len() == 1,
        "the command left one process that runs, and when init returned {} ran",
        left.len()
    );

    // All end while init is not looking, the command among them.
    let site = Site::new();
    let started = site.start(&format!("{ORPHANS} touch all; cat hold; exit 5"));
    site.all_adopted(&started);
    site.end_while_stopped(&started, "hold", 101);
    let late = [SIGTERM, libc::SIGRTMIN()].map(Signal);
    for signal in late {
        started.signal(signal).unwrap();
    }
    started.signal(SIGCONT).unwrap();
    let run = over(started);
    for signal in late {
        assert!(
            run.end != End::Killed(signal),
            "a {signal} that came after the command's end killed init instead of letting it return 5: were the signals unblocked?"
        );
    }
    let zombies = run.left.iter().filter(|left| left.zombie).count();
    assert!(
        zombies == 0,
        "init returned and left {}",
        count(zombies, "zombie")
    );
    assert_eq!(
        status(run.returned()),
        5,
        "the status of a command that ended before a SIGTERM came for it"
    );
}

#[test]
fn process_1_does_the_same() {
    if !observe::needs("pidns") {
        return;
    }
    let site = Site::new();
    let script = "(cat hold &); trap 'exit 9' TERM; sleep 60 & touch all; wait";
    let started = Child::new().start(|| {
        // SAFETY: integers only; a child has one thread, and process 1 only calls `init` and exits.
        unsafe {
            assert!(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) == 0);
            let first = libc::fork();
            if first == 0 {
                libc::_exit(site.init(script).unwrap_or(255));
            }
            let mut status = 0;
            assert!(libc::waitpid(first, &raw mut status, 0) == first);
            Ok(match libc::WIFEXITED(status) {
                true => libc::WEXITSTATUS(status),
                false => 128 + libc::WTERMSIG(status),
            })
        }
    });
    started.until(PATIENCE, |started| {
        site.ready() || started.process().is_err()
    });
    if !site.ready() {
        let run = started.wait();
        run.tell_todo();
        let status = status(run.returned());
        panic!("process 1 did not run its command, and ended with status {status}");
    }
    let all = descendants(started.pid());
    let held = |pid: &i32| Process::of(*pid).is_ok_and(|it| it.command == ["cat", "hold"]);
    site.release("hold", || !all.iter().any(held));
    assert!(
        started.until(PATIENCE, |started| zombies(started.pid()).is_empty()),
        "process 1 does not reap the orphans of its namespace"
    );
    // SAFETY: integers only; the pid is that of a process whose parent has not waited for it.
    unsafe { libc::kill(all[0], SIGTERM) };
    let run = started.wait();
    run.tell_todo();
    assert_eq!(
        status(run.returned()),
        9,
        "the status of a namespace whose process 1 got SIGTERM, at which its command exits with 9"
    );
}

/// What a process gets for a fault of its own.
const FAULTS: [i32; 7] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
];

/// Each waits at `hold`; its parent is a subshell that ends at once.
const ORPHANS: &str = "i=0; while [ $i -lt 100 ]; do ( (read x <hold) & ); i=$((i + 1)); done;";

/// How often a process has been given a processor, proc(5).
fn woken(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let switches = status
        .lines()
        .filter_map(|line| line.split_once("_ctxt_switches:"));
    switches
        .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
        .sum()
}

/// In the child.
fn block(signal: Named) {
    SigSet::from(signal).thread_block().unwrap();
}
