//! # How do threads count together without a lock?
//!
//! Every writer adds to a shard that lies on cache lines of its own, with one atomic instruction, and
//! readers go over all shards. Three traps: "load, then store" loses what others add in between, and
//! so does "load, then subtract" in [`Counter::take`]; two shards in one cache line are one again for
//! the processor; and the orderings do no work on x86_64, where every load acquires and every store
//! releases, so that a `Relaxed` too many shows on other processors only.

use std::num::NonZeroUsize;

use super::atomic::{AtomicU64, Ordering};

/// A count that many threads add to without waiting for one another.
///
/// The sum of all adds stays below 2^64; nothing needs to check it.
pub struct Counter {
    shards: Box<[Shard]>,
    /// How many writers there were so far, which tells the shard of the next one.
    writers: AtomicU64,
}

/// A handle for one thread to add with. It may be sent to another thread.
pub struct Writer<'a> {
    shard: &'a Shard,
}

/// Alone on its cache lines. They are 64 bytes on x86_64, where the prefetcher fetches them in pairs
/// (Intel 64 and IA-32 Architectures Optimization Reference Manual, "Spatial Prefetcher"), and 128
/// bytes on some aarch64 processors.
#[repr(align(128))]
struct Shard(AtomicU64);

impl Counter {
    /// A counter that stands at 0, with so many shards.
    pub fn new(shards: NonZeroUsize) -> Counter {
        Counter {
            shards: (0..shards.get())
                .map(|_| Shard(AtomicU64::new(0)))
                .collect(),
            writers: AtomicU64::new(0),
        }
    }

    /// A writer for the calling thread.
    ///
    /// Writers are dealt to the shards in turn: the first `shards` writers of a counter have a shard
    /// each, the next ones share. This holds when several threads ask at the same time, too.
    pub fn writer(&self) -> Writer<'_> {
        // Relaxed: the number itself is all that passes between the threads.
        let turn = self.writers.fetch_add(1, Ordering::Relaxed);
        Writer {
            shard: &self.shards[(turn % self.shards.len() as u64) as usize],
        }
    }

    /// What was added and not yet taken.
    ///
    /// Counts each add that happened before the call, and leaves out what a take that happened before
    /// has taken. What others add and take meanwhile may be counted or not.
    pub fn sum(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.0.load(Ordering::Acquire))
            .sum()
    }

    /// Takes up to `max` out of the counter and returns how much that was.
    ///
    /// What was added can be taken once: two takers never get the same. With nobody else at work the
    /// result is the smaller of `max` and [`Counter::sum`]. No more than `max` is missing from the
    /// counter at any moment in between.
    pub fn take(&self, max: u64) -> u64 {
        let mut taken = 0;
        for shard in &self.shards {
            taken += shard.take(max - taken);
        }
        taken
    }
}

impl Writer<'_> {
    /// Adds `n`, on the writer's own shard and nowhere else.
    ///
    /// Makes no system call. Whoever counts this add, by [`Counter::sum`] or [`Counter::take`], also
    /// sees what this thread wrote to memory before it.
    pub fn add(&self, n: u64) {
        // Release: what was written before is to be seen by whoever acquires this value or a later one.
        // A later add or take on the same shard does not hide it: both are read-modify-writes, which
        // continue the release sequence. A store would end it.
        self.shard.0.fetch_add(n, Ordering::Release);
    }
}

impl Shard {
    /// Takes up to `max` out of this shard.
    ///
    /// The exchange fails only when another thread's add or take went through, so somebody always gets
    /// on, and nobody waits for a thread that is not running.
    fn take(&self, max: u64) -> u64 {
        let before = self
            .0
            .try_update(Ordering::Acquire, Ordering::Relaxed, |there| {
                (there.min(max) > 0).then(|| there.saturating_sub(max))
            });
        before.map_or(0, |there| there.min(max))
    }
}
