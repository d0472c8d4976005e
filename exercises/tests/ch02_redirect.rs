//! After each line of redirections the descriptor table is read, as the kernel shows it in /proc.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/redirect.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/redirect.rs")]
mod redirect;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::execv;
use observe::{Child, Errno, Failure, Process, Scratch, assert_seen, errno};
use redirect::{Redirection, Target, redirect};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn file_gets_the_number() {
    let place = Place::new();
    place.expect("<in", nothing, &[(0, "$TMPDIR/in, read")]);
    place.expect(">out", nothing, &[(1, "$TMPDIR/out, write")]);
    place.expect(">>log", nothing, &[(1, "$TMPDIR/log, write, append")]);
    place.expect("2>out", nothing, &[(2, "$TMPDIR/out, write")]);
    place.expect("7<in", nothing, &[(7, "$TMPDIR/in, read")]);
    place.expect("2>&-", nothing, &[(2, "closed")]);
    place.expect("9>&-", nothing, &[]);
    // None that a process may have.
    place.expect("100>&-", bystanders, &[]);
}

#[test]
fn file_is_made_emptied_or_continued() {
    let place = Place::new();
    for (line, name) in [(">new", "new"), (">>newlog", "newlog")] {
        let masked = || {
            umask(Mode::from_bits_truncate(0o002));
        };
        succeeded(line, &place.after(line, masked).0);
        place.has_mode(name, 0o664, &format!("`{line}` with umask 002 made a file"));
    }
    for (line, name, expected) in [
        (">old", "old", "new"),
        (">>oldlog", "oldlog", "old theirs new"),
    ] {
        let path = place.scratch.write(name, "old ");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let run = Child::new().run(|| {
            place.enter();
            let made = redirect_by(line);
            if line.starts_with(">>") {
                let mut another = File::options().append(true).open(name).unwrap();
                another.write_all(b"theirs ").unwrap();
            }
            write(1, "new");
            made
        });
        succeeded(line, &run.returned());
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text == expected,
            "the file had \"old \", and after `{line}` \"new\" was written: it is {text:?} instead of {expected:?}"
        );
        place.has_mode(
            name,
            0o600,
            &format!("`{line}` left the file that was there"),
        );
    }
}

#[test]
fn order_decides() {
    let place = Place::new();
    let out = "$TMPDIR/out, write";
    place.expect(">out 2>&1", nothing, &[(1, out), (2, out)]);
    place.expect("2>&1 >out", nothing, &[(1, out), (2, STDOUT)]);
    place.expect("3>&1 1>&2 2>&3 3>&-", nothing, &[(1, STDERR), (2, STDOUT)]);
    place.expect("4>out >&4 4>&-", nothing, &[(1, out)]);
    place.expect(
        ">in <in",
        nothing,
        &[(0, "$TMPDIR/in, read"), (1, "$TMPDIR/in, write")],
    );
    let lines = [">out 2>&1", "2>&1 >out", "3>&1 1>&2 2>&3 3>&-"];
    let seen: BTreeMap<_, _> = lines
        .map(|line| (line, place.after(line, nothing).2))
        .into();
    assert_seen!("ch02_redirect__orders", seen);
}

#[test]
fn copy_shares_the_offset() {
    let place = Place::new();
    for (line, expected) in [(">out 2>&1", "onetwo"), (">out 2>out", "two")] {
        let run = Child::new().run(|| {
            place.enter();
            let made = redirect_by(line);
            write(1, "one");
            write(2, "two");
            made
        });
        succeeded(line, &run.returned());
        let text = fs::read_to_string(place.scratch.join("out")).unwrap();
        assert!(
            text == expected,
            "after `{line}` \"one\" was written to 1 and \"two\" to 2: the file is {text:?} instead of {expected:?}"
        );
    }
}

#[test]
fn number_may_be_its_own_already() {
    let place = Place::new();
    let (read, write) = ("$TMPDIR/in, read", "$TMPDIR/out, write");
    // The lowest free number is the one that is wanted.
    place.expect("3<in 4>out", nothing, &[(3, read), (4, write)]);
    place.expect("<in", || close(0), &[(0, read)]);
    place.expect(">out", || close(1), &[(1, write)]);
    // It is that of a later one.
    place.expect("4<in 3>out", nothing, &[(4, read), (3, write)]);
    let closed = || [0, 1, 2].into_iter().for_each(close);
    place.expect(
        "2>out <in >&2",
        closed,
        &[(0, read), (1, write), (2, write)],
    );
    // Close-on-exec is a flag of the number, and no copy has it.
    place.expect("2>&2", nothing, &[]);
    place.expect(">&20", bystanders, &[(1, "/dev/zero, read")]);
    place.expect("20>&20", bystanders, &[(20, "/dev/zero, read")]);
}

#[test]
fn others_stay_as_they_were() {
    let place = Place::new();
    let (read, write) = ("$TMPDIR/in, read", "$TMPDIR/out, write");
    place.expect(
        "<in >out 2>&1 5>>log",
        bystanders,
        &[
            (0, read),
            (1, write),
            (2, write),
            (5, "$TMPDIR/log, write, append"),
        ],
    );
    place.expect("", bystanders, &[]);
}

#[test]
fn failed_one_is_the_last() {
    let place = Place::new();
    let out = (1, "$TMPDIR/out, write");
    let cases: [(&str, i32, Changes<'_>); 8] = [
        ("<absent >out2", libc::ENOENT, &[]),
        (">out <absent 2>&1", libc::ENOENT, &[out]),
        (">out 2>folder >out2", libc::EISDIR, &[out]),
        (">out 2>>in/log", libc::ENOTDIR, &[out]),
        // 3 is what the file had for a moment.
        (">out 2>&3 >out2", libc::EBADF, &[out]),
        (">out 9>&9", libc::EBADF, &[out]),
        ("2>&- >&2", libc::EBADF, &[(2, "closed")]),
        // The limit is 64.
        (">out 64<in >out2", libc::EBADF, &[out]),
    ];
    let mut seen = BTreeMap::new();
    for (line, expected, changes) in cases {
        let (result, before, after) = place.after(line, bystanders);
        assert!(
            result.as_ref().is_err_and(|failure| failure.is(expected)),
            "`{line}` {} instead of failing with {}",
            words(&result),
            Errno(expected)
        );
        let made = place.scratch.join("out2").exists();
        assert!(!made, "`{line}` made out2 after the failure before it");
        assert_table(line, before, changes, after);
        seen.insert(line, Errno(expected));
    }
    assert_seen!("ch02_redirect__failures", seen);
}

#[test]
fn program_finds_them() {
    let place = Place::new();
    let (reader, mut writer) = io::pipe().unwrap();
    let started = Child::new().stdin_fd(reader).start(|| {
        place.enter();
        bystanders();
        let failed = redirect_by(">out 2>&1");
        if failed.is_ok() {
            let script = c"echo ready; read line; echo $line >&2";
            let _ = execv(c"/bin/sh", &[c"sh", c"-c", script]);
        }
        failed
    });
    let out = place.scratch.join("out");
    let text = || fs::read_to_string(&out).unwrap_or_default();
    let started = started.does("have its program write to the file", |started| {
        text() == "ready\n" || started.process().is_err()
    });
    let Ok(program) = started.process() else {
        started.wait().exited(0);
        panic!("the program ended without its input");
    };
    writer.write_all(b"steady\n").unwrap();
    started.wait().exited(0);
    assert!(
        text() == "ready\nsteady\n",
        "the program wrote \"ready\" to 1 and \"steady\" to 2, and the file is {:?}",
        text()
    );
    assert_seen!("ch02_redirect__program", program.descriptors.facts());
}

const STDOUT: &str = "the captured stdout, read and write";
const STDERR: &str = "the captured stderr, read and write";

/// Descriptors in words.
type Table = BTreeMap<RawFd, String>;
type Changes<'a> = &'a [(RawFd, &'a str)];

/// The directory in which the lines are carried out: a file `in`, and a directory `folder`.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        scratch.write("in", "input\n");
        fs::create_dir(scratch.join("folder")).unwrap();
        Place { scratch }
    }

    fn enter(&self) {
        std::env::set_current_dir(self.scratch.path()).unwrap();
    }

    /// What `redirect` returned for a line, and the descriptors before and after.
    fn after(&self, line: &str, prepare: impl FnOnce()) -> (Result<(), Failure>, Table, Table) {
        let run = Child::new().run(|| {
            self.enter();
            prepare();
            let before = Process::me().descriptors.facts();
            let result = redirect_by(line);
            (result, before, Process::me().descriptors.facts())
        });
        run.returned()
    }

    /// Asserts that a line changes exactly these descriptors.
    #[track_caller]
    fn expect(&self, line: &str, prepare: impl FnOnce(), changes: Changes<'_>) {
        let (result, before, after) = self.after(line, prepare);
        succeeded(line, &result);
        assert_table(line, before, changes, after);
    }

    #[track_caller]
    fn has_mode(&self, name: &str, expected: u32, what: &str) {
        let data = fs::metadata(self.scratch.join(name)).unwrap();
        let mode = data.permissions().mode() & 0o7777;
        assert!(
            mode == expected,
            "{what} with mode {mode:04o} instead of {expected:04o}"
        );
    }
}

/// Runs in the child.
fn redirect_by(line: &str) -> Result<(), Failure> {
    let redirections: Vec<_> = line.split_whitespace().map(parsed).collect();
    // SAFETY: the child owns no descriptor that a line names.
    errno(unsafe { redirect(&redirections) })
}

/// `2>>log` as a shell takes it apart.
fn parsed(word: &str) -> Redirection<'_> {
    let at = word.find(['<', '>']).expect("a redirection");
    let (number, word) = word.split_at(at);
    let default = if word.starts_with('<') { 0 } else { 1 };
    let fd = number.parse().unwrap_or(default);
    let to = if word == ">&-" {
        Target::Close
    } else if let Some(other) = word.strip_prefix(">&") {
        Target::Copy(other.parse().unwrap())
    } else if let Some(path) = word.strip_prefix(">>") {
        Target::Append(Path::new(path))
    } else if let Some(path) = word.strip_prefix('>') {
        Target::Write(Path::new(path))
    } else {
        Target::Read(Path::new(&word[1..]))
    };
    Redirection { fd, to }
}

fn nothing() {}

/// In the child: descriptor 10 stays open over execve(2), 20 does not; no number from 64 on can be had.
fn bystanders() {
    let file = File::open("/dev/zero").unwrap();
    assert_eq!(fcntl(&file, FcntlArg::F_DUPFD(10)), Ok(10));
    assert_eq!(fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(20)), Ok(20));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
}

fn close(fd: RawFd) {
    nix::unistd::close(fd).unwrap();
}

fn write(fd: RawFd, text: &str) {
    // SAFETY: open as long as this is running, if the exercise did what it should; else EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let _ = nix::unistd::write(fd, text.as_bytes());
}

#[track_caller]
fn succeeded(line: &str, result: &Result<(), Failure>) {
    assert!(result.is_ok(), "`{line}` {}", words(result));
}

fn words(result: &Result<(), Failure>) -> String {
    match result {
        Ok(()) => "succeeded".to_owned(),
        Err(failure) => format!("failed with {failure}"),
    }
}

/// Asserts that nothing differs between the tables but `changes`.
#[track_caller]
fn assert_table(line: &str, before: Table, changes: Changes<'_>, after: Table) {
    let mut expected = before;
    for (fd, words) in changes {
        expected.insert(*fd, (*words).to_owned());
    }
    let numbers = expected.keys().chain(after.keys());
    for fd in numbers {
        let of = |table: &Table| table.get(fd).map_or("closed", String::as_str).to_owned();
        let (expected, seen) = (of(&expected), of(&after));
        assert!(
            seen == expected,
            "after `{line}` descriptor {fd} is {seen} instead of {expected}"
        );
    }
}
