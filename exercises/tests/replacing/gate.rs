//! How is one of two held up in the middle of his work, for exactly as long as the other needs?
//!
//! By a signal at his fsync(2), whose handler waits: no clock is involved, and nothing that he holds is let go.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use observe::{Action, Child, Fault};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// A child in which whoever comes first to fsync(2) is held up there, at a [`Gate`].
pub fn slow_fsync() -> Child {
    Child::new().fault(Fault::new("fsync", Action::Signal(libc::SIGUSR1)))
}

/// Holds up the thread that gets SIGUSR1 until it is opened.
pub struct Gate {
    reached: PipeReader,
    open: PipeWriter,
    _handlers: (PipeWriter, PipeReader),
}

/// Where the handler says "I am here", and where it waits for "go on".
static HANDLERS: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];

impl Gate {
    /// Made where the exercise runs, before whoever is to be held up: it works for his process too.
    pub fn shut() -> Gate {
        let ((reached, here), (go_on, open)) = (pipe().unwrap(), pipe().unwrap());
        HANDLERS[0].store(here.as_raw_fd(), Relaxed);
        HANDLERS[1].store(go_on.as_raw_fd(), Relaxed);
        let handler = SigHandler::Handler(hold_up);
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler only calls write(2) and read(2).
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        Gate {
            reached,
            open,
            _handlers: (here, go_on),
        }
    }

    /// Until somebody is held up, or has ended without that.
    pub fn reached(&self, ended: impl Fn() -> bool) {
        let mut readable = [PollFd::new(self.reached.as_fd(), PollFlags::POLLIN)];
        while poll(&mut readable, PollTimeout::from(10_u8)) != Ok(1) && !ended() {}
    }

    /// Lets him go on.
    pub fn open(&mut self) {
        self.open.write_all(b".").unwrap();
    }
}

extern "C" fn hold_up(_signal: i32) {
    let [here, go_on] = [0, 1].map(|which| HANDLERS[which].load(Relaxed));
    let mut byte = 0_u8;
    // SAFETY: one byte of this stack, read by the one call and written by the other; the descriptors are
    // those of a Gate that lives until this thread has ended.
    unsafe {
        libc::write(here, (&raw const byte).cast(), 1);
        libc::read(go_on, (&raw mut byte).cast(), 1);
    }
}
