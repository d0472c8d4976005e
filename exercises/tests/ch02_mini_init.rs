//! Who is reaped, what reaches the command, and with what init ends.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/mini_init.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/mini_init.rs")]
mod mini_init;

use libc::{SIGCHLD, SIGCONT, SIGPIPE, SIGSTOP, SIGTERM, SIGUSR1};
use mini_init::init;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{
    Action, Child, Failure, Fault, Panic, Process, Run, Scratch, Signal, Started, assert_seen,
    descendants, errno, zombies,
};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn status_of_the_command_is_passed_on() {
    let site = Site::new();
    let mut seen = BTreeMap::new();
    for script in [
        "exit 0",
        "exit 7",
        "exit 255",
        "kill -TERM $$",
        "kill -KILL $$",
        // SIGRTMIN, as libc has it.
        "kill -34 $$",
    ] {
        let run = Child::new().run(|| site.init(script));
        seen.insert(script, status(run.returned()));
    }
    assert_seen!("ch02_mini_init__statuses", seen);
}

#[test]
fn command_that_cannot_run_is_an_errno() {
    let site = Site::new();
    site.scratch.write("plain", "exit 0\n");
    for (name, expected) in [("absent", libc::ENOENT), ("plain", libc::EACCES)] {
        let expected = observe::Errno(expected);
        let run = Child::new().run(|| errno(init(Command::new(site.scratch.join(name)))));
        match run.returned() {
            Ok(status) => panic!("the command cannot be run, and init returned status {status}"),
            Err(failure) => assert!(
                failure.is(expected.0),
                "the command cannot be run, and init failed with {failure} instead of {expected}"
            ),
        }
    }
}

#[test]
fn command_starts_with_no_signal_blocked() {
    let site = Site::new();
    // Not by a shell: some give up the mask that they inherit.
    let end = site.scratch.join("end");
    let started = Child::new().start(|| {
        let mut command = Command::new("cat");
        command.arg(&end);
        errno(init(command))
    });
    let started = started.does("start its command", |started| {
        started.others().iter().any(|other| other.name == "cat")
    });
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
    // Asleep so many times in a row: one that looks again and again is not.
    let mut asleep = 0;
    let rests = started.until(PATIENCE, |started| {
        let sleeps = started.process().is_ok_and(|init| init.state == 'S');
        asleep = if sleeps { asleep + 1 } else { 0 };
        sleep(Duration::from_millis(2));
        asleep == 20
    });
    assert!(rests, "init does not sleep, though nothing happens");
    site.release("end", || started.process().is_err());
    assert_eq!(status(started.wait().returned()), 0, "the status of cat");
}

#[test]
fn signals_reach_the_command_and_nobody_else() {
    let site = Site::new();
    // Neither SIGKILL and SIGSTOP, which nobody catches, nor SIGCHLD, nor what a fault raises.
    let forwarded: Vec<i32> = (1..=31)
        .filter(|signal| ![4, 5, 6, 7, 8, 9, 11, SIGCHLD, SIGSTOP, 31].contains(signal))
        .chain([34, 37, 64])
        .collect();
    let numbers: Vec<String> = forwarded.iter().map(i32::to_string).collect();
    // An orphan that any signal ends; then the command says which ones it gets.
    let script = format!(
        "(cat hold &)
        for signal in {SIGCHLD} {}; do trap \"echo $signal\" $signal; done
        sleep 60 & : >trapped; while :; do wait; done",
        numbers.join(" ")
    );
    let started = site.start(&script);
    let started = started.does("run its command", |_| site.scratch.join("trapped").exists());
    let mut reached = Vec::new();
    for signal in forwarded.into_iter().map(Signal) {
        let _ = started.signal(signal);
        let came = started.until(PATIENCE, |started| said(started, signal));
        if !came {
            let run = started.wait();
            tell_todo(&run);
            panic!(
                "{signal} was sent to init and did not reach the command; init {}",
                run.sentence()
            );
        }
        reached.push(signal);
    }
    let orphans = |started: &Started<Answer>| {
        let mut others = started.others();
        others.retain(|other| other.command == ["cat", "hold"]);
        others.len()
    };
    assert!(
        orphans(&started) == 1,
        "a signal was sent on to an orphan, which it ended"
    );

    // Now a SIGCHLD of init's own, and after it one for the command.
    site.release("hold", || orphans(&started) == 0);
    assert!(
        started.until(PATIENCE, |started| zombies(started.pid()).is_empty()),
        "an orphan of the command has ended and is a zombie still"
    );
    started.signal(SIGUSR1).unwrap();
    let twice = format!("{SIGUSR1}\n");
    let count_of = |started: &Started<Answer>| text(started).matches(&twice).count();
    assert!(
        started.until(PATIENCE, |started| count_of(started) == 2),
        "SIGUSR1 was sent to init twice and reached the command once"
    );
    assert!(
        !said(&started, Signal(SIGCHLD)),
        "SIGCHLD was sent on to the command, whose child it was not that ended"
    );
    assert_seen!("ch02_mini_init__signals", reached);
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
    tell_todo(&run);
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
    let ended = |started: &Started<Answer>| started.process().map_or(true, |init| init.zombie());
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
        status(started.wait().returned()),
        3,
        "the status of the command"
    );
}

#[test]
fn init_ends_with_its_command() {
    let site = Site::new();
    let started = site.start("(cat hold &) ; exit 4");
    let (answer, left) = started.wait().returned_and_left();
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
    started.signal(SIGTERM).unwrap();
    started.signal(SIGCONT).unwrap();
    let run = started.wait();
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
        tell_todo(&run);
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
    tell_todo(&run);
    assert_eq!(
        status(run.returned()),
        9,
        "the status of a namespace whose process 1 got SIGTERM, at which its command exits with 9"
    );
}

/// How long something that has to happen may take, below a child's limit.
const PATIENCE: Duration = Duration::from_secs(9);

/// Each waits at `hold`; its parent is a subshell that ends at once.
const ORPHANS: &str = "i=0; while [ $i -lt 100 ]; do ( (read x <hold) & ); i=$((i + 1)); done;";

/// The exit status that `init` returned.
type Answer = Result<i32, Failure>;

/// The directory of a command, with two fifos at which it and its orphans wait.
struct Site {
    scratch: Scratch,
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new();
        for name in ["hold", "end"] {
            mkfifo(&scratch.join(name), Mode::from_bits_truncate(0o600)).unwrap();
        }
        Site { scratch }
    }

    /// Calls the exercise; in a child.
    fn init(&self, script: &str) -> Answer {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .current_dir(self.scratch.path());
        errno(init(command))
    }

    /// Starts it, and waits until the command has begun.
    #[track_caller]
    fn start(&self, script: &str) -> Started<Answer> {
        let script = format!("touch up; {script}");
        let started = Child::new()
            .limit(Duration::from_secs(50))
            .start(|| self.init(&script));
        started.does("start its command", |_| self.scratch.join("up").exists())
    }

    fn ready(&self) -> bool {
        self.scratch.join("all").exists()
    }

    /// Waits until 100 orphans and the command are init's children.
    #[track_caller]
    fn all_adopted(&self, started: &Started<Answer>) {
        let children = || started.process().map_or(0, |init| init.children.len());
        started.until(PATIENCE, |_| self.ready() && children() >= 101);
        let adopted = children().saturating_sub(1);
        assert!(
            adopted == 100,
            "of 100 orphans {adopted} have got init as their parent"
        );
    }

    /// Stops init, and lets `ended` of its children end meanwhile.
    #[track_caller]
    fn end_while_stopped(&self, started: &Started<Answer>, fifo: &str, ended: usize) {
        started.signal(SIGSTOP).unwrap();
        assert!(started.until(PATIENCE, |started| started.stopped_by().is_some()));
        self.release(fifo, || zombies(started.pid()).len() == ended);
    }

    /// Wakes those who wait at a fifo, until `done`.
    fn release(&self, fifo: &str, done: impl Fn() -> bool) {
        for _ in 0..2000 {
            if done() {
                return;
            }
            // ENXIO while nobody has it open for reading: not there yet, or gone.
            let writer = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(self.scratch.join(fifo));
            drop(writer);
            sleep(Duration::from_millis(2));
        }
    }
}

#[track_caller]
fn status(answer: Answer) -> i32 {
    answer.unwrap_or_else(|failure| panic!("init failed with {failure}"))
}

fn text(started: &Started<Answer>) -> String {
    String::from_utf8_lossy(&started.stdout()).into_owned()
}

/// Whether the command has said that it got this signal.
fn said(started: &Started<Answer>, signal: Signal) -> bool {
    let number = signal.0.to_string();
    text(started).lines().any(|line| line == number)
}

/// Where a copy stops at a `todo!`, the test sees no more than its status.
#[track_caller]
fn tell_todo(run: &Run<Answer>) {
    if run.panics.iter().any(Panic::todo) {
        run.exited(0);
    }
}

fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}
