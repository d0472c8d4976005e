//! Each program is run twice, once under the exercise's tracer and once under ours: a tracee has only one. Both must
//! have seen the same calls, as far as two runs are the same.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch01_system_calls/mini_strace.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch01_system_calls/mini_strace.rs")]
mod mini_strace;
mod tracing;

use libc::{ENOENT, ENOTDIR, SIGKILL};
use mini_strace::{Arg, Call, Summary, shape, trace};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use observe::{Child, End, Failure, Process, Run, Scratch, Started, assert_seen};
use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tracing::{kernel_saw, line, quoted};

/// Where a wrong loop has no end. Programs are traced; a busy machine makes that slow.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn calls_read_as_strace_shows_them() {
    let call = |name: &str, args: &[Arg], result| Call {
        pid: 1,
        name: name.to_owned(),
        args: args.to_vec(),
        result,
    };
    let text = |bytes: &[u8]| Arg::Text(bytes.to_vec());
    let calls = [
        call("getpid", &[], Some(Ok(4711))),
        call(
            "openat",
            &[
                Arg::Int(-100),
                text(b"/etc/motd"),
                Arg::Bits(0x80000),
                Arg::Bits(0),
            ],
            Some(Err(ENOENT)),
        ),
        call("chdir", &[text(b"a \"b\"\n\xff")], Some(Err(ENOTDIR))),
        call("brk", &[Arg::Bits(0)], Some(Ok(0x5555_5557_9000))),
        call(
            "lseek",
            &[Arg::Int(3), Arg::Int(-1), Arg::Int(1)],
            Some(Ok(u32::MAX.into())),
        ),
        call(
            "syscall_451",
            &[Arg::Bits(u64::MAX)],
            Some(Ok(u32::MAX as i64 + 1)),
        ),
        call("exit_group", &[Arg::Int(0)], None),
    ];
    let lines = [
        "getpid() = 4711",
        r#"openat(-100, "/etc/motd", 0x80000, 0x0) = ENOENT"#,
        r#"chdir("a \"b\"\n\xff") = ENOTDIR"#,
        "brk(0x0) = 0x555555579000",
        "lseek(3, -1, 1) = 4294967295",
        "syscall_451(0xffffffffffffffff) = 0x100000000",
        "exit_group(0) = ?",
    ];
    let shown = Child::new()
        .run(|| calls.iter().map(Call::to_string).collect::<Vec<_>>())
        .returned();
    for (shown, line) in shown.iter().zip(lines) {
        assert!(
            shown == line,
            "a call is shown as {shown} instead of {line}"
        );
    }
    assert_seen!("ch01_mini_strace__calls", shown);
}

#[test]
fn summary_counts_calls_and_errors() {
    let calls = [
        ("read", Some(Ok(0))),
        ("openat", Some(Ok(3))),
        ("exit_group", None),
        ("openat", Some(Err(ENOENT))),
        ("brk", Some(Ok(1))),
        ("openat", Some(Err(ENOENT))),
        ("read", Some(Err(libc::EINTR))),
    ];
    let summary = Child::new().run(|| {
        let mut summary = Summary::default();
        for (name, result) in calls {
            summary.add(&Call {
                pid: 1,
                name: name.to_owned(),
                args: Vec::new(),
                result,
            });
        }
        (summary.to_string(), Summary::default().to_string())
    });
    let (summary, empty) = summary.returned();
    let expected = [
        "  calls  errors syscall",
        "      3       2 openat",
        "      2       1 read",
        "      1         brk",
        "      1         exit_group",
        "      7       3 total",
    ];
    let lines: Vec<&str> = summary.lines().collect();
    for (line, expected) in lines.iter().zip(expected) {
        assert!(
            *line == expected,
            "the summary has the line {line:?} instead of {expected:?}"
        );
    }
    assert_eq!(lines.len(), expected.len(), "lines of the summary");
    assert_eq!(
        empty, "  calls  errors syscall\n      0         total\n",
        "the summary of no calls"
    );
    assert_seen!("ch01_mini_strace__summary", summary);
}

#[test]
fn command_ends_as_it_would_untraced() {
    if !observe::needs("ptrace") {
        return;
    }
    for (script, status, stdout) in [
        ("echo one; echo two; exit 3", Ok(3), "one\ntwo\n"),
        ("echo end; kill -KILL $$; echo more", Err(SIGKILL), "end\n"),
        (
            "/bin/cat /absent 2>&- || exec /bin/sh -c 'echo exec; exit 4'",
            Ok(4),
            "exec\n",
        ),
    ] {
        let run = traced(&mut shell(script));
        let printed = run.stdout_text();
        let ended = run.returned().map(|(status, _)| status);
        assert!(
            ended == Ok(status),
            "`{script}` {}, and trace said that it {}",
            how(&Ok(status)),
            how(&ended)
        );
        assert!(
            printed == stdout,
            "`{script}` printed {printed:?} under trace instead of {stdout:?}"
        );
    }
    let absent = traced(&mut Command::new("/absent/command")).returned();
    assert!(
        absent.as_ref().is_err_and(|failure| failure.is(ENOENT)),
        "the trace of a command that does not exist {}, instead of failing with ENOENT",
        how(&absent.map(|(status, _)| status))
    );
}

#[test]
fn calls_are_those_the_kernel_saw() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.write("text", "some lines\n".repeat(20_000));
    compare(|| program("/bin/cat", &[&file]));
    compare(|| program("/bin/cat", &[&file, Path::new("/absent")]));
    compare(|| program("/bin/ls", &[Path::new("-n"), scratch.path()]));
}

#[test]
fn strings_are_read_as_the_call_is_entered() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.write("text", "text");
    // Without an environment the last argument lies in the last bytes of the stack.
    let paths = [
        "x",
        "/some/path/that/is/absent",
        &"y".repeat(4095),
        &"z".repeat(6000),
    ];
    for path in paths {
        let mut command = program("/bin/cat", &[Path::new(path)]);
        let (_, calls) = traced(command.env_clear()).returned().unwrap();
        let expected = quoted(&path.as_bytes()[..path.len().min(4096)]);
        assert!(
            calls.iter().any(|call| call.2.contains(&expected)),
            "cat opened a file whose name has {} bytes, \"{}\", and no call told of it",
            path.len(),
            path.chars().take(30).collect::<String>()
        );
    }
    // Nothing of the old program is left at the exit of execve(2).
    let mut exec = shell("exec /bin/cat \"$0\"");
    exec.arg(&file);
    let (_, calls) = traced(&mut exec).returned().unwrap();
    let execve = calls.iter().find(|call| call.1 == "execve");
    let told = execve.map_or("no execve".to_owned(), shown);
    let read = execve.is_some_and(|call| call.2[0] == "\"/bin/cat\"" && call.3 == Some(Ok(0)));
    assert!(
        read,
        "the shell called execve(\"/bin/cat\", …), and trace told of {told}"
    );
    // touch(1) passes a null pointer where a path could be, and means its standard output.
    compare(|| program("/bin/touch", &[&file]));
}

#[test]
fn children_are_followed() {
    if !observe::needs("ptrace") {
        return;
    }
    let script = "(exit 2); /bin/cat /absent 2>&-; (/bin/true; (exit 3)); echo done";
    let processes = compare(|| shell(script));
    assert!(
        processes >= 5,
        "the script made 4 processes below it, and only {processes} were traced"
    );

    // The command ends first; what it left behind is still traced.
    let scratch = Scratch::new();
    let fifo = scratch.join("fifo");
    let mut writer = open_fifo(&fifo);
    let mut left = shell("(read line <\"$0\"; echo \"$line\") & exit 5");
    left.arg(&fifo);
    let started = Child::new().limit(LIMIT).start(|| seen(&mut left));
    let started = started.does("let the command end before its child", |it| {
        let others = it.others();
        it.process().is_err() || others.len() == 1 && on_fifo(&others[0], &fifo)
    });
    writer.write_all(b"late\n").unwrap();
    drop(writer);
    let run = started.wait();
    let stdout = run.stdout_text();
    let (status, calls) = run.returned().unwrap();
    assert!(
        stdout == "late\n" && status == Ok(5),
        "the command exited with 5, its child printed \"late\" after that, and trace {} when {stdout:?} was printed",
        how(&Ok(status))
    );
    assert!(
        calls
            .iter()
            .any(|call| call.1 == "write" && call.3 == Some(Ok(5))),
        "the child that outlived the command wrote \"late\", and trace did not tell of it"
    );
}

#[test]
fn threads_are_followed() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    // Enough for sort(1) to do it with two threads.
    let lines: String = (0..200_000)
        .map(|number| format!("{}\n", number % 97))
        .collect();
    let file = scratch.write("numbers", lines);
    let sort = || program("/usr/bin/sort", &[Path::new("--parallel=2"), &file]);
    let run = Child::new()
        .limit(LIMIT)
        .traced()
        .run(|| sort().status().is_ok());
    let made = run.calls.of("thread").len();
    run.returned();
    let (_, calls) = traced(&mut sort()).returned().unwrap();
    let threads: HashSet<i32> = calls.iter().map(|call| call.0).collect();
    assert!(
        threads.len() == 1 + made,
        "sort made {made} threads besides the first, and trace told of calls of {} threads in all",
        threads.len()
    );
}

#[test]
fn signals_reach_the_command() {
    if !observe::needs("ptrace") {
        return;
    }
    for signal in ["USR1", "TRAP", "STOP", "CHLD", "40"] {
        // A child of its own, so that each end of a process is one that the shell waits for.
        let script = match signal {
            "STOP" => "(kill -STOP $$; kill -CONT $$); echo caught STOP".to_owned(),
            _ => format!("trap 'echo caught {signal}' {signal}; kill -{signal} $$; exit 0"),
        };
        let run = traced(&mut shell(&script));
        let stdout = run.stdout_text();
        let ended = run.returned().map(|(status, _)| status);
        assert!(
            stdout == format!("caught {signal}\n"),
            "the command sent itself signal {signal}, for which it has a handler, and printed {stdout:?}"
        );
        assert!(
            ended == Ok(Ok(0)),
            "the command sent itself signal {signal}, for which it has a handler, and trace said that it {}",
            how(&ended)
        );
    }
    for (name, number) in [("TERM", libc::SIGTERM), ("TRAP", libc::SIGTRAP), ("41", 41)] {
        let ended = traced(&mut shell(&format!("kill -{name} $$; echo alive")))
            .returned()
            .map(|(status, _)| status);
        assert!(
            ended == Ok(Err(number)),
            "the command sent itself signal {name}, and trace said that it {}",
            how(&ended)
        );
    }
    let (_, calls) = traced(&mut shell("kill -KILL $$")).returned().unwrap();
    let last = calls.last().map(shown).unwrap_or_default();
    assert!(
        last.starts_with("kill(") && last.ends_with(" = ?"),
        "the command died in kill(2), which never returned, and the last call that trace told of is {last}"
    );
}

#[test]
fn call_that_is_made_again_has_no_result() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let fifo = scratch.join("fifo");
    let mut writer = open_fifo(&fifo);
    let mut cat = program("/bin/cat", &[&fifo]);
    let started = Child::new().limit(LIMIT).start(|| seen(&mut cat));
    let reads = |started: &Started<_>| {
        let mut others = started.others().into_iter();
        others.find(|it| it.name == "cat" && it.state == 'S' && on_fifo(it, &fifo))
    };
    let started = started.does("let cat(1) read a pipe", |it| reads(it).is_some());
    // Ignored by default; but it interrupts the call for that.
    let winch = reads(&started).map(|cat| kill(Pid::from_raw(cat.pid), Signal::SIGWINCH));
    let started = started.does("let cat(1) read on", |it| reads(it).is_some());
    writer.write_all(b"line\n").unwrap();
    drop(writer);
    let (status, calls) = started.wait().returned().unwrap();
    assert_eq!(
        (winch, status),
        (Some(Ok(())), Ok(0)),
        "the signal, and cat"
    );
    let reads: Vec<_> = calls.iter().filter(|call| call.1 == "read").collect();
    let again = reads.iter().position(|call| call.3.is_none());
    assert!(
        again.is_some_and(|at| reads[at + 1].3 == Some(Ok(5))),
        "a signal interrupted read(2), which the kernel made again for 5 bytes, and trace told of {}",
        reads
            .iter()
            .map(|call| shown(call))
            .collect::<Vec<_>>()
            .join(", ")
    );
}

#[test]
fn killed_tracer_leaves_nothing_running() {
    if !observe::needs("ptrace") {
        return;
    }
    let mut command = shell("/bin/sleep 1000; exit 0");
    let started = Child::new().limit(LIMIT).start(|| seen(&mut command));
    let started = started.does("run a command and its child", |started| {
        let others = started.others();
        others.iter().any(|other| other.name == "sleep")
    });
    started.signal(observe::Signal(SIGKILL)).unwrap();
    let gone = started.until(Duration::from_secs(8), |started| {
        started.others().is_empty()
    });
    let left: Vec<String> = started.others().into_iter().map(|it| it.name).collect();
    assert!(
        gone,
        "the tracer was killed, and its tracees go on: {}",
        left.join(", ")
    );
}

/// How a command ended: its status, or the signal.
type Status = Result<i32, i32>;

/// A call that trace told of: pid, name, arguments in words, result.
type Told = (i32, String, Vec<String>, Option<Result<i64, i32>>);

/// Runs the exercise on a command, in a child.
#[track_caller]
fn traced(command: &mut Command) -> Run<Result<(Status, Vec<Told>), Failure>> {
    let run = Child::new().limit(LIMIT).run(|| seen(command));
    // Why it was left says more than that it was.
    if let End::Returned(Err(failure)) = &run.end
        && let Some(left) = run.left.first()
    {
        panic!(
            "trace failed with {failure} and left behind {}",
            left.words()
        );
    }
    run
}

/// In the child.
fn seen(command: &mut Command) -> Result<(Status, Vec<Told>), Failure> {
    let mut calls = Vec::new();
    let status = observe::errno(trace(command, |call| {
        let args = call.args.iter().map(words).collect();
        calls.push((call.pid, call.name.clone(), args, call.result));
    }))?;
    let status = status.code().ok_or_else(|| status.signal().unwrap_or(0));
    Ok((status, calls))
}

/// As the exercise is to show it; but not by the exercise, of whose `Display` another stage is about.
fn words(arg: &Arg) -> String {
    match arg {
        Arg::Int(value) => value.to_string(),
        Arg::Bits(value) => format!("{value:#x}"),
        Arg::Text(bytes) => quoted(bytes),
    }
}

/// Makes it and opens it for both, so that nobody waits for the other end.
fn open_fifo(path: &Path) -> File {
    mkfifo(path, Mode::S_IRWXU).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

/// Whether it has the file open.
fn on_fifo(process: &Process, fifo: &Path) -> bool {
    let mut open = process.descriptors.0.iter();
    open.any(|(_, descriptor)| Path::new(&descriptor.link) == fifo)
}

fn shown((_, name, args, result): &Told) -> String {
    let result = match result {
        None => "?".to_owned(),
        Some(Ok(value)) => value.to_string(),
        Some(Err(errno)) => observe::Errno(*errno).name(),
    };
    format!("{name}({}) = {result}", args.join(", "))
}

fn program(path: &str, args: &[&Path]) -> Command {
    let mut command = Command::new(path);
    // Short, and the same for both runs.
    command.args(args).env_clear().env("PATH", "/bin:/usr/bin");
    command
}

fn shell(script: &str) -> Command {
    program("/bin/sh", &[Path::new("-c"), Path::new(script)])
}

/// Traces a command with the exercise and with our own tracer; how many processes there were.
#[track_caller]
fn compare(command: impl Fn() -> Command) -> usize {
    let shown = format!("{:?}", command());
    let shown = observe::redact(&shown).replace('"', "");
    let told = traced(&mut command()).returned().unwrap_or_else(|failure| {
        panic!("{shown}: trace failed with {failure}");
    });
    let mut pids: Vec<i32> = Vec::new();
    for call in &told.1 {
        if !pids.contains(&call.0) {
            pids.push(call.0);
        }
        assert!(
            !call.1.starts_with("syscall_") || call.2.len() == 6,
            "{shown}: a call without a known shape has all six registers, and trace told of {}",
            self::shown(call)
        );
    }
    let shape = |number| shape(number).map(|shape| (shape.name, shape.args));
    let seen = kernel_saw(command(), shape);
    for (index, seen) in seen.iter().enumerate() {
        let by = if index == 0 {
            shown.clone()
        } else {
            format!("{shown}, child {index}")
        };
        let told = told
            .1
            .iter()
            .filter(|call| pids.get(index) == Some(&call.0));
        let told: Vec<String> = told
            .filter_map(|call| line(&call.1, &call.2, call.3))
            .collect();
        let mut before = "the first of all".to_owned();
        for place in 0..seen.len().max(told.len()) {
            let [seen, told] = [seen, &told].map(|lines| lines.get(place));
            assert!(
                seen == told,
                "{by}: the kernel saw {}, and trace told of {} (the call before: {before})",
                seen.map_or("no more call", String::as_str),
                told.map_or("no more call", String::as_str)
            );
            before = seen.cloned().unwrap_or_default();
        }
    }
    assert!(
        pids.len() == seen.len(),
        "{shown}: there were {} processes, and trace told of {}",
        seen.len(),
        pids.len()
    );
    seen.len()
}

/// In words: how a command ended, or why it was not traced.
fn how(ended: &Result<Status, Failure>) -> String {
    match ended {
        Ok(Ok(status)) => format!("exited with {status}"),
        Ok(Err(signal)) => format!("was killed by {}", observe::Signal(*signal).name()),
        Err(failure) => format!("failed with {failure}"),
    }
}
