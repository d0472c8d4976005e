//! Who adopts what a child leaves behind, and who still knows how the child ended?
//!
//! A process between the test and the child: its child subreaper. It makes a tree of each child, so that tests
//! running side by side do not mix their orphans; it takes the place of the test as the child's parent, so that
//! `kill(getppid(), …)` does not end the test; and it is the one that waits, so that a tracer in the test, which
//! must wait for anything, takes nobody's status away.

use crate::arena::{Arena, FIT, UNFIT, set_and_wake, store_and_wake};
use crate::inside::{self, Setup, exit};
use crate::{canary, sweep};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time that killing a tree may take. A fork bomb on a busy machine needs some.
const HUNT: Duration = Duration::from_secs(20);

/// How the keeper is to go about it.
pub(crate) struct Orders<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) setup: &'a Setup,
    /// The test's process.
    pub(crate) test: i32,
    /// Whether orphans are reaped after the child's end too, until nothing is left.
    pub(crate) to_the_last: bool,
    /// Whether this copy must first be shown to be fit, and how long that may take.
    pub(crate) canary: Option<Duration>,
}

/// Runs in the keeper, forked by a thread that had all signals blocked.
pub(crate) fn live(orders: &Orders<'_>, body: &mut dyn FnMut()) -> ! {
    let header = orders.arena.header();
    // The parent-death signal is tied to the forking *thread*; that one watches until the keeper has gone.
    // SAFETY: integers only.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        // A session of its own: no terminal of the user's, no ^C, no kill(0) from the test's group.
        libc::setsid();
    }
    let fit = orders.canary.is_none_or(canary::sings);
    store_and_wake(&header.fit, if fit { FIT } else { UNFIT });
    if !fit {
        exit(1);
    }
    // SAFETY: this process has one thread; fork takes nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        inside::live(orders.arena, orders.setup, body);
    }
    // Descriptors that the keeper held would keep pipes from their end of file.
    let _ = inside::close_range(0, i32::MAX);
    if child < 0 {
        header.child.store(-1, Ordering::Release);
        set_and_wake(&header.ready);
        exit(1);
    }
    header
        .keeper
        .store(std::process::id() as i32, Ordering::Relaxed);
    header.child.store(child, Ordering::Release);
    loop {
        reap(orders, child);
        // SAFETY: getppid takes nothing.
        let orphaned = unsafe { libc::getppid() } != orders.test;
        if orphaned || header.finish.load(Ordering::Acquire) != 0 {
            // Without a child there is no descendant, and no need to read all of /proc.
            let alone = wait(
                libc::P_ALL,
                0,
                libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
            ) == Wait::NoChild;
            let gone = alone || sweep::kill_descendants(HUNT);
            exit(i32::from(!gone));
        }
        wait_for_news();
    }
}

/// Takes note of the child's stops and end; reaps orphans as init(1) would.
///
/// Zombies that the child itself never waited for are its fault and are left to be seen.
fn reap(orders: &Orders<'_>, child: i32) {
    let header = orders.arena.header();
    loop {
        let ended = header.ended.load(Ordering::Relaxed) != 0;
        if ended && !orders.to_the_last {
            return;
        }
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let stops = if ended {
            0
        } else {
            libc::WSTOPPED | libc::WCONTINUED
        };
        match wait(libc::P_ALL, 0, options) {
            Wait::None => {
                if let (false, Wait::Some { code, status, .. }) =
                    (ended, wait(libc::P_PID, child, stops | libc::WNOHANG))
                {
                    let stopped = code == libc::CLD_STOPPED;
                    header
                        .stopped_by
                        .store(if stopped { status } else { 0 }, Ordering::Relaxed);
                    continue;
                }
                return;
            }
            Wait::NoChild => {
                set_and_wake(&header.empty);
                return;
            }
            Wait::Some { pid, code, status } => {
                wait(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG);
                if pid == child {
                    let alone = wait(libc::P_ALL, 0, options) == Wait::NoChild;
                    header.alone.store(u32::from(alone), Ordering::Relaxed);
                    header.code.store(code, Ordering::Relaxed);
                    header.status.store(status, Ordering::Relaxed);
                    set_and_wake(&header.ended);
                }
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Wait {
    Some {
        pid: i32,
        code: i32,
        status: i32,
    },
    /// Children, but none that changed.
    None,
    NoChild,
}

/// waitid(2). With WNOHANG it does not block, hence no EINTR.
fn wait(kind: libc::idtype_t, pid: i32, options: i32) -> Wait {
    // SAFETY: an all-zero siginfo_t is valid, written by the kernel during the call; si_pid and si_status are
    // the members that waitid fills.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(kind, pid as libc::id_t, &raw mut info, options) < 0 {
            return Wait::NoChild;
        }
        match info.si_pid() {
            0 => Wait::None,
            pid => Wait::Some {
                pid,
                code: info.si_code,
                status: info.si_status(),
            },
        }
    }
}

/// Sleeps until a child changes (SIGCHLD) or the test has orders or ends (SIGUSR1). All signals are blocked, so
/// that one which comes before the sleep is not lost.
fn wait_for_news() {
    // SAFETY: the set lives across the calls; a null siginfo is allowed.
    unsafe {
        let mut news: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut news);
        libc::sigaddset(&raw mut news, libc::SIGCHLD);
        libc::sigaddset(&raw mut news, libc::SIGUSR1);
        libc::sigwaitinfo(&raw const news, std::ptr::null_mut());
    }
}
