//! # Which thread gets a signal that was sent to the process?
//!
//! Any that does not block it; so all block it, and one asks. The traps: blocking after a thread was made, which
//! then has the old mask; sigaddset(3), which takes SIGKILL without a word; an end that forgets what is
//! pending, so that it kills when the mask is put back.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

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
    /// Readable when the thread is to end. Shared, so that it is not closed when this value is dropped.
    stop: Arc<EventFd>,
    join: JoinHandle<()>,
    mask: Mask,
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
    pub fn start<H>(signals: &[i32], mut handle: H) -> io::Result<SignalThread>
    where
        H: FnMut(Received) + Send + 'static,
    {
        let set = set_of(signals)?;
        let mask = Mask::block(&set);
        let queue = Queue::open(&set)?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let join = Builder::new().name("signals".to_owned()).spawn(move || {
            loop {
                // Before the look at the queue: what was sent before `stop` was called is in it by now.
                let last = wait(&stopped, &queue);
                while let Some(received) = queue.next() {
                    handle(received);
                }
                if last {
                    return;
                }
            }
        })?;
        Ok(SignalThread {
            stop,
            join,
            mask,
            thread: PhantomData,
        })
    }

    /// Ends the thread: first `handle` gets all that was sent before this call, then the calling thread's mask is what
    /// it was before `start`. Thread and descriptors are gone when this returns.
    pub fn stop(self) {
        // It fails only when the counter is full, and then the thread has been woken.
        let _ = self.stop.write(1);
        if let Err(panic) = self.join.join() {
            std::panic::resume_unwind(panic);
        }
        drop(self.mask);
    }
}

/// Sleeps until a signal has come or the thread is to end: then true.
fn wait(stop: &EventFd, queue: &Queue) -> bool {
    let mut fds = [stop.as_fd(), queue.0.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    // EINTR: a signal of somebody else's, whose handler has run here. The caller looks at an empty queue.
    let _ = poll(&mut fds, PollTimeout::NONE);
    fds[0].any() == Some(true)
}

/// The signals that wait for this process, behind a signalfd(2).
struct Queue(OwnedFd);

impl Queue {
    fn open(set: &libc::sigset_t) -> io::Result<Queue> {
        // SAFETY: the set is read during the call; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        Ok(Queue(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the next signal out; `None`: none waits.
    fn next(&self) -> Option<Received> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        loop {
            // SAFETY: the kernel writes whole structs, and there is room for one.
            let count = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), SIZE) };
            if count == SIZE as isize {
                break;
            }
            // EAGAIN: none waits. Nothing else can happen to this descriptor.
            if Errno::last() != Errno::EINTR {
                return None;
            }
        }
        // SAFETY: the kernel has written all of it.
        let info = unsafe { info.assume_init() };
        Some(Received {
            signal: info.ssi_signo as i32,
            sender: info.ssi_pid as i32,
            value: info.ssi_int,
        })
    }
}

/// What the calling thread blocked before; put back when dropped, as it is when a later step fails.
#[derive(Debug)]
struct Mask(libc::sigset_t);

impl Mask {
    fn block(set: &libc::sigset_t) -> Mask {
        let mut before = MaybeUninit::uninit();
        // SAFETY: the sets live during the call, which with SIG_BLOCK can't fail, and writes `before`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, set, before.as_mut_ptr());
            Mask(before.assume_init())
        }
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        // SAFETY: as above; a null pointer asks for nothing.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Can't be blocked, or must not.
const REFUSED: [i32; 6] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
];

fn set_of(signals: &[i32]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes the whole set and can't fail.
    let mut set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for &signal in signals {
        // SAFETY: the set is an initialised one, changed during the call; any number is allowed.
        if REFUSED.contains(&signal) || unsafe { libc::sigaddset(&raw mut set, signal) } != 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
    }
    Ok(set)
}
