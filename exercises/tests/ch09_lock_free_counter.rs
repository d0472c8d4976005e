//! Does the counter count exactly, does nobody wait, and is nothing shared?

#[cfg_attr(
    feature = "solutions",
    path = "../../solutions/ch09_parallelism/lock_free_counter.rs"
)]
#[cfg_attr(
    not(feature = "solutions"),
    path = "../ch09_parallelism/lock_free_counter.rs"
)]
mod lock_free_counter;

mod threads;

use std::num::NonZeroUsize;
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use lock_free_counter::{Counter, Writer};
use loom::sync::atomic::AtomicBool;
use loom::thread::{JoinHandle, spawn as step_by_step};
use observe::{Child, End, assert_seen, needs, region};
use threads::atomic::{self, Behaviour};
use threads::suspend::{self, Operation};

#[test]
fn one_thread_counts_exactly() {
    let seen = Child::new().run(|| {
        let counter = counter(3);
        let mut seen = vec![counter.sum(), counter.take(5)];
        let writers: Vec<Writer<'_>> = (0..5).map(|_| counter.writer()).collect();
        for (writer, n) in writers.iter().zip([1, 20, 300, 4_000, 50_000]) {
            writer.add(n);
            seen.push(counter.sum());
        }
        for max in [0, 54_320, u64::MAX, 1] {
            seen.extend([counter.take(max), counter.sum()]);
        }
        writers[4].add(0);
        seen.push(counter.sum());
        writers[1].add(u64::MAX - 54_321);
        seen.extend([counter.sum(), counter.take(u64::MAX), counter.sum()]);
        seen
    });
    let seen = seen.returned();
    let expected = [
        ("sum() of a new counter", 0),
        ("take(5) from it", 0),
        ("sum() after add(1)", 1),
        ("sum() after add(20) by a second writer", 21),
        ("sum() after add(300) by a third", 321),
        (
            "sum() after add(4000) by a fourth, with three shards",
            4_321,
        ),
        ("sum() after add(50000) by a fifth", 54_321),
        ("take(0) from 54321", 0),
        ("sum() after take(0)", 54_321),
        ("take(54320) from 54321", 54_320),
        ("sum() after take(54320)", 1),
        ("take(u64::MAX) from 1", 1),
        ("sum() after take(u64::MAX)", 0),
        ("take(1) from 0", 0),
        ("sum() after take(1)", 0),
        ("sum() after add(0)", 0),
        ("sum() after add(u64::MAX - 54321)", u64::MAX - 54_321),
        ("take(u64::MAX) from u64::MAX - 54321", u64::MAX - 54_321),
        ("sum() after take(u64::MAX)", 0),
    ];
    assert_eq!(seen.len(), expected.len());
    for (seen, (what, expected)) in seen.into_iter().zip(expected) {
        assert!(seen == expected, "{what} was {seen}, not {expected}");
    }
}

#[test]
fn threads_add_without_a_system_call() {
    const THREADS: usize = 4;
    const ADDS: u64 = 5_000;
    let traceable = needs("ptrace");
    let child = if traceable {
        Child::new().traced()
    } else {
        Child::new()
    };
    let run = child.run(|| {
        region::end(); // Starting threads takes system calls; each is recorded while it adds.
        let (counter, start) = (counter(2), Barrier::new(THREADS + 1));
        thread::scope(|scope| {
            let adding: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (writer, start) = (counter.writer(), &start);
                    scope.spawn(move || {
                        start.wait();
                        region::begin();
                        (0..ADDS).for_each(|_| writer.add(3));
                        region::end();
                    })
                })
                .collect();
            start.wait();
            while !adding.iter().all(thread::ScopedJoinHandle::is_finished) {
                counter.take(100);
                counter.sum();
            }
        });
    });
    let calls = run.calls.clone();
    // What was counted is another stage's: here a count gets lost in one run, and in the next none.
    run.returned();
    if !traceable {
        return;
    }
    if let Some(call) = calls.first() {
        panic!(
            "while they added, the threads made {} system calls, the first of them {call}",
            calls.len()
        );
    }
    assert_seen!(
        "ch09_lock_free_counter__system_calls",
        format!(
            "{THREADS} threads add on 2 shards, {ADDS} times each, while another sums and takes\n\
             system calls of the threads that add: {}",
            calls.len()
        )
    );
}

#[test]
fn each_writer_has_a_shard_to_itself() {
    const SHARDS: usize = 4;
    let (adds, sum) = Child::new()
        .run(|| {
            atomic::behave(Behaviour::Watched);
            // Two counters in turn: each deals its own shards.
            let (counter, other) = (counter(SHARDS), counter(SHARDS));
            let adds: Vec<_> = (0..SHARDS + 2)
                .map(|_| {
                    other.writer();
                    let writer = counter.writer();
                    atomic::touched(|| writer.add(1))
                })
                .collect();
            (adds, atomic::touched(|| _ = counter.sum()))
        })
        .returned();

    let mut shards: Vec<usize> = Vec::new();
    let mut seen = format!("a counter with {SHARDS} shards\n");
    for (n, touched) in (1..).zip(&adds) {
        let [address] = touched[..] else {
            assert!(!touched.is_empty(), "{BYPASSED}");
            panic!(
                "writer {n} added, and used {} atomics, not its shard alone",
                touched.len()
            );
        };
        if let Some(other) = shards.iter().position(|shard| shard / 128 == address / 128) {
            let apart = address.abs_diff(shards[other]);
            assert!(
                apart == 0,
                "the shards of writers {} and {n} have the same 128 bytes: they are {apart} bytes apart",
                other + 1
            );
            assert!(
                n > SHARDS,
                "writers {} and {n} of a counter with {SHARDS} shards add on the same one",
                other + 1
            );
            seen += &format!("writer {n} adds on the shard of writer {}\n", other + 1);
        } else {
            shards.push(address);
            seen += &format!("writer {n} adds on a shard of its own\n");
        }
    }
    assert!(
        shards.iter().all(|shard| sum.contains(shard)),
        "sum() left out a shard"
    );
    assert_seen!("ch09_lock_free_counter__shards", seen);
}

#[test]
fn a_suspended_thread_holds_up_nobody() {
    let held_up = Child::new().limit(Duration::from_secs(20)).run(|| {
        let counter = counter(1);
        counter.writer().add(1 << 40);
        let operations: [Operation<Counter>; 3] = [
            ("add()", |counter| counter.writer().add(1)),
            ("sum()", |counter| _ = counter.sum()),
            ("take()", |counter| _ = counter.take(1)),
        ];
        suspend::each(counter, operations)
    });
    if let Some(held_up) = held_up.returned() {
        panic!("{held_up}");
    }
}

#[test]
fn every_interleaving_counts_each_add_once() {
    in_every_order("two threads add on one shard and a third takes", || {
        let counter = shared(1);
        let adding = [1, 2].map(|n| step_by_step(move || counter.writer().add(n)));
        let taken = counter.take(u64::MAX);
        adding.into_iter().for_each(|thread| thread.join().unwrap());
        exact(3, taken, counter.sum())
    });
    in_every_order("one thread adds and two take, from one shard", || {
        let counter = shared(1);
        counter.writer().add(2);
        let adding = step_by_step(move || counter.writer().add(1));
        let taking = step_by_step(move || counter.take(2));
        let taken = counter.take(2);
        adding.join().unwrap();
        exact(
            3,
            taken.saturating_add(taking.join().unwrap()),
            counter.sum(),
        )
    });
    in_every_order("one thread adds and two take, from two shards", || {
        let counter = shared(2);
        counter.writer().add(1);
        let writer = counter.writer();
        let adding = step_by_step(move || writer.add(2));
        let taking = step_by_step(move || counter.take(2));
        let taken = counter.take(2);
        adding.join().unwrap();
        exact(
            3,
            taken.saturating_add(taking.join().unwrap()),
            counter.sum(),
        )
    });
    in_every_order(
        "one of three is taken while another thread calls sum()",
        || {
            let counter = shared(1);
            counter.writer().add(3);
            let taking = step_by_step(move || counter.take(1));
            let sum = counter.sum();
            taking.join().unwrap();
            unless((2..=3).contains(&sum), || format!("the sum was {sum}"))
        },
    );
    in_every_order("two threads ask for a writer", || {
        let counter = shared(2);
        let asking = step_by_step(move || counter.writer());
        let writers = [counter.writer(), asking.join().unwrap()];
        let [one, other] = writers.map(|writer| atomic::touched(|| writer.add(1)));
        unless(one != other, || {
            "both were given the same of two shards".to_owned()
        })
    });
}

#[test]
fn whoever_counts_an_add_sees_what_came_before_it() {
    in_every_order("a thread writes and adds, another calls sum()", || {
        let (counter, page) = (shared(1), Page::blank());
        let adding = page.written_before(1, counter.writer());
        let seen = page.seen_by(counter.sum() == 1);
        adding.join().unwrap();
        seen
    });
    in_every_order("a thread writes and adds, another calls take()", || {
        let (counter, page) = (shared(1), Page::blank());
        let adding = page.written_before(1, counter.writer());
        let seen = page.seen_by(counter.take(1) == 1);
        adding.join().unwrap();
        seen
    });
    in_every_order(
        "two threads write and add on one shard, a third calls sum()",
        || {
            let (counter, pages) = (shared(1), [Page::blank(), Page::blank()]);
            let adding = pages.map(|page| page.written_before(1, counter.writer()));
            let both = counter.sum() == 2;
            let seen = pages.map(|page| page.seen_by(both));
            adding.into_iter().for_each(|thread| thread.join().unwrap());
            seen.into_iter().collect()
        },
    );
    in_every_order(
        "a thread writes and adds, another takes a part, a third the rest",
        || {
            let (counter, page) = (shared(1), Page::blank());
            let adding = page.written_before(2, counter.writer());
            let taking = step_by_step(move || counter.take(1));
            let seen = page.seen_by(counter.take(2) > 0);
            adding.join().unwrap();
            taking.join().unwrap();
            seen
        },
    );
}

const BYPASSED: &str = "add() used no atomic of super::atomic: the tests see what is imported from there, and nothing else";

fn counter(shards: usize) -> Counter {
    Counter::new(NonZeroUsize::new(shards).expect("a test asks for one shard at least"))
}

/// Runs `scenario` once in each order of its threads' steps; the first one that breaks a promise is the failure.
///
/// All orders with up to three preemptions, and for each load all values that the memory model allows
/// (<https://docs.rs/loom>): more than any processor shows, though not all that the C11 model has.
fn in_every_order(what: &str, scenario: fn() -> Result<(), String>) {
    let run = Child::new().run(|| {
        atomic::behave(Behaviour::Watched);
        let watched = {
            let counter = counter(1);
            let writer = counter.writer();
            !atomic::touched(|| writer.add(1)).is_empty()
        };
        atomic::behave(Behaviour::Modelled);
        watched.then(|| atomic::check(scenario))
    });
    if let End::Panicked(panic) = &run.end
        && panic
            .message
            .contains("exceeded maximum number of branches")
    {
        panic!(
            "{what}: in one order of their steps, one goes round in a loop for ever, as if it waited for another"
        );
    }
    match run.returned() {
        None => panic!("{BYPASSED}"),
        Some(Err(broken)) => panic!("{what}: in one order of their steps, {broken}"),
        Some(Ok(())) => {}
    }
}

/// A counter for the threads of the model checker, which want one that lives for ever.
fn shared(shards: usize) -> &'static Counter {
    Box::leak(Box::new(counter(shards)))
}

/// An error, unless the promise was kept.
fn unless(kept: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if kept { Ok(()) } else { Err(broken()) }
}

fn exact(added: u64, taken: u64, left: u64) -> Result<(), String> {
    // In 128 bits: a count that wrapped below zero must not come out right again.
    let counted = u128::from(taken) + u128::from(left);
    unless(counted == u128::from(added), || {
        format!("{added} was added, and {taken} taken, and {left} was left")
    })
}

/// Memory that one thread writes and another reads, with no order of its own.
#[derive(Clone, Copy)]
struct Page(&'static AtomicBool);

impl Page {
    fn blank() -> Page {
        Page(Box::leak(Box::new(AtomicBool::new(false))))
    }

    fn written_before(self, n: u64, writer: Writer<'static>) -> JoinHandle<()> {
        step_by_step(move || {
            self.0.store(true, Ordering::Relaxed);
            writer.add(n);
        })
    }

    fn seen_by(self, counted: bool) -> Result<(), String> {
        unless(!counted || self.0.load(Ordering::Relaxed), || {
            "the add was counted, and what its thread wrote before it could not be seen yet"
                .to_owned()
        })
    }
}
