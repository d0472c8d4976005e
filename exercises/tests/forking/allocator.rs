//! Does a copy allocate between fork(2) and execve(2)? With threads it may wait for ever for a lock that one of them
//! held when it was made.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, Ordering};

/// What a copy that allocates writes to standard error.
pub const ALLOCATES: &str = "(a copy of the caller allocated or freed memory)\n";

/// From here on, copies of this process are watched until they exec.
pub fn watch_copies() {
    CALLER.store(pid(), Ordering::Relaxed);
}

static CALLER: AtomicI32 = AtomicI32::new(0);

struct Watched;

#[global_allocator]
static WATCHED: Watched = Watched;

// SAFETY: the system's allocator, and a look at the process before it.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look();
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        look();
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn look() {
    let caller = CALLER.load(Ordering::Relaxed);
    if caller != 0 && caller != pid() {
        // SAFETY: the kernel reads a constant of that length.
        unsafe { libc::write(2, ALLOCATES.as_ptr().cast(), ALLOCATES.len()) };
    }
}

fn pid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::getpid() }
}
