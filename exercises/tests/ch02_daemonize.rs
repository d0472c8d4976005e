//! A daemon is looked at from outside: in /proc, through its pid file, and by how its caller ends.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/daemonize.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/daemonize.rs")]
mod daemonize;
mod detaching;

use detaching::{
    ADOPTED, Caller, PATIENCE, Site, exited_with_0, in_a_sentence, start_as, wait_for, within,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use observe::{Child, Descriptor, End, Facts, Process, Started, assert_seen};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;
use std::time::Duration;

#[test]
fn caller_ends_and_daemon_lives_on() {
    let site = Site::new();
    let printed = "starting the clock";
    let started = Child::new().start(|| {
        // No newline: the text waits in the buffer while the process forks.
        io::stdout().write_all(printed.as_bytes()).unwrap();
        site.start()
    });
    let (started, daemon) = site.daemon(started, &site.told);
    let parent = daemon.facts().parent;
    assert!(
        parent == ADOPTED,
        "the daemon's parent is {parent}, not {ADOPTED}"
    );
    let run = started.wait();
    exited_with_0(&run);
    let seen = run.stdout_text();
    assert!(
        seen == printed,
        "the caller printed {printed:?} once, and {seen:?} came out"
    );
}

#[test]
fn daemon_has_left_session_and_terminal() {
    if !observe::needs("pty") {
        return;
    }
    let site = Site::new();
    let started = Child::new().terminal().start(|| site.start_and_hold());
    // Looked at while the caller waits: when the leader of a session ends, all of it lose the terminal.
    let (started, daemon) = site.daemon(started, &site.up);
    let Ok(caller) = started.process() else {
        panic!("the caller ended before the daemon was ready")
    };
    assert!(
        daemon.session != caller.session,
        "the daemon is in the session of its caller"
    );
    assert!(
        !daemon.leads_session(),
        "the daemon leads its session: the next terminal it opens becomes its controlling terminal"
    );
    assert!(
        daemon.pid != daemon.pgrp,
        "the daemon leads its process group"
    );
    assert!(
        !daemon.has_terminal(),
        "the daemon has a controlling terminal"
    );
    for fd in 0..=2 {
        let Some(stdio) = daemon.descriptors.get(fd) else {
            panic!("the daemon has no descriptor {fd}: the next file it opens gets that number");
        };
        let link = &stdio.link;
        assert!(
            link == "/dev/null",
            "the daemon still holds {link} as descriptor {fd}"
        );
        let usable = if fd == 0 {
            stdio.readable()
        } else {
            stdio.writable()
        };
        assert!(
            usable,
            "the daemon can't use its descriptor {fd}: {}",
            stdio.words()
        );
    }

    site.let_go();
    assert!(
        started.ended(),
        "the caller did not end when the daemon was ready"
    );
    let (mut started, _) = site.daemon(started, &site.told);
    started.hang_up();
    assert!(
        !gone(daemon.pid),
        "the daemon ended when the terminal closed"
    );
    exited_with_0(&started.wait());
}

#[test]
fn daemon_holds_nothing_of_its_caller() {
    let site = Site::new();
    let directory = site.scratch.path();
    fs::create_dir(directory.join("state")).unwrap();
    let started = Child::new().start(|| {
        std::env::set_current_dir(directory).unwrap();
        umask(Mode::from_bits_truncate(0o077));
        leave_signals_changed();
        leave_descriptors_open();
        start_as(Path::new("state/../clock.pid"), |daemon| site.tell(daemon))
    });
    let (_started, daemon) = site.daemon(started, &site.told);

    let cwd = observe::redact(daemon.cwd.as_deref().unwrap_or_default());
    assert!(cwd == "/", "the daemon's working directory is {cwd}");
    let umask = daemon.umask.unwrap_or_default();
    assert!(umask == 0, "the daemon's umask is {umask:03o}");
    for (fd, file) in above_stderr(&daemon) {
        assert!(
            Path::new(&file.link) == site.pid_file,
            "the daemon still holds {} as descriptor {fd}",
            file.target()
        );
        assert!(
            file.close_on_exec(),
            "a program that the daemon starts inherits its pid file"
        );
    }
    let Facts {
        blocked,
        ignored,
        caught,
        ..
    } = in_words(&daemon);
    assert!(blocked.is_empty(), "the daemon blocks {blocked:?}");
    assert!(ignored.is_empty(), "the daemon ignores {ignored:?}");
    assert!(
        caught.is_empty(),
        "the daemon has its caller's handler for {caught:?}"
    );
    let mode = fs::metadata(&site.pid_file).unwrap().permissions().mode() & 0o7777;
    assert!(
        mode == 0o644,
        "the pid file has mode {mode:04o}, not 0644 whatever the caller's umask"
    );
    assert_seen!("ch02_daemonize__daemon", in_words(&daemon));
}

#[test]
fn caller_waits_until_daemon_is_ready() {
    let site = Site::new();
    let started = Child::new().start(|| site.start_and_hold());
    let (started, daemon) = site.daemon(started, &site.up);
    for (fd, file) in above_stderr(&daemon) {
        assert!(
            file.close_on_exec(),
            "a program that the daemon starts inherits descriptor {fd}, {}",
            file.target()
        );
    }
    // No right answer is too slow for this: the daemon becomes ready only below.
    let ended = within(Duration::from_millis(300), || started.process().is_err());
    assert!(!ended, "the caller ended before the daemon was ready");

    site.let_go();
    let (started, _) = site.daemon(started, &site.told);
    let answer = site.answer();
    assert!(
        answer == "Ok",
        "the caller was told, and Daemon::ready returned {answer}"
    );
    exited_with_0(&started.wait());
}

#[test]
fn lost_caller_is_epipe() {
    let site = Site::new();
    let started = Child::new().start(|| site.start_and_hold());
    let (started, daemon) = site.daemon(started, &site.up);
    let killed = started.signal(Signal::SIGKILL);
    assert!(
        killed.is_ok() && started.ended(),
        "the caller ended before the daemon was ready"
    );

    site.let_go();
    within(PATIENCE, || site.told.exists() || gone(daemon.pid));
    if !site.told.exists() {
        started.wait().tell_todo();
        panic!("the daemon was ended, by SIGPIPE it seems, when it told a caller that was gone");
    }
    let answer = site.answer();
    assert!(
        answer == "EPIPE",
        "the caller was gone, and Daemon::ready returned {answer} instead of EPIPE"
    );
    assert!(
        !gone(daemon.pid),
        "the daemon ended after it told a caller that was gone"
    );
}

#[test]
fn failure_reaches_the_caller() {
    let site = Site::new();
    let absent = site.scratch.join("absent/clock.pid");
    refused(libc::ENOENT, || {
        start_as(&absent, |daemon| site.tell(daemon))
    });
    let directory = site.scratch.path();
    refused(libc::EISDIR, || {
        start_as(directory, |daemon| site.tell(daemon))
    });
    // Status 0, which says nothing: only `ready` does.
    refused(libc::ESRCH, || {
        start_as(&site.pid_file, |_daemon| process::exit(0))
    });
    refused(libc::ESRCH, || {
        start_as(&site.pid_file, |daemon| {
            drop(daemon);
            wait_for(&site.go);
            process::exit(0);
        })
    });
}

#[test]
fn second_start_is_eagain() {
    let site = Site::new();
    let (started, daemon) = site.daemon(Child::new().start(|| site.start()), &site.told);
    refused(libc::EAGAIN, || site.start());
    let text = fs::read_to_string(&site.pid_file).unwrap();
    assert!(
        text == format!("{}\n", daemon.pid),
        "the refused start changed the running daemon's pid file to {text:?}"
    );
    assert!(
        !gone(daemon.pid),
        "the refused start ended the running daemon"
    );
    exited_with_0(&started.wait());

    let site = Site::new();
    let starts = [(); 8].map(|()| {
        Child::new().start(|| {
            wait_for(&site.go);
            site.start()
        })
    });
    site.let_go();
    assert!(
        starts.iter().all(Started::ended),
        "of 8 starts at the same moment one still waits"
    );
    let text = fs::read_to_string(&site.pid_file).unwrap_or_default();
    let runs = starts.map(Started::wait);
    let (won, lost): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.end == End::Exited(0));
    assert!(
        won.len() == 1,
        "of 8 starts at the same moment {} got the pid file",
        won.len()
    );
    for run in lost {
        assert!(
            matches!(&run.end, End::Returned(Err(error)) if error.is(libc::EAGAIN)),
            "of 8 starts at the same moment one {}, not refused with EAGAIN",
            in_a_sentence(&run.end)
        );
    }
    let mut left = won[0].left.iter();
    assert!(
        left.any(|process| text == format!("{}\n", process.pid)),
        "of 8 starts at the same moment one got the pid file, which contains {text:?}: not its pid"
    );
}

#[test]
fn stale_pid_file_is_taken_over() {
    let site = Site::new();
    let (started, daemon) = site.daemon(Child::new().start(|| site.start()), &site.told);
    // Kills the daemon, as a power cut would: it can't tidy up.
    exited_with_0(&started.wait());
    assert!(
        site.pid_file.exists(),
        "the pid file of a daemon that was killed is gone"
    );

    // A pid gets a new owner sooner or later: here this test, which never heard of a pid file.
    let stale = format!("{}\nwas {}\n", process::id(), daemon.pid);
    fs::write(&site.pid_file, stale).unwrap();
    fs::remove_file(&site.told).unwrap();
    let (started, _) = site.daemon(Child::new().start(|| site.start()), &site.told);
    exited_with_0(&started.wait());
}

/// Asserts that `start` fails with `errno` in a caller that is then what it was before.
#[track_caller]
fn refused(errno: i32, start: impl FnOnce() -> Caller) {
    let expected = observe::Errno(errno);
    let run = Child::new().run(|| {
        let before = Process::me();
        let end = start();
        let after = Process::me();
        (end, before.facts(), after.facts(), after.children)
    });
    assert!(
        run.end != End::Exited(0),
        "the caller exited with status 0 instead of failing with {expected}"
    );
    let (end, before, after, children) = run.returned_and_left().0;
    match end {
        Err(error) => assert!(
            error.is(errno),
            "the caller failed with {error} instead of {expected}"
        ),
        Ok(()) => panic!("daemonize returned Ok in its caller instead of failing with {expected}"),
    }
    assert!(
        children.is_empty(),
        "the failed start left its caller a child that it had not before: a zombie"
    );
    if let Some(changes) = before.changed_to(&after) {
        panic!("the failed start changed its caller: {changes}");
    }
}

/// In the caller: descriptors of several kinds, one of them above the soft limit on their number.
fn leave_descriptors_open() {
    let file = File::open("/dev/zero").unwrap();
    let high = fcntl(&file, FcntlArg::F_DUPFD(200)).unwrap();
    let _ = file.into_raw_fd();
    assert!(high >= 200);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    for fd in [
        OwnedFd::from(reader),
        writer.into(),
        one.into(),
        other.into(),
    ] {
        let _ = fd.into_raw_fd();
    }
}

/// In the caller: one signal blocked, one ignored, one with a handler; SIGPIPE is ignored anyway.
fn leave_signals_changed() {
    extern "C" fn nothing(_: i32) {}
    SigSet::from(Signal::SIGTERM).thread_block().unwrap();
    // SAFETY: the handler does nothing.
    unsafe {
        signal(Signal::SIGHUP, SigHandler::SigIgn).unwrap();
        signal(Signal::SIGUSR1, SigHandler::Handler(nothing)).unwrap();
    }
}

fn gone(pid: i32) -> bool {
    Process::of(pid).map_or(true, |process| process.zombie())
}

fn above_stderr(process: &Process) -> impl Iterator<Item = (i32, &Descriptor)> {
    let table = process.descriptors.0.iter();
    table
        .filter(|(fd, _)| **fd > 2)
        .map(|(fd, file)| (*fd, file))
}

/// The daemon for the snapshot: without what each answer is free to choose, which is the number and access mode
/// of its descriptor on the pid file, and whether /dev/null is open both ways.
fn in_words(daemon: &Process) -> Facts {
    let targets = daemon.descriptors.0.values().map(Descriptor::target);
    // libc keeps two realtime signals to itself and resets them for nobody.
    let reserved = 32..libc::SIGRTMIN();
    let resettable = |signals: &[observe::Signal]| {
        let signals = signals.iter().copied();
        signals
            .filter(|signal| !reserved.contains(&signal.0))
            .collect()
    };
    Facts {
        descriptors: (0..).zip(targets).collect(),
        blocked: resettable(&daemon.signals.blocked),
        ignored: resettable(&daemon.signals.ignored),
        caught: resettable(&daemon.signals.caught),
        ..daemon.facts()
    }
}
