//! # Can two processes talk without asking the kernel?
//!
//! A pipe costs two system calls a message. Memory that two processes share costs none: one writes an
//! item and then says, with an atomic store, how many there are; the other sees the number, then the item.
//! With one writer and one reader that is a ring, and no lock is needed.
//!
//! The kernel is needed only by the one who has nothing to do. futex(2) lets it sleep until a word of that
//! memory changes, and lets the other wake it, but asking the kernel to wake somebody at each item would
//! be a system call again: so whoever goes to sleep says so, also in shared memory. The trap is the moment
//! between the look at the ring and the sleep: an item that comes then wakes nobody. And shared memory
//! tells nobody that the other side has crashed: a pipe has an end of file, a word that never changes has not.
//!
//! Build [`create`], [`Producer`] and [`Consumer`].
//!
//! Man pages: memfd_create(2), fcntl(2) (F_ADD_SEALS, F_OFD_SETLK), mmap(2), futex(2), pidfd_open(2).
//! Notebook: `03-signals-ipc.ipynb#five-ways-to-talk`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Makes an empty ring for `capacity` items, in a memfd that is close-on-exec.
///
/// Its size is sealed: nobody can cut it short, which would kill a process that touches it by SIGBUS.
///
/// # Errors
/// - `EINVAL`: `capacity` is not a power of two (0 isn't one).
/// - `EMFILE`, `ENOMEM` and what else memfd_create(2) and ftruncate(2) say.
pub fn create(capacity: u32) -> io::Result<OwnedFd> {
    // TODO: memfd_create with MFD_ALLOW_SEALING, ftruncate, what must stand in it, F_ADD_SEALS.
    todo!("decide what stands where in the shared memory, and make it")
}

/// The end that puts items in. Dropping it tells the consumer that no more will come.
#[derive(Debug)]
pub struct Producer {
    // TODO: the mapping; where the next item goes. And what happens when it is dropped?
}

impl Producer {
    /// Becomes the producer of `ring`, which may have items in it and a consumer waiting already. The
    /// caller may close its descriptor afterwards.
    ///
    /// # Errors
    /// - `EBUSY`: it has, or had, a producer: each ring has one in its life.
    /// - `EINVAL`: that is no ring that [`create`] made.
    pub fn attach(ring: BorrowedFd<'_>) -> io::Result<Producer> {
        todo!("map the ring, MAP_SHARED")
    }

    /// Puts an item in. Waits while `capacity` items are in the ring, asleep.
    ///
    /// Makes no system call while there is room, but one to wake the consumer if that sleeps, by
    /// FUTEX_WAKE, for which the other is another process.
    ///
    /// # Errors
    /// - `EPIPE`: the consumer was dropped, or has crashed. Of a crash the producer need not know before the
    ///   ring is full; then it does within a second, also while it sleeps.
    pub fn push(&mut self, item: u64) -> io::Result<()> {
        // TODO: 1. Is there room? Put the item in first, then let it be seen. Which orderings?
        //       2. Does the other one sleep? Only then wake it.
        //       3. No room: say that you sleep, look once more, sleep.
        //       4. How does one who sleeps learn that the other is dead?
        todo!("put the item into its place, then publish it")
    }
}

/// The end that takes items out. Dropping it tells the producer that nobody takes any more.
#[derive(Debug)]
pub struct Consumer {
    // TODO: the mapping; where the next item comes from. And what happens when it is dropped?
}

impl Consumer {
    /// Becomes the consumer of `ring`, whose producer may be there already, or gone, or not yet there.
    ///
    /// # Errors
    /// As for [`Producer::attach`].
    pub fn attach(ring: BorrowedFd<'_>) -> io::Result<Consumer> {
        todo!("map the ring, MAP_SHARED")
    }

    /// Takes the oldest item out. Waits while there is none, asleep. `None`: the producer was dropped, and
    /// every item was taken.
    ///
    /// Makes no system call while there are items, but one to wake the producer if that sleeps.
    ///
    /// # Errors
    /// - `EOWNERDEAD`: the producer's process has ended, by SIGKILL for example, without dropping its end.
    ///   That comes after the last item that it had put in, within a second, also while the consumer
    ///   sleeps, and no matter whether anybody has called wait(2) for that process.
    pub fn pop(&mut self) -> io::Result<Option<u64>> {
        todo!("wait until an item is published, then take it")
    }
}
