//! A pipeline is looked at while its programs run: who has which end of which pipe, and who is in which group.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/pipeline.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/pipeline.rs")]
mod pipeline;

mod forking;

use forking::{Answer, answer, beside_another_child, end, fails, observed, to_its_end, told, wait};
use libc::{EAGAIN, EINTR, EINVAL, EMFILE};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use observe::{Action, Child, Descriptor, Fault, Process, Run, Scratch, Started, assert_seen};
use pipeline::pipeline;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, PipeWriter, Write};
use std::time::Duration;

#[test]
fn bytes_go_from_left_to_right() {
    for (commands, expected) in [
        (&["echo one"][..], "one\n"),
        (&["echo one two", "tr a-z A-Z"], "ONE TWO\n"),
        (&["echo b; echo a", "sort", "tr a-z A-Z", FORWARD], "A\nB\n"),
        // More than a pipe holds: no program may wait for the end of another.
        (
            &["printf %0200000d 0", "cat", "wc -c | tr -d ' '"],
            "200000\n",
        ),
    ] {
        let run = to_its_end(Child::new(), || observed(|| piped(commands)));
        let printed = run.stdout_text();
        gives(commands, run, 0);
        assert!(
            printed == expected,
            "{}: {printed:?} came out instead of {expected:?}",
            words(commands)
        );
    }
}

#[test]
fn status_is_that_of_the_last_that_failed() {
    let scratch = Scratch::new();
    let plain = format!("exec {}", scratch.write("plain", "no program\n").display());
    let mut seen = BTreeMap::new();
    for (commands, expected) in [
        (&["true", "true"][..], 0),
        (&["exit 3", "true"], 3),
        (&["true", "exit 5"], 5),
        (&["exit 3", "exit 4", "true"], 4),
        (&["exit 4", "exit 3"], 3),
        (&["kill -TERM $$", "true"], 128 + 15),
        (&["exit 255", "true"], 255),
        (&["exec absent-program", "true"], 127),
        (&["exit 3", "exec absent-program"], 127),
        (&[&plain, "true"], 126),
    ] {
        let run = Child::new().run(|| observed(|| piped(commands)));
        gives(commands, run, expected);
        seen.insert(observe::redact(&words(commands)), expected);
    }
    let commands = ["exec absent-program", "echo still here"];
    let run = Child::new().run(|| observed(|| piped(&commands)));
    let printed = run.stdout_text();
    gives(&commands, run, 127);
    assert!(
        printed == "still here\n",
        "{}: the second one was to run all the same, and {printed:?} came out",
        words(&commands)
    );
    assert_seen!("ch02_pipeline__statuses", seen);
}

#[test]
fn nobody_has_an_end_that_is_not_its_own() {
    let pipeline = Running::start();
    let caller = pipeline.caller();
    let programs = &pipeline.programs;
    for (name, program) in NAMES.iter().zip(programs) {
        for (fd, descriptor) in &program.descriptors.0 {
            assert!(
                *fd <= 2,
                "the {name} program has descriptor {fd}, {}: others wait for its end",
                end(descriptor)
            );
        }
        assert!(
            !program.ignores(Signal::SIGPIPE),
            "the {name} program ignores SIGPIPE: it goes on writing when nobody reads any more"
        );
    }
    let shared = |program: &Process, descriptor: &Descriptor| {
        let has = |it: &Process, fd| {
            it.descriptors
                .get(fd)
                .is_some_and(|it| it.link == descriptor.link)
        };
        if let Some(fd) = (0..=2).find(|fd| has(&caller, *fd)) {
            return format!("the caller's {fd}");
        }
        let mut others = NAMES.iter().zip(programs);
        let other = others.find(|(_, it)| it.pid != program.pid && (0..=2).any(|fd| has(it, fd)));
        let other = other.map_or("with nobody at the other", |(name, _)| name);
        format!(
            "{}; the other one's is the {other} program",
            end(descriptor)
        )
    };
    let seen: BTreeMap<_, _> = NAMES
        .iter()
        .zip(programs)
        .map(|(name, program)| {
            let table = program.descriptors.0.iter();
            let table = table.map(|(fd, descriptor)| (*fd, shared(program, descriptor)));
            (*name, table.collect::<BTreeMap<_, _>>())
        })
        .collect();
    assert_seen!("ch02_pipeline__descriptors", seen);
}

#[test]
fn end_of_file_reaches_the_last() {
    let pipeline = Running::start();
    // Now nobody writes to the first one any more.
    drop(pipeline.writer);
    let ended = answer(wait(pipeline.started));
    assert!(
        ended == Ok("0".to_owned()),
        "the first one's input ended, and the answer was {} instead of 0",
        told(&ended)
    );
}

#[test]
fn nobody_reads_is_sigpipe() {
    let commands = ["while echo y; do :; done", "read -r line; echo $line"];
    let run = to_its_end(Child::new(), || observed(|| piped(&commands)));
    gives(&commands, run, 128 + libc::SIGPIPE);
}

#[test]
fn group_is_one_from_the_first_instruction_on() {
    let pipeline = Running::start();
    let caller = pipeline.caller();
    let first = pipeline.programs[0].pid;
    for (name, program) in NAMES.iter().zip(&pipeline.programs) {
        assert!(
            program.pgrp != caller.pgrp,
            "the {name} program is in the group of the caller: Ctrl-C would mean both"
        );
        assert!(
            program.pgrp == first,
            "the {name} program is not in the group that the first one leads"
        );
    }
    drop(pipeline);
    if !observe::needs("ptrace") {
        return;
    }
    // Whoever comes first comes late: the other one must not rely on it.
    let late = Fault::new("setpgid", Action::Delay(Duration::from_millis(400)));
    let report = "read -r pid comm state ppid group rest </proc/$$/stat; echo $0 $pid $group >&2";
    let commands = [report; 3];
    let run = Child::new()
        .fault(late)
        .run(|| observed(|| piped(&commands)));
    let reports = run.stderr_text();
    gives(&commands, run, 0);
    let mut reports: Vec<Vec<&str>> = reports
        .lines()
        .map(|line| line.split(' ').collect())
        .collect();
    reports.sort_by_key(|report| NAMES.iter().position(|name| *name == report[0]));
    let leader = reports[0][1];
    for report in &reports {
        let (name, group) = (report[0], report[2]);
        assert!(
            group == leader,
            "setpgid came late, and the {name} program ran when it was not yet in the group of the first one"
        );
    }
}

#[test]
fn caller_may_have_closed_its_own() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let last = format!("cat >{}", out.display());
    let commands = ["echo ping", FORWARD, &last];
    for closed in [&[0][..], &[1], &[0, 1, 2]] {
        let run = Child::new().run(|| {
            for fd in closed {
                nix::unistd::close(*fd).unwrap();
            }
            observed(|| piped(&commands))
        });
        let ended = answer(run);
        let text = fs::read_to_string(&out).unwrap_or_default();
        assert!(
            text == "ping\n" && ended == Ok("0".to_owned()),
            "the caller has {closed:?} closed: of \"ping\" {text:?} arrived, and the answer was {}",
            told(&ended)
        );
        let _ = fs::remove_file(&out);
    }
}

#[test]
fn failed_start_leaves_nothing() {
    let nameless: [&[&CStr]; 2] = [&[c"sh", c"-c", c"echo run"], &[]];
    for (what, commands) in [
        ("no command", &[][..]),
        ("a command without a name", &nameless),
    ] {
        let run = Child::new().run(|| observed(|| pipeline(commands)));
        let printed = run.stdout_text();
        fails(what, run, EINVAL);
        assert!(printed.is_empty(), "{what}: the other one was run");
    }
    // The first one runs, and waits for input from here.
    let (reader, _writer) = io::pipe().unwrap();
    let commands = [FORWARD; 3];
    let run = Child::new().stdin_fd(reader.try_clone().unwrap()).run(|| {
        observed(|| {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            // Three are open, and two are for the first pipe.
            setrlimit(Resource::RLIMIT_NOFILE, 5, hard).unwrap();
            let answer = piped(&commands);
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            answer
        })
    });
    fails("there is no descriptor for the second pipe", run, EMFILE);
    if !observe::needs("ptrace") {
        return;
    }
    let fault = Fault::new("fork", Action::Fail(EAGAIN)).nth(2);
    let child = Child::new().stdin_fd(reader).fault(fault);
    let run = child.run(|| observed(|| piped(&commands)));
    fails("the second fork fails", run, EAGAIN);
}

#[test]
fn only_its_own_are_waited_for() {
    let commands = ["exit 3", "true"];
    let run = Child::new().run(|| beside_another_child(|| piped(&commands)));
    let (ended, others) = run.returned_and_left().0;
    assert!(
        ended == Ok("3".to_owned()),
        "{}, while another child of the caller had exited with 7: the answer was {} instead of 3",
        words(&commands),
        told(&ended)
    );
    assert!(
        others,
        "another child of the caller had ended, and its status was taken away"
    );
    if !observe::needs("ptrace") {
        return;
    }
    let interrupted = Fault::new("wait", Action::Fail(EINTR)).times(3);
    let child = Child::new().fault(interrupted);
    gives(&commands, child.run(|| observed(|| piped(&commands))), 3);
}

/// What cat(1) does, by a shell alone: which other descriptors it has is none of our business then.
const FORWARD: &str = "while read -r line; do echo \"$line\"; done";

/// What the scripts of a pipeline know themselves by, as `$0`.
const NAMES: [&str; 4] = ["first", "second", "third", "fourth"];

/// Calls the exercise with a script for each command, or with a program that is not there; in a child.
fn piped(scripts: &[&str]) -> io::Result<i32> {
    let commands: Vec<Vec<CString>> = scripts
        .iter()
        .zip(NAMES)
        .map(|(script, name)| match script.strip_prefix("exec ") {
            Some(program) => vec![program],
            None => vec!["sh", "-c", script, name],
        })
        .map(|argv| {
            argv.into_iter()
                .map(|it| CString::new(it).unwrap())
                .collect()
        })
        .collect();
    let commands: Vec<Vec<&CStr>> = commands
        .iter()
        .map(|argv| argv.iter().map(CString::as_c_str).collect())
        .collect();
    let commands: Vec<&[&CStr]> = commands.iter().map(Vec::as_slice).collect();
    pipeline(&commands)
}

/// A pipeline of three that forward what is written to the first one.
struct Running {
    programs: Vec<Process>,
    writer: PipeWriter,
    started: Started<Answer>,
}

impl Running {
    #[track_caller]
    fn start() -> Running {
        let (reader, mut writer) = io::pipe().unwrap();
        let child = Child::new().stdin_fd(reader);
        let started = child.start(|| observed(|| piped(&[FORWARD; 3])));
        let _ = writer.write_all(b"ping\n");
        // Once a line has come through, all of them are up and wait for the next one.
        let started = started.does("get a line through three programs", |started| {
            started.stdout() == b"ping\n" || started.process().is_err()
        });
        let mut programs = started.others();
        programs.retain(|it| {
            it.command
                .last()
                .is_some_and(|name| NAMES.contains(&&**name))
        });
        programs.sort_by_key(|it| {
            NAMES
                .iter()
                .position(|name| it.command.last().is_some_and(|it| it == name))
        });
        if programs.len() != 3 || started.process().is_err() {
            let ended = answer(started.wait());
            panic!(
                "the programs had not ended, and pipeline returned {}",
                told(&ended)
            );
        }
        Running {
            programs,
            writer,
            started,
        }
    }

    fn caller(&self) -> Process {
        self.started.process().unwrap()
    }
}

fn words(commands: &[&str]) -> String {
    format!("`{}`", commands.join(" | "))
}

#[track_caller]
fn gives(commands: &[&str], run: Run<Answer>, expected: i32) {
    let ended = answer(run);
    assert!(
        ended == Ok(expected.to_string()),
        "{}: the answer was {} instead of {expected}",
        words(commands),
        told(&ended)
    );
}
