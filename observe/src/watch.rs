//! Who watches the limit, and who ends what is left?
//!
//! A thread of the test's process for each child. It waits on words of shared memory, never for the end of a
//! pipe that a descendant may hold: a child that closes everything, or leaves a sleeper behind, delays nobody.

use crate::arena::{Arena, Kind, set_and_wake, wait_nonzero};
use crate::inside::{PATIENCE, Setup};
use crate::run::Left;
use crate::{launch, sweep};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the watcher is told.
pub(crate) struct Watch {
    pub(crate) arena: Arc<Arena>,
    pub(crate) setup: Setup,
    pub(crate) limit: Duration,
    pub(crate) to_the_last: bool,
    /// Look at what is left as soon as the child has ended; otherwise when `release` is set.
    pub(crate) at_once: bool,
    outcome: Mutex<Option<Outcome>>,
}

/// What became of the child.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) left: Vec<Left>,
}

/// How the child's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Killed(i32),
    /// By the watcher, at the limit.
    TimedOut {
        /// The signal that had stopped it, 0 when it was not stopped.
        stopped_by: i32,
    },
    /// The keeper was killed: by the child, which takes it for its parent.
    KeeperKilled,
}

/// A running watcher; it is waited for when dropped.
pub(crate) struct Watcher {
    pub(crate) watch: Arc<Watch>,
    thread: Option<libc::pthread_t>,
}

impl Watcher {
    pub(crate) fn new(watch: Arc<Watch>, thread: libc::pthread_t) -> Watcher {
        Watcher {
            watch,
            thread: Some(thread),
        }
    }
}

impl Watch {
    pub(crate) fn new(arena: Arc<Arena>, setup: Setup, limit: Duration) -> Watch {
        Watch {
            arena,
            setup,
            limit,
            to_the_last: false,
            at_once: false,
            outcome: Mutex::new(None),
        }
    }

    /// Waits until `word` is set; false at `until` or when the keeper has been killed.
    ///
    /// The keeper's death wakes nobody, so it is looked for now and then.
    pub(crate) fn wait(&self, word: &AtomicU32, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if wait_nonzero(word, Some(left.min(Duration::from_millis(200)))) {
                return true;
            }
            if left.is_zero() || self.keeper_is_gone() {
                return false;
            }
        }
    }

    fn keeper_is_gone(&self) -> bool {
        let keeper = self.arena.header().keeper.load(Ordering::Relaxed);
        sweep::Stat::of(keeper).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
    }

    /// The life of the watcher's thread in the test, from the fork to the end of everything.
    pub(crate) fn follow(&self) {
        let outcome = self.see_to_its_end();
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn see_to_its_end(&self) -> Outcome {
        let header = self.arena.header();
        let patience = Instant::now() + PATIENCE;
        self.wait(&header.ready, patience);
        self.wait(&header.go, patience);
        let until = Instant::now().checked_add(self.limit).unwrap_or(patience);
        let ended = if self.wait(&header.ended, until) {
            match (
                header.code.load(Ordering::Relaxed),
                header.status.load(Ordering::Relaxed),
            ) {
                (libc::CLD_EXITED, status) => Ended::Exited(status),
                (_, signal) => Ended::Killed(signal),
            }
        } else if self.keeper_is_gone() {
            Ended::KeeperKilled
        } else {
            Ended::TimedOut {
                stopped_by: header.stopped_by.load(Ordering::Relaxed),
            }
        };
        let keeper = header.keeper.load(Ordering::Relaxed);
        let mut left = Vec::new();
        if matches!(ended, Ended::Exited(_) | Ended::Killed(_)) {
            if self.to_the_last {
                self.wait(&header.empty, until);
            } else if !self.at_once {
                self.wait(&header.release, until);
            }
            if header.alone.load(Ordering::Relaxed) == 0 {
                left = self.left(keeper);
            }
        }
        if !self.end_tree(keeper) {
            eprintln!("a process that the exercise started cannot be killed");
        }
        Outcome { ended, left }
    }

    /// What the child left behind.
    ///
    /// A child that returned has said itself which children it never waited for; of the others, those count that go
    /// on. An orphan that is about to end, as of a double fork, is given a moment: how soon it ends is the scheduler's.
    fn left(&self, keeper: i32) -> Vec<Left> {
        const MOMENT: Duration = Duration::from_millis(200);
        let records = self.arena.records();
        let child = self.arena.header().child.load(Ordering::Relaxed);
        let returned = records
            .iter()
            .any(|record| record.kind == Kind::Returned && record.pid == child);
        if !returned || self.to_the_last {
            return sweep::descendants(keeper)
                .into_iter()
                .filter_map(Left::of)
                .collect();
        }
        let mut left: Vec<Left> = records
            .iter()
            .filter(|record| record.kind == Kind::Unreaped)
            .filter_map(|record| serde_json::from_slice(&record.bytes).ok().map(Left::new))
            .collect();
        let known: Vec<i32> = left.iter().map(|left| left.pid).collect();
        let until = Instant::now() + MOMENT;
        loop {
            let others: Vec<Left> = sweep::descendants(keeper)
                .into_iter()
                .filter(|pid| !known.contains(pid))
                .filter_map(Left::of)
                .filter(|left| !left.zombie)
                .collect();
            if others.is_empty() || Instant::now() > until {
                left.extend(others);
                return left;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Has the keeper kill and reap the tree; does it itself when the keeper cannot.
    fn end_tree(&self, keeper: i32) -> bool {
        self.arena.header().finish.store(1, Ordering::Release);
        sweep::kill(keeper, libc::SIGUSR1);
        sweep::kill(keeper, libc::SIGCONT); // its child may have stopped it
        let until = Instant::now() + PATIENCE;
        let mut status = 0;
        let mut nap = Duration::from_micros(50);
        loop {
            // SAFETY: `status` is valid for writing; WNOHANG does not block.
            let got = unsafe { libc::waitpid(keeper, &raw mut status, libc::WNOHANG) };
            if got == keeper || got < 0 {
                break;
            }
            if Instant::now() > until {
                sweep::kill(keeper, libc::SIGKILL);
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(10));
        }
        launch::forget(keeper);
        if libc::WIFEXITED(status) {
            return libc::WEXITSTATUS(status) == 0;
        }
        // Its orphans were adopted by this process, the next subreaper up.
        sweep::kill_orphans(&launch::KEEPERS, Duration::from_secs(20))
    }
}

impl Watcher {
    /// Waits until the child is set up.
    pub(crate) fn ready(&self) -> bool {
        self.watch
            .wait(&self.watch.arena.header().ready, Instant::now() + PATIENCE)
            && self.pid() > 0
    }

    pub(crate) fn pid(&self) -> i32 {
        self.watch.arena.header().child.load(Ordering::Acquire)
    }

    pub(crate) fn keeper(&self) -> i32 {
        self.watch.arena.header().keeper.load(Ordering::Acquire)
    }

    /// Lets the child call the closure.
    pub(crate) fn go(&self) {
        set_and_wake(&self.watch.arena.header().go);
    }

    /// Waits until the child's process has ended, or was ended; false at the limit.
    pub(crate) fn ended(&self) -> bool {
        self.watch.wait(
            &self.watch.arena.header().ended,
            Instant::now() + self.watch.limit,
        )
    }

    /// Waits for the end of everything.
    pub(crate) fn outcome(&mut self) -> Outcome {
        self.join();
        let mut outcome = self
            .watch
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        outcome.take().expect("a watcher leaves an outcome")
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            set_and_wake(&self.watch.arena.header().release);
            // SAFETY: made by pthread_create, not detached, joined once.
            unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.thread.is_some() {
            sweep::kill(self.pid(), libc::SIGKILL);
            self.go(); // the watcher may wait for that
            self.join();
        }
    }
}
