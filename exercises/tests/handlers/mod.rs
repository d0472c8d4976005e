//! What may a signal handler do, and what does it to the code that it interrupts?

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use observe::{Call, Calls};

/// Families of calls, of those a handler may have a use for, that signal-safety(7) lists.
pub const SAFE: [&str; 23] = [
    "accept",
    "clock_gettime",
    "close",
    "dup",
    "exit",
    "fcntl",
    "getpid",
    "gettid",
    "kill",
    "open",
    "poll",
    "read",
    "recvfrom",
    "recvmsg",
    "select",
    "sendmsg",
    "sendto",
    "shutdown",
    "sigaction",
    "signal",
    "sigprocmask",
    "sigqueue",
    "write",
];

pub fn prints(call: &Call) -> bool {
    (call.is("write") || call.is("writev")) && [1, 2].contains(&call.args[0])
}

/// The calls of the handler that ran on top of the first getppid(2), which a fault interrupts.
pub fn in_handler(calls: &Calls) -> Vec<&Call> {
    let Some(at) = calls.iter().position(|call| call.is("getppid")) else {
        return Vec::new();
    };
    let thread = calls[at + 1..]
        .iter()
        .filter(|call| call.tid == calls[at].tid);
    thread.take_while(|call| !call.is("sigreturn")).collect()
}

/// In the child: what a handler that runs during `interrupted` does to this thread, "nothing" if it is a good one.
///
/// `interrupted` neither allocates nor changes errno by itself.
pub fn disturbance(interrupted: impl FnOnce()) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.store(0, Ordering::Relaxed);
    Errno::ENOTTY.set();
    count_allocations(Some(&COUNT));
    interrupted();
    count_allocations(None);
    match (COUNT.load(Ordering::Relaxed), Errno::last()) {
        (0, Errno::ENOTTY) => "nothing".to_owned(),
        (0, errno) => format!("errno was ENOTTY, and now it is {errno:?}"),
        (count, _) => format!("allocated memory, {count} times"),
    }
}

/// Counts this thread's allocations from here on, or no more.
pub fn count_allocations(count: Option<&'static AtomicU32>) {
    ALLOCATIONS.set(count);
}

thread_local! {
    static ALLOCATIONS: Cell<Option<&'static AtomicU32>> = const { Cell::new(None) };
}

/// malloc(3), which sees when a handler calls it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(count) = ALLOCATIONS.get() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised; `memory` is from `alloc` above.
        unsafe { System.dealloc(memory, layout) }
    }
}
