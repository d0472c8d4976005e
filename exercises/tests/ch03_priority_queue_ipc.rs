//! A message queue is looked at from its other end, which the test has open: what came, in which order, what is left.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/priority_queue_ipc.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/priority_queue_ipc.rs")]
mod priority_queue_ipc;

mod queueing;

use std::fs::{self, File};
use std::io::{self, Write};
use std::time::Duration;

use libc::{EEXIST, EINVAL, EMSGSIZE, ENOENT, SIGUSR1};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use observe::{
    Arg, Calls, Child, Errno, Failure, Process, Scratch, assert_seen, errno, kill_at_every_call,
    needs,
};
use priority_queue_ipc::{Message, Queue, remove};
use queueing::{Name, Peer};

/// What anything may take that has to happen. Added to now, its nanoseconds are more than a second holds.
const PATIENCE: Duration = Duration::new(29, 999_999_999);

/// Long enough to be seen to wait.
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn message_comes_out_as_it_went_in() {
    if !needs("mqueue") {
        return;
    }
    let name = Name::new();
    let large: Vec<u8> = (0..largest()).map(|at| at as u8).collect();
    let messages: [(&str, &[u8], u32); 4] = [
        ("a word", b"hello", 1),
        ("no byte at all", b"", 0),
        ("bytes that are no text", b"\0\xff\n\0", 32767),
        ("as many bytes as the queue allows", &large, 7),
    ];
    Child::new()
        .run(|| errno(Queue::create(name.get(), 1, large.len())).map(drop))
        .returned()
        .unwrap_or_else(|failure| panic!("create failed with {failure}"));
    // What another program hears, and what it says.
    let there = Peer::open(&name).expect("the queue that create made is there");
    for (what, bytes, priority) in messages {
        let sent = Child::new()
            .run(|| errno(Queue::open(name.get())?.send(bytes, priority, PATIENCE)))
            .returned();
        if let Err(failure) = sent {
            panic!("sending {what} failed with {failure}");
        }
        let got = there.take();
        assert!(
            got.as_ref() == Some(&(priority, bytes.to_vec())),
            "{what} was sent with priority {priority}, and another program received {}",
            told(got)
        );
        there.put(bytes, priority);
        let got = Child::new()
            .run(|| errno(Queue::open(name.get())?.receive(PATIENCE)).map(pair))
            .returned()
            .unwrap_or_else(|failure| panic!("receiving {what} failed with {failure}"));
        assert!(
            got == (priority, bytes.to_vec()),
            "another program sent {what} with priority {priority}, and receive gave {}",
            told(Some(got))
        );
    }
}

#[test]
fn urgent_first_and_equals_in_their_order() {
    if !needs("mqueue") {
        return;
    }
    let name = Name::new();
    let sent = [
        ("lunch", 0),
        ("mail", 5),
        ("fire", 32767),
        ("more mail", 5),
        ("tea", 0),
        ("phone", 9),
        ("last mail", 5),
        ("flood", 32767),
    ];
    let through = || -> io::Result<Vec<_>> {
        let queue = Queue::create(name.get(), sent.len(), 16)?;
        for (text, priority) in sent {
            queue.send(text.as_bytes(), priority, PATIENCE)?;
        }
        sent.iter()
            .map(|_| queue.receive(PATIENCE).map(pair))
            .collect()
    };
    let got = Child::new().run(|| errno(through())).returned();
    let got = got.unwrap_or_else(|failure| panic!("sending and receiving failed with {failure}"));
    let lines = got.iter().map(|(priority, bytes)| {
        format!("priority {priority}: {}", String::from_utf8_lossy(bytes))
    });
    assert_seen!("ch03_priority_queue_ipc__order", lines.collect::<Vec<_>>());
}

#[test]
fn full_and_empty_queue_end_in_etimedout() {
    if !needs("mqueue") {
        return;
    }
    let name = Name::new();
    let [zero, short] = [Duration::ZERO, SHORT];
    let (attempts, rest) = Child::new()
        .run(|| {
            let queue = Queue::create(name.get(), 2, 16).unwrap();
            let mut attempts = Vec::new();
            let mut tries = |what: &str, result| attempts.push((what.to_owned(), errno(result)));
            tries(
                "receive from an empty queue, without waiting",
                queue.receive(zero).map(drop),
            );
            tries(
                "receive from an empty queue, for 200 ms",
                queue.receive(short).map(drop),
            );
            tries(
                "send to a queue with room, without waiting",
                queue.send(b"one", 1, zero),
            );
            tries(
                "send to a queue with room, for 200 ms",
                queue.send(b"two", 1, short),
            );
            tries(
                "send to a full queue, without waiting",
                queue.send(b"three", 9, zero),
            );
            tries(
                "send to a full queue, for 200 ms",
                queue.send(b"four", 9, short),
            );
            tries(
                "receive from a full queue, without waiting",
                queue.receive(zero).map(drop),
            );
            let rest = errno(queue.receive(short)).map(pair);
            tries(
                "receive from a queue that is empty again",
                queue.receive(zero).map(drop),
            );
            (attempts, rest)
        })
        .returned();
    assert!(
        rest == Ok((1, b"two".to_vec())),
        "a queue was full with \"one\" and \"two\", and after \"one\" came {}",
        said(rest)
    );
    let lines = attempts
        .iter()
        .map(|(what, result)| format!("{what}: {}", done(result)));
    assert_seen!("ch03_priority_queue_ipc__full", lines.collect::<Vec<_>>());
}

#[test]
fn whoever_waits_gets_what_comes() {
    if !needs("mqueue") {
        return;
    }
    for (what, timeout) in [
        ("30 s less 1 ns", PATIENCE),
        ("Duration::MAX", Duration::MAX),
        ("i64::MAX seconds", Duration::from_secs(i64::MAX as u64)),
    ] {
        let name = Name::new();
        let there = Peer::create(&name, 1, 16);
        let reader = Child::new().limit(PATIENCE).start(|| {
            errno(Queue::open(name.get()).and_then(|queue| queue.receive(timeout))).map(pair)
        });
        if !reader.falls_asleep(PATIENCE) {
            let got = reader.wait().returned();
            panic!(
                "receive from an empty queue, with a timeout of {what}, did not wait: it gave {}",
                said(got)
            );
        }
        there.put(b"late", 3);
        let got = reader.wait().returned();
        assert!(
            got == Ok((3, b"late".to_vec())),
            "a message came while receive waited with a timeout of {what}, and it gave {}",
            said(got)
        );
        there.put(b"in the way", 0);
        let writer = Child::new().limit(PATIENCE).start(|| {
            errno(Queue::open(name.get()).and_then(|queue| queue.send(b"after", 0, timeout)))
        });
        if !writer.falls_asleep(PATIENCE) {
            let sent = writer.wait().returned();
            panic!(
                "send to a full queue, with a timeout of {what}, did not wait: it gave {}",
                done(&sent)
            );
        }
        let first = there.take();
        let sent = writer.wait().returned();
        let second = there.take();
        assert!(
            sent == Ok(()) && second == Some((0, b"after".to_vec())),
            "{} was taken out while send waited with a timeout of {what}: it gave {}, and the next was {}",
            told(first),
            sent.as_ref()
                .map_or_else(Failure::to_string, |()| "Ok".to_owned()),
            told(second)
        );
    }
}

#[test]
fn a_signal_makes_the_wait_neither_shorter_nor_longer() {
    if !needs("mqueue") {
        return;
    }
    let name = Name::new();
    let there = Peer::create(&name, 1, 16);
    // Before anything is traced: an exercise that was not begun says so itself.
    there.put(b"x", 0);
    let plain = Child::new()
        .run(|| errno(Queue::open(name.get()).and_then(|queue| queue.receive(PATIENCE))).map(drop));
    plain.returned().unwrap();
    if !needs("ptrace") {
        return;
    }
    for [waits, call] in [["receive", "mq_timedreceive"], ["send", "mq_timedsend"]] {
        let sends = waits == "send";
        if sends {
            there.put(b"in the way", 0);
        }
        let child = Child::new()
            .limit(PATIENCE)
            .only(&[call, "poll", "sleep", "select", "epoll_wait"])
            .start(|| {
                catch_sigusr1();
                let queue = errno(Queue::open(name.get()))?;
                if sends {
                    errno(queue.send(b"at last", 2, PATIENCE)).map(|()| None)
                } else {
                    errno(queue.receive(PATIENCE)).map(|message| Some(pair(message)))
                }
            });
        let mut interrupted = 0;
        for _ in 0..3 {
            if !child.falls_asleep(PATIENCE) {
                break;
            }
            // So much later every deadline is that is counted anew.
            std::thread::sleep(Duration::from_millis(700));
            child.signal(SIGUSR1).unwrap();
            interrupted += 1;
        }
        if interrupted == 3 && child.falls_asleep(PATIENCE) {
            if sends {
                there.take();
            } else {
                there.put(b"at last", 2);
            }
        }
        let run = child.wait();
        let calls = run.calls.clone();
        let got = run.returned();
        let came = if sends { "room" } else { "a message" };
        let expected = (!sends).then(|| (2, b"at last".to_vec()));
        assert!(
            got == Ok(expected),
            "three signals came while {waits} waited, then {came}, and it gave {}",
            got.map_or_else(|failure| failure.to_string(), told)
        );
        let others = calls.without(&[call]);
        assert!(
            others.is_empty(),
            "{waits} waited by other calls than {call}: {others}"
        );
        assert!(
            calls.len() == 4,
            "three signals interrupted the wait, and {call}(2) was called {} times instead of 4:\n{calls}",
            calls.len()
        );
        let moments = moments(&calls);
        let spread = moments
            .iter()
            .max()
            .unwrap()
            .abs_diff(*moments.iter().min().unwrap());
        assert!(
            spread < Duration::from_millis(500),
            "the moment at which the wait of {waits} is over was moved by {spread:?} after three signals"
        );
    }
}

#[test]
fn errno_of_the_kernel_is_passed_on() {
    if !needs("mqueue") {
        return;
    }
    let (there, absent, fresh) = (Name::new(), Name::new(), Name::new());
    let peer = Peer::create(&there, 3, 16);
    peer.put(b"kept", 1);
    let attempts = Child::new()
        .run(|| {
            let mut attempts = Vec::new();
            let mut tries = |what: &str, expected, result: io::Result<()>| {
                attempts.push((what.to_owned(), Errno(expected), errno(result)));
            };
            let name = fresh.get();
            let create = |name, capacity, size| Queue::create(name, capacity, size).map(drop);
            tries(
                "create, of a name that is taken",
                EEXIST,
                create(there.get(), 1, 1),
            );
            tries(
                "create, of a name without a slash",
                EINVAL,
                create(c"syslab", 1, 1),
            );
            tries("create, for 0 messages", EINVAL, create(name, 0, 1));
            tries(
                "create, for messages of 0 bytes",
                EINVAL,
                create(name, 1, 0),
            );
            tries(
                "create, for usize::MAX messages",
                EINVAL,
                create(name, usize::MAX, 1),
            );
            tries(
                "create, for messages of usize::MAX bytes",
                EINVAL,
                create(name, 1, usize::MAX),
            );
            tries(
                "open, of a name that nobody took",
                ENOENT,
                Queue::open(absent.get()).map(drop),
            );
            tries(
                "remove, of a name that nobody took",
                ENOENT,
                remove(absent.get()),
            );
            let queue = Queue::open(there.get()).unwrap();
            tries(
                "send of 17 bytes where 16 are allowed",
                EMSGSIZE,
                queue.send(&[0; 17], 0, SHORT),
            );
            tries(
                "send with priority 32768",
                EINVAL,
                queue.send(b"x", 32768, SHORT),
            );
            attempts
        })
        .returned();
    for (what, expected, result) in attempts {
        match result {
            Err(failure) => assert!(
                failure.is(expected.0),
                "{what}, failed with {failure} instead of {expected}"
            ),
            Ok(()) => panic!("{what}, succeeded instead of failing with {expected}"),
        }
    }
    assert!(
        peer.attributes() == (3, 16, 1) && !absent.taken(),
        "what failed has changed a queue or made one"
    );
}

#[test]
fn queue_outlives_whoever_opened_it() {
    if !needs("mqueue") {
        return;
    }
    let (kept, removed) = (Name::new(), Name::new());
    let opened = || -> io::Result<usize> {
        let before = Process::me().descriptors.numbers();
        drop(Queue::create(kept.get(), 2, 16)?);
        for _ in 0..20 {
            drop(Queue::open(kept.get())?);
        }
        Queue::open(kept.get())?.send(b"kept", 4, PATIENCE)?;
        let mut after = Process::me().descriptors.numbers();
        after.retain(|fd| !before.contains(fd));
        Ok(after.len())
    };
    let descriptors = Child::new().run(|| errno(opened())).returned();
    let descriptors = descriptors.unwrap_or_else(|failure| {
        panic!("a queue was created, then opened and dropped 21 times, which failed with {failure}")
    });
    let nameless = || {
        let queue = Queue::create(removed.get(), 2, 16)?;
        queue.send(b"nameless", 4, PATIENCE)?;
        remove(removed.get())?;
        queue.receive(PATIENCE).map(pair)
    };
    let after = Child::new().run(|| errno(nameless())).returned();
    assert!(
        descriptors == 0,
        "a queue was opened and dropped 22 times, and {descriptors} descriptors are still open"
    );
    assert!(
        after == Ok((4, b"nameless".to_vec())),
        "the name of an open queue was removed, and receive then gave {}",
        said(after)
    );
    assert!(
        !removed.taken(),
        "a queue was removed, and its name is still there"
    );
    let Ok(peer) = Peer::open(&kept) else {
        panic!("the process that created a queue has ended, and the queue is gone");
    };
    let (capacity, size, messages) = peer.attributes();
    assert_seen!(
        "ch03_priority_queue_ipc__left",
        [
            format!(
                "a queue for {capacity} messages of {size} bytes, mode {:04o}",
                peer.mode()
            ),
            format!("{messages} message in it"),
        ]
    );
}

#[test]
fn killed_reader_takes_one_message_along_at_most() {
    if !needs("mqueue") {
        return;
    }
    let sent = ["first", "second", "third", "fourth"];
    let whole = Name::new();
    let peer = Peer::create(&whole, 4, 16);
    peer.put(b"x", 0);
    let plain = Child::new().run(|| {
        errno(Queue::open(whole.get()).and_then(|queue| queue.receive(PATIENCE))).map(drop)
    });
    plain.returned().unwrap();
    if !needs("ptrace") {
        return;
    }
    let setup = || {
        let (name, scratch) = (Name::new(), Scratch::new());
        let peer = Peer::create(&name, 4, 16);
        for (text, priority) in sent.iter().zip((0..4).rev()) {
            peer.put(text.as_bytes(), priority);
        }
        scratch.write("done", b"");
        (name, scratch)
    };
    // A reader that works on three messages, and says of each that it is done.
    kill_at_every_call(
        setup,
        |(name, scratch)| {
            let queue = Queue::open(name.get()).unwrap();
            let mut done = File::options()
                .append(true)
                .open(scratch.join("done"))
                .unwrap();
            for _ in 0..3 {
                let message = queue.receive(PATIENCE).unwrap();
                done.write_all(&[&message.bytes[..], b"\n"].concat())
                    .unwrap();
            }
        },
        |(name, scratch), crash| {
            let done = fs::read_to_string(scratch.join("done")).unwrap();
            let done: Vec<&str> = done.lines().collect();
            let Ok(peer) = Peer::open(name) else {
                panic!("{crash}: the queue is gone");
            };
            let mut left = Vec::new();
            while let Some((_, bytes)) = peer.take() {
                left.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            let taken = sent.len() - left.len();
            assert!(
                left == sent[taken..] && taken.saturating_sub(done.len()) <= 1,
                "{crash}: {done:?} were done, and {left:?} were left of {sent:?}"
            );
        },
    );
}

/// The size of the largest message that one can count on, mq_overview(7), where nobody has lowered the limit.
fn largest() -> usize {
    let limit = fs::read_to_string("/proc/sys/fs/mqueue/msgsize_max").unwrap();
    limit
        .trim()
        .parse()
        .map_or(8192, |limit: usize| limit.min(8192))
}

fn pair(message: Message) -> (u32, Vec<u8>) {
    (message.priority, message.bytes)
}

fn said(result: Result<(u32, Vec<u8>), Failure>) -> String {
    match result {
        Ok(message) => told(Some(message)),
        Err(failure) => failure.to_string(),
    }
}

fn done(result: &Result<(), Failure>) -> String {
    result
        .as_ref()
        .map_or_else(Failure::to_string, |()| "done".to_owned())
}

fn told(message: Option<(u32, Vec<u8>)>) -> String {
    match message {
        None => "nothing".to_owned(),
        Some((priority, bytes)) if bytes.len() > 40 => {
            format!("{} bytes with priority {priority}", bytes.len())
        }
        Some((priority, bytes)) => {
            format!("\"{}\" with priority {priority}", bytes.escape_ascii())
        }
    }
}

/// A handler that returns, without SA_RESTART: calls end with EINTR.
fn catch_sigusr1() {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}

/// The moment that each call was given.
fn moments(calls: &Calls) -> Vec<Duration> {
    let moments = calls.iter().filter_map(|call| match call.decoded.last() {
        Some(Arg::Time(moment)) => Some(*moment),
        _ => None,
    });
    moments.collect()
}
