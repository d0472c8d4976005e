//! # Can two processes talk without asking the kernel?
//!
//! As long as both have something to do. An item is published by a Release store that the other's Acquire load
//! reads. Before it sleeps, a side sets a word and *then* looks at the ring again; the other changes the ring and
//! *then* looks at the word: whatever the order, one of them sees the other, if both put a full fence in between.
//! futex(2) sleeps only while that word is still set, so a wake that comes too early is not lost either.
//!
//! A dead process is noticed by what the kernel does for it: it drops its locks. Each side holds one, on a byte of
//! the memfd, through an open file description of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// Makes an empty ring for `capacity` items, in a memfd that is close-on-exec.
///
/// Its size is sealed: nobody can cut it short, which would kill a process that touches it by SIGBUS.
///
/// # Errors
/// - `EINVAL`: `capacity` is not a power of two (0 isn't one).
/// - `EMFILE`, `ENOMEM` and what else memfd_create(2) and ftruncate(2) say.
pub fn create(capacity: u32) -> io::Result<OwnedFd> {
    if !capacity.is_power_of_two() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string, read during the call.
    let fd = cvt(unsafe { libc::memfd_create(c"ring".as_ptr(), flags) })?;
    // SAFETY: just made, owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    // Zeros are an empty ring whose ends are free: nothing has to be written. The size says the capacity.
    file.set_len(length(capacity) as u64)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: integers only.
    cvt(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) })?;
    Ok(file.into())
}

/// The end that puts items in. Dropping it tells the consumer that no more will come.
#[derive(Debug)]
pub struct Producer {
    ring: Ring,
    /// How many items were put in, modulo 2³²: nobody else changes the ring's tail.
    tail: u32,
    /// The ring's head when it was last looked at: looking costs a cache line of the other's.
    head: u32,
}

impl Producer {
    /// Becomes the producer of `ring`, which may have items in it and a consumer waiting already. The
    /// caller may close its descriptor afterwards.
    ///
    /// # Errors
    /// - `EBUSY`: it has, or had, a producer: each ring has one in its life.
    /// - `EINVAL`: that is no ring that [`create`] made.
    pub fn attach(ring: BorrowedFd<'_>) -> io::Result<Producer> {
        let ring = Ring::attach(ring, Side::Producer)?;
        Ok(Producer {
            ring,
            tail: 0,
            head: 0,
        })
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
        loop {
            let control = self.ring.control();
            if control.consumer.state() == State::Dropped {
                return Err(io::Error::from_raw_os_error(libc::EPIPE));
            }
            if self.tail.wrapping_sub(self.head) == self.ring.capacity {
                self.head = control.head.load(Ordering::Acquire);
            }
            if self.tail.wrapping_sub(self.head) < self.ring.capacity {
                self.ring.item(self.tail).store(item, Ordering::Relaxed);
                self.tail = self.tail.wrapping_add(1);
                control.tail.store(self.tail, Ordering::Release);
                control.consumer.wake();
                return Ok(());
            }
            let head = self.head;
            let unchanged = || {
                control.head.load(Ordering::Acquire) == head
                    && control.consumer.state() != State::Dropped
            };
            if self.ring.sleep(unchanged)? == Peer::Dead {
                return Err(io::Error::from_raw_os_error(libc::EPIPE));
            }
        }
    }
}

/// The end that takes items out. Dropping it tells the producer that nobody takes any more.
#[derive(Debug)]
pub struct Consumer {
    ring: Ring,
    /// How many items were taken out, modulo 2³².
    head: u32,
    /// The ring's tail when it was last looked at.
    tail: u32,
}

impl Consumer {
    /// Becomes the consumer of `ring`, whose producer may be there already, or gone, or not yet there.
    ///
    /// # Errors
    /// As for [`Producer::attach`].
    pub fn attach(ring: BorrowedFd<'_>) -> io::Result<Consumer> {
        let ring = Ring::attach(ring, Side::Consumer)?;
        Ok(Consumer {
            ring,
            head: 0,
            tail: 0,
        })
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
        let mut last_look = None;
        loop {
            let control = self.ring.control();
            if self.tail == self.head {
                self.tail = control.tail.load(Ordering::Acquire);
            }
            if self.tail != self.head {
                let item = self.ring.item(self.head).load(Ordering::Relaxed);
                self.head = self.head.wrapping_add(1);
                control.head.store(self.head, Ordering::Release);
                control.producer.wake();
                return Ok(Some(item));
            }
            if let Some(end) = last_look {
                return end;
            }
            // What it put in before its end may have been published since the look above: one more.
            if control.producer.state() == State::Dropped {
                last_look = Some(Ok(None));
                continue;
            }
            let tail = self.tail;
            let unchanged = || {
                control.tail.load(Ordering::Acquire) == tail
                    && control.producer.state() != State::Dropped
            };
            if self.ring.sleep(unchanged)? == Peer::Dead {
                last_look = Some(Err(io::Error::from_raw_os_error(libc::EOWNERDEAD)));
            }
        }
    }
}

/// What stands before the items. Zeros are an empty ring that nobody has attached to.
///
/// Each side writes to cache lines of its own: otherwise every item would move the other's to and fro.
#[repr(C)]
struct Control {
    tail: Line<AtomicU32>,
    head: Line<AtomicU32>,
    producer: Line<End>,
    consumer: Line<End>,
}

#[repr(C, align(128))]
struct Line<T>(T);

impl<T> std::ops::Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What one side tells the other, besides items.
#[repr(C)]
struct End {
    state: AtomicU32,
    /// 1 from before it sleeps until somebody wakes it; the futex.
    asleep: AtomicU32,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Nobody has taken this side yet: it may come.
    Free,
    Attached,
    Dropped,
}

impl Control {
    fn end(&self, side: Side) -> &End {
        match side {
            Side::Producer => &self.producer,
            Side::Consumer => &self.consumer,
        }
    }
}

impl End {
    /// Whether it was free, and is the caller's now.
    fn take(&self) -> bool {
        let taken = self
            .state
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
        taken.is_ok()
    }

    fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Free,
            1 => State::Attached,
            _ => State::Dropped,
        }
    }

    /// Wakes this side if it sleeps, or is about to; called after something that it waits for was changed.
    fn wake(&self) {
        // Store, then load another word: without the fence the CPU may do the load first, and miss a side
        // that was about to sleep and did not see the store.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) == 0 || self.asleep.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        // Without FUTEX_PRIVATE_FLAG: the sleeper is in another process, and finds the word by its page.
        // SAFETY: the word lies in the mapping that `self` borrows; the kernel does not follow it.
        unsafe { libc::syscall(libc::SYS_futex, &raw const self.asleep, libc::FUTEX_WAKE, 1) };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Producer,
    Consumer,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Producer => Side::Consumer,
            Side::Consumer => Side::Producer,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Peer {
    /// As far as one knows.
    Alive,
    Dead,
}

/// How long a side sleeps before it asks whether the other lives.
const SLICE: Duration = Duration::from_millis(100);

/// One side of a ring, taken by this process.
#[derive(Debug)]
struct Ring {
    map: Map,
    capacity: u32,
    side: Side,
}

impl Ring {
    fn attach(fd: BorrowedFd<'_>, side: Side) -> io::Result<Ring> {
        let map = Map::of(fd)?;
        let capacity = capacity(map.size).ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
        // The lock first: whoever sees the state sees the lock too, or that its owner's death took it away.
        if !map.lock(libc::F_OFD_SETLK, side)? || !map.control().end(side).take() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        Ok(Ring {
            map,
            capacity,
            side,
        })
    }

    fn control(&self) -> &Control {
        self.map.control()
    }

    /// The place of item number `at`.
    fn item(&self, at: u32) -> &AtomicU64 {
        let index = at & (self.capacity - 1);
        // SAFETY: `capacity` items lie behind the control block, aligned, within the mapping that `self` holds.
        // Zeros are valid, and every access of any process is atomic.
        unsafe {
            let items = self.map.control.add(1).cast::<AtomicU64>();
            items.add(index as usize).as_ref()
        }
    }

    /// Sleeps until the other side wakes this one, unless it has changed something already; sometimes for nothing.
    fn sleep(&self, unchanged: impl Fn() -> bool) -> io::Result<Peer> {
        let word = &self.control().end(self.side).asleep;
        word.store(1, Ordering::Relaxed);
        // The counterpart of the fence in `wake`.
        fence(Ordering::SeqCst);
        let mut slept_on = false;
        if unchanged() {
            let slice = libc::timespec {
                tv_sec: 0,
                tv_nsec: SLICE.subsec_nanos().into(),
            };
            // SAFETY: the word lies in the mapping that `self` holds; `slice` is read during the call.
            let woken = unsafe {
                let word = ptr::from_ref(word);
                libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, 1, &raw const slice)
            };
            // EAGAIN: woken before it slept. EINTR: the caller looks, and sleeps again.
            slept_on =
                woken < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT);
        }
        word.store(0, Ordering::Relaxed);
        if slept_on {
            self.peer()
        } else {
            Ok(Peer::Alive)
        }
    }

    fn peer(&self) -> io::Result<Peer> {
        let side = self.side.other();
        let attached = || self.control().end(side).state() == State::Attached;
        // Looked at again: it may have been dropped, and its lock with it, after the first look.
        let dead = attached() && self.map.lock(libc::F_OFD_GETLK, side)? && attached();
        Ok(if dead { Peer::Dead } else { Peer::Alive })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mine = self.control().end(self.side);
        mine.state.store(2, Ordering::Release);
        self.control().end(self.side.other()).wake();
    }
}

/// A ring's memory, and a description of the memfd that nobody else has.
#[derive(Debug)]
struct Map {
    control: NonNull<Control>,
    size: usize,
    file: File,
}

// SAFETY: behind the pointer are atomics only, and the mapping belongs to this value.
unsafe impl Send for Map {}

impl Map {
    fn of(fd: BorrowedFd<'_>) -> io::Result<Map> {
        let einval = || io::Error::from_raw_os_error(libc::EINVAL);
        // SAFETY: integers only. What is no memfd has no seals: EINVAL.
        let seals = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
        if seals & libc::F_SEAL_SHRINK == 0 {
            return Err(einval());
        }
        // Opened anew, not duplicated: a description's lock belongs to everybody who has a duplicate of it.
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        let size = file.metadata()?.len() as usize;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let address = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                ptr::null_mut(),
                size,
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let control = NonNull::new(address.cast()).ok_or_else(einval)?;
        Ok(Map {
            control,
            size,
            file,
        })
    }

    fn control(&self) -> &Control {
        // SAFETY: `attach` has looked that the mapping, which is page-aligned, is long enough. Zeros are valid, the
        // size is sealed, and every access of any process is atomic.
        unsafe { self.control.as_ref() }
    }

    /// Whether the lock that says that this side's process lives is free. F_OFD_SETLK takes it then.
    fn lock(&self, command: i32, side: Side) -> io::Result<bool> {
        // SAFETY: all-zero is a valid flock; the kernel reads it, and F_OFD_GETLK writes it, during the call.
        let (result, lock) = unsafe {
            let mut lock: libc::flock = std::mem::zeroed();
            lock.l_type = libc::F_WRLCK as _;
            lock.l_start = side as _;
            lock.l_len = 1;
            let result = libc::fcntl(self.file.as_raw_fd(), command, &raw mut lock);
            (cvt(result), lock)
        };
        match result {
            Ok(_) => Ok(command == libc::F_OFD_SETLK || i32::from(lock.l_type) == libc::F_UNLCK),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `of`, and every reference into it borrows from this value.
        unsafe { libc::munmap(self.control.as_ptr().cast(), self.size) };
    }
}

/// Bytes of a ring.
fn length(capacity: u32) -> usize {
    size_of::<Control>() + capacity as usize * size_of::<u64>()
}

/// The capacity of a ring of so many bytes, if there is one.
fn capacity(size: usize) -> Option<u32> {
    let items = size.checked_sub(size_of::<Control>())? / size_of::<u64>();
    let capacity = u32::try_from(items)
        .ok()
        .filter(|items| items.is_power_of_two())?;
    (length(capacity) == size).then_some(capacity)
}

fn cvt(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
