//! How is a process with several threads forked, and not by `std::thread`'s thread?
//!
//! By a thread of its own, made with pthread_create(3): libtest's output capture is a thread local that std hands on to
//! the threads it makes, and a captured `println!` would never reach descriptor 1. The thread stays, as the watcher of
//! what it forked, because a parent-death signal, prctl(2), is tied to the thread that forked.

use crate::arena::{FIT, set_and_wake, wait_nonzero};
use crate::inside::PATIENCE;
use crate::keeper::{self, Orders};
use crate::stack::Stack;
use crate::watch::{Watch, Watcher};
use std::io::{self, Write};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The living keepers of this process.
pub(crate) static KEEPERS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// How many threads of this process are watchers. They hold no lock of std's when another forks.
static WATCHERS: AtomicUsize = AtomicUsize::new(0);

/// Copies of this process that may turn out unfit before that is an error.
const TRIES: u32 = 30;

struct Launch<'a> {
    watch: Arc<Watch>,
    body: &'a mut dyn FnMut(),
    /// On which `body` and all it borrows lies.
    stack: Stack,
    /// Set once the child's copy of the closure exists (futex).
    done: AtomicU32,
    errno: AtomicI32,
}

/// Forks keeper and child. Returns once they have their copies of `body`, which is never called here.
pub(crate) fn start(watch: Watch, body: &mut dyn FnMut()) -> io::Result<Watcher> {
    let watch = Arc::new(watch);
    let mut launch = Launch {
        watch: Arc::clone(&watch),
        body,
        stack: Stack::mine(),
        done: AtomicU32::new(0),
        errno: AtomicI32::new(0),
    };
    let mut thread: libc::pthread_t = 0;
    // SAFETY: the attributes are initialised before and destroyed after use. `launch` outlives its use by the thread,
    // which does not touch it after setting `done`; that is waited for below.
    let error = unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        // As much as a main thread has by default; the guard page below it makes an overflow a SIGSEGV.
        libc::pthread_attr_setstacksize(&raw mut attributes, 8 << 20);
        let launch = (&raw mut launch).cast();
        let error = libc::pthread_create(&raw mut thread, &raw const attributes, watcher, launch);
        libc::pthread_attr_destroy(&raw mut attributes);
        error
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    wait_nonzero(&launch.done, None);
    match launch.errno.load(Ordering::Relaxed) {
        0 => Ok(Watcher::new(watch, thread)),
        errno => {
            // SAFETY: made above, not detached, joined once.
            unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// A keeper has ended.
pub(crate) fn forget(keeper: i32) {
    KEEPERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|pid| *pid != keeper);
}

/// The thread: forks, tells the caller, watches.
extern "C" fn watcher(launch: *mut libc::c_void) -> *mut libc::c_void {
    WATCHERS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: `start` passes a Launch and keeps it alive until `done` is set.
    let launch = unsafe { &mut *launch.cast::<Launch<'_>>() };
    let watch = Arc::clone(&launch.watch);
    let forked = (0..TRIES).find_map(|round| fork(launch, round).transpose());
    let forked = forked.unwrap_or(Err(io::Error::from_raw_os_error(libc::EDEADLK)));
    if let Err(error) = &forked {
        launch.errno.store(
            error.raw_os_error().unwrap_or(libc::EAGAIN),
            Ordering::Relaxed,
        );
    }
    set_and_wake(&launch.done);
    if forked.is_ok() {
        watch.follow();
    }
    WATCHERS.fetch_sub(1, Ordering::Relaxed);
    std::ptr::null_mut()
}

/// One try; nothing when the copy was unfit, see `canary.rs`.
fn fork(launch: &mut Launch<'_>, round: u32) -> io::Result<Option<()>> {
    let watch = &launch.watch;
    let header = watch.arena.header();
    header.fit.store(0, Ordering::Relaxed);
    let orders = Orders {
        arena: &watch.arena,
        setup: &watch.setup,
        test: std::process::id() as i32,
        to_the_last: watch.to_the_last,
        // The more rounds, the busier the machine.
        canary: others().then(|| Duration::from_millis(100) * (round + 1)),
    };
    // Another thread may be inside println!. Both locks are reentrant, and the copy is this thread's. What is still in
    // the buffer would be written by the child too.
    let mut out = io::stdout().lock();
    let _ = out.flush();
    let error = io::stderr().lock();
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the set is initialised by sigfillset; fork copies this thread alone, with its locks held above; glibc
    // makes malloc usable in the copy, and the canary tells whether std is.
    let keeper = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        libc::fork()
    };
    if keeper == 0 {
        launch.stack.keep();
        drop((out, error, keepers));
        keeper::live(&orders, launch.body);
    }
    if keeper < 0 {
        return Err(io::Error::last_os_error());
    }
    drop((out, error));
    header.keeper.store(keeper, Ordering::Relaxed);
    keepers.push(keeper);
    drop(keepers);
    let told = watch.wait(&header.fit, Instant::now() + PATIENCE);
    if told && header.fit.load(Ordering::Relaxed) == FIT {
        watch.arena.keep_header_from_forks();
        return Ok(Some(()));
    }
    crate::sweep::kill(keeper, libc::SIGKILL);
    // SAFETY: a null status pointer is allowed; a child of ours that was killed can be waited for. EINTR: all signals
    // are blocked in this thread.
    unsafe { libc::waitpid(keeper, std::ptr::null_mut(), 0) };
    forget(keeper);
    Ok(None)
}

/// Whether there are threads beside the caller, which waits, and watchers: one of those may hold a lock of std's.
fn others() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    threads > 1 + WATCHERS.load(Ordering::Relaxed)
}
