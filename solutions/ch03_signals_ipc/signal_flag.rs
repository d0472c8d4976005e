//! # What may a signal handler do, when it may run between any two instructions?
//!
//! Store to an atomic. It lives in a static, because a handler may still run on another thread while the
//! flag is dropped. The traps: anything that locks or allocates; a `take` of two steps, between which a signal is
//! lost; the moment between the look at the flag and the sleep, which only sigsuspend(2) closes, and which needs the
//! caller's mask, not an empty one.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// What becomes of a system call, such as read(2), that the handler interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// It goes on afterwards, if it is one that can: SA_RESTART.
    Restarts,
    /// It fails with `EINTR`.
    Fails,
}

/// Signals are 1 to 64, SIGRTMAX.
const SIGNALS: usize = 65;

/// What the handler raises, by the number of the signal.
static RAISED: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

/// Which signals have a [`SignalFlag`].
static TAKEN: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

/// A flag that is raised by each signal of its number. At most one a signal, and one for each if you like.
#[derive(Debug)]
pub struct SignalFlag {
    signal: i32,
    before: libc::sigaction,
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
        let taken = usize::try_from(signal).ok().and_then(|at| TAKEN.get(at));
        let taken = taken.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        if taken.swap(true, Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        RAISED[signal as usize].store(false, Ordering::SeqCst);
        let handler: extern "C" fn(libc::c_int) = raise;
        let flags = match interrupted {
            Interrupted::Restarts => libc::SA_RESTART,
            Interrupted::Fails => 0,
        };
        let action = libc::sigaction {
            sa_sigaction: handler as libc::sighandler_t,
            sa_mask: no_signal(),
            sa_flags: flags,
            sa_restorer: None,
        };
        let mut before = MaybeUninit::uninit();
        // SAFETY: both structs live during the call; `raise` has the signature of a handler without SA_SIGINFO, and
        // does nothing but store to a static atomic.
        if unsafe { libc::sigaction(signal, &raw const action, before.as_mut_ptr()) } != 0 {
            let error = io::Error::last_os_error();
            taken.store(false, Ordering::SeqCst);
            return Err(error);
        }
        Ok(SignalFlag {
            signal,
            // SAFETY: the call succeeded, so it has written all of it.
            before: unsafe { before.assume_init() },
        })
    }

    /// Whether the signal has come since the last `take`; lowers the flag. No signal is lost, whenever it comes: one
    /// that this call doesn't tell of, the next one does.
    pub fn take(&self) -> bool {
        RAISED[self.signal as usize].swap(false, Ordering::SeqCst)
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
        let mut own = no_signal();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the sets are initialised before they are read and live during the calls; the signal is a valid one,
        // so that none of them can fail.
        let mut asleep = unsafe {
            libc::sigaddset(&raw mut own, self.signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const own, before.as_mut_ptr());
            before.assume_init()
        };
        let before = asleep;
        // SAFETY: as above.
        unsafe { libc::sigdelset(&raw mut asleep, self.signal) };
        while !self.take() {
            // Always EINTR: some handler has run, of this signal or of another.
            // SAFETY: the set is initialised and lives during the call.
            unsafe { libc::sigsuspend(&raw const asleep) };
        }
        // SAFETY: as above; a null pointer asks for nothing.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    }
}

impl Drop for SignalFlag {
    fn drop(&mut self) {
        // SAFETY: what the kernel gave for this signal, given back; it can't fail.
        unsafe { libc::sigaction(self.signal, &raw const self.before, ptr::null_mut()) };
        TAKEN[self.signal as usize].store(false, Ordering::SeqCst);
    }
}

extern "C" fn raise(signal: libc::c_int) {
    RAISED[signal as usize].store(true, Ordering::SeqCst);
}

fn no_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes the whole set and can't fail.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}
