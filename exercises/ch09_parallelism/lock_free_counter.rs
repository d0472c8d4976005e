//! # How do threads count together without a lock?
//!
//! `count += 1` is three steps: load, add, store. Two threads that take them at the same time lose one
//! of the two. With a mutex they take turns, and one that the kernel suspends in its turn keeps all
//! others waiting in futex(2). An atomic instruction is one step for everybody. But if every core adds
//! to the same cache line they take turns at that: only one core's cache can hold it for writing.
//!
//! Build a counter in shards. Each thread adds to one of them, a reader goes over all.
//! - Exact: nothing is lost and nothing counted twice, whatever order the threads run in.
//! - Nobody waits: wherever a thread is suspended, all others still get a writer, add, sum and take.
//! - Nothing shared: no two shards have a byte in the same 128. A cache line is 64 bytes on x86_64,
//!   but they are fetched in pairs; some processors have lines of 128.
//!
//! Take your atomics from `super::atomic`, and nothing else to synchronise with. It has std's
//! `AtomicU64`, `Ordering` and `fence`, except that `new` is not `const`. The tests put a model checker
//! behind it, which runs your code in one order of steps after the other, among them orders that the
//! memory model allows and your processor never shows.
//!
//! Man pages: futex(2) (when a lock is in the kernel, and when not), [`std::sync::atomic`].
//! Notebook: `09-parallelism.ipynb#races-and-atomics`.

use std::num::NonZeroUsize;

use super::atomic::{AtomicU64, Ordering};

/// A count that many threads add to without waiting for one another.
///
/// The sum of all adds stays below 2^64; nothing needs to check it.
pub struct Counter {
    // TODO: the shards, and what tells the shard of the next writer.
}

/// A handle for one thread to add with. It may be sent to another thread.
pub struct Writer<'a> {
    // TODO: what `add` needs. Perhaps less than the whole counter.
    counter: &'a Counter,
}

impl Counter {
    /// A counter that stands at 0, with so many shards.
    pub fn new(shards: NonZeroUsize) -> Counter {
        // TODO: 1. A type for one shard; #[repr(align(...))] keeps others off its cache lines.
        //       2. A boxed slice of them.
        todo!("make the shards")
    }

    /// A writer for the calling thread.
    ///
    /// Writers are dealt to the shards in turn: the first `shards` writers of a counter have a shard
    /// each, the next ones share. This holds when several threads ask at the same time, too.
    pub fn writer(&self) -> Writer<'_> {
        // TODO: take a number, as one step; it tells the shard.
        todo!("deal a shard to the writer")
    }

    /// What was added and not yet taken.
    ///
    /// Counts each add that happened before the call, and leaves out what a take that happened before
    /// has taken. What others add and take meanwhile may be counted or not.
    pub fn sum(&self) -> u64 {
        // TODO: which Ordering lets the caller see what `add` promises?
        todo!("go over the shards")
    }

    /// Takes up to `max` out of the counter and returns how much that was.
    ///
    /// What was added can be taken once: two takers never get the same. With nobody else at work the
    /// result is the smaller of `max` and [`Counter::sum`]. No more than `max` is missing from the
    /// counter at any moment in between.
    pub fn take(&self, max: u64) -> u64 {
        // TODO: shard by shard, until there is enough. Between looking at a shard and changing it others
        //       may have come: how do you notice?
        todo!("take from the shards")
    }
}

impl Writer<'_> {
    /// Adds `n`, on the writer's own shard and nowhere else.
    ///
    /// Makes no system call. Whoever counts this add, by [`Counter::sum`] or [`Counter::take`], also
    /// sees what this thread wrote to memory before it.
    pub fn add(&self, n: u64) {
        // TODO: one atomic instruction. Its Ordering is for those who count.
        todo!("add to the writer's shard")
    }
}
