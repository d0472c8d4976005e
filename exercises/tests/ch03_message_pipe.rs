//! Messages through a pipe are seen from the other end: byte by byte where one end is the exercise, message by
//! message where both are.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/message_pipe.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/message_pipe.rs")]
mod message_pipe;

mod messages;

use message_pipe::{Receiver, Sender};
use messages::{
    LIMIT, LONGEST, Received, again, assert_received, assert_sent, frame, hex, is_kind, message,
    next, quoted, receive, send, send_all, told, words,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use observe::{Action, Child, Failure, Fault, Scratch, assert_seen, errno, kill_at_every_call};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::Duration;

#[test]
fn frame_is_the_length_and_the_message() {
    let messages: [&[u8]; 4] = [b"hello", b"", &[0, 255, b'\n', 0], &[b'x'; 300]];
    let (mut reader, writer) = io::pipe().unwrap();
    let sent = Child::new()
        .keep(&writer)
        .run(move || send_all(&Sender::new(writer), &messages))
        .returned();
    assert_sent(&sent);
    let mut wire = Vec::new();
    reader.read_to_end(&mut wire).unwrap();
    let mut rest = &wire[..];
    let mut seen = Vec::new();
    for message in messages {
        let expected = frame(message);
        let (sent, after) = rest.split_at(expected.len().min(rest.len()));
        assert!(
            sent == expected,
            "{} was sent as {} instead of {}",
            quoted(message),
            hex(sent),
            hex(&expected)
        );
        seen.push(format!("{}: {}", quoted(message), hex(sent)));
        rest = after;
    }
    assert!(
        rest.is_empty(),
        "behind the last message {} more bytes were sent",
        rest.len()
    );
    assert_seen!("ch03_message_pipe__wire", seen);
}

#[test]
fn messages_come_as_they_were_sent_until_the_pipe_ends() {
    let longest: Vec<u8> = (0..LONGEST).map(|at| at as u8).collect();
    let messages: [&[u8]; 6] = [b"one", b"", b"two", &longest, &[0; 255], &[1; 256]];
    let (reader, writer) = io::pipe().unwrap();
    let (sent, received) = Child::new()
        .keep(&reader)
        .keep(&writer)
        .limit(LIMIT)
        .run(move || {
            let (sender, mut receiver) = (Sender::new(writer), Receiver::new(reader));
            let sent = send_all(&sender, &messages);
            drop(sender);
            let received: Vec<Received> = (0..8).map(|_| errno(receiver.recv())).collect();
            (sent, received)
        })
        .returned();
    assert_sent(&sent);
    for (at, expected) in messages.into_iter().enumerate() {
        assert_received(&received[at], expected, &format!("message {}", at + 1));
    }
    for end in &received[messages.len()..] {
        assert!(
            *end == Ok(None),
            "every writer has closed the pipe, and recv returned {}",
            words(end)
        );
    }
    let frames = [frame(b"one"), frame(b"two")].concat();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&frames).unwrap();
    let received = receive(&reader, 2);
    assert_received(&received[0], b"one", "the first of two that came at once");
    assert_received(
        &received[1],
        b"two",
        "the second, with the pipe open and empty",
    );
}

#[test]
fn message_is_one_write_of_at_most_pipe_buf() {
    let (_reader, writer) = io::pipe().unwrap();
    let too_long = Child::new()
        .keep(&writer)
        .run(|| errno(Sender::new(writer.try_clone().unwrap()).send(&[0; LONGEST + 1])))
        .returned();
    assert!(
        too_long
            .as_ref()
            .is_err_and(|failure| failure.is(libc::EMSGSIZE)),
        "a message of {} bytes gave {} instead of EMSGSIZE",
        LONGEST + 1,
        told(&too_long)
    );
    if !observe::needs("ptrace") {
        return;
    }
    let lengths = [5, 0, LONGEST, LONGEST + 1];
    let run = Child::new().keep(&writer).traced().run(move || {
        let sender = Sender::new(writer);
        lengths.map(|length| sender.send(&vec![b'x'; length]).is_ok())
    });
    let writes = run.calls.on("pipe1:write").only(&[
        "write", "writev", "pwrite", "pwritev", "splice", "vmsplice", "sendfile", "tee",
    ]);
    run.returned();
    assert!(
        writes.len() == 3,
        "of messages of 5, 0, {LONGEST} and {} bytes three can be sent, and {} writes were made:\n{writes}",
        LONGEST + 1,
        writes.len()
    );
    let written: Vec<_> = writes.iter().map(|call| call.result).collect();
    let expected = [7, 2, libc::PIPE_BUF].map(|count| Some(Ok(count as i64)));
    assert!(
        written == expected,
        "messages of 5, 0 and {LONGEST} bytes were not written each by one call:\n{writes}"
    );
    let shown: Vec<String> = [5, 0, LONGEST]
        .iter()
        .zip(&writes[..])
        .map(|(length, call)| match call.result {
            Some(Ok(count)) => format!("message of {length} bytes: one call, which wrote {count}"),
            _ => format!("message of {length} bytes: {call}"),
        })
        .chain([format!("message of {} bytes: no call", LONGEST + 1)])
        .collect();
    assert_seen!("ch03_message_pipe__one_write", shown);
}

#[test]
fn frame_in_pieces_is_received_whole() {
    // A writer that is not done, seen by a reader that can't wait: it goes on where it stopped.
    let whole = [frame(b"first"), frame(b"second")].concat();
    for cut in 1..whole.len() {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let (before, after) = whole.split_at(cut);
        let received = Child::new()
            .keep(&reader)
            .keep(&writer)
            .limit(LIMIT)
            .run(|| {
                let mut receiver = Receiver::new(reader.try_clone().unwrap());
                writer.write_all(before).unwrap();
                let mut received = vec![];
                while received.len() < 3 && !received.iter().any(Result::is_err) {
                    received.push(errno(receiver.recv()));
                }
                writer.write_all(after).unwrap();
                while received.len() < 3 {
                    received.push(errno(receiver.recv()));
                }
                received
            })
            .returned();
        let what = format!("{} in a non-blocking pipe", hex(before));
        let Some(empty) = received.iter().position(again) else {
            panic!("with {what}, recv did not fail with EAGAIN");
        };
        let mut given = received;
        drop(given.remove(empty));
        for (given, expected) in given.iter().zip([b"first".as_slice(), b"second"]) {
            assert_received(given, expected, &format!("{what}, and the rest later"));
        }
    }
    if !observe::needs("ptrace") {
        return;
    }
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&whole).unwrap();
    let received = Child::new()
        .keep(&reader)
        .limit(LIMIT)
        .fault(Fault::new("read", Action::Short(1)).always())
        .run(|| next(&reader, 2))
        .returned();
    let how = "when read(2) gave one byte at a time, a message";
    assert_received(&received[0], b"first", how);
    assert_received(&received[1], b"second", how);
}

#[test]
fn interrupted_calls_are_made_again() {
    if !observe::needs("ptrace") {
        return;
    }
    let (reader, writer) = io::pipe().unwrap();
    let interrupted = |call: &str, nth| {
        Fault::new(call, Action::Fail(libc::EINTR))
            .nth(nth)
            .times(2)
    };
    let (sent, received) = Child::new()
        .keep(&reader)
        .keep(&writer)
        .limit(LIMIT)
        .fault(interrupted("write", 1))
        .fault(interrupted("writev", 1))
        .fault(interrupted("read", 1))
        .fault(interrupted("readv", 1))
        .run(move || {
            let sent = errno(Sender::new(writer).send(b"again"));
            (sent, next(&reader, 2))
        })
        .returned();
    if let Err(failure) = sent {
        panic!("a write(2) was interrupted, and send failed with {failure}");
    }
    assert_received(
        &received[0],
        b"again",
        "after interrupted calls, the message",
    );
    assert!(
        received[1] == Ok(None),
        "a message whose write(2) was interrupted was sent more than once"
    );
    // The first byte has come by then.
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&frame(b"middle")).unwrap();
    let received = Child::new()
        .keep(&reader)
        .limit(LIMIT)
        .fault(Fault::new("read", Action::Short(1)).times(3))
        .fault(interrupted("read", 4))
        .run(|| next(&reader, 1))
        .returned();
    assert_received(
        &received[0],
        b"middle",
        "interrupted in the middle, the message",
    );
}

#[test]
fn torn_or_foreign_frames_are_errors() {
    let whole = frame(b"message");
    for cut in 1..whole.len() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer
            .write_all(&[&frame(b"whole")[..], &whole[..cut]].concat())
            .unwrap();
        drop(writer);
        let received = receive(&reader, 2);
        assert_received(&received[0], b"whole", "the message before a torn one");
        assert!(
            is_kind(&received[1], ErrorKind::UnexpectedEof),
            "the pipe ended after {} of the {} bytes of a frame, and recv returned {} instead of UnexpectedEof",
            cut,
            whole.len(),
            words(&received[1])
        );
    }
    // The writer is still there: whoever waits for the bytes waits for ever.
    let (reader, mut writer) = io::pipe().unwrap();
    writer
        .write_all(&(LONGEST as u16 + 1).to_le_bytes())
        .unwrap();
    let received = receive(&reader, 1);
    assert!(
        is_kind(&received[0], ErrorKind::InvalidData),
        "a frame claimed {} bytes, and recv returned {} instead of InvalidData",
        LONGEST + 1,
        words(&received[0])
    );
}

#[test]
fn closed_reader_is_epipe_and_full_pipe_is_eagain() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let sent = send(&writer, b"nobody");
    assert!(
        sent.as_ref().is_err_and(|failure| failure.is(libc::EPIPE)),
        "nobody reads the pipe, and send returned {} instead of EPIPE",
        told(&sent)
    );

    let (mut reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let message = [b'x'; LONGEST / 2];
    let (count, failure) = Child::new()
        .keep(&writer)
        .limit(LIMIT)
        .run(|| {
            let sender = Sender::new(writer.try_clone().unwrap());
            let mut count = 0;
            loop {
                match errno(sender.send(&message)) {
                    Ok(()) => count += 1,
                    Err(failure) => return (count, failure),
                }
            }
        })
        .returned();
    assert!(
        failure.is(libc::EAGAIN),
        "a non-blocking pipe was full, and send failed with {failure} instead of EAGAIN"
    );
    drop(writer);
    let mut wire = Vec::new();
    reader.read_to_end(&mut wire).unwrap();
    assert!(
        wire == frame(&message).repeat(count),
        "{count} messages of {} bytes were sent until the pipe was full, and {} bytes are in it",
        message.len(),
        wire.len()
    );
}

#[test]
fn killed_writer_leaves_whole_frames() {
    if !observe::needs("ptrace") {
        return;
    }
    let messages = [b"first".as_slice(), &[b'x'; LONGEST], b"", b"last"];
    let points = kill_at_every_call(
        || {
            let scratch = Scratch::new();
            let path = scratch.join("fifo");
            nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
            let reader = File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path)
                .unwrap();
            (scratch, path, reader)
        },
        |(_, path, _)| {
            let sender = Sender::new(File::options().write(true).open(path).unwrap());
            let _ = send_all(&sender, &messages);
        },
        |(_, _, reader), crash| {
            let mut wire = Vec::new();
            let _ = (&*reader).read_to_end(&mut wire);
            let all: Vec<Vec<u8>> = messages.iter().map(|message| frame(message)).collect();
            let whole = (0..=all.len()).any(|count| wire == all[..count].concat());
            assert!(
                whole,
                "{crash}: {} bytes are in the pipe, {} … at the end: no whole number of frames",
                wire.len(),
                hex(&wire[wire.len().saturating_sub(4)..])
            );
        },
    );
    assert!(
        points > messages.len(),
        "{} messages were sent by {points} system calls",
        messages.len()
    );
}

/// Writers at once, two threads of each process, and the messages of each.
const WRITERS: usize = 6;
const MESSAGES: usize = 200;

#[test]
fn many_writers_never_mix() {
    let (reader, writer) = io::pipe().unwrap();
    // As small as a pipe can be: it is full all the time, and every writer waits for room.
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(libc::PIPE_BUF as i32)).unwrap();
    let limit = Duration::from_secs(40);
    let process = |first| {
        let pipe = writer.try_clone().unwrap();
        Child::new().keep(&pipe).limit(limit).start(move || {
            let sender = Sender::new(pipe);
            let send = |writer| {
                let messages: Vec<_> = (0..MESSAGES).map(|at| message(writer, at)).collect();
                send_all(&sender, &messages)
            };
            thread::scope(|scope| {
                let threads = [first, first + 1].map(|writer| scope.spawn(move || send(writer)));
                threads.map(|thread| thread.join().unwrap())
            })
        })
    };
    let processes: Vec<_> = (0..WRITERS).step_by(2).map(process).collect();
    drop(writer);
    let received = Child::new().keep(&reader).limit(limit).run(move || {
        let mut receiver = Receiver::new(reader);
        let mut next = [0; WRITERS];
        loop {
            let given = match receiver.recv() {
                Ok(Some(given)) => given,
                Ok(None) => return Ok(next),
                Err(error) => return Err(format!("failed with {}", Failure::from(error))),
            };
            let from = *given.first().unwrap_or(&255) as usize;
            if next
                .get(from)
                .is_none_or(|number| given != message(from, *number))
            {
                return Err(format!("gave {}, which nobody sent then", quoted(&given)));
            }
            next[from] += 1;
        }
    });
    for process in processes {
        process.wait().returned().iter().for_each(assert_sent);
    }
    match received.returned() {
        Ok(counts) => assert!(
            counts == [MESSAGES; WRITERS],
            "{WRITERS} writers sent {MESSAGES} messages each, and {counts:?} came"
        ),
        Err(wrong) => panic!("{WRITERS} writers sent at once, and recv {wrong}"),
    }
}
