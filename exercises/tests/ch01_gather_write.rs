//! The list of buffers is what the kernel is given, and how far it came what it answers: both are seen in the trace.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch01_system_calls/gather_write.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch01_system_calls/gather_write.rs")]
mod gather_write;

use gather_write::{read_scattered_at, write_gathered};
use libc::{EAGAIN, EBADF, EINTR, EINVAL, EIO, ENOSPC, EPIPE, ESPIPE};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use observe::{Action, Child, Failure, Fault, Scratch, assert_seen};
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek};
use std::os::fd::AsFd;
use std::time::Duration;

/// Where a wrong loop has no end.
const LIMIT: Duration = Duration::from_secs(5);
const MESSAGE: [&[u8]; 4] = [b"HTTP/1.1 ", b"200", b" OK", b"\r\n"];
const LENGTH: usize = 17;
const TEXT: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

#[test]
fn many_buffers_are_one_call() {
    if !observe::needs("ptrace") {
        return;
    }
    let (mut reader, writer) = io::pipe().unwrap();
    let run = Child::new()
        .keep(&writer)
        .traced()
        .run(|| write(&writer, &MESSAGE));
    drop(writer);
    let calls = run.calls.without_runtime();
    assert_written(&run.returned(), "4 buffers");
    assert_piped(&mut reader, &MESSAGE.concat(), "4 buffers");
    assert!(
        calls.names() == ["writev"],
        "4 buffers were written by {} instead of one writev",
        calls.in_a_line()
    );
    let given = calls[0].args[2];
    assert!(
        given == 4,
        "4 buffers were to be written, and the kernel was given {given}: they were copied first"
    );
    assert_seen!("ch01_gather_write__one_call", calls);
}

#[test]
fn short_writes_go_on_inside_a_buffer() {
    if !observe::needs("ptrace") {
        return;
    }
    // Every place where a call may end.
    for taken in 1..LENGTH as u64 {
        let (mut reader, writer) = io::pipe().unwrap();
        let run = Child::new()
            .keep(&writer)
            .limit(LIMIT)
            .fault(Fault::new("writev", Action::Short(taken)))
            .run(|| write(&writer, &MESSAGE));
        drop(writer);
        let calls = run.calls.of("writev");
        let what = format!("4 buffers, of which the kernel took {taken} bytes first");
        assert_written(&run.returned(), &what);
        assert_piped(&mut reader, &MESSAGE.concat(), &what);
        assert!(
            calls.len() == 2,
            "{what}: the calls were {}, not one more for all the rest",
            calls.in_a_line()
        );
    }
    let (mut reader, writer) = io::pipe().unwrap();
    let run = Child::new()
        .keep(&writer)
        .fault(Fault::new("writev", Action::Short(5)).always())
        .run(|| write(&writer, &MESSAGE));
    drop(writer);
    let calls = run.calls.of("writev");
    assert_written(&run.returned(), "4 buffers, by 5 bytes");
    assert_piped(&mut reader, &MESSAGE.concat(), "4 buffers, by 5 bytes");
    assert_seen!("ch01_gather_write__short_writes", calls);
}

#[test]
fn empty_buffers_write_nothing() {
    if !observe::needs("ptrace") {
        return;
    }
    let empty: &[&[u8]] = &[b"", b""];
    for (what, buffers) in [("no buffers", &[][..]), ("only empty buffers", empty)] {
        let (mut reader, writer) = io::pipe().unwrap();
        let run = Child::new()
            .keep(&writer)
            .limit(LIMIT)
            .traced()
            .run(|| write(&writer, buffers));
        drop(writer);
        let calls = run.calls.only(&["writev", "write"]);
        assert_written(&run.returned(), what);
        assert_piped(&mut reader, b"", what);
        assert!(
            calls.is_empty(),
            "{what}: no byte is missing, and the calls were {}",
            calls.in_a_line()
        );
    }
    // More in a row than one call takes: a call for the first of them writes nothing.
    let mut buffers: Vec<&[u8]> = vec![b""; 1500];
    buffers[1200] = b"first";
    buffers.push(b"last");
    buffers.push(b"");
    let (mut reader, writer) = io::pipe().unwrap();
    let run = Child::new()
        .keep(&writer)
        .limit(LIMIT)
        .run(|| write(&writer, &buffers));
    drop(writer);
    let what = "two buffers and 1500 empty ones";
    assert_written(&run.returned(), what);
    assert_piped(&mut reader, b"firstlast", what);
}

#[test]
fn long_lists_go_in_pieces_of_1024() {
    if !observe::needs("ptrace") {
        return;
    }
    let bytes: Vec<u8> = (0..2500).map(|number| b'a' + (number % 26) as u8).collect();
    let buffers: Vec<&[u8]> = bytes.chunks(1).collect();
    let (mut reader, writer) = io::pipe().unwrap();
    let run = Child::new()
        .keep(&writer)
        .limit(LIMIT)
        .fault(Fault::new("writev", Action::Short(1000)).nth(2))
        .run(|| write(&writer, &buffers));
    drop(writer);
    let calls = run.calls.of("writev");
    assert_written(&run.returned(), "2500 buffers");
    assert_piped(&mut reader, &bytes, "2500 buffers of one byte");
    let offered: Vec<u64> = calls.iter().map(|call| call.args[2]).collect();
    assert!(
        offered == [1024, 1024, 476],
        "of 2500 buffers the calls were given {offered:?}, not 1024, then 1024 of which 1000 were taken, and 476"
    );
}

#[test]
fn errors_say_how_much_was_written() {
    let (mut reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let half = vec![b'x'; 500_000];
    let full = Child::new()
        .keep(&writer)
        .limit(LIMIT)
        .run(|| write(&writer, &[&half, &half]))
        .returned();
    drop(writer);
    let mut piped = Vec::new();
    reader.read_to_end(&mut piped).unwrap();
    let what = "a non-blocking pipe that is full";
    assert_stopped(&full, EAGAIN, piped.len(), what);

    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let read_only = File::open("/dev/null").unwrap();
    let child = Child::new().keep(&writer).keep(&read_only);
    let (closed, bad) = child
        .run(|| (write(&writer, &MESSAGE), write(&read_only, &MESSAGE)))
        .returned();
    assert_stopped(&closed, EPIPE, 0, "a pipe that nobody reads");
    assert_stopped(&bad, EBADF, 0, "a descriptor open for reading only");

    if !observe::needs("ptrace") {
        return;
    }
    let (mut reader, writer) = io::pipe().unwrap();
    let run = Child::new()
        .keep(&writer)
        .limit(LIMIT)
        .fault(Fault::new("writev", Action::Fail(EINTR)).times(2))
        .fault(Fault::new("writev", Action::Short(11)).nth(3))
        .fault(Fault::new("writev", Action::Fail(EINTR)).nth(4))
        .fault(Fault::new("writev", Action::Fail(ENOSPC)).nth(5).times(1))
        .run(|| write(&writer, &MESSAGE));
    drop(writer);
    let calls = run.calls.of("writev");
    let what = "11 bytes between interruptions, and then a full disk";
    assert_stopped(&run.returned(), ENOSPC, 11, what);
    assert_piped(&mut reader, &MESSAGE.concat()[..11], what);
    assert!(
        calls.len() == 5,
        "{what}: the calls were {}, none of them to come after ENOSPC",
        calls.in_a_line()
    );
}

#[test]
fn part_of_a_file_is_scattered() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let mut file = File::open(scratch.write("text", TEXT)).unwrap();
    file.seek(io::SeekFrom::Start(7)).unwrap();
    let run = Child::new()
        .keep(&file)
        .traced()
        .run(|| read(&file, &[2, 3, 5], 4));
    let calls = run.calls.without_runtime();
    let what = "buffers of 2, 3 and 5 bytes";
    assert_read(&run.returned(), 10, "ef ghi jklmn", what);
    assert!(
        calls.names() == ["preadv"],
        "10 bytes in three buffers were read by {} instead of one preadv",
        calls.in_a_line()
    );
    let position = file.stream_position().unwrap();
    assert!(
        position == 7,
        "the descriptor's offset was 7, and is {position} now"
    );
    assert_seen!("ch01_gather_write__scattered", calls);

    let run = Child::new()
        .keep(&file)
        .traced()
        .run(|| read(&file, &[0, 0], 4));
    let calls = run.calls.without_runtime();
    assert_read(&run.returned(), 0, "", "only empty buffers");
    assert!(
        calls.is_empty(),
        "only empty buffers: no byte is missing, and the calls were {}",
        calls.in_a_line()
    );
}

#[test]
fn short_reads_are_no_end() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let file = File::open(scratch.write("text", TEXT)).unwrap();
    let run = Child::new()
        .keep(&file)
        .limit(LIMIT)
        .fault(Fault::new("preadv", Action::Short(3)).times(2))
        .fault(Fault::new("preadv", Action::Fail(EINTR)).nth(3))
        .run(|| read(&file, &[4, 4, 4], 1));
    let calls = run.calls.of("preadv");
    let what = "three buffers of 4 bytes, by 3 and 3 and the rest";
    assert_read(&run.returned(), 12, "bcde fghi jklm", what);
    assert_seen!("ch01_gather_write__short_reads", calls);

    let long = vec![1; 1500];
    let bytes: Vec<u8> = (0..1500).map(|number| b'a' + (number % 26) as u8).collect();
    let alphabet = File::open(scratch.write("alphabet", &bytes)).unwrap();
    let (end, behind, list) = Child::new()
        .keep(&file)
        .keep(&alphabet)
        .limit(LIMIT)
        .run(|| {
            (
                read(&file, &[4, 4, 4], 20),
                read(&file, &[4], 26),
                read(&alphabet, &long, 0),
            )
        })
        .returned();
    assert_read(&end, 6, "uvwx yz.. ....", "12 bytes where 6 are left");
    assert_read(&behind, 0, "....", "4 bytes from the end on");
    let spaced: Vec<String> = bytes.iter().map(|it| char::from(*it).to_string()).collect();
    assert_read(&list, 1500, &spaced.join(" "), "1500 buffers of one byte");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let (pipe, _writer) = io::pipe().unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    let (pipe, beyond) = Child::new()
        .keep(&pipe)
        .keep(&file)
        .run(|| (read(&pipe, &[4], 0), read(&file, &[4], 1 << 63)))
        .returned();
    assert_failed(&pipe, ESPIPE, "a pipe");
    assert_failed(&beyond, EINVAL, "an offset of 2^63");
    if !observe::needs("ptrace") {
        return;
    }
    let broken = Child::new()
        .keep(&file)
        .limit(LIMIT)
        .fault(Fault::new("preadv", Action::Short(3)))
        .fault(Fault::new("preadv", Action::Fail(EIO)).nth(2).always())
        .run(|| read(&file, &[4, 4], 0))
        .returned();
    assert_failed(&broken, EIO, "3 bytes and then a broken disk");
}

/// Runs in the child.
fn write(fd: impl AsFd, buffers: &[&[u8]]) -> Result<(), (usize, Failure)> {
    write_gathered(fd, buffers).map_err(|it| (it.written, Failure::from(it.cause)))
}

/// Runs in the child: the answer, and what the buffers of these lengths hold. They held dots before.
type Seen = (Result<usize, Failure>, String);

fn read(fd: impl AsFd, lengths: &[usize], offset: u64) -> Seen {
    let mut buffers: Vec<Vec<u8>> = lengths.iter().map(|length| vec![b'.'; *length]).collect();
    let mut slices: Vec<&mut [u8]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
    let answer = observe::errno(read_scattered_at(fd, &mut slices, offset));
    let filled = buffers.iter().filter(|buffer| !buffer.is_empty());
    let text: Vec<_> = filled.map(|it| String::from_utf8_lossy(it)).collect();
    (answer, text.join(" "))
}

#[track_caller]
fn assert_written(answer: &Result<(), (usize, Failure)>, what: &str) {
    if let Err((written, failure)) = answer {
        panic!("{what}: write_gathered gave up after {written} bytes: {failure}");
    }
}

#[track_caller]
fn assert_stopped(answer: &Result<(), (usize, Failure)>, errno: i32, count: usize, what: &str) {
    let expected = observe::Errno(errno).name();
    match answer {
        Ok(()) => panic!("{what}: write_gathered returned Ok instead of {expected}"),
        Err((written, failure)) => {
            assert!(
                failure.is(errno),
                "{what}: the cause is {failure} instead of {expected}"
            );
            assert!(
                *written == count,
                "{what}: {count} bytes were written, and write_gathered reports {written}"
            );
        }
    }
}

/// The pipe, which nobody writes to any more, holds exactly this.
#[track_caller]
fn assert_piped(reader: &mut PipeReader, expected: &[u8], what: &str) {
    let mut piped = Vec::new();
    reader.read_to_end(&mut piped).unwrap();
    let shown = |bytes: &[u8]| bytes[..bytes.len().min(60)].escape_ascii().to_string();
    assert!(
        piped == expected,
        "{what}: \"{}\" came out ({} bytes) instead of \"{}\" ({} bytes)",
        shown(&piped),
        piped.len(),
        shown(expected),
        expected.len()
    );
}

#[track_caller]
fn assert_read((answer, text): &Seen, count: usize, expected: &str, what: &str) {
    match answer {
        Err(failure) => panic!("{what}: read_scattered_at gave up: {failure}"),
        Ok(read) => assert!(
            *read == count,
            "{what}: {count} bytes were there, and read_scattered_at returned {read}"
        ),
    }
    let shown = |text: &str| text.chars().take(60).collect::<String>();
    assert!(
        text == expected,
        "{what}: the buffers hold {:?} instead of {:?}",
        shown(text),
        shown(expected)
    );
}

#[track_caller]
fn assert_failed((answer, _): &Seen, errno: i32, what: &str) {
    let expected = observe::Errno(errno).name();
    match answer {
        Ok(read) => panic!("{what}: read_scattered_at returned {read} instead of {expected}"),
        Err(failure) => assert!(
            failure.is(errno),
            "{what}: read_scattered_at gave {failure} instead of {expected}"
        ),
    }
}
