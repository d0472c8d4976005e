//! What is the learner looking at, and what does a key mean there?
//!
//! No terminal and no process is touched here: keys and news come in, wishes go out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::grader::Asked;
use crate::course::{Course, Exercise};
use crate::grade::Document;
use crate::store::{Record, Store};
use crate::verdict::{Graded, Outcome};

/// What the body of the screen shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pane {
    Verdict,
    /// The exercise's own words.
    Text,
    /// Hints up to this tier.
    Hints(u8),
    /// The system calls of a stage.
    Trace,
    Solution,
    List,
    /// "Really?"
    Reset,
}

/// Which exercises the list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    All,
    Unsolved,
    Solved,
    Skipped,
}

/// What the state wants done in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Grade(Asked),
    /// Another exercise is looked at.
    Moved,
    Edit,
    HintShown(u8),
    Reset,
    Quit,
}

/// All that is on the screen.
pub(super) struct State<'a> {
    pub(super) course: &'a Course,
    /// What is known of each exercise, by target name.
    pub(super) records: HashMap<String, Record>,
    /// The exercise's number in the course.
    pub(super) at: usize,
    pub(super) pane: Pane,
    pub(super) scroll: usize,
    /// The last verdict on this exercise.
    pub(super) verdict: Option<Graded>,
    /// The system calls that were recorded: stage, calls.
    pub(super) trace: Option<(String, String)>,
    /// Since when it is graded, and what goes on.
    pub(super) grading: Option<(Instant, String)>,
    /// Why the grader could not do its work.
    pub(super) failure: Option<String>,
    /// How tests are held, where that is not as it should be, and other notices.
    pub(super) notices: Vec<String>,
    /// One line that answers the last key.
    pub(super) answer: Option<String>,
    pub(super) filter: Filter,
    pub(super) search: String,
    /// The chosen row of the list.
    pub(super) row: usize,
    /// How far the body can be scrolled; the view knows.
    pub(super) last_scroll: usize,
    pub(super) page: usize,
}

impl<'a> State<'a> {
    pub(super) fn new(course: &'a Course, store: &Store, at: usize) -> Self {
        let mut state = Self {
            course,
            records: HashMap::new(),
            at,
            pane: Pane::Verdict,
            scroll: 0,
            verdict: None,
            trace: None,
            grading: None,
            failure: None,
            notices: Vec::new(),
            answer: None,
            filter: Filter::All,
            search: String::new(),
            row: 0,
            last_scroll: 0,
            page: 10,
        };
        state.remember(store);
        state.verdict = state.record().last.clone();
        state
    }

    /// Takes over what the store knows.
    pub(super) fn remember(&mut self, store: &Store) {
        for exercise in &self.course.exercises {
            let target = exercise.target();
            self.records.insert(target.clone(), store.get(&target));
        }
    }

    pub(super) fn exercise(&self) -> &'a Exercise {
        &self.course.exercises[self.at]
    }

    pub(super) fn record(&self) -> &Record {
        &self.records[&self.exercise().target()]
    }

    pub(super) fn solved(&self, exercise: &Exercise) -> bool {
        self.records[&exercise.target()].solved
    }

    fn passed(&self) -> bool {
        self.record().solved
            || self
                .verdict
                .as_ref()
                .is_some_and(|verdict| verdict.outcome == Outcome::Passed)
    }

    /// Looks at another exercise.
    pub(super) fn go(&mut self, at: usize) -> Wish {
        self.at = at;
        self.show(Pane::Verdict);
        self.verdict = self.record().last.clone();
        self.trace = None;
        self.failure = None;
        self.answer = None;
        Wish::Moved
    }

    fn show(&mut self, pane: Pane) {
        self.pane = pane;
        self.scroll = 0;
    }

    /// Grading has begun.
    pub(super) fn begins(&mut self, asked: Asked) {
        self.grading = Some((Instant::now(), "looking".into()));
        self.failure = None;
        if asked != Asked::Trace {
            self.trace = None;
        }
    }

    pub(super) fn elapsed(&self) -> Option<Duration> {
        self.grading.as_ref().map(|(since, _)| since.elapsed())
    }

    /// The grader's answer.
    pub(super) fn graded(&mut self, asked: Asked, answer: Result<Document, String>) {
        self.grading = None;
        let mut document = match answer {
            Ok(document) => document,
            Err(failure) => {
                self.failure = Some(failure);
                self.show(Pane::Verdict);
                return;
            }
        };
        self.notices.clone_from(&document.notices);
        let missing = document.sandbox.missing.iter();
        self.notices
            .extend(missing.map(|missing| format!("not available: {missing}")));
        let Some(graded) = document.exercises.pop() else {
            return;
        };
        if asked == Asked::Trace {
            self.trace = Some(graded.traced().unwrap_or_else(|| {
                let why =
                    "no stage recorded a system call (is ptrace allowed? `cargo xtask doctor`)";
                (String::new(), why.into())
            }));
            return;
        }
        self.verdict = Some(graded);
        // What the learner reads stays, unless it is about the run before.
        if matches!(self.pane, Pane::Trace | Pane::Reset) {
            self.show(Pane::Verdict);
        }
        if self.pane == Pane::Verdict {
            self.scroll = 0;
        }
    }

    /// A key; what it asks for.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        self.answer = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Some(Wish::Quit);
        }
        match self.pane {
            Pane::List => self.key_in_list(key),
            Pane::Reset => {
                self.show(Pane::Verdict);
                if key.code == KeyCode::Char('y') {
                    return Some(Wish::Reset);
                }
                self.answer = Some("nothing was changed".into());
                None
            }
            _ => self.key_elsewhere(key.code),
        }
    }

    fn key_elsewhere(&mut self, key: KeyCode) -> Option<Wish> {
        match key {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Char('n') => return self.step(1),
            KeyCode::Char('p') => return self.step(-1),
            KeyCode::Char('e') => return Some(Wish::Edit),
            KeyCode::Char('f') => return Some(Wish::Grade(Asked::Afresh)),
            KeyCode::Char('h') => return self.hint(),
            KeyCode::Char('t') => return self.show_trace(),
            KeyCode::Char('i') => self.toggle(Pane::Text),
            KeyCode::Char('r') => self.show(Pane::Reset),
            KeyCode::Char('s') if self.passed() => self.toggle(Pane::Solution),
            KeyCode::Char('s') => {
                let slug = &self.exercise().slug;
                self.answer = Some(format!(
                    "the solution opens after a pass (or `cargo xtask solution {slug} --spoil`)"
                ));
            }
            KeyCode::Char('l') => {
                self.show(Pane::List);
                self.search.clear();
                let at = self.at;
                let rows = self.rows();
                self.row = rows.iter().position(|row| *row == at).unwrap_or(0);
            }
            KeyCode::Esc => self.show(Pane::Verdict),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_by(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll_by(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll_by(self.page as isize),
            KeyCode::PageUp => self.scroll_by(-(self.page as isize)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll = 0,
            KeyCode::End | KeyCode::Char('G') => self.scroll = self.last_scroll,
            _ => {}
        }
        None
    }

    fn key_in_list(&mut self, key: KeyEvent) -> Option<Wish> {
        let rows = self.rows();
        match key.code {
            KeyCode::Esc => self.show(Pane::Verdict),
            KeyCode::Enter => {
                let at = *rows.get(self.row)?;
                return Some(self.go(at));
            }
            KeyCode::Down => self.row = (self.row + 1).min(rows.len().saturating_sub(1)),
            KeyCode::Up => self.row = self.row.saturating_sub(1),
            KeyCode::PageDown => {
                self.row = (self.row + self.page).min(rows.len().saturating_sub(1));
            }
            KeyCode::PageUp => self.row = self.row.saturating_sub(self.page),
            KeyCode::Tab => {
                self.filter = match self.filter {
                    Filter::All => Filter::Unsolved,
                    Filter::Unsolved => Filter::Solved,
                    Filter::Solved => Filter::Skipped,
                    Filter::Skipped => Filter::All,
                };
                self.row = 0;
            }
            KeyCode::Backspace => {
                self.search.pop();
                self.row = 0;
            }
            KeyCode::Char(letter) => {
                self.search.push(letter.to_ascii_lowercase());
                self.row = 0;
            }
            _ => {}
        }
        None
    }

    /// The exercises that filter and search leave, by number.
    pub(super) fn rows(&self) -> Vec<usize> {
        let fits = |exercise: &Exercise| {
            let record = &self.records[&exercise.target()];
            let outcome = record.last.as_ref().map(|last| last.outcome);
            let filtered = match self.filter {
                Filter::All => true,
                Filter::Unsolved => !record.solved && outcome != Some(Outcome::Skipped),
                Filter::Solved => record.solved,
                Filter::Skipped => outcome == Some(Outcome::Skipped),
            };
            let text = format!(
                "{} {} {} {}",
                self.course.chapter_title(exercise),
                exercise.slug,
                exercise.title,
                exercise.man.join(" ")
            )
            .to_lowercase();
            filtered
                && self
                    .search
                    .split_whitespace()
                    .all(|word| text.contains(word))
        };
        let exercises = self.course.exercises.iter().enumerate();
        exercises
            .filter_map(|(at, exercise)| fits(exercise).then_some(at))
            .collect()
    }

    /// The next exercise that is open, forwards, from the beginning again; or the one before this.
    fn step(&mut self, by: i32) -> Option<Wish> {
        let all = self.course.exercises.len();
        if by < 0 {
            let at = (self.at + all - 1) % all;
            return Some(self.go(at));
        }
        let open = |at: &usize| {
            let record = &self.records[&self.course.exercises[*at].target()];
            let outcome = record.last.as_ref().map(|last| last.outcome);
            !record.solved && outcome != Some(Outcome::Skipped)
        };
        let after = (1..all).map(|step| (self.at + step) % all);
        let next = after.into_iter().find(open);
        if next.is_none() {
            self.answer = Some("no other exercise is open".into());
        }
        next.map(|at| self.go(at))
    }

    fn hint(&mut self) -> Option<Wish> {
        let tiers = u8::try_from(self.exercise().hints.len()).unwrap_or(3);
        if tiers == 0 {
            self.answer = Some(format!("{} has no hints", self.exercise().slug));
            return None;
        }
        let tier = match self.pane {
            Pane::Hints(tier) => (tier + 1).min(tiers),
            _ => self.record().hints.clamp(1, tiers),
        };
        self.show(Pane::Hints(tier));
        if tier > 1 {
            // To the newest, which is the last.
            self.scroll = usize::MAX;
        }
        Some(Wish::HintShown(tier))
    }

    fn show_trace(&mut self) -> Option<Wish> {
        if self.pane == Pane::Trace {
            self.show(Pane::Verdict);
            return None;
        }
        self.show(Pane::Trace);
        if self.trace.is_none() {
            self.trace = self.verdict.as_ref().and_then(Graded::traced);
        }
        self.trace.is_none().then_some(Wish::Grade(Asked::Trace))
    }

    fn toggle(&mut self, pane: Pane) {
        self.show(if self.pane == pane {
            Pane::Verdict
        } else {
            pane
        });
    }

    fn scroll_by(&mut self, lines: isize) {
        self.scroll = self
            .scroll
            .min(self.last_scroll)
            .saturating_add_signed(lines)
            .min(self.last_scroll);
    }

    /// Where in the learner's file there is something to do: a failed stage's place when that is in
    /// the file, else the first `todo!`, else the top.
    pub(super) fn line(&self) -> u32 {
        let file = self.exercise().file();
        let of_stage = self.verdict.iter().flat_map(Graded::open).find_map(|test| {
            let line = test.line?;
            (test.file.as_deref() == Some(&file)).then_some(line)
        });
        let of_compiler = || {
            let message = self.verdict.as_ref()?.message.as_ref()?;
            let plain = anstream::adapter::strip_str(message).to_string();
            let (_, rest) = plain.split_once(&format!("{file}:"))?;
            rest.split(':').next()?.parse().ok()
        };
        let of_todo = || {
            let text = std::fs::read_to_string(self.course.root.join(&file)).ok()?;
            let at = text.lines().position(|line| line.contains("todo!("))?;
            u32::try_from(at + 1).ok()
        };
        of_stage.or_else(of_compiler).or_else(of_todo).unwrap_or(1)
    }
}
