//! A read is seen from both sides: what the kernel was asked for, and what the caller got.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch01_system_calls/read_exactly.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch01_system_calls/read_exactly.rs")]
mod read_exactly;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use observe::{Action, Calls, Child, Failure, Fault, assert_seen};
use read_exactly::read_exactly;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// Where a wrong loop has no end.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn one_read_is_enough_when_the_bytes_are_there() {
    if !observe::needs("ptrace") {
        return;
    }
    let pipe = pipe_with("exactly");
    let run = Child::new()
        .keep(&pipe)
        .traced()
        .run(|| (read(&pipe, 0), read(&pipe, 7)));
    let reads = run.calls.of("read");
    let (nothing, seven) = run.returned();
    let asked = asked(&reads);
    assert!(
        !asked.contains(&0),
        "an empty buffer asks for nothing, yet the kernel was asked: {}",
        reads.in_a_line()
    );
    assert_full(&nothing, "", "an empty buffer");
    assert_full(&seven, "exactly", "7 bytes in a pipe");
    assert!(
        asked == [7],
        "7 bytes were there at once, yet these calls were made: {}",
        reads.in_a_line()
    );
}

#[test]
fn short_reads_are_continued() {
    if !observe::needs("ptrace") {
        return;
    }
    let socket = socket_with(["abc", "defg", "hij"]);
    let run = Child::new()
        .keep(&socket)
        .traced()
        .run(|| read(&socket, 10));
    let reads = run.calls.of("read");
    assert_full(
        &run.returned(),
        "abcdefghij",
        "\"abc\", \"defg\" and \"hij\" one after the other",
    );
    let asked = asked(&reads);
    assert!(
        asked == [10, 7, 3],
        "10, 7 and 3 bytes were missing, and {asked:?} were asked for"
    );
    assert_seen!("ch01_read_exactly__short_reads", reads);
}

#[test]
fn byte_after_the_last_stays_in_the_pipe() {
    let pipe = pipe_with("abcdefgh");
    let (first, second) = Child::new()
        .keep(&pipe)
        .run(|| (read(&pipe, 3), read(&pipe, 5)))
        .returned();
    assert_full(&first, "abc", "3 bytes of a pipe with 8");
    assert_full(
        &second,
        "defgh",
        "the 5 bytes that the first call left in the pipe",
    );
}

#[test]
fn interrupted_reads_are_made_again() {
    if !observe::needs("ptrace") {
        return;
    }
    let socket = socket_with(["abc", "defgh"]);
    let interrupt = |nth, times| {
        Fault::new("read", Action::Fail(libc::EINTR))
            .nth(nth)
            .times(times)
    };
    let child = Child::new()
        .keep(&socket)
        .fault(interrupt(1, 1))
        .fault(interrupt(3, 2));
    let run = child.run(|| read(&socket, 8));
    let reads = run.calls.of("read");
    assert_full(
        &run.returned(),
        "abcdefgh",
        "three interrupted reads, \"abc\" and \"defgh\"",
    );
    assert_seen!("ch01_read_exactly__interrupted", reads);
}

#[test]
fn end_of_file_reports_the_count() {
    let pipe = pipe_with("abc");
    let child = Child::new().keep(&pipe).limit(LIMIT);
    let (middle, start) = child.run(|| (read(&pipe, 8), read(&pipe, 8))).returned();
    assert_ended(
        &middle,
        "abc.....",
        3,
        ErrorKind::UnexpectedEof,
        "a pipe that ends after \"abc\"",
    );
    assert_ended(
        &start,
        "........",
        0,
        ErrorKind::UnexpectedEof,
        "a pipe that has ended",
    );
}

#[test]
fn empty_non_blocking_pipe_is_eagain_with_the_count() {
    let (pipe, mut writer) = io::pipe().unwrap();
    writer.write_all(b"abc").unwrap();
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let seen = Child::new()
        .keep(&pipe)
        .limit(LIMIT)
        .run(|| read(&pipe, 8))
        .returned();
    assert_ended(
        &seen,
        "abc.....",
        3,
        Errno::EAGAIN,
        "a non-blocking pipe with \"abc\" in it",
    );
}

#[test]
fn other_errnos_come_through() {
    let directory = File::open("/").unwrap();
    let unreadable = File::options().write(true).open("/dev/null").unwrap();
    let child = Child::new().keep(&directory).keep(&unreadable);
    let (eisdir, ebadf) = child
        .run(|| (read(&directory, 8), read(&unreadable, 8)))
        .returned();
    assert_ended(&eisdir, "........", 0, Errno::EISDIR, "a directory");
    assert_ended(
        &ebadf,
        "........",
        0,
        Errno::EBADF,
        "a descriptor open for writing only",
    );
    if !observe::needs("ptrace") {
        return;
    }
    let socket = socket_with(["abc", "defgh"]);
    let fault = Fault::new("read", Action::Fail(libc::EIO)).nth(2);
    let eio = Child::new()
        .keep(&socket)
        .fault(fault)
        .run(|| read(&socket, 8))
        .returned();
    assert_ended(
        &eio,
        "abc.....",
        3,
        Errno::EIO,
        "\"abc\" and then a broken disk",
    );
}

/// What `read_exactly` returned, and the buffer, which held dots before.
type Seen = (Result<(), (usize, Failure)>, String);

/// Runs in the child.
fn read(fd: impl AsFd, len: usize) -> Seen {
    let mut buf = vec![b'.'; len];
    let result = read_exactly(fd, &mut buf).map_err(|it| (it.read, Failure::from(it.cause)));
    (result, String::from_utf8_lossy(&buf).into_owned())
}

/// The reading end of a pipe with this in it, that nobody writes to any more.
fn pipe_with(text: &str) -> PipeReader {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader
}

/// A socket with these messages in it. Each read(2) takes one: short reads that no timing makes long.
fn socket_with<const N: usize>(messages: [&str; N]) -> OwnedFd {
    let (reader, writer) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    for message in messages {
        send(writer.as_raw_fd(), message.as_bytes(), MsgFlags::empty()).unwrap();
    }
    reader
}

#[track_caller]
fn assert_full((result, buf): &Seen, expected: &str, what: &str) {
    if let Err((read, failure)) = result {
        panic!("{what}: read_exactly gave up after {read} bytes: {failure}");
    }
    assert!(
        buf == expected,
        "{what}: the buffer holds {buf:?} instead of {expected:?}"
    );
}

#[track_caller]
fn assert_ended(
    (result, buf): &Seen,
    filled: &str,
    count: usize,
    cause: impl Into<io::Error>,
    what: &str,
) {
    let Err((read, failure)) = result else {
        panic!("{what}: read_exactly returned Ok, and the buffer holds {buf:?}");
    };
    let cause = Failure::from(cause.into());
    let same = match (failure, &cause) {
        // A kind made up by the exercise may say what it likes.
        (Failure::Kind { kind, .. }, Failure::Kind { kind: expected, .. }) => kind == expected,
        _ => *failure == cause,
    };
    assert!(same, "{what}: the cause is {failure} instead of {cause}");
    assert!(
        *read == count,
        "{what}: {count} bytes came, and read_exactly reports {read}"
    );
    assert!(
        buf == filled,
        "{what}: the buffer holds {buf:?} instead of {filled:?}"
    );
}

/// How many bytes each call asked for.
fn asked(reads: &Calls) -> Vec<u64> {
    reads.iter().map(|call| call.args[2]).collect()
}
