//! What is it doing now? Lines that move, on a terminal; nothing elsewhere.

use std::time::{Duration, Instant};

use anstream::eprintln;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::paint::{self, DIM, GOOD, In};

/// One line at the bottom of the terminal, cleared when dropped.
pub(crate) struct Spinner {
    bar: ProgressBar,
    /// Each text is a line on standard error, for a program that shows it.
    lines: bool,
}

impl Spinner {
    /// For a program: every text is a line.
    pub(crate) fn lines(text: &str) -> Self {
        let bar = ProgressBar::hidden();
        let spinner = Self { bar, lines: true };
        spinner.say(text);
        spinner
    }

    pub(crate) fn new(text: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(text.to_owned());
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(style("  {spinner} {msg} {elapsed:.dim}"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, lines: false }
    }

    /// Replaces the text.
    pub(crate) fn say(&self, text: &str) {
        if self.lines {
            eprintln!("{text}");
        }
        self.bar.set_message(text.to_owned());
    }

    /// Runs `print` with the line out of the way.
    pub(crate) fn beside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Lines of several things that go on at once.
pub(crate) struct Tasks(MultiProgress);

/// The line of one of them: it becomes a `✓` line, or goes away when dropped.
pub(crate) struct Task {
    all: MultiProgress,
    bar: ProgressBar,
    name: &'static str,
    started: Instant,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
    }

    pub(crate) fn task(&self, name: &'static str) -> Task {
        let bar = self.0.add(ProgressBar::new_spinner());
        bar.set_style(style(
            "  {spinner} {prefix:11} {elapsed_precise:.dim}  {msg}",
        ));
        bar.set_prefix(name);
        bar.enable_steady_tick(Duration::from_millis(120));
        Task {
            all: self.0.clone(),
            bar,
            name,
            started: Instant::now(),
        }
    }
}

impl Task {
    /// Replaces the text.
    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// How far it is, with a bar where the end is known.
    pub(crate) fn count(&self, done: usize, of: Option<usize>, text: &str) {
        const PLACES: usize = 16;
        self.say(&match of {
            Some(of) if of > 0 => format!(
                "{} {done}/{of} {text}",
                paint::bar(done.min(of) * PLACES / of, PLACES)
            ),
            _ => format!("{done} {text}"),
        });
    }

    /// Leaves a line that says what was done, and how long it took.
    pub(crate) fn finish(&self, text: &str) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs();
        self.all.suspend(|| {
            eprintln!(
                "  {} {:11} {text} {}",
                In(GOOD, "✓"),
                self.name,
                In(DIM, format_args!("{seconds} s"))
            );
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template")
}
