//! Two processes with a ring between them, seen by what they pass on, what they ask the kernel, and how they end.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/shared_ring.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/shared_ring.rs")]
mod shared_ring;

mod sharing;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use libc::{EAGAIN, EBUSY, EINVAL, EPERM, SIGKILL};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use observe::{
    Action, Child, End, Errno, Failure, Fault, Process, Run, Started, assert_seen, errno, needs,
};
use shared_ring::{Consumer, Producer, create};
use sharing::{Line, PATIENCE, Tally, between, made_in_a_child, marked, wakes};

#[test]
fn items_come_out_in_order() {
    if !needs("memfd") {
        return;
    }
    const COUNT: u64 = 200_000;
    for capacity in [1, 64] {
        let ring = ring(capacity);
        let count = if capacity == 1 { 2000 } else { COUNT };
        let (pushed, popped) = (Tally::new(), Tally::new());
        // Longer than the consumer: of one that waits for ever the producer is no part.
        let producer = child(&ring).limit(2 * PATIENCE).start(|| {
            let mut producer = errno(Producer::attach(ring.as_fd()))?;
            (0..count).try_for_each(|at| {
                errno(producer.push(item(at)))?;
                pushed.one_more();
                Ok(())
            })
        });
        let consumer = child(&ring).run(|| {
            let mut consumer = errno(Consumer::attach(ring.as_fd()))?;
            // No more than there are: what comes then is another stage's.
            for at in 0..count {
                match errno(consumer.pop())? {
                    Some(got) if got == item(at) => popped.one_more(),
                    got => return Ok(Some((at, got))),
                }
            }
            Ok::<_, Failure>(None)
        });
        let consumer = came_back(consumer, || {
            let (pushed, popped) = (pushed.get(), popped.get());
            format!(
                "of a ring for {capacity}, {pushed} of {count} items had been pushed and {popped} had come out, \
                 and the next pop had not come back within {PATIENCE:?}"
            )
        });
        let wrong = well("pop, or attach before it,", consumer);
        if let Some((at, got)) = wrong {
            panic!(
                "of a ring for {capacity}, item {at} was {:#x}, and {} came out",
                item(at),
                match got {
                    Some(got) => format!("{got:#x}"),
                    None => "None".to_owned(),
                }
            );
        }
        let pushed = producer.wait().returned();
        assert!(
            pushed == Ok(()),
            "push, or attach before it, {}",
            done(&pushed)
        );
    }
}

#[test]
fn capacity_is_exact() {
    if !needs("memfd") {
        return;
    }
    for capacity in [1, 8] {
        let ring = ring(capacity);
        let (line, theirs) = Line::new();
        let producer = child(&ring).keep(&theirs).start(move || {
            let mut producer = errno(Producer::attach(ring.as_fd()))?;
            for at in 0..=u64::from(capacity) {
                errno(producer.push(at))?;
                theirs.say();
            }
            Ok(None)
        });
        let _producer = asleep(producer, "push into a full ring");
        let room = line.count();
        assert!(
            room == capacity as usize,
            "a ring for {capacity} items, without a consumer, took {room} before its producer slept"
        );
    }
}

#[test]
fn errno_says_what_is_wrong() {
    if !needs("memfd") {
        return;
    }
    for capacity in [0, 3, 12, u32::MAX] {
        let made = Child::new()
            .run(|| errno(create(capacity)).map(drop))
            .returned();
        assert!(
            made.as_ref().is_err_and(|failure| failure.is(EINVAL)),
            "create({capacity}) {} instead of failing with EINVAL",
            done(&made)
        );
    }
    let ring = ring(4);
    let other = memfd_create(c"other", MFdFlags::MFD_CLOEXEC).unwrap();
    let null = File::open("/dev/null").unwrap();
    let attempts = child(&ring).keep(&other).keep(&null).run(|| {
        let mut attempts = Vec::new();
        let mut tries = |what: &str, expected, result: io::Result<()>| {
            attempts.push((what.to_owned(), Errno(expected), errno(result)));
        };
        let put = |fd: &dyn AsFd| Producer::attach(fd.as_fd()).map(drop);
        let take = |fd: &dyn AsFd| Consumer::attach(fd.as_fd()).map(drop);
        tries("Producer::attach to an empty memfd", EINVAL, put(&other));
        tries("Consumer::attach to /dev/null", EINVAL, take(&null));
        let ends = (
            Producer::attach(ring.as_fd()),
            Consumer::attach(ring.as_fd()),
        );
        tries("a second Producer::attach", EBUSY, put(&ring));
        tries("a second Consumer::attach", EBUSY, take(&ring));
        ends.0.and(ends.1.map(drop)).unwrap();
        tries(
            "Producer::attach after the first was dropped",
            EBUSY,
            put(&ring),
        );
        tries(
            "Consumer::attach after the first was dropped",
            EBUSY,
            take(&ring),
        );
        // SAFETY: integers only.
        let [shrunk, grown] =
            [0, 1 << 20].map(|length| unsafe { libc::ftruncate(ring.as_raw_fd(), length) });
        let result = |result: i32| match result {
            0 => Ok(()),
            _ => Err(io::Error::from_raw_os_error(EPERM)),
        };
        tries("ftruncate(2) of a ring to 0 bytes", EPERM, result(shrunk));
        tries("ftruncate(2) of a ring to 1 MiB", EPERM, result(grown));
        attempts
    });
    for (what, expected, result) in attempts.returned() {
        assert!(
            result.as_ref().is_err_and(|failure| failure.is(expected.0)),
            "{what} {} instead of failing with {expected}",
            done(&result)
        );
    }
    let (descriptors, close_on_exec) = child(&ring)
        .run(|| {
            let before = Process::me().descriptors.len();
            let ring = create(4).unwrap();
            let close_on_exec = Process::me()
                .descriptors
                .get(ring.as_raw_fd())
                .unwrap()
                .close_on_exec();
            drop(Producer::attach(ring.as_fd()).unwrap());
            drop(Consumer::attach(ring.as_fd()).unwrap());
            drop(ring);
            (Process::me().descriptors.len() - before, close_on_exec)
        })
        .returned();
    assert!(
        descriptors == 0,
        "a ring and its two ends were dropped, and {descriptors} descriptors more than before are open"
    );
    assert!(close_on_exec, "the ring's descriptor is not close-on-exec");
}

#[test]
fn dropped_end_is_none_and_epipe() {
    if !needs("memfd") {
        return;
    }
    // Before the other comes.
    let ring_1 = ring(4);
    well(
        "push of 2 items",
        child(&ring_1).run(|| fill(&ring_1, 2)).returned(),
    );
    let popped = child(&ring_1).run(|| {
        let mut consumer = errno(Consumer::attach(ring_1.as_fd()))?;
        Ok::<_, Failure>([(); 4].map(|()| errno(consumer.pop())))
    });
    let popped = came_back(popped, || {
        "2 items were pushed, their producer was dropped, and one of 4 pops never came back"
            .to_owned()
    });
    let popped = well("Consumer::attach", popped);
    let ring_2 = ring(4);
    let come_and_gone = child(&ring_2).run(|| errno(Consumer::attach(ring_2.as_fd())).map(drop));
    well("Consumer::attach", come_and_gone.returned());
    let pushed = child(&ring_2)
        .run(|| errno(Producer::attach(ring_2.as_fd()).and_then(|mut producer| producer.push(1))))
        .returned();
    // While the other sleeps.
    let ring_3 = ring(4);
    let consumer = child(&ring_3)
        .start(|| errno(Consumer::attach(ring_3.as_fd()).and_then(|mut consumer| consumer.pop())));
    let consumer = asleep(consumer, "pop from a ring without a producer");
    let come_and_gone = child(&ring_3).run(|| errno(Producer::attach(ring_3.as_fd())).map(drop));
    well("Producer::attach", come_and_gone.returned());
    let slept = came_back(consumer.wait(), || {
        "a pop slept when the producer was dropped, and never came back".to_owned()
    });
    let ring_4 = ring(4);
    let producer = child(&ring_4).start(|| fill(&ring_4, 5));
    let producer = asleep(producer, "push into a full ring");
    let come_and_gone = child(&ring_4).run(|| errno(Consumer::attach(ring_4.as_fd())).map(drop));
    well("Consumer::attach", come_and_gone.returned());
    let full = came_back(producer.wait(), || {
        "a push slept when the consumer was dropped, and never came back".to_owned()
    });
    assert_seen!(
        "ch03_shared_ring__dropped",
        [
            format!(
                "after 2 items and the end of their producer, pop gives {}",
                popped
                    .iter()
                    .map(popped_in_words)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            format!("after the consumer was dropped, push {}", done(&pushed)),
            format!(
                "when the producer is dropped, a pop that sleeps gives {}",
                popped_in_words(&slept)
            ),
            format!(
                "when the consumer is dropped, a push that sleeps {}",
                done(&full)
            ),
        ]
    );
}

#[test]
fn whoever_waits_sleeps_and_is_woken() {
    if !needs("memfd") {
        return;
    }
    const ROUNDS: u64 = 8;
    let ring = &ring(4);
    let popped = Tally::new();
    let consumer = child(ring).limit(2 * PATIENCE).start(|| {
        let mut consumer = errno(Consumer::attach(ring.as_fd()))?;
        let mut right = 0;
        for at in 0..ROUNDS {
            right += u64::from(errno(consumer.pop())? == Some(item(at)));
            popped.one_more();
        }
        Ok(Some(right))
    });
    let consumer = asleep(consumer, "pop from an empty ring");
    if !needs("ptrace") {
        return;
    }
    let (line, theirs) = Line::new();
    let producer = child(ring).keep(&theirs).traced().start(move || {
        let mut producer = errno(Producer::attach(ring.as_fd()))?;
        for at in 0..ROUNDS {
            theirs.hears();
            errno(producer.push(item(at)))?;
            theirs.say();
        }
        Ok::<_, Failure>(())
    });
    for _ in 0..ROUNDS {
        consumer.falls_asleep(PATIENCE);
        line.say();
        if !line.hears() {
            break;
        }
    }
    let run = producer.wait();
    let calls = run.calls.clone();
    well("push to a consumer that waits", run.returned());
    let taken = came_back(consumer.wait(), || {
        format!(
            "{ROUNDS} items were pushed one by one, {} came out, and the next pop never came back",
            popped.get()
        )
    });
    assert!(
        taken == Ok(Some(ROUNDS)),
        "{ROUNDS} items were pushed one by one, and pop {}",
        done(&taken)
    );
    // One who looks up from its sleep for a moment, to see who lives, needs no waking just then.
    let wakes = wakes(&calls);
    let woken = wakes.filter(|call| matches!(call.result, Some(Ok(1..))));
    assert!(
        woken.len() as u64 >= ROUNDS / 2,
        "{ROUNDS} items came while the consumer slept, {} of the producer's {} calls of FUTEX_WAKE woke it{}",
        woken.len(),
        wakes.len(),
        match wakes.first() {
            Some(first) => format!(": {first}"),
            None => String::new(),
        }
    );
}

#[test]
fn no_system_call_while_there_is_something_to_do() {
    if !needs("memfd") {
        return;
    }
    const COUNT: u64 = 1000;
    let ring = &ring(1024);
    // Before anything is traced: an exercise that was not begun says so itself.
    let plain = self::ring(8);
    well(
        "push of 4 items",
        child(&plain).run(|| fill(&plain, 4)).returned(),
    );
    if !needs("ptrace") {
        return;
    }
    let [(put, puts), (take, takes)] = [Line::new(), Line::new()];
    let consumer = child(ring).keep(&takes).traced().start(move || {
        let mut consumer = errno(Consumer::attach(ring.as_fd()))?;
        let mut right = u64::from(errno(consumer.pop())? == Some(item(0)));
        takes.say();
        takes.hears();
        marked(|| {
            for at in 1..=COUNT {
                right += u64::from(consumer.pop().is_ok_and(|got| got == Some(item(at))));
            }
        });
        takes.say();
        takes.hears();
        Ok(Some(right))
    });
    let consumer = asleep(consumer, "pop from an empty ring");
    let producer = child(ring).keep(&puts).traced().start(move || {
        let mut producer = errno(Producer::attach(ring.as_fd()))?;
        // The consumer sleeps now, and no more after that.
        errno(producer.push(item(0)))?;
        puts.hears();
        errno(marked(|| {
            (1..=COUNT).try_for_each(|at| producer.push(item(at)))
        }))?;
        puts.say();
        puts.hears();
        Ok::<_, Failure>(())
    });
    let mut went_on = take.hears();
    for line in [&put, &take] {
        line.say();
        went_on = went_on && line.hears();
    }
    put.say();
    take.say();
    let (producer, consumer) = (producer.wait(), consumer.wait());
    let calls = [producer.calls.clone(), consumer.calls.clone()];
    well("push", producer.returned());
    let right = well("pop", consumer.returned());
    assert!(
        went_on && right == Some(COUNT + 1),
        "{} items were pushed, and {right:?} came out right",
        COUNT + 1
    );
    let [pushes, pops] = calls.map(|calls| between(&calls));
    assert_seen!(
        "ch03_shared_ring__fast_path",
        [
            format!(
                "{COUNT} pushes into a ring with room, of which the consumer knows nothing: {}",
                asked(&pushes)
            ),
            format!(
                "{COUNT} pops from a ring with items, while the producer does something else: {}",
                asked(&pops)
            ),
        ]
    );
}

#[test]
fn item_that_comes_just_before_the_sleep_is_seen() {
    if !needs("memfd") {
        return;
    }
    let ring = ring(4);
    let plain = self::ring(4);
    let consumer = child(&plain).start(|| take(&plain, 1));
    drop(asleep(consumer, "pop from an empty ring"));
    if !needs("ptrace") {
        return;
    }
    // Between its look at the ring and its sleep are now three seconds.
    let slow = Fault::new(SLEEPS, Action::Delay(Duration::from_secs(3)));
    let consumer = child(&ring).fault(slow).only(&SLEEPS).start(|| {
        let mut consumer = errno(Consumer::attach(ring.as_fd()))?;
        errno(consumer.pop())
    });
    let mut stops = 0;
    let held = consumer.until(PATIENCE, |consumer| {
        let stopped = consumer.process().is_ok_and(|process| process.stopped());
        stops = if stopped { stops + 1 } else { 0 };
        stops > 5
    });
    assert!(
        held,
        "pop from an empty ring did not come to sleep in futex(2)"
    );
    let pushed = child(&ring)
        .run(|| errno(Producer::attach(ring.as_fd()).and_then(|mut producer| producer.push(5))))
        .returned();
    let in_time = consumer.process().is_ok_and(|process| process.stopped());
    let run = consumer.wait();
    let calls = run.calls.clone();
    let popped = came_back(run, || {
        "5 was pushed while the consumer was about to sleep, and pop never came back".to_owned()
    });
    well("push", pushed);
    assert!(
        popped == Ok(Some(5)),
        "5 was pushed while the consumer was about to sleep, and pop gave {}",
        popped_in_words(&popped)
    );
    let sleep = calls.first().expect("the call that was held up");
    assert!(
        !in_time || sleep.errno() == Some(EAGAIN),
        "an item came after the consumer had looked and before it slept: it slept all the same, in {sleep}"
    );
}

#[test]
fn crash_of_one_side_is_seen_by_the_other() {
    if !needs("memfd") {
        return;
    }
    // The producer, in the middle of its work.
    let stream = ring(64);
    let producer = child(&stream).start(|| {
        let mut producer = errno(Producer::attach(stream.as_fd()))?;
        (0..).try_for_each(|at| errno(producer.push(item(at))))
    });
    let (line, theirs) = Line::new();
    let fd = &stream;
    let consumer = child(fd).keep(&theirs).start(move || {
        let mut consumer = errno(Consumer::attach(fd.as_fd()))?;
        for at in 0.. {
            match consumer.pop() {
                Ok(Some(got)) if got == item(at) => {}
                Ok(Some(got)) => {
                    return Ok(format!("item {at} was {:#x}, and {got:#x} came", item(at)));
                }
                Ok(None) => return Ok("every item, then None".to_owned()),
                Err(error) => return Ok(format!("every item, then {}", Failure::from(error))),
            }
            if at == 10_000 {
                theirs.say();
            }
        }
        Err::<String, Failure>(io::Error::other("no end").into())
    });
    line.hears();
    producer.signal(SIGKILL).unwrap();
    drop(producer);
    let streamed = came_back(consumer.wait(), || {
        "a producer was killed in the middle of its work, and the consumer's pop never came back"
            .to_owned()
    });
    let streamed = well("Consumer::attach", streamed);

    // The producer, while the consumer sleeps.
    let quiet = ring(4);
    let producer = child(&quiet).start(|| {
        let producer = errno(Producer::attach(quiet.as_fd()))?;
        std::thread::sleep(Duration::from_secs(60));
        drop(producer);
        Ok::<_, Failure>(())
    });
    producer.falls_asleep(PATIENCE);
    let consumer = child(&quiet).start(|| take(&quiet, 1));
    let consumer = asleep(consumer, "pop from an empty ring");
    producer.signal(SIGKILL).unwrap();
    let slept = came_back(consumer.wait(), || {
        "a producer was killed while the consumer slept, and pop never came back".to_owned()
    });

    // The producer, which nobody has waited for.
    let family = ring(4);
    let zombie = child(&family).run(|| {
        // SAFETY: this process has one thread.
        let producer = match unsafe { fork() }.unwrap() {
            ForkResult::Child => crash(
                Producer::attach(family.as_fd())
                    .and_then(|mut producer| producer.push(item(0)).map(|()| producer)),
            ),
            ForkResult::Parent { child } => child,
        };
        let mut consumer = errno(Consumer::attach(family.as_fd()))?;
        let popped = [(); 2].map(|()| errno(consumer.pop()));
        waitpid(producer, None).unwrap();
        Ok::<_, Failure>(popped)
    });
    let zombie = came_back(zombie, || {
        "a producer was killed after item 0, nobody waited for it, and one of 2 pops never came back"
            .to_owned()
    });
    let zombie = well("Consumer::attach", zombie);

    // The consumer, while the producer sleeps.
    let full = ring(4);
    let consumer = child(&full).start(|| {
        let consumer = errno(Consumer::attach(full.as_fd()))?;
        std::thread::sleep(Duration::from_secs(60));
        drop(consumer);
        Ok::<_, Failure>(())
    });
    consumer.falls_asleep(PATIENCE);
    let producer = child(&full).start(|| fill(&full, 5));
    let producer = asleep(producer, "push into a full ring");
    consumer.signal(SIGKILL).unwrap();
    let pushed = came_back(producer.wait(), || {
        "a consumer was killed while the producer slept, and push never came back".to_owned()
    });

    assert_seen!(
        "ch03_shared_ring__crashed",
        [
            format!("a producer killed in the middle of its work: the consumer got {streamed}"),
            format!(
                "a producer killed while the consumer sleeps: pop gives {}",
                popped_in_words(&slept)
            ),
            format!(
                "a producer killed after item 0, not waited for: pop gives {}",
                zombie
                    .iter()
                    .map(popped_in_words)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            format!(
                "a consumer killed while the producer sleeps: push {}",
                done(&pushed)
            ),
        ]
    );
}

/// By which a side can go to sleep on shared memory.
const SLEEPS: [&str; 2] = ["futex", "futex_waitv"];

/// The item number `at`, with something in every byte.
fn item(at: u64) -> u64 {
    (at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[track_caller]
fn ring(capacity: u32) -> OwnedFd {
    well("create", made_in_a_child(|| errno(create(capacity))))
}

fn child(ring: &OwnedFd) -> Child {
    Child::new().limit(PATIENCE).keep(ring)
}

/// Items 0 to `count`, by a producer that ends then.
fn fill(ring: &OwnedFd, count: u64) -> Ended {
    let mut producer = errno(Producer::attach(ring.as_fd()))?;
    close(ring);
    for at in 0..count {
        errno(producer.push(item(at)))?;
    }
    Ok(None)
}

/// Items 0 to `count`, by a consumer that ends then; how many were right.
fn take(ring: &OwnedFd, count: u64) -> Ended {
    let mut consumer = errno(Consumer::attach(ring.as_fd()))?;
    close(ring);
    let mut right = 0;
    for at in 0..count {
        right += u64::from(errno(consumer.pop())? == Some(item(at)));
    }
    Ok(Some(right))
}

/// In a process that ends without dropping it: the ring's memory needs no descriptor.
fn close(ring: &OwnedFd) {
    // SAFETY: this copy of the process neither uses nor drops the descriptor after this.
    unsafe { libc::close(ring.as_raw_fd()) };
}

/// What a side's process ends with.
type Ended = Result<Option<u64>, Failure>;

/// Waits until a side sleeps, in the middle of `what`.
#[track_caller]
fn asleep(side: Started<Ended>, what: &str) -> Started<Ended> {
    if side.falls_asleep(Duration::from_secs(5)) {
        return side;
    }
    assert!(
        side.process().map_or(true, |process| process.zombie()),
        "{what} keeps the processor busy instead of sleeping"
    );
    let ended = side.wait().returned();
    panic!("{what} did not wait: it {}", done(&ended))
}

/// In a process that ends without a word to anybody.
fn crash(producer: io::Result<Producer>) -> ! {
    let status = if producer.is_ok() { SIGKILL } else { 0 };
    // SAFETY: integers only.
    unsafe {
        libc::kill(libc::getpid(), status);
        libc::_exit(1)
    }
}

/// The value; of a side that waits for ever, where that was.
#[track_caller]
fn came_back<T>(run: Run<T>, stuck: impl FnOnce() -> String) -> T {
    assert!(!matches!(run.end, End::TimedOut(_)), "{}", stuck());
    run.returned()
}

/// What must not fail for the test to go on.
#[track_caller]
fn well<T>(what: &str, result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{what} failed with {failure}"))
}

fn popped_in_words(popped: &Ended) -> String {
    match popped {
        Ok(Some(got)) => match (0..100).find(|at| item(*at) == *got) {
            Some(at) => format!("item {at}"),
            None => format!("{got:#x}"),
        },
        Ok(None) => "None".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

fn done<T: std::fmt::Debug>(result: &Result<T, Failure>) -> String {
    match result {
        Ok(value) => format!("gave Ok({value:?})"),
        Err(failure) => format!("failed with {failure}"),
    }
}

/// What the kernel was asked for.
fn asked(calls: &observe::Calls) -> String {
    match calls.first() {
        None => "no system call".to_owned(),
        Some(first) => format!("{} system calls, {first} first", calls.len()),
    }
}
