//! What does a shard a thread cost and gain, against one atomic and one mutex?
//!
//! `cargo bench -p solutions --bench lock_free_counter [adds per thread]` prints Markdown tables:
//! nanoseconds of wall time per add, over all threads together. The kinds take turns within each round,
//! so that a busy moment of the machine falls on all of them. The median says what was had, the fastest
//! round what there is to have: on a busy machine threads that never run at the same time don't contend.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use solutions::ch09_parallelism::lock_free_counter::Counter;

const ROUNDS: usize = 21;
/// A name, and what so many threads take for so many adds each.
type Kind = (&'static str, fn(usize, u64) -> Duration);

const KINDS: [Kind; 4] = [
    ("sharded", sharded),
    ("AtomicU64, one line", one_atomic),
    ("shards in one line", unpadded),
    ("Mutex<u64>", mutex),
];

fn main() {
    // Cargo passes `--bench` to a target without a harness.
    let adds = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1_000_000);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);

    println!(
        "{cores} cores, {adds} adds per thread, {ROUNDS} rounds, ns per add (ratio to sharded)"
    );
    let measured: Vec<_> = (1..=2 * cores)
        .map(|threads| measure(threads, adds))
        .collect();
    for (title, rank) in [("Median", ROUNDS / 2), ("Fastest", 0)] {
        let names = KINDS.map(|(name, _)| name).join(" | ");
        println!("\n| {title}, threads | {names} |");
        println!("|--:|{}", "--:|".repeat(KINDS.len()));
        for (threads, kinds) in (1..).zip(&measured) {
            let cells = kinds
                .each_ref()
                .map(|times| format!("{:.2} ({:.1})", times[rank], times[rank] / kinds[0][rank]));
            println!("| {threads} | {} |", cells.join(" | "));
        }
    }
}

/// Nanoseconds per add of each round in ascending order, for each kind.
fn measure(threads: usize, adds: u64) -> [Vec<f64>; KINDS.len()] {
    let mut rounds = KINDS.map(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for ((_, run), times) in KINDS.iter().zip(&mut rounds) {
            let took = run(threads, adds).as_nanos() as f64;
            times.push(took / (threads as f64 * adds as f64));
        }
    }
    for times in &mut rounds {
        times.sort_unstable_by(f64::total_cmp);
    }
    rounds
}

fn sharded(threads: usize, adds: u64) -> Duration {
    let counter = Counter::new(NonZeroUsize::new(threads).expect("at least one thread"));
    let took = timed(threads, |_| {
        let writer = counter.writer();
        for _ in 0..adds {
            writer.add(black_box(1));
        }
    });
    assert_eq!(counter.sum(), threads as u64 * adds);
    took
}

fn one_atomic(threads: usize, adds: u64) -> Duration {
    let counter = AtomicU64::new(0);
    let took = timed(threads, |_| {
        for _ in 0..adds {
            counter.fetch_add(black_box(1), Ordering::Release);
        }
    });
    assert_eq!(counter.load(Ordering::Acquire), threads as u64 * adds);
    took
}

/// Shards as people write them first: an atomic for each thread, eight to a cache line.
fn unpadded(threads: usize, adds: u64) -> Duration {
    let shards: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(0)).collect();
    let took = timed(threads, |thread| {
        for _ in 0..adds {
            shards[thread].fetch_add(black_box(1), Ordering::Release);
        }
    });
    let sum: u64 = shards
        .iter()
        .map(|shard| shard.load(Ordering::Acquire))
        .sum();
    assert_eq!(sum, threads as u64 * adds);
    took
}

fn mutex(threads: usize, adds: u64) -> Duration {
    let counter = Mutex::new(0);
    let took = timed(threads, |_| {
        for _ in 0..adds {
            *counter.lock().expect("nobody panicked") += black_box(1);
        }
    });
    assert_eq!(
        counter.into_inner().expect("nobody panicked"),
        threads as u64 * adds
    );
    took
}

/// Wall time from the moment all threads stand at the barrier until the last one is done.
fn timed(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    // Each thread notes its own start and end: the spawner might not run again before they are done.
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    work(thread);
                    (start, Instant::now())
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("the work does not panic"))
            .collect()
    });
    let start = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    end.zip(start)
        .map_or(Duration::ZERO, |(end, start)| end - start)
}
