//! The cell process has died: what is said, and who takes its place?

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libc::c_int;
use link::{Death, End, FromHost};

use super::notes::Notes;
use super::{Host, tell_evcxr};
use crate::page::{self, outcome};
use crate::{death, sys, traced, tree};

impl Host {
    /// The cell process is at its end: its checkpoint takes its place, and everybody is told.
    pub(super) fn bury(&mut self) {
        let status = self.dying.unwrap_or_default();
        let victim = self.cell;
        let run = self.run.take();
        let unfit = run.is_some() && self.page.outcome.load(Ordering::SeqCst) == outcome::UNFIT;
        self.page.outcome.store(outcome::RAN, Ordering::SeqCst);
        let mut death = if unfit {
            Death {
                name: "Undone".into(),
                what: format!(
                    "the cell ran, but after it {}: the process was put back to before the cell; do this in a child process",
                    self.page.message.get()
                ),
                ..Death::default()
            }
        } else {
            self.explain(status, victim)
        };
        death.interrupted = run.as_ref().is_some_and(|run| run.interrupted.is_some());
        if let Some(panic) = Notes::of(self.page.take_notes()).panics.pop() {
            death.what += &format!(", after a panic: {}", panic.message);
        }
        let copy = self.checkpoint.take();
        let promoted = copy.is_some_and(|copy| self.promote(copy, victim));
        self.finish_off(victim);
        let cell = self.settings.cell;
        let was_running = run.is_some();
        drop(run);
        if let Some(recorded) = self.recorded.take() {
            self.pump.drain(cell, false);
            self.line.say(
                &FromHost::Show {
                    cell,
                    content: recorded.show(),
                },
                b"",
            );
        }
        self.pump.drain(cell, was_running);
        if promoted {
            self.inherit(copy.unwrap_or_default(), &mut death);
        } else {
            self.start_anew(&mut death);
        }
        if was_running {
            self.tell_end(End::Died(death));
            tell_evcxr(b"\xff\n");
        } else {
            self.line.say(&FromHost::DiedIdle(death), b"");
        }
        self.checkpoint();
    }

    fn explain(&self, status: c_int, victim: c_int) -> Death {
        let mut place = None;
        let mut what = if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            let name = tracer::signal_name(signal);
            let crash = self
                .crashes
                .iter()
                .find(|(_, crash)| crash.signal() == signal);
            match crash {
                Some((&tid, crash)) => {
                    place = crash.place(victim);
                    format!("killed by {name}: {}", crash.words(tid, victim))
                }
                None => format!("killed by {name}"),
            }
        } else {
            format!("ended with exit status {}", libc::WEXITSTATUS(status))
        };
        let mut name = death::name(status);
        if let Some(program) = &self.executed {
            what = format!(
                "execve(2) replaced the process by {program}, which {what}",
                what = what.replace("killed", "was killed")
            );
            name = "Replaced".into();
        } else {
            what = format!(
                "the process {what}",
                what = what.replace("killed", "was killed")
            );
        }
        Death {
            name,
            what,
            place,
            ..Death::default()
        }
    }

    /// The checkpoint takes over; false if it didn't.
    fn promote(&self, copy: c_int, victim: c_int) -> bool {
        self.introduce();
        let page = self.page;
        // What it was asked to do before, it has not to do any more.
        page.done
            .store(page.asked.load(Ordering::SeqCst), Ordering::SeqCst);
        page.victim.store(victim, Ordering::SeqCst);
        page.took_over.store(0, Ordering::SeqCst);
        page.promoted.store(copy, Ordering::SeqCst);
        page.promotions.fetch_add(1, Ordering::SeqCst);
        page::wake(&page.promotions);
        // A cell may have stopped it.
        sys::kill(copy, libc::SIGCONT);
        let until = Instant::now() + Duration::from_secs(10);
        while page.took_over.load(Ordering::SeqCst) == 0 {
            if Instant::now() > until || !tree::lives(copy) {
                sys::kill(copy, libc::SIGKILL);
                return false;
            }
            page::wait(&page.took_over, 0, Some(Duration::from_millis(2)));
        }
        true
    }

    /// Lets the process go that was held, and waits for its end.
    pub(super) fn finish_off(&mut self, victim: c_int) {
        sys::kill(victim, libc::SIGKILL);
        traced::resume(victim, 0);
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && tree::lives(victim) {
            match traced::pending() {
                Some((tid, status)) if libc::WIFSTOPPED(status) => {
                    if let Some(recorded) = &mut self.recorded
                        && !self.threads.contains(&tid)
                    {
                        let _ = recorded.recording.report(tid, status);
                    } else {
                        traced::resume(tid, 0);
                    }
                }
                Some((tid, status)) => {
                    if let Some(recorded) = &mut self.recorded {
                        let _ = recorded.recording.report(tid, status);
                    }
                    if tid == victim {
                        return;
                    }
                }
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    fn inherit(&mut self, copy: c_int, death: &mut Death) {
        death.restored = true;
        death.losses.extend(std::mem::take(&mut self.own).losses());
        let lost = self.page.lost.load(Ordering::SeqCst);
        if lost > 0 {
            let why = if self.executed.is_some() {
                " (closed by execve(2), or changed)"
            } else {
                ""
            };
            death.losses.push(format!("descriptors lost: {lost}{why}"));
        }
        self.group = sys::group(copy).unwrap_or(copy);
        // Without a tracer the next death is only seen when it is over.
        let _ = self.adopt(copy);
    }

    fn start_anew(&mut self, death: &mut Death) {
        let why = self.page.message.get();
        death.losses.push(if why.is_empty() {
            "variables lost: all (there was no copy of the process)".into()
        } else {
            format!("variables lost: all (no copy of the process could be kept: {why})")
        });
        self.page
            .done
            .store(self.page.asked.load(Ordering::SeqCst), Ordering::SeqCst);
        self.start();
    }
}
