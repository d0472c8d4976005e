//! What a grader reads on SYSLAB_REPORT_FD.
//!
//! The variable is read once in a process, so each test runs this binary again with one of the tests below.

use observe::Child;
use observe::report::Note;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// The notes that the ignored test `name` of this file leaves.
fn notes_of(name: &str) -> Vec<Note> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let fd = writer.as_raw_fd();
    // SAFETY: fcntl with integers on an open descriptor; it is to be inherited.
    unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            name,
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("SYSLAB_REPORT_FD", fd.to_string())
        .output()
        .unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    assert!(ran, "no such test: {name}");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}

#[test]
fn an_assertion_is_failed_with_its_place() {
    let Note::Failed { message, file, .. } = &notes_of("asserts")[0] else {
        panic!()
    };
    assert_eq!(
        (message.as_str(), file.as_str()),
        ("the file held 3 bytes", "observe/tests/report.rs")
    );
}

#[test]
#[ignore = "run by an_assertion_is_failed_with_its_place"]
fn asserts() {
    let length = Child::new().run(|| 3).returned();
    assert!(length == 4, "the file held {length} bytes");
}

#[test]
fn a_todo_is_told_once_and_with_its_place() {
    let notes = notes_of("stops_at_todo");
    let [
        Note::Todo {
            message,
            file,
            line,
        },
    ] = notes.as_slice()
    else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (message.as_str(), file.as_str()),
        ("open the file", "observe/tests/report.rs")
    );
    assert!(*line > 0);
}

#[test]
#[ignore = "run by a_todo_is_told_once_and_with_its_place"]
fn stops_at_todo() {
    Child::new()
        .run(|| -> i32 { todo!("open the file") })
        .returned();
}

#[test]
fn a_long_panic_is_told_as_far_as_a_person_reads() {
    let notes = notes_of("panics_at_length");
    let [Note::Failed { message, .. }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert!(message.len() < 4000, "{} bytes", message.len());
    assert!(message.contains("word word"), "{message}");
    assert!(message.contains("(5000000 bytes in all)"), "{message}");
}

#[test]
#[ignore = "run by a_long_panic_is_told_as_far_as_a_person_reads"]
fn panics_at_length() {
    Child::new()
        .run(|| -> () { panic!("{}", "word ".repeat(1_000_000)) })
        .returned();
}

#[test]
fn what_was_printed_is_told_to_its_end_and_before_the_failure() {
    let notes = notes_of("prints_and_fails");
    let [
        Note::Stderr { text },
        Note::Stderr { text: last },
        Note::Failed { .. },
    ] = notes.as_slice()
    else {
        panic!("{notes:?}")
    };
    assert!(
        text.starts_with("line ") && text.ends_with("line 999\n"),
        "{text}"
    );
    assert!(text.len() < 2000, "{} bytes", text.len());
    assert_eq!(last, "n = 3\n");
}

#[test]
#[ignore = "run by what_was_printed_is_told_to_its_end_and_before_the_failure"]
fn prints_and_fails() {
    let print = || (0..1000).for_each(|number| eprintln!("line {number}"));
    Child::new().run(print).returned();
    Child::new().run(|| ()).returned();
    let n = Child::new().run(|| {
        eprintln!("n = 3");
        3
    });
    assert!(n.returned() == 4, "n is not 4");
}

#[test]
fn what_is_left_behind_twice_is_counted() {
    let notes = notes_of("leaves_two");
    let [Note::Leaked { message }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(
        message,
        "the exercise returned and left behind: a fork of it that still runs (2 times)"
    );
}

#[test]
#[ignore = "run by what_is_left_behind_twice_is_counted"]
fn leaves_two() {
    // SAFETY: the forks do nothing but sleep in pause(2), which takes nothing.
    let run = Child::new().run(|| unsafe {
        for _ in 0..2 {
            if libc::fork() == 0 {
                loop {
                    libc::pause();
                }
            }
        }
    });
    run.returned();
}

#[test]
fn an_unexpected_exit_is_failed_at_the_line_of_the_test() {
    let notes = notes_of("exits");
    let [Note::Failed { message, file, .. }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(
        message,
        "the exercise exited with status 0 instead of returning"
    );
    assert_eq!(file, "observe/tests/report.rs");
}

#[test]
#[ignore = "run by an_unexpected_exit_is_failed_at_the_line_of_the_test"]
fn exits() {
    Child::new()
        .run(|| -> () { std::process::exit(0) })
        .returned();
}

#[test]
fn a_crash_names_its_signal() {
    let notes = notes_of("crashes");
    let [Note::Crashed { signal, message }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (signal.as_str(), message.as_str()),
        ("SIGKILL", "the exercise was killed by SIGKILL")
    );
}

#[test]
#[ignore = "run by a_crash_names_its_signal"]
fn crashes() {
    // SAFETY: raise takes an integer.
    Child::new()
        .run(|| unsafe { libc::raise(libc::SIGKILL) })
        .returned();
}

#[test]
fn a_timeout_names_its_limit() {
    let notes = notes_of("hangs");
    let [Note::TimedOut { seconds, message }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (*seconds, message.as_str()),
        (1, "the exercise was still running after 1 s")
    );
}

#[test]
#[ignore = "run by a_timeout_names_its_limit"]
fn hangs() {
    let run: observe::Run<()> = Child::new().limit(Duration::from_secs(1)).run(|| {
        loop {
            std::thread::park();
        }
    });
    run.returned();
}

#[test]
fn a_snapshot_is_seen_before_it_is_compared() {
    let notes = notes_of("compares");
    let [Note::Seen { snapshot, text, .. }, Note::Failed { .. }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (snapshot.as_str(), text.as_str()),
        ("facts__daemon", "this: differs")
    );
}

#[test]
#[ignore = "run by a_snapshot_is_seen_before_it_is_compared"]
fn compares() {
    // SAFETY: libtest runs this test in a thread of its own, and nobody else reads the environment now.
    unsafe { std::env::set_var("INSTA_UPDATE", "no") };
    observe::assert_seen!(
        "facts__daemon",
        std::collections::BTreeMap::from([("this", "differs")])
    );
}

#[test]
fn calls_are_told_before_the_verdict() {
    if !observe::needs("ptrace") {
        return;
    }
    let notes = notes_of("calls");
    let [Note::Calls { text }, Note::Failed { .. }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(text, "umask(027) = 022");
}

#[test]
#[ignore = "run by calls_are_told_before_the_verdict"]
fn calls() {
    // SAFETY: umask takes an integer.
    let run = Child::new().traced().run(|| unsafe { libc::umask(0o027) });
    assert_eq!(run.calls.count("umask"), 2);
}

#[test]
fn the_exercise_can_neither_see_nor_forge_the_report() {
    assert_eq!(notes_of("forges"), []);
}

#[test]
#[ignore = "run by the_exercise_can_neither_see_nor_forge_the_report"]
fn forges() {
    let fd: i32 = std::env::var("SYSLAB_REPORT_FD").unwrap().parse().unwrap();
    let run = Child::new().run(|| {
        let line = b"{\"note\":\"seen\",\"snapshot\":\"x\",\"text\":\"forged\"}\n";
        // SAFETY: `line` is valid for its length; the number is no open descriptor here.
        let written = unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
        observe::report::emit(&Note::Skipped {
            needs: "forged".to_owned(),
        });
        (written, std::env::var_os("SYSLAB_REPORT_FD").is_none())
    });
    assert_eq!(run.returned(), (-1, true));
}

#[test]
fn one_panic_after_another_is_told_each_time() {
    let notes = notes_of("fails_twice");
    let [Note::Todo { .. }, Note::Failed { message, .. }] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(message, "then this");
}

#[test]
#[ignore = "run by one_panic_after_another_is_told_each_time"]
fn fails_twice() {
    let first = std::panic::catch_unwind(|| Child::new().run(|| -> i32 { todo!() }).returned());
    assert!(first.is_ok(), "then this");
}
