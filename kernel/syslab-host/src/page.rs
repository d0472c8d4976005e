//! What do the host and the cell process share, and how do they wake each other?
//!
//! One mapping of a memfd, with futexes in it: it survives whatever a cell does to its descriptors, and a checkpoint
//! has it too. A cell can scribble over it, as over everything in its process; the host takes lengths from here only
//! after a check.

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many bytes of notes a cell may leave; the memory is only used as far as it is written.
pub(crate) const NOTES: usize = 64 << 20;
/// How much of one cell's output, and of its value, is shown: a front end with more of it can't be used any more.
pub(crate) const SHOWN: usize = 10 << 20;

/// What the cell process is asked to do.
pub(crate) mod command {
    /// Load `library` and call `function`.
    pub(crate) const RUN: u32 = 1;
    /// Leave a sleeping copy behind.
    pub(crate) const CHECKPOINT: u32 = 2;
}

#[path = "../../cell/src/kind.rs"]
pub(crate) mod note;

/// How far the cell process is with its standard descriptors.
pub(crate) mod stdio {
    /// It hasn't begun.
    pub(crate) const NONE: u32 = 0;
    /// It took the host's pipes.
    pub(crate) const TAKEN: u32 = 1;
    /// It couldn't, and made pipes itself: the host takes their other ends.
    pub(crate) const OFFERED: u32 = 2;
    /// The host has them.
    pub(crate) const ACCEPTED: u32 = 3;
    /// The host couldn't take them either.
    pub(crate) const REFUSED: u32 = 4;
    /// Everything stays as the last cell left it.
    pub(crate) const KEPT: u32 = 5;
}

/// How a run ended, as the cell process sees it.
pub(crate) mod outcome {
    /// Well.
    pub(crate) const RAN: u32 = 0;
    /// `message` says why the library could not be loaded.
    pub(crate) const NOT_LOADED: u32 = 1;
    /// It ran, but no other cell could be loaded after it; `message` says why.
    pub(crate) const UNFIT: u32 = 2;
}

/// The shared memory. Counters wrap; a waiter compares with what it saw last.
#[repr(C)]
pub(crate) struct Page {
    /// Counts commands. Futex: host to cell process.
    pub(crate) asked: AtomicU32,
    pub(crate) command: AtomicU32,
    /// The number of the last command done.
    pub(crate) done: AtomicU32,
    /// Rung whenever the cell process has something to say. Futex: cell process to host.
    pub(crate) bell: AtomicU32,
    pub(crate) host: AtomicI32,

    pub(crate) stdio: AtomicU32,
    /// stdin's read end, stdout's and stderr's write ends: descriptors of the host, or of the cell process when
    /// `OFFERED` (then the other ends).
    pub(crate) descriptors: [AtomicI32; 3],
    /// Futex: host to cell process.
    pub(crate) answered: AtomicU32,

    /// 1: the region of the cell is to be marked for the tracer, by `cookie`.
    pub(crate) traced: AtomicU32,
    pub(crate) cookie: AtomicU64,
    pub(crate) outcome: AtomicU32,
    /// How many timers the cell process has set, at its last checkpoint.
    pub(crate) timers: AtomicU32,

    /// The pid of the newest checkpoint; 0: it could not be made, and `message` says why.
    pub(crate) checkpoint: AtomicI32,
    /// Futex: host to checkpoint.
    pub(crate) promotions: AtomicU32,
    /// Which checkpoint is to take over …
    pub(crate) promoted: AtomicI32,
    /// … from whom; 0: there is nobody left to take descriptors from.
    pub(crate) victim: AtomicI32,
    /// Whether it has. Futex: checkpoint to host.
    pub(crate) took_over: AtomicU32,
    /// How many descriptors it could not get.
    pub(crate) lost: AtomicU32,
    /// The process group that it shall be in.
    pub(crate) group: AtomicI32,

    pub(crate) notes: AtomicU64,
    pub(crate) library: Text<4096>,
    pub(crate) function: Text<256>,
    pub(crate) message: Text<1024>,
    note_bytes: UnsafeCell<[u8; NOTES]>,
}

// SAFETY: everything but texts and notes is atomic; those are written by one side while the other waits for the
// futex that follows, and a torn one is only a wrong text.
unsafe impl Sync for Page {}

/// A text that ends with a zero byte.
#[repr(C)]
pub(crate) struct Text<const N: usize>(UnsafeCell<[u8; N]>);

impl<const N: usize> Text<N> {
    /// Keeps as much of the text as there is room for.
    pub(crate) fn set(&self, text: &str) {
        let length = text.len().min(N - 1);
        // SAFETY: the copy stays within the N bytes, of which the last is for the zero.
        unsafe {
            let to = self.0.get().cast::<u8>();
            std::ptr::copy_nonoverlapping(text.as_ptr(), to, length);
            to.add(length).write(0);
        }
    }

    pub(crate) fn get(&self) -> String {
        // SAFETY: N bytes of the mapping, which are always initialised.
        let bytes = unsafe { std::slice::from_raw_parts(self.0.get().cast::<u8>(), N) };
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(N);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }
}

impl Page {
    /// A new page and its descriptor, which a child inherits.
    pub(crate) fn new() -> std::io::Result<(&'static Page, OwnedFd)> {
        // SAFETY: the name is a C string; the descriptor that comes back is ours.
        let memory = unsafe {
            let fd = libc::memfd_create(c"syslab-page".as_ptr(), 0);
            if fd == -1 {
                return Err(std::io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: sets the length of our own memfd.
        if unsafe { libc::ftruncate(memory.as_raw_fd(), size_of::<Page>() as i64) } == -1 {
            return Err(std::io::Error::last_os_error());
        }
        Ok((Page::map(memory.as_raw_fd())?, memory))
    }

    /// Maps the page for ever.
    pub(crate) fn map(memory: i32) -> std::io::Result<&'static Page> {
        // SAFETY: a new shared mapping of a memfd that is as long as the type; it is never unmapped, and all zero is
        // a value of every field.
        unsafe {
            let place = libc::mmap(
                std::ptr::null_mut(),
                size_of::<Page>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                memory,
                0,
            );
            if place == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error());
            }
            Ok(&*place.cast::<Page>())
        }
    }

    /// The cell process says that there is something to see.
    pub(crate) fn ring(&self) {
        self.bell.fetch_add(1, Ordering::SeqCst);
        wake(&self.bell);
    }

    /// Adds a note, unless there is no room left.
    pub(crate) fn note(&self, kind: u32, bytes: &[u8]) {
        let whole = 8 + bytes.len() as u64;
        let place = self.notes.fetch_add(whole, Ordering::SeqCst);
        if place + whole > NOTES as u64 {
            self.notes.fetch_sub(whole, Ordering::SeqCst);
            return;
        }
        // SAFETY: these bytes lie within the notes, and belong to this note alone.
        unsafe {
            let to = self.note_bytes.get().cast::<u8>().add(place as usize);
            to.cast::<u32>().write_unaligned(kind);
            to.add(4).cast::<u32>().write_unaligned(bytes.len() as u32);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.add(8), bytes.len());
        }
    }

    /// All notes, in order; then there are none.
    pub(crate) fn take_notes(&self) -> Vec<(u32, Vec<u8>)> {
        let length = (self.notes.swap(0, Ordering::SeqCst) as usize).min(NOTES);
        // SAFETY: within the notes; the cell process has said that it is done with them.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.note_bytes.get().cast::<u8>(), length) };
        let mut notes = Vec::new();
        let mut rest = bytes;
        while let Some((head, tail)) = rest.split_at_checked(8) {
            let word = |at: usize| {
                u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
            };
            let Some((bytes, tail)) = tail.split_at_checked(word(4) as usize) else {
                break;
            };
            notes.push((word(0), bytes.to_vec()));
            rest = tail;
        }
        notes
    }
}

/// Waits until the word is no longer `seen`, or for so long. May return early: callers look again.
pub(crate) fn wait(word: &AtomicU32, seen: u32, at_most: Option<Duration>) {
    let limit = at_most.map(|time| libc::timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: futex(2) reads the word, which outlives the call, and the time, if there is one.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, limit, 0, 0) };
}

/// Wakes everybody who waits for the word.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: futex(2) takes the word's address and looks for waiters there.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
}
