//! What does the host wait for, all of it at once?
//!
//! Its main thread is the tracer, and so the one that has to wait for children; whatever else happens is put into a
//! queue by other threads, which then interrupt its `waitpid(2)`. A signal that comes between the look into the queue
//! and the call would be lost, so it is sent until it has had its effect.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::ToHost;

/// Something other than a child.
#[derive(Debug)]
pub(crate) enum Event {
    /// evcxr asks to run a function of a library.
    Load { library: String, function: String },
    /// The kernel says something.
    Kernel(ToHost, Vec<u8>),
    /// The cell process has rung.
    Bell,
    /// A time that was asked for is over.
    Timer(Timer),
    /// The kernel is gone.
    Quit,
}

/// What is to be done later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The run of this number may still go on after an interrupt.
    Kill(u64),
    /// The cell process of this pid has stopped.
    Continue(i32),
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Event(Event),
    /// `waitpid(2)`: who, and its status.
    Report(i32, i32),
}

#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Event>>,
    changed: Condvar,
    waiting: AtomicBool,
    process: i32,
    waiter: i32,
}

impl Inbox {
    /// For this thread to wait at.
    pub(crate) fn new() -> Arc<Inbox> {
        extern "C" fn nothing(_: i32) {}
        // SAFETY: the handler does nothing; without SA_RESTART it makes waitpid(2) return.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        }
        Arc::new(Inbox {
            queue: Mutex::default(),
            changed: Condvar::new(),
            waiting: AtomicBool::new(false),
            process: std::process::id() as i32,
            // SAFETY: takes nothing.
            waiter: unsafe { libc::gettid() },
        })
    }

    /// From any other thread.
    pub(crate) fn push(&self, event: Event) {
        self.queue().push_back(event);
        self.changed.notify_all();
        while self.waiting.load(Ordering::SeqCst) && !self.queue().is_empty() {
            // SAFETY: three integers.
            unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.waiter, libc::SIGUSR1) };
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// After so long.
    pub(crate) fn later(self: &Arc<Self>, time: Duration, timer: Timer) {
        let inbox = Arc::clone(self);
        std::thread::spawn(move || {
            std::thread::sleep(time);
            inbox.push(Event::Timer(timer));
        });
    }

    /// The next event, or else what a child has to report.
    pub(crate) fn next(&self) -> Next {
        loop {
            if let Some(event) = self.queue().pop_front() {
                return Next::Event(event);
            }
            self.waiting.store(true, Ordering::SeqCst);
            if !self.queue().is_empty() {
                self.waiting.store(false, Ordering::SeqCst);
                continue;
            }
            let report = wait(0);
            self.waiting.store(false, Ordering::SeqCst);
            match report {
                Ok(Some((tid, status))) => return Next::Report(tid, status),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                    let queue = self.queue();
                    if queue.is_empty() {
                        // No child at all: only an event can come.
                        drop(self.changed.wait_timeout(queue, Duration::from_millis(50)));
                    }
                }
                _ => {}
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One `waitpid(2)` for anybody. `None`: WNOHANG, and nobody has anything to report.
pub(crate) fn wait(flags: i32) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | flags) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        tid => Ok(Some((tid, status))),
    }
}
