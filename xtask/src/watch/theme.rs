//! How do a verdict, a heading and a remark look, with colours and without?

use ansi_to_tui::IntoText as _;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;

use crate::verdict::Outcome;

/// Colours, or none (`NO_COLOR`); nothing is said by colour alone.
#[derive(Clone, Copy)]
pub(super) struct Theme {
    colours: bool,
}

impl Theme {
    /// As the environment says. See <https://no-color.org>.
    pub(super) fn of_environment() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: !no_colour,
        }
    }

    #[cfg(test)]
    pub(super) fn with_colours() -> Self {
        Self { colours: true }
    }

    #[cfg(test)]
    pub(super) fn without_colours() -> Self {
        Self { colours: false }
    }

    pub(super) fn colour(self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    pub(super) fn outcome(self, outcome: Outcome) -> Style {
        match outcome {
            Outcome::Passed => self.colour(Color::Green),
            Outcome::Todo | Outcome::Skipped => self.colour(Color::Cyan),
            Outcome::Failed | Outcome::DoesNotCompile => self.colour(Color::Red),
            Outcome::TimedOut | Outcome::Crashed | Outcome::Leaked | Outcome::Tampered => {
                self.colour(Color::Yellow)
            }
        }
        .add_modifier(Modifier::BOLD)
    }

    /// Lines with the escape sequences of a terminal.
    pub(super) fn lines(self, text: &str) -> Vec<Line<'static>> {
        let plain = || anstream::adapter::strip_str(text).to_string();
        let parsed = self.colours.then(|| text.into_text().ok()).flatten();
        match parsed {
            Some(text) => text.lines,
            None => plain()
                .lines()
                .map(|line| Line::from(line.to_owned()))
                .collect(),
        }
    }
}

pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
