//! # What may a signal handler do, when it may run between any two instructions?
//!
//! A handler is called by nobody: the kernel stops the program wherever it is, runs the handler on its stack, and
//! lets it go on. If it was stopped inside `println!`, or malloc, or a `Mutex`, then the lock is taken, by the very
//! thread that now runs the handler; to wait for it is to wait for ever. So the list of what a handler may
//! call is short (signal-safety(7)), and a good handler does one thing: it stores to an atomic.
//!
//! Two questions are left. What becomes of the call in which the program sleeps: does it fail with
//! `EINTR`, or does it go on (SA_RESTART)? And how does a program wait for the flag? Not with
//! `while !flag.take() { pause() }`: a signal that comes after the look and before pause(2) wakes nobody.
//!
//! Build a flag that a signal raises, for any signal of signal(7), those of real time too.
//!
//! Man pages: sigaction(2), signal-safety(7), signal(7) (Interruption of system calls), sigsuspend(2),
//! sigprocmask(2).
//! Notebook: `03-signals-ipc.ipynb#a-handler-interrupts-everything`.

use std::io;

/// What becomes of a system call, such as read(2), that the handler interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// It goes on afterwards, if it is one that can: SA_RESTART.
    Restarts,
    /// It fails with `EINTR`.
    Fails,
}

/// A flag that is raised by each signal of its number. At most one a signal, and one for each if you like.
#[derive(Debug)]
pub struct SignalFlag {
    // TODO: the signal, and what must be put back. The flag itself can't be in here: why?
}

impl SignalFlag {
    /// Installs the handler; the flag is down. Dropped, it puts back the whole disposition that was there before:
    /// handler, flags and mask.
    ///
    /// The handler
    /// - raises the flag of its signal and no other;
    /// - makes no call that signal-safety(7) doesn't list, takes no lock, allocates nothing, prints nothing;
    /// - leaves errno as it was, and stays installed until the flag is dropped.
    ///
    /// # Errors
    /// - `EINVAL`: `signal` isn't a signal, or one that can't be caught (SIGKILL, SIGSTOP).
    /// - `EBUSY`: there is a flag for this signal. It stays as it is.
    pub fn install(signal: i32, interrupted: Interrupted) -> io::Result<SignalFlag> {
        // TODO: 1. A static of atomics, one for each signal up to `libc::SIGRTMAX()`: the handler finds its own by
        //          the number that it is given.
        //       2. sigaction(2): SA_RESTART or not. Keep what was there before.
        todo!("install a handler that stores to an atomic")
    }

    /// Whether the signal has come since the last `take`; lowers the flag. No signal is lost, whenever it comes: one
    /// that this call doesn't tell of, the next one does.
    pub fn take(&self) -> bool {
        todo!("look at the flag and lower it, in one step")
    }

    /// Sleeps until the flag is raised, and lowers it. Returns at once if it is up.
    ///
    /// - Whenever the signal comes, before the call or at any moment in it, this returns. It does not look now
    ///   and then: until a signal comes the thread sleeps in one system call.
    /// - Signals with another handler run that, and this sleeps on.
    /// - Signals that the caller blocks are blocked during the sleep too; its own may be among them, and wakes it
    ///   all the same. The mask is afterwards what it was before.
    ///
    /// The signal has to reach this thread: the others block it, or there are none.
    pub fn wait(&self) {
        // TODO: block the signal, look at the flag, and let sigsuspend(2) unblock it for as long as it sleeps.
        todo!("take the flag; sleep while it is down")
    }
}

// TODO: what happens when a flag is dropped?
