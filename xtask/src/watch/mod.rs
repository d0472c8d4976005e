//! `cargo xtask watch`: a save, a verdict, and never a frozen key.
//!
//! # Layout
//! - [`state`]: what is looked at, and what a key means there
//! - [`view`]: how that looks; [`panes`]: in the middle of it; [`theme`], [`fold`]: its colours, its long lines
//! - [`grader`]: another process grades; a save stops it
//! - [`saves`]: which file was saved
//! - [`screen`]: the terminal, taken and given back

mod fold;
mod grader;
mod panes;
mod saves;
mod screen;
mod state;
#[cfg(test)]
mod tests;
mod theme;
mod view;

use std::io::IsTerminal as _;
use std::sync::mpsc::channel;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::course::Course;
use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Watch;
use crate::store::Store;
use crate::{interrupt, reset};
use grader::{Asked, Grader, Heard};
use saves::Saves;
use screen::Screen;
use state::{State, Wish};
use theme::Theme;

/// How long nothing may change on the screen when nothing happens.
const TICK: Duration = Duration::from_millis(50);

pub(crate) fn run(course: &Course, flags: &Watch) -> Result<u8> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new("watch needs a terminal to draw on").next("cargo xtask check"));
    }
    let all: Vec<_> = course.exercises.iter().collect();
    course.require_files(&all)?;
    let (store, kept_aside) = Store::open(&course.root);
    let at = begin_with(course, flags, &store)?;
    interrupt::watch().about("cannot watch for signals")?;
    let saves = Saves::watch(course)
        .map_err(|error| Failure::new(format!("cannot watch exercises/: {error}")))?;
    let mut state = State::new(course, &store, at);
    state.notices.extend(kept_aside);
    state.notices.extend(saves.notice.clone());
    let screen = Screen::take().about("cannot take over the terminal")?;
    let (events, heard) = channel();
    let grader = Grader::new(course.root.clone(), flags.sandbox, events);
    let mut watching = Watching {
        state,
        store,
        saves,
        grader,
        screen,
        theme: Theme::of_environment(),
    };
    watching.wish(Wish::Moved);
    loop {
        watching.draw()?;
        if event::poll(TICK).about("cannot read keys")? {
            loop {
                let event = event::read().about("cannot read keys")?;
                if let Event::Key(key) = event
                    && key.kind != KeyEventKind::Release
                    && let Some(wish) = watching.state.key(key)
                {
                    if wish == Wish::Quit {
                        return Ok(exit_code::PASSED);
                    }
                    watching.wish(wish);
                }
                if !event::poll(Duration::ZERO).about("cannot read keys")? {
                    break;
                }
            }
        }
        if interrupt::requested() {
            return Ok(exit_code::INTERRUPTED);
        }
        while let Some(at) = watching.saves.next() {
            watching.saved(at);
        }
        for (number, news) in heard.try_iter() {
            if watching.grader.is_current(number) {
                watching.hear(news);
            }
        }
    }
}

/// The exercise that was asked for; else the one looked at or worked on last; else the first that
/// is open.
fn begin_with(course: &Course, flags: &Watch, store: &Store) -> Result<usize> {
    let at = |target: &str| {
        course
            .exercises
            .iter()
            .position(|exercise| exercise.target() == target)
    };
    if let Some(word) = &flags.exercise {
        let target = course.one(word)?.target();
        return Ok(at(&target).unwrap_or(0));
    }
    let open = || {
        course
            .exercises
            .iter()
            .position(|exercise| !store.get(&exercise.target()).solved)
    };
    let worked_on = || {
        let all = course.exercises.iter().enumerate();
        let begun = all.filter_map(|(at, exercise)| {
            let record = store.get(&exercise.target());
            (record.attempts > 0 && !record.solved).then_some((record.at, at))
        });
        begun.max().map(|(_, at)| at)
    };
    let watched = store.watched().and_then(at);
    Ok(watched.or_else(worked_on).or_else(open).unwrap_or(0))
}

struct Watching<'a> {
    state: State<'a>,
    store: Store,
    saves: Saves,
    grader: Grader,
    screen: Screen,
    theme: Theme,
}

impl Watching<'_> {
    fn draw(&mut self) -> Result<()> {
        let (state, theme) = (&mut self.state, self.theme);
        let drawn = self.screen.0.draw(|frame| view::draw(frame, state, theme));
        drawn.map(drop).about("cannot draw on the terminal")
    }

    fn wish(&mut self, wish: Wish) {
        let exercise = self.state.exercise();
        let kept = match wish {
            Wish::Grade(asked) => {
                self.grade(asked);
                Ok(())
            }
            Wish::Moved => {
                self.grade(Asked::Check);
                self.store.watches(&exercise.target())
            }
            Wish::HintShown(tier) => {
                let kept = self.store.hints_shown(&exercise.target(), tier);
                self.state.remember(&self.store);
                kept
            }
            Wish::Edit => {
                self.edit();
                Ok(())
            }
            Wish::Reset => {
                self.state.answer = Some(match reset::reset(self.state.course, exercise) {
                    Ok(reset::Done::Untouched) => "it is as it was given".into(),
                    Ok(reset::Done::Restored) => "it is there again".into(),
                    Ok(reset::Done::Replaced { kept }) => {
                        let kept = kept.strip_prefix(&self.state.course.root).unwrap_or(&kept);
                        format!("yours is kept: {}", kept.display())
                    }
                    Err(failure) => one_line(&failure),
                });
                Ok(())
            }
            Wish::Quit => Ok(()),
        };
        if let Err(failure) = kept {
            self.state.answer = Some(one_line(&failure));
        }
    }

    fn grade(&mut self, asked: Asked) {
        self.state.begins(asked);
        self.saves.changed(self.state.at);
        let target = self.state.exercise().target();
        self.grader.start(&target, asked);
    }

    /// Who saves a file wants to see its verdict.
    fn saved(&mut self, at: usize) {
        if at == self.state.at {
            self.grade(Asked::Check);
        } else {
            let wish = self.state.go(at);
            self.wish(wish);
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Says(line) => {
                if let Some((_, says)) = &mut self.state.grading {
                    *says = line;
                }
            }
            Heard::Done(asked, answer) => {
                self.store = Store::open(&self.state.course.root).0;
                self.state.remember(&self.store);
                self.state.graded(asked, *answer);
            }
        }
    }

    fn edit(&mut self) {
        let file = self.state.course.root.join(self.state.exercise().file());
        let answer = match screen::editor(&file, self.state.line()) {
            Err(why) => Some(why),
            Ok(mut command) => {
                let program = command.get_program().display().to_string();
                match self.screen.lend(&mut command) {
                    Ok(()) => None,
                    Err(error) => Some(format!("cannot run {program}: {error} (set EDITOR)")),
                }
            }
        };
        // Not left to inotify(7): a word of it that comes late would take whoever has gone on back here.
        if self.saves.changed(self.state.at) {
            self.grade(Asked::Check);
        }
        self.state.answer = answer;
    }
}

fn one_line(failure: &Failure) -> String {
    failure.to_string().replace('\n', " ·")
}
