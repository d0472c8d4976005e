//! # Which thread gets a signal that was sent to the process?
//!
//! Any that does not block it: the kernel takes the first it finds. The handler is one for all threads, the mask is each
//! thread's own. So in a program with threads a handler may run in the middle of any of them, in the thread of a library
//! too, whose read(2) fails with `EINTR` then.
//!
//! The way out: block the signals in every thread. Then nobody is interrupted, and they wait until somebody asks for
//! them, in a thread that does nothing else, by sigwaitinfo(2) or by read(2) on a signalfd(2). That one is in no handler: it
//! may lock, allocate and print. The trap is the order. pthread_create(3) copies the mask of its caller, so the signals
//! have to be blocked *before the first thread is made*; afterwards there is no call that reaches the others.
//!
//! Man pages: signal(7) (Signal mask and pending signals; Real-time signals), pthread_sigmask(3),
//! sigwaitinfo(2), signalfd(2).
//! Notebook: `03-signals-ipc.ipynb#a-thread-for-signals`.

use std::io;
use std::marker::PhantomData;

/// One signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Who sent it: `si_pid`.
    pub sender: i32,
    /// What sigqueue(3) sent along; 0 if it came by kill(2).
    pub value: i32,
}

/// A thread to which signals come. It belongs to the thread that started it, whose mask it has changed.
#[derive(Debug)]
#[must_use = "dropped, it can't be stopped any more"]
pub struct SignalThread {
    // TODO: what is needed to end the thread, to wait for its end, and to put the mask back?
    /// Its mask is a thread's own: not `Send`.
    thread: PhantomData<*mut ()>,
}

impl SignalThread {
    /// Blocks `signals` in the calling thread, which is the only one of the process so far, and starts a thread in which
    /// `handle` is called for each that comes.
    ///
    /// - Afterwards they are blocked in the calling thread, in the new one, and in all that are made later, since a
    ///   thread inherits its maker's mask. What the calling thread blocked besides is as it was.
    /// - No handler is installed, and no disposition changed: in no thread does a call fail with `EINTR`.
    /// - `handle` is called for one signal at a time, always in the same thread. It is ordinary code: it may lock,
    ///   allocate, print. Realtime signals come as often as they were sent and in that order, with their
    ///   values; of another signal several that wait become one, as always. Signals come too that are ignored, by
    ///   default (SIGCHLD) or not.
    /// - They are blocked before the thread is made: no moment of `start` is one at which a signal is lost, or kills while
    ///   there is a thread to take it.
    /// - Until a signal comes the thread sleeps. Its descriptors, if it has any, are close-on-exec.
    ///
    /// # Errors
    /// The mask is then as it was, and nothing is left.
    /// - `EINVAL`: one of them isn't a signal, or can't be blocked (SIGKILL, SIGSTOP), or comes from a fault of the
    ///   thread that gets it (SIGSEGV, SIGBUS, SIGFPE, SIGILL): blocked, those kill.
    /// - `EAGAIN`: no thread was to be had.
    /// - `EMFILE`: no descriptor, if it needs one.
    pub fn start<H>(signals: &[i32], handle: H) -> io::Result<SignalThread>
    where
        H: FnMut(Received) + Send + 'static,
    {
        // TODO: 1. The set: sigaddset(3) refuses what is no signal, but not all that can't be waited for.
        //       2. pthread_sigmask(3), which also tells what the mask was. Whatever fails from here on, put it back.
        //       3. The thread: wait for a signal, call `handle`, and so on.
        todo!("make a set of the signals and block it")
    }

    /// Ends the thread: first `handle` gets all that was sent before this call, then the calling thread's mask is what
    /// it was before `start`. Thread and descriptors are gone when this returns.
    pub fn stop(self) {
        // TODO: the thread sleeps until a signal comes: what else can wake it?
        todo!("wake the thread, let it take what is left, and wait for its end")
    }
}
