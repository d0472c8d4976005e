//! Does a thread that isn't running hold up others?
//!
//! A thread repeats an operation until a signal comes, whose handler waits: so it is suspended at any
//! instruction, with whatever it holds in its hands. Then another thread does the same operations.
//! One that takes a lock, be it made of a futex or of an atomic to spin on, is caught about every
//! second time; one that takes none never is.

use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A name, and what a thread does with what all threads share.
pub type Operation<T> = (&'static str, fn(&T));

/// How often a thread is suspended in each operation.
const ROUNDS: usize = 30;

/// The operations take microseconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Suspends a thread in the middle of each operation; says which other one then never returned.
///
/// For a child process: it leaves SIGUSR1 caught, and the threads that are stuck.
pub fn each<T, const N: usize>(shared: T, operations: [Operation<T>; N]) -> Option<String>
where
    T: Send + Sync + 'static,
{
    // Once without anybody in the way: what doesn't work at all is the caller's to see.
    for (_, operation) in operations {
        operation(&shared);
    }
    let shared = Arc::new(shared);
    let gate = Gate::on_sigusr1();
    let other = Other::start(&shared, operations);
    for (suspended, operation) in operations {
        let victim = Victim::start(&shared, operation);
        for _ in 0..ROUNDS {
            victim.suspend();
            for (name, _) in operations {
                if !other.returns() {
                    return Some(format!(
                        "one thread was suspended in {suspended}, and {name} in another never returned"
                    ));
                }
            }
            gate.open();
        }
        victim.end();
    }
    None
}

/// Where a suspended thread waits: a pipe that it reads one byte from.
struct Gate {
    writing: i32,
}

/// The pipe's other end, for the handler.
static READING: AtomicI32 = AtomicI32::new(-1);

/// Whether a thread waits.
static SUSPENDED: AtomicBool = AtomicBool::new(false);

impl Gate {
    fn on_sigusr1() -> Gate {
        let mut ends = [0; 2];
        // SAFETY: pipe(2) writes two descriptors to `ends`. An all-zero sigaction is valid: no flags,
        // an empty mask. `wait` has the signature of a handler without SA_SIGINFO.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            READING.store(ends[0], Ordering::SeqCst);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = wait as extern "C" fn(i32) as usize;
            assert_eq!(
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
                0
            );
        }
        Gate { writing: ends[1] }
    }

    fn open(&self) {
        // SAFETY: write(2) reads one byte of a constant.
        unsafe { libc::write(self.writing, b".".as_ptr().cast(), 1) };
        until(|| !SUSPENDED.load(Ordering::SeqCst));
    }
}

extern "C" fn wait(_: i32) {
    SUSPENDED.store(true, Ordering::SeqCst);
    let mut byte = 0_u8;
    // SAFETY: read(2) is async-signal-safe, and writes at most one byte, to `byte`. EINTR: again.
    while unsafe { libc::read(READING.load(Ordering::SeqCst), (&raw mut byte).cast(), 1) } != 1 {}
    SUSPENDED.store(false, Ordering::SeqCst);
}

/// A thread that repeats one operation.
struct Victim {
    progress: Arc<Progress>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Progress {
    laps: AtomicU64,
    enough: AtomicBool,
}

impl Victim {
    fn start<T>(shared: &Arc<T>, operation: fn(&T)) -> Victim
    where
        T: Send + Sync + 'static,
    {
        let progress = Arc::new(Progress::default());
        let thread = thread::spawn({
            let (shared, progress) = (Arc::clone(shared), Arc::clone(&progress));
            move || {
                while !progress.enough.load(Ordering::Relaxed) {
                    operation(&shared);
                    progress.laps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Victim { progress, thread }
    }

    /// Lets it go on for a while, so that it isn't suspended where it was the last time.
    fn suspend(&self) {
        let laps = self.progress.laps.load(Ordering::Relaxed);
        until(|| self.progress.laps.load(Ordering::Relaxed) > laps);
        // SAFETY: the thread isn't joined yet, so its pthread_t is valid.
        unsafe { libc::pthread_kill(self.thread.as_pthread_t(), libc::SIGUSR1) };
        until(|| SUSPENDED.load(Ordering::SeqCst));
    }

    fn end(self) {
        self.progress.enough.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing in it panics");
    }
}

/// A thread that does the operations in turn, one each time it is asked.
struct Other {
    ask: Sender<()>,
    returned: Receiver<()>,
}

impl Other {
    fn start<T, const N: usize>(shared: &Arc<T>, operations: [Operation<T>; N]) -> Other
    where
        T: Send + Sync + 'static,
    {
        let ((ask, asked), (done, returned)) = (mpsc::channel(), mpsc::channel());
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            for ((), (_, operation)) in asked.into_iter().zip(operations.into_iter().cycle()) {
                operation(&shared);
                let _ = done.send(());
            }
        });
        Other { ask, returned }
    }

    fn returns(&self) -> bool {
        self.ask.send(()).is_ok() && self.returned.recv_timeout(PATIENCE).is_ok()
    }
}

/// Takes no lock that the suspended thread might hold. The child's limit ends what takes for ever.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_micros(20));
    }
}
