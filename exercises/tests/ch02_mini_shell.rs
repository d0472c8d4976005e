//! A shell as its user meets it, and what /proc says of the groups and the terminal meanwhile.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/mini_shell.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/mini_shell.rs")]
mod mini_shell;
mod typing;

use mini_shell::shell;
use observe::{Action, Child, Fault, Process, Scratch, assert_seen, errno};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;
use typing::{CTRL_C, CTRL_D, CTRL_Z, Session};

#[test]
fn a_line_becomes_words() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    let mut seen = BTreeMap::new();
    for line in [
        "printf %s/ a  b",
        "   printf   %s/   a  ",
        r#"printf %s/ 'a  b' "c | d & 'e'" '"'"#,
        r#"printf %s/ a'b c'"d"e"#,
        r#"printf %s/ '' x """#,
        r"printf %s/ a\ b \' \\ \| \&",
        r#"printf %s/ "a\b" '\' "\""#,
        r#"printf %s/ $? "is $?" '$?' \$? a$?b"#,
        "printf %s/ ; * <x >y # $HOME $ $$ ~",
        "printf %s/ a|cat|cat",
        "  ",
    ] {
        seen.insert(line, shell.line(line));
    }
    assert_seen!("ch02_mini_shell__words", seen);

    for line in [
        "echo 'open",
        "echo \"open",
        "echo \\",
        "| cat",
        "echo started |",
        "echo started | | cat",
        "&",
        "echo started & echo started",
        "echo started && echo started",
    ] {
        let shown = shell.line(line);
        assert!(
            !shown.contains("started\n"),
            "`{line}` is no line, and something of it was run"
        );
        let status = shell.status();
        assert!(
            status == "2",
            "after `{line}`, which is no line, $? is {status} instead of 2"
        );
    }
    shell.line("true");
    let _ = shell.line("");
    assert_eq!(shell.status(), "0", "$? after an empty line after `true`");
}

#[test]
fn status_is_that_of_the_last_command() {
    if !observe::needs("pty") {
        return;
    }
    let run = Child::new().run(|| errno(shell()));
    let ended = run.returned();
    assert!(
        ended
            .as_ref()
            .is_err_and(|failure| failure.is(libc::ENOTTY)),
        "on descriptor 0 that is no terminal, shell gave {ended:?} instead of ENOTTY"
    );

    let scratch = Scratch::new();
    scratch.write("plain", "exit 0\n");
    let mut shell = Session::start();
    let mut seen = vec![format!("at first: {}", shell.status())];
    shell.line(&format!("cd {}", scratch.path().display()));
    seen.push(format!("cd to a directory: {}", shell.status()));
    let directory = shell.line("pwd -P");
    assert!(
        directory == format!("{}\n", scratch.path().display()),
        "after `cd`, a program runs in {:?}",
        observe::redact(&directory)
    );
    for (line, is_told) in [
        ("true", false),
        ("false", false),
        ("sh -c 'exit 255'", false),
        ("sh -c 'kill -TERM $$'", false),
        ("sh -c 'kill -34 $$'", false),
        ("no-such-program", true),
        ("./plain", true),
        ("cd absent", true),
        ("fg", true),
        ("bg %7", true),
        ("false | true", false),
        ("true | sh -c 'exit 3'", false),
        ("no-such-program | true", true),
        ("exit 3 | true", true),
        ("jobs", false),
    ] {
        let shown = shell.line(line);
        assert!(
            !is_told || !shown.trim().is_empty(),
            "`{line}` fails, and the user is not told why"
        );
        seen.push(format!("{line}: {}", shell.status()));
    }
    assert_seen!("ch02_mini_shell__statuses", seen);
    shell.no_zombie("at the prompt");
    shell.keys(b"exit 7\n");
    assert_eq!(shell.end(), 7, "what shell returns after `exit 7`");
    for (keys, why) in [(&b"exit\n"[..], "`exit`"), (CTRL_D, "Ctrl-D")] {
        let mut shell = Session::start();
        shell.line("sh -c 'exit 3'");
        shell.keys(keys);
        assert_eq!(
            shell.end(),
            3,
            "what shell returns after $? was 3, and {why}"
        );
    }
}

#[test]
fn a_pipeline_is_one_group_in_the_foreground() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    let before = shell.descriptors();
    shell.keys(b"cat | tee | dd bs=512 status=none\n");
    let mut programs = shell.running(&["cat", "tee", "dd"]);
    let settled = |programs: &[Process]| {
        let mut all = programs.iter();
        all.all(|program| program.descriptors.above_stderr().is_empty())
    };
    // A program that has just started reads files of its own: its libraries, its language.
    for _ in 0..1000 {
        if settled(&programs) {
            break;
        }
        sleep(Duration::from_millis(2));
        programs = shell.running(&["cat", "tee", "dd"]);
    }
    let mut seen = BTreeMap::new();
    for program in &programs {
        let name = &program.name;
        let above = program.descriptors.above_stderr();
        assert!(
            above.is_empty(),
            "{name} has descriptors of the shell: {}",
            program.descriptors.get(above[0]).unwrap().link
        );
        assert!(
            program.pgrp == programs[0].pid,
            "{name} is not in the process group that cat leads"
        );
        assert!(program.in_foreground(), "{name} is not in the foreground");
        let facts = program.facts();
        let signals = [("blocks", &facts.blocked), ("ignores", &facts.ignored)];
        for (what, signals) in signals {
            assert!(signals.is_empty(), "{name} {what} {signals:?}");
        }
        seen.insert(name.clone(), facts.descriptors);
    }
    let link = |at: usize, fd| &programs[at].descriptors.get(fd).unwrap().link;
    assert!(
        link(0, 1) == link(1, 0) && link(1, 1) == link(2, 0),
        "what one program of the pipeline writes is not what the next one reads"
    );
    assert_seen!("ch02_mini_shell__descriptors", seen);

    shell.keys(b"banana\n");
    shell.shows(
        "banana\r\nbanana\r\n",
        "did not show what the pipeline wrote",
    );
    shell.keys(CTRL_D);
    shell.prompt();
    shell.has_terminal_back("after the pipeline's end");
    shell.no_zombie("after the pipeline's end");
    let after = shell.descriptors();
    assert!(
        after == before,
        "after a pipeline the shell has open {after:?}, and before it {before:?}"
    );
}

#[test]
fn a_pipeline_ends_with_its_last_process() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    let lines = shell.line("yes | head -n 2");
    assert!(
        lines == "y\ny\n",
        "`yes | head -n 2` showed {lines:?}: do both run at the same time, and does SIGPIPE end yes?"
    );
    // The last one has ended, the first one has not.
    let scratch = Scratch::new();
    let marker = scratch.join("marker");
    let line = format!("cat | touch {}", marker.display());
    shell.keys(format!("{line}\n").as_bytes());
    shell.alone("cat", || marker.exists());
    shell.falls_asleep();
    shell.keys(b"word\n");
    let shown = shell.reads(
        |shown| shown.contains("word\r\n") && shown.contains("$ "),
        "wrote no prompt",
    );
    assert!(
        shown == format!("{line}\r\nword\r\n$ "),
        "the first program of `cat | touch …` was running, and the shell did not wait for its end: {:?}",
        observe::redact(&shown)
    );
    shell.has_terminal_back("after the pipeline's end");
    shell.no_zombie("after the pipeline's end");
}

#[test]
fn ctrl_c_ends_the_job_and_not_the_shell() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    shell.line("sleep 50 &");
    let background = shell.running(&["sleep"]).remove(0);
    for (key, echo, status) in [(CTRL_C, "^C\n", "130"), (b"\x1c", "^\\\n", "131")] {
        shell.keys(b"cat | cat\n");
        let programs = shell.running(&["cat", "cat"]);
        shell.keys(key);
        let shown = shell.prompt();
        assert!(
            shown.contains(echo),
            "a job was killed by a key, and the prompt stands behind its echo: {shown:?}"
        );
        for program in &programs {
            shell.becomes(program, "Z", "did not see the end of a program");
        }
        shell.has_terminal_back("after a job was killed");
        assert_eq!(
            shell.status(),
            status,
            "$? after a job that a key has killed"
        );
    }
    assert!(
        Process::of(background.pid).is_ok_and(|it| !it.zombie()),
        "Ctrl-C has ended a job in the background, too"
    );

    // At the prompt they only cost what was typed.
    for (key, echo) in [(CTRL_C, "^C"), (b"\x1c", "^\\"), (CTRL_Z, "^Z")] {
        shell.keys(b"false ");
        shell.keys(key);
        shell.shows(echo, "lost its terminal");
        let shown = shell.line("printf alive");
        assert!(
            shown == "alive",
            "at the prompt came {echo}, and then {shown:?}"
        );
    }
}

#[test]
fn ctrl_z_stops_the_job_and_fg_goes_on() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    shell.keys(b" cat | cat \n");
    let programs = shell.running(&["cat", "cat"]);
    shell.keys(CTRL_Z);
    let shown = shell.prompt();
    assert!(
        shown.ends_with("\n[1] Stopped cat | cat\n"),
        "after Ctrl-Z the shell should say, in a line of its own, `[1] Stopped cat | cat`; the terminal shows {shown:?}"
    );
    for program in &programs {
        shell.becomes(program, "T", "let a program of the job run on");
    }
    shell.has_terminal_back("after Ctrl-Z");
    assert_eq!(shell.status(), "148", "$? after Ctrl-Z");
    let shown = shell.line("");
    assert!(
        shown.is_empty(),
        "told already, the shell said again {shown:?}"
    );

    shell.keys(b"fg\n");
    shell.shows("fg\r\ncat | cat\r\n", "did not show which job `fg` takes");
    for program in &programs {
        shell.becomes(program, "SR", "did not let the job go on");
    }
    shell.keys(b"hello\n");
    shell.shows(
        "hello\r\nhello\r\n",
        "did not give the terminal back to the job",
    );
    // A second time, with two of them: the largest number is meant.
    shell.keys(CTRL_Z);
    let shown = shell.prompt();
    assert!(
        shown.ends_with("\n[1] Stopped cat | cat\n"),
        "a job was stopped once more, and the terminal shows {shown:?}"
    );
    shell.keys(b"sleep 50\n");
    shell.running(&["sleep"]);
    shell.keys(CTRL_Z);
    let shown = shell.prompt();
    assert!(
        shown.ends_with("\n[2] Stopped sleep 50\n"),
        "a second job was stopped, and the terminal shows {shown:?}"
    );
    shell.keys(b"fg\n");
    shell.shows("fg\r\nsleep 50\r\n", "did not take the largest number");
    shell.keys(CTRL_C);
    shell.prompt();
    shell.keys(b"fg %1\n");
    shell.shows("fg %1\r\ncat | cat\r\n", "did not take number 1");
    shell.keys(CTRL_D);
    shell.prompt();
    assert_eq!(
        shell.status(),
        "0",
        "$? after a job that went on and exited"
    );
    let jobs = shell.line("jobs");
    assert!(
        jobs.is_empty(),
        "all jobs have ended, and `jobs` shows {jobs:?}"
    );
    shell.no_zombie("when all jobs have ended");
}

#[test]
fn background_job_leaves_the_terminal_alone() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    let shown = shell.line("sleep 50 | sleep 51 &");
    let job = shell.running(&["sleep", "sleep"]);
    let expected = format!("[1] {}\n", job[0].pgrp);
    assert!(
        shown == expected,
        "`&` should say the job's number and group, {expected:?}, and said {shown:?}"
    );
    assert!(
        job[0].pgrp == job[1].pgrp && job[0].pgrp != shell.pid(),
        "a pipeline in the background is not one group of its own"
    );
    shell.has_terminal_back("after `&`");
    assert_eq!(shell.status(), "0", "$? after `&`");

    // One that reads is stopped.
    let mut shown = shell.line("cat&");
    let reader = shell.running(&["cat"]).remove(0);
    shell.becomes(
        &reader,
        "T",
        "let a job in the background read from the terminal",
    );
    shown += &shell.line("");
    told_once(&shown, "[2] Stopped cat\n");
    let jobs = shell.line("jobs");
    assert_eq!(
        jobs, "[1] Running sleep 50 | sleep 51\n[2] Stopped cat\n",
        "what `jobs` shows"
    );
    shell.keys(b"fg %2\n");
    shell.shows("cat\r\n", "did not show which job `fg` takes");
    shell.keys(b"hello\n");
    shell.shows(
        "hello\r\nhello\r\n",
        "did not let the job read in the foreground",
    );
    shell.keys(CTRL_D);
    shell.prompt();

    // The end of one is told once, and its number is free if it was the largest.
    let mut shown = shell.line("sh -c 'exit 3' &");
    let pid = shown
        .split_whitespace()
        .nth(1)
        .and_then(|pid| pid.parse().ok());
    if let Some(short) = pid.and_then(|pid| Process::of(pid).ok()) {
        shell.becomes(&short, "Z", "did not let a job in the background end");
    }
    shown += &(shell.line("") + &shell.line(""));
    told_once(&shown, "[2] Done 3 sh -c 'exit 3'\n");
    let shown = shell.line("sleep 52 &");
    assert!(
        shown.starts_with("[2] "),
        "number 1 is the largest in use, and the next job got {shown:?}"
    );
    // SAFETY: integers only; the group is that of the job's processes, which run.
    unsafe { libc::kill(-job[0].pgrp, libc::SIGTERM) };
    for process in &job {
        shell.becomes(process, "Z", "did not let SIGTERM end a job");
    }
    let shown = shell.line("") + &shell.line("");
    told_once(&shown, "[1] Done 143 sleep 50 | sleep 51\n");
    shell.no_zombie("after the end of jobs was told");
    let shown = shell.line("sleep 53 &");
    assert!(
        shown.starts_with("[3] "),
        "number 2 is the largest in use, and the next job got {shown:?}"
    );
}

#[test]
fn jobs_change_behind_the_shells_back() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    shell.keys(b"sleep 50\n");
    let job = shell.running(&["sleep"]).remove(0);
    shell.keys(CTRL_Z);
    shell.prompt();
    let shown = shell.line("bg");
    assert_eq!(shown, "[1] Running sleep 50\n", "what `bg` shows");
    shell.becomes(&job, "SR", "did not let the job go on");
    shell.has_terminal_back("after `bg`");
    assert_eq!(shell.status(), "0", "$? after `bg`");

    let send = |signal| {
        // SAFETY: integers only; the group is that of the job's process, which runs or is stopped.
        unsafe { libc::kill(-job.pgrp, signal) };
    };
    send(libc::SIGSTOP);
    shell.becomes(&job, "T", "did not let SIGSTOP stop a job");
    let shown = shell.line("");
    assert!(
        shown == "[1] Stopped sleep 50\n",
        "somebody has stopped a job, and before the next prompt came {shown:?}"
    );
    send(libc::SIGCONT);
    shell.becomes(&job, "SR", "did not let SIGCONT do its work");
    let jobs = shell.line("jobs");
    assert!(
        jobs == "[1] Running sleep 50\n",
        "somebody else has let the job go on, and `jobs` shows {jobs:?}"
    );
    shell.keys(b"fg %1\n");
    shell.shows("sleep 50\r\n", "did not show which job `fg` takes");
    send(libc::SIGKILL);
    shell.prompt();
    assert_eq!(
        shell.status(),
        "137",
        "$? after a job that SIGKILL has ended"
    );
    let jobs = shell.line("jobs");
    assert!(
        jobs.is_empty(),
        "all jobs have ended, and `jobs` shows {jobs:?}"
    );
}

#[test]
fn a_stopped_job_takes_its_modes_along() {
    if !observe::needs("pty") {
        return;
    }
    let mut shell = Session::start();
    for (line, how) in [
        ("sh -c 'stty -echo; kill -STOP $$'", "was stopped"),
        ("sh -c 'stty -echo; kill -KILL $$'", "was killed"),
    ] {
        shell.line(line);
        assert!(
            echoes(&mut shell),
            "a job turned the echo off and {how}: nobody sees what is typed at the prompt"
        );
    }
    // What a job sets that exits is meant to stay.
    shell.keys(b"stty -echo\n");
    shell.prompt();
    shell.echo = false;
    assert!(
        !echoes(&mut shell),
        "`stty -echo` has exited with status 0, and the terminal echoes still"
    );
    shell.line("stty echo");
    shell.echo = true;
    assert!(echoes(&mut shell), "`stty echo` had no effect");
}

#[test]
fn no_race_between_shell_and_child() {
    if !(observe::needs("pty") && observe::needs("ptrace")) {
        return;
    }
    // Whoever calls setpgid(2) first, in the shell or in a child, comes late: the other one goes on alone.
    let pause = Action::Delay(Duration::from_millis(200));
    for nth in 1..=6 {
        let late = Fault::new("setpgid", pause).nth(nth);
        let mut shell = Session::start_in(Child::new().fault(late));
        in_foreground_from_the_start(&mut shell, "cat /proc/self/stat", true);
        in_foreground_from_the_start(&mut shell, "true | cat /proc/self/stat", false);
        shell.keys(b"exit 0\n");
        assert_eq!(shell.end(), 0, "what shell returns after `exit 0`");
    }
    // The shell comes late, and the job, or a part of it, has changed the modes by then.
    for (call, nth, line) in [
        ("setpgid", 1, "sh -c 'stty -echo; kill -KILL $$'"),
        ("setpgid", 2, "sh -c 'stty -echo; kill -KILL $$'"),
        ("pipe", 2, "stty -echo | true | sh -c 'kill -KILL $$'"),
    ] {
        let late = Fault::new(call, pause).nth(nth);
        let mut shell = Session::start_in(Child::new().fault(late));
        shell.line(line);
        assert!(
            echoes(&mut shell),
            "a job turned the echo off before the shell had asked for the modes, and was killed: \
             nobody sees what is typed at the prompt"
        );
    }
    // Everybody is late with tcsetpgrp(3), an ioctl(2).
    let late = Fault::new("ioctl", Action::Delay(Duration::from_millis(50))).always();
    let mut shell = Session::start_in(Child::new().fault(late));
    in_foreground_from_the_start(&mut shell, "cat /proc/self/stat", true);
    let mut shown = shell.line("cat &");
    // A process under trace looks stopped in /proc again and again: the shell knows better.
    for _ in 0..100 {
        if shown.contains("Stopped") {
            break;
        }
        shown += &shell.line("");
    }
    told_once(&shown, "[1] Stopped cat\n");
    shell.keys(b"fg\n");
    shell.shows("cat\r\n", "did not show which job `fg` takes");
    shell.keys(b"hello\n");
    shell.shows(
        "hello\r\nhello\r\n",
        "let the job go on before it had the terminal, so that it was stopped again",
    );
    shell.keys(CTRL_D);
    shell.prompt();
}

#[track_caller]
fn told_once(shown: &str, line: &str) {
    let times = shown.matches(line).count();
    assert!(
        times == 1,
        "before a prompt should come {line:?}, once, and the terminal shows {shown:?}"
    );
}

/// Whether `stty` says that the terminal echoes.
#[track_caller]
fn echoes(shell: &mut Session) -> bool {
    let modes = shell.line("stty -a");
    let mut words = modes.split_whitespace();
    words.any(|word| word == "echo")
}

/// Asserts what the first instruction of a program would see: its own group, and the foreground.
#[track_caller]
fn in_foreground_from_the_start(shell: &mut Session, line: &str, leads: bool) {
    let shown = shell.line(line);
    let fields: Vec<i32> = shown
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // proc(5): pid, (name and state,) ppid, pgrp, session, tty_nr, tpgid.
    let [pid, _, pgrp, _, _, tpgid, ..] = fields[..] else {
        panic!("`{line}` showed {shown:?}, where the program's /proc/PID/stat should be");
    };
    assert!(
        (pgrp == pid) == leads && pgrp != shell.pid(),
        "when the program of `{line}` started, it was not in the group of its pipeline: who makes it first?"
    );
    assert!(
        tpgid == pgrp,
        "when the program of `{line}` started, its group was not the terminal's foreground"
    );
}
