//! How does a child tell the test what became of it, when it may close every descriptor?
//!
//! Through shared memory: an anonymous `MAP_SHARED` mapping is inherited by fork(2), is no entry of the
//! descriptor table, cannot fill up and block a writer, and cannot be held open by a forgotten descendant.
//! What was written stays readable after the writer was killed.
//!
//! Two mappings. What the child *says* (its value, its panics) is in one that it keeps. What the test and the keeper
//! *know* (pids, how it ended) is in another, which is taken out of the child's memory before the exercise's first
//! line: whoever finds shared memory in /proc/self/maps could otherwise write there that all went well.

use crate::run::Panic;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Address space for what the child says. Pages are only made when written.
const SIZE: usize = 64 << 20;

/// Where the records begin: [`Said`] has the first page for itself.
const RECORDS: usize = 4096;

/// What test and keeper tell each other, and the child until the exercise begins.
#[repr(C)]
pub(crate) struct Header {
    /// The keeper's pid; 0 until it was forked.
    pub(crate) keeper: AtomicI32,
    /// Whether the keeper is [`FIT`] to run what the test would (futex).
    pub(crate) fit: AtomicU32,
    /// The child's pid; 0 until it was forked, negated errno when that failed.
    pub(crate) child: AtomicI32,
    /// The child is set up and waits for `go` (futex).
    pub(crate) ready: AtomicU32,
    /// The child may call the closure (futex).
    pub(crate) go: AtomicU32,
    /// The child has ended; `code` and `status` are valid (futex).
    pub(crate) ended: AtomicU32,
    /// `si_code` of the child's end: `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED`.
    pub(crate) code: AtomicI32,
    /// `si_status`: the exit status or the signal.
    pub(crate) status: AtomicI32,
    /// The signal that stopped the child, 0 when it runs.
    pub(crate) stopped_by: AtomicI32,
    /// 1 when the keeper had no other child at the child's end: nothing to look for.
    pub(crate) alone: AtomicU32,
    /// Nothing of the tree is left but the keeper (futex).
    pub(crate) empty: AtomicU32,
    /// The test has looked at what is left and gives it up (futex).
    pub(crate) release: AtomicU32,
    /// The test orders the keeper to end the tree.
    pub(crate) finish: AtomicU32,
}

/// What the child says, beside its records.
#[repr(C)]
pub(crate) struct Said {
    /// The signal of a fault (SIGSEGV, SIGBUS), 0 when there was none.
    pub(crate) fault_signal: AtomicI32,
    /// The address of that fault.
    pub(crate) fault_address: AtomicU64,
    /// Bytes reserved by records.
    reserved: AtomicUsize,
}

/// Of [`Header::fit`]: no lock is held in this copy of the test's memory.
pub(crate) const FIT: u32 = 1;
/// Of [`Header::fit`]: some lock is; the test shall fork again.
pub(crate) const UNFIT: u32 = 2;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The closure returned: the value as JSON.
    Returned = 1,
    /// Some thread panicked: a [`Panic`](crate::Panic) as JSON.
    Panicked = 2,
    /// A panic reached the end of the closure.
    Unwound = 3,
    /// What the test's own machinery could not do in the child.
    Broken = 4,
    /// A child of the child that it had not waited for when it returned: its [`Process`](crate::Process) as JSON.
    Unreaped = 5,
}

/// One record and the process that wrote it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) pid: i32,
    pub(crate) bytes: Vec<u8>,
}

impl Record {
    /// The panic that it tells of, if that is what it is about.
    pub(crate) fn panic(&self) -> Option<Panic> {
        let told = matches!(self.kind, Kind::Panicked).then_some(&self.bytes)?;
        serde_json::from_slice(told).ok()
    }
}

#[repr(C)]
struct RecordHead {
    /// 0 while the record is being written.
    kind: AtomicU32,
    pid: AtomicI32,
    length: AtomicUsize,
}

/// What the mapping is counted in: aligned for a header and for the head of a record.
#[repr(C, align(16))]
struct Unit([u8; UNIT]);

const UNIT: usize = 16;

/// Shared memory of a test, its keeper and its child.
pub(crate) struct Arena {
    /// Null in a child, once it has given it up.
    header: AtomicPtr<Header>,
    base: *mut Unit,
}

// SAFETY: the mapping is used through atomics and through records, each written by the one who reserved it.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) fn new() -> io::Result<Arena> {
        Ok(Arena {
            header: AtomicPtr::new(map(size_of::<Header>())?.cast()),
            base: map(SIZE)?.cast(),
        })
    }

    /// What test and keeper know. Not for a child that has called [`give_up_header`](Arena::give_up_header).
    pub(crate) fn header(&self) -> &Header {
        let header = self.header.load(Ordering::Relaxed);
        // SAFETY: the mapping is page aligned, holds a Header (all zero is valid: atomics), and lives as long as
        // `self` where it was not given up.
        unsafe { header.as_ref() }.expect("this process has no header")
    }

    /// Takes the header out of this process's memory; every reference to it has been used for the last time.
    pub(crate) fn give_up_header(&self) {
        let header = self.header.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: the mapping made in `new`; the caller vouches for the references.
        unsafe { libc::munmap(header.cast(), size_of::<Header>()) };
    }

    /// From now on a fork of this process does not get the header: neither do the children of other arenas.
    pub(crate) fn keep_header_from_forks(&self) {
        let header = self.header.load(Ordering::Relaxed);
        // SAFETY: a mapping of this process, of which nothing is read or written.
        unsafe { libc::madvise(header.cast(), size_of::<Header>(), libc::MADV_DONTFORK) };
    }

    /// What the child says beside its records.
    pub(crate) fn said(&self) -> &Said {
        // SAFETY: the mapping is page aligned, begins with a Said (all zero is valid: atomics), and lives as long as
        // `self`.
        unsafe { &*self.base.cast::<Said>() }
    }

    /// Appends a record. Takes no lock, so that a panicking thread of any process of the tree may call it.
    pub(crate) fn record(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let size = (size_of::<RecordHead>() + bytes.len()).next_multiple_of(UNIT);
        let at = self.said().reserved.fetch_add(size, Ordering::AcqRel) + RECORDS;
        if at + size > SIZE {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        // SAFETY: [at, at + size) is inside the mapping, 16-byte aligned, and reserved for this call alone.
        unsafe {
            let head = self.base.add(at / UNIT).cast::<RecordHead>();
            let body = head.add(1).cast::<u8>();
            let head = &*head;
            head.length.store(bytes.len(), Ordering::Relaxed);
            head.pid.store(libc::getpid(), Ordering::Relaxed);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), body, bytes.len());
            head.kind.store(kind as u32, Ordering::Release);
        }
        Ok(())
    }

    /// The finished records, oldest first. A record whose writer died half-way is left out.
    pub(crate) fn records(&self) -> Vec<Record> {
        let reserved = self.said().reserved.load(Ordering::Acquire);
        let end = reserved.saturating_add(RECORDS);
        let mut found = Vec::new();
        let mut at = RECORDS;
        while at + size_of::<RecordHead>() <= end.min(SIZE) {
            // SAFETY: `at` is 16-byte aligned and a whole head lies inside the mapping.
            let (head, body) = unsafe {
                let head = self.base.add(at / UNIT).cast::<RecordHead>();
                (&*head, head.add(1).cast::<u8>())
            };
            let kind = head.kind.load(Ordering::Acquire);
            let length = head.length.load(Ordering::Relaxed);
            // The child can have written any length.
            let size = size_of::<RecordHead>().saturating_add(length);
            let size = size.checked_next_multiple_of(UNIT).unwrap_or(usize::MAX);
            if length == 0 && kind == 0 || size > SIZE - at {
                break;
            }
            let kind = match kind {
                1 => Some(Kind::Returned),
                2 => Some(Kind::Panicked),
                3 => Some(Kind::Unwound),
                4 => Some(Kind::Broken),
                5 => Some(Kind::Unreaped),
                _ => None,
            };
            if let Some(kind) = kind {
                let mut bytes = vec![0; length];
                // SAFETY: `length` bytes after the head lie inside the mapping (checked above) and, the kind
                // being set, are not written any more.
                unsafe { std::ptr::copy_nonoverlapping(body, bytes.as_mut_ptr(), length) };
                found.push(Record {
                    kind,
                    pid: head.pid.load(Ordering::Relaxed),
                    bytes,
                });
            }
            at += size;
        }
        found
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.give_up_header();
        // SAFETY: the mapping made in `new`; every reference into it borrowed `self`.
        unsafe { libc::munmap(self.base.cast(), SIZE) };
    }
}

/// Fresh shared memory, all zero, for this process and its forks.
fn map(size: usize) -> io::Result<*mut libc::c_void> {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice; no memory of ours is touched.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(base)
}

/// Sleeps while `word` is 0, at most `limit`; true when it is no longer 0.
///
/// EINTR and spurious wake-ups are waited out.
pub(crate) fn wait_nonzero(word: &AtomicU32, limit: Option<Duration>) -> bool {
    let until = limit.map(|limit| std::time::Instant::now() + limit);
    while word.load(Ordering::Acquire) == 0 {
        let left = match until {
            None => None,
            Some(until) => {
                let left = until.saturating_duration_since(std::time::Instant::now());
                if left.is_zero() {
                    return false;
                }
                Some(libc::timespec {
                    tv_sec: left.as_secs() as libc::time_t,
                    tv_nsec: left.subsec_nanos().into(),
                })
            }
        };
        let timeout = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `word` is a valid, aligned u32 and `timeout` null or a timespec living across the call;
        // not FUTEX_PRIVATE, because the waker is another process.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, timeout) };
    }
    true
}

/// Sets `word` to 1 and wakes whoever waits for it, in any process.
pub(crate) fn set_and_wake(word: &AtomicU32) {
    store_and_wake(word, 1);
}

/// Sets `word` to a value other than 0 and wakes whoever waits for it, in any process.
pub(crate) fn store_and_wake(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // SAFETY: `word` is a valid, aligned u32; FUTEX_WAKE reads nothing through it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
