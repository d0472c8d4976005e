//! What happens at Ctrl-C?
//!
//! The wardens are in sessions of their own, so the terminal's SIGINT reaches only
//! the grader. It remembers that, passes SIGTERM on to every warden (which ends
//! its test and answers), and nothing new is started. A second one ends it at
//! once: the wardens notice (`PR_SET_PDEATHSIG`) and do the same.

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Pids of the wardens that run now; 0 is a free place. As many as jobs can run.
static WARDENS: [AtomicI32; 256] = [const { AtomicI32::new(0) }; 256];

/// True after SIGINT, SIGTERM or SIGHUP.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// From now on a signal stops the grading instead of the grader.
pub(crate) fn watch() -> nix::Result<()> {
    let flags = SaFlags::SA_RESTART | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::Handler(on_signal), flags, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler uses atomics and kill(2) only, both async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

extern "C" fn on_signal(_: libc::c_int) {
    REQUESTED.store(true, Ordering::SeqCst);
    for place in &WARDENS {
        let pid = place.load(Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: takes two integers. A warden is reaped only after it left
            // its place, so the pid is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

/// A warden's place in the list, until it is dropped.
pub(crate) struct Watched(Option<&'static AtomicI32>);

/// Passes signals on to this warden until the guard is dropped.
pub(crate) fn forward(warden: &Child) -> Watched {
    let pid = warden.id().cast_signed();
    let place = WARDENS.iter().find(|place| {
        place
            .compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    });
    // The signal may have come between the spawn and this line.
    if requested() {
        // SAFETY: takes two integers; the caller has not reaped the child yet.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    Watched(place)
}

/// Pids of the wardens that run now.
pub(crate) fn wardens() -> std::collections::HashSet<i32> {
    WARDENS
        .iter()
        .map(|place| place.load(Ordering::SeqCst))
        .filter(|pid| *pid > 0)
        .collect()
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(0, Ordering::SeqCst);
        }
    }
}
