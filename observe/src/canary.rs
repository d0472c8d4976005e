//! Is this copy of the test's memory fit to run in?
//!
//! fork(2) copies the calling thread alone. A lock that another thread holds at that moment is held in the copy for
//! ever. glibc takes care of its own, malloc's among them, but not of those inside Rust's std: the list of threads'
//! guard pages, say, which a starting and an ending thread take, and in the copy every `std::thread::spawn` and
//! `std::process::exit`. No such lock can be reached from here; so a copy of the copy tries them first.

use crate::sweep;
use std::time::{Duration, Instant};

/// Forks a process that does what an exercise might do with std; true when it comes back in time.
///
/// Called where SIGCHLD is blocked, by a process of one thread.
pub(crate) fn sings(patience: Duration) -> bool {
    // SAFETY: fork takes nothing; the copy uses std only for this purpose and leaves by _exit(2).
    let canary = unsafe { libc::fork() };
    if canary == 0 {
        sing();
        crate::inside::exit(0);
    }
    let until = Instant::now() + patience;
    loop {
        // SAFETY: a null status pointer is allowed; WNOHANG does not block.
        if unsafe { libc::waitpid(canary, std::ptr::null_mut(), libc::WNOHANG) } != 0 {
            return canary > 0;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            sweep::kill(canary, libc::SIGKILL);
            // SAFETY: as above; a killed child is soon there to be reaped.
            unsafe { libc::waitpid(canary, std::ptr::null_mut(), 0) };
            return false;
        }
        wait_for_child(left);
    }
}

/// Takes the locks: of thread lists, of the environment, of the unwinder, of the standard streams, of this crate.
fn sing() {
    let _ = std::thread::spawn(|| ()).join();
    let _ = std::env::var_os("TMPDIR");
    let _ = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(())));
    drop((
        std::io::stdin().lock(),
        std::io::stdout().lock(),
        std::io::stderr().lock(),
    ));
    crate::scratch::redact("");
    drop(crate::facts::children());
}

/// Sleeps until SIGCHLD, which is blocked and thus not lost when it came before; at most `limit`.
fn wait_for_child(limit: Duration) {
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: the set and the time live across the calls; a null siginfo is allowed.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const limit);
    }
}
