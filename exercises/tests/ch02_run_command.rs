//! A command is looked at while it runs, in /proc, and its caller before and after.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/run_command.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/run_command.rs")]
mod run_command;

mod forking;

use forking::{answer, beside_another_child, fails, observed, to_its_end, told};
use libc::{E2BIG, EACCES, EAGAIN, ECHILD, EINTR, EMFILE, ENOENT, ENOEXEC, ENOTDIR};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, SFlag, mknod};
use observe::{Action, Child, Errno, Fault, Process, Scratch, assert_seen};
use run_command::{Ended, run_command};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, PipeWriter, Write};
use std::os::unix::ffi::OsStrExt;

#[test]
fn exit_status_is_told() {
    for status in [0, 1, 3, 127, 137, 255] {
        ends(&format!("exit {status}"), &format!("exited with {status}"));
    }
}

#[test]
fn signal_is_no_exit_status() {
    let mut seen = BTreeMap::new();
    for (script, expected) in [
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -TERM $$", "killed by SIGTERM"),
        ("exit 137", "exited with 137"),
        ("exit 9", "exited with 9"),
    ] {
        seen.insert(script.to_owned(), ends(script, expected));
    }
    assert_seen!("ch02_run_command__ends", seen);
}

#[test]
fn program_gets_arguments_and_environment() {
    // The shell knows itself by another name than its path; the last two are the script's.
    let argv = [c"sh", c"-c", WAITS, c"", c"two words \xff"];
    let envp = [c"GREETING=hello", c"EMPTY="];
    let (program, environment) = while_it_runs(&argv, &envp);
    let expected: Vec<_> = argv.map(CStr::to_string_lossy).into();
    assert!(
        program.command == expected,
        "the program was given the arguments {expected:?}, and it has {:?}",
        program.command
    );
    let expected: Vec<_> = envp.map(CStr::to_string_lossy).into();
    assert!(
        environment == expected,
        "the program was given the environment {expected:?}, and it has {environment:?}"
    );
}

#[test]
fn program_inherits_nothing_of_ours() {
    let (program, _) = while_it_runs(&[c"sh", c"-c", WAITS], &[]);
    for (fd, descriptor) in &program.descriptors.0 {
        assert!(
            *fd <= 2,
            "the program inherited descriptor {fd}, {}, which is none of its caller's",
            descriptor.target()
        );
    }
    assert!(
        !program.ignores(Signal::SIGPIPE),
        "the program ignores SIGPIPE: it goes on writing when nobody reads any more"
    );
    // What a shell catches and ignores by itself is not the same in every shell.
    let facts = observe::text(&program.facts());
    let facts: Vec<_> = facts
        .lines()
        .filter(|line| !line.starts_with("caught") && !line.starts_with("ignored"))
        .collect();
    assert_seen!("ch02_run_command__program", facts.join("\n"));
}

#[test]
fn failed_exec_is_an_error_of_the_caller() {
    let scratch = Scratch::new();
    let plain = scratch.write("plain", "no program\n");
    let plain = CString::new(plain.as_os_str().as_bytes()).unwrap();
    let empty = scratch.join("empty");
    // Never opened for writing, which might be ETXTBSY.
    mknod(&empty, SFlag::S_IFREG, Mode::S_IRWXU, 0).unwrap();
    let empty = CString::new(empty.as_os_str().as_bytes()).unwrap();
    let long = CString::new(vec![b'x'; 8 << 20]).unwrap();
    let mut seen = BTreeMap::new();
    for (what, path, argument, errno) in [
        (
            "a file that does not exist",
            c"/absent/program",
            c"",
            ENOENT,
        ),
        ("a name that is only in PATH", c"sh", c"", ENOENT),
        ("a file that may not be executed", &plain, c"", EACCES),
        ("an empty file that may be executed", &empty, c"", ENOEXEC),
        ("a path through a file", c"/dev/null/program", c"", ENOTDIR),
        ("an argument of 8 MiB", c"/bin/sh", &long, E2BIG),
    ] {
        let run = Child::new().run(|| {
            // No newline: the text waits in the buffer while the process forks.
            io::stdout().write_all(b"once").unwrap();
            observed(|| command(path, &[c"sh", argument], &[]))
        });
        let printed = run.stdout_text();
        fails(what, run, errno);
        assert!(
            printed == "once",
            "{what}: the caller printed \"once\" before, and {printed:?} came out"
        );
        seen.insert(what, Errno(errno));
    }
    assert_seen!("ch02_run_command__failures", seen);
}

#[test]
fn without_a_child_nothing_is_left() {
    let exit = || command(c"/bin/sh", &[c"sh", c"-c", c"exit 3"], &[]);
    let run = Child::new().run(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Three are open. What reads /proc in this process needs one, too.
        observed(|| {
            setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
            let answer = exit();
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            answer
        })
    });
    let ended = answer(run);
    // Who gets along without a pipe does not fail.
    assert!(
        ended
            .as_ref()
            .map_or_else(|failure| failure.is(EMFILE), |_| true),
        "no descriptor is free: the answer was {} instead of EMFILE",
        told(&ended)
    );
    let run = Child::new().run(|| {
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        observed(exit)
    });
    fails("the caller ignores SIGCHLD", run, ECHILD);
    if !observe::needs("ptrace") {
        return;
    }
    let fault = Fault::new("fork", Action::Fail(EAGAIN)).always();
    let run = Child::new().fault(fault).run(|| observed(exit));
    fails("fork fails", run, EAGAIN);
}

#[test]
fn other_children_are_left_alone() {
    let exit = || command(c"/bin/sh", &[c"sh", c"-c", c"exit 3"], &[]);
    let run = Child::new().run(|| beside_another_child(exit));
    let (ended, others) = run.returned_and_left().0;
    assert!(
        ended == Ok("exited with 3".to_owned()),
        "the program exited with 3, another child of the caller with 7: the answer was {}",
        told(&ended)
    );
    assert!(
        others,
        "another child of the caller had ended, and its status was taken away"
    );
}

#[test]
fn interrupted_calls_are_made_again() {
    if !observe::needs("ptrace") {
        return;
    }
    let interrupt = |call| Fault::new(call, Action::Fail(EINTR)).times(3);
    let run = Child::new()
        .fault(interrupt("wait"))
        .run(|| observed(|| command(c"/bin/sh", &[c"sh", c"-c", c"exit 3"], &[])));
    let ended = answer(run);
    assert!(
        ended == Ok("exited with 3".to_owned()),
        "waitpid was interrupted three times, and the answer was {}",
        told(&ended)
    );
    // No program here and no look into /proc, whose reads would be counted.
    let run = Child::new()
        .fault(interrupt("read"))
        .run(|| observe::errno(command(c"/absent/program", &[c"sh"], &[])));
    let ended = run.returned();
    assert!(
        ended.as_ref().is_err_and(|failure| failure.is(ENOENT)),
        "the read from the pipe was interrupted three times, and the answer was {} instead of ENOENT",
        told(&ended)
    );
}

/// A script that says when it runs, and ends when it is told to.
const WAITS: &CStr = c"echo ready; read line";

/// Calls the exercise; in a child.
fn command(path: &CStr, argv: &[&CStr], envp: &[&CStr]) -> io::Result<String> {
    let ended = run_command(path, argv, envp)?;
    Ok(match ended {
        Ended::Exited(status) => format!("exited with {status}"),
        Ended::Killed(signal) => format!("killed by {}", observe::Signal(signal)),
    })
}

#[track_caller]
fn ends(script: &str, expected: &str) -> String {
    let text = CString::new(script).unwrap();
    let argv = [c"sh", c"-c", &text];
    let run = to_its_end(Child::new(), || {
        observed(|| command(c"/bin/sh", &argv, &[]))
    });
    let ended = answer(run);
    assert!(
        ended.as_ref().is_ok_and(|ended| ended == expected),
        "`{script}`: the answer was {} instead of {expected}",
        told(&ended)
    );
    expected.to_owned()
}

/// The program and its environment while it runs.
#[track_caller]
fn while_it_runs(argv: &[&CStr], envp: &[&CStr]) -> (Process, Vec<String>) {
    let (reader, mut writer) = io::pipe().unwrap();
    let started = Child::new()
        .stdin_fd(reader)
        .start(|| observed(|| command(c"/bin/sh", argv, envp)));
    let started = started.does("start the program", |started| {
        started.stdout() == b"ready\n" || started.process().is_err()
    });
    let mut others = started.others();
    let (Some(program), true) = (others.pop(), started.process().is_ok()) else {
        let ended = answer(started.wait());
        panic!(
            "the program was to run until it is told to end, and the answer was {}",
            told(&ended)
        );
    };
    let environment = fs::read(format!("/proc/{}/environ", program.pid)).unwrap();
    let variables = environment.split(|byte| *byte == 0);
    let variables = variables.filter(|variable| !variable.is_empty());
    let variables = variables.map(|variable| String::from_utf8_lossy(variable).into_owned());
    let variables = variables.collect();
    let_go(&mut writer);
    let ended = answer(started.wait());
    assert!(
        ended == Ok("exited with 0".to_owned()),
        "the program exited with 0, and the answer was {}",
        told(&ended)
    );
    (program, variables)
}

fn let_go(writer: &mut PipeWriter) {
    let _ = writer.write_all(b"\n");
}
