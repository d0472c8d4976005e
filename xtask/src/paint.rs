//! How does text look on this terminal? Colours, links and width, in one place.
//!
//! `anstream` takes the colours out again where there is no terminal or where
//! `NO_COLOR` is set; nothing is said by colour alone.

use std::fmt::{self, Display};
use std::io::IsTerminal as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use crate::verdict::Outcome;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const CALM: Style = AnsiColor::Cyan.on_default();

/// Something in a style.
pub(crate) struct In<T>(pub(crate) Style, pub(crate) T);

impl<T: Display> Display for In<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.fmt(f)?;
        write!(f, "{:#}", self.0)
    }
}

/// The style of an outcome's word.
pub(crate) fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Passed => GOOD.bold(),
        Outcome::Todo | Outcome::Skipped => CALM,
        Outcome::Failed | Outcome::DoesNotCompile => BAD.bold(),
        Outcome::TimedOut | Outcome::Crashed | Outcome::Leaked | Outcome::Tampered => WARN.bold(),
    }
}

/// Columns of the terminal; 80 where there is none.
pub(crate) fn width() -> usize {
    terminal_size::terminal_size()
        .map_or(80, |(width, _)| usize::from(width.0))
        .clamp(40, 140)
}

/// `path:line`, as a link on a terminal (OSC 8).
pub(crate) fn link(root: &Path, path: &str, line: Option<u32>) -> String {
    let text = line.map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"));
    if !std::io::stdout().is_terminal() {
        return text;
    }
    let to = root.join(path);
    format!("\x1b]8;;file://{}\x1b\\{text}\x1b]8;;\x1b\\", to.display())
}

/// `▰▰▰▱▱`
pub(crate) fn bar(done: usize, of: usize) -> String {
    "▰".repeat(done) + &"▱".repeat(of.saturating_sub(done))
}

/// As much of `text` as has room, with `…` where it goes on.
pub(crate) fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept = text.chars().take(room.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// `text` with every line after `indent`, broken between words at `width`.
pub(crate) fn wrap(text: &str, indent: &str, width: usize) -> String {
    let room = width.saturating_sub(indent.chars().count()).max(20);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
        .iter()
        .map(|line| format!("{indent}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Markdown after `indent`, for `width`: the lines of a paragraph or of a list's item are joined and broken
/// anew; headings, tables and code stay as they are.
pub(crate) fn prose(text: &str, indent: &str, width: usize) -> String {
    let is_fence = |line: &str| line.starts_with("```");
    let as_it_is = |line: &str| {
        line.is_empty()
            || is_fence(line)
            || ["    ", "|", "#"]
                .iter()
                .any(|begin| line.starts_with(begin))
    };
    // Where the text of an item begins; 0 is none.
    let item = |line: &str| {
        let begin = line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
        let mark = ["- ", ". "].iter().find(|mark| begin.starts_with(**mark));
        mark.map_or(0, |mark| line.len() - begin.len() + mark.len())
    };
    let mut lines = Vec::new();
    let mut all = text.trim_end().lines().peekable();
    let mut fenced = false;
    while let Some(line) = all.next() {
        fenced ^= is_fence(line);
        if fenced || as_it_is(line) {
            let indent = if line.is_empty() { "" } else { indent };
            lines.push(format!("{indent}{line}"));
            continue;
        }
        let mut paragraph = line.to_owned();
        while let Some(more) = all.next_if(|line| !as_it_is(line) && item(line) == 0) {
            paragraph = format!("{paragraph} {}", more.trim_start());
        }
        let (mark, words) = paragraph.split_at(item(line));
        let hanging = format!("{indent}{}", " ".repeat(mark.len()));
        let wrapped = wrap(words, &hanging, width);
        lines.push(format!("{indent}{mark}{}", &wrapped[hanging.len()..]));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{bar, prose, shortened, wrap};

    #[test]
    fn prose_is_broken_anew_and_what_has_a_form_is_not() {
        let text = "# A title that is longer than the line\n\none two three\nfour\n\n- an item that does\n  go on and on\n- another\n1. first\n\n\
                    | a | table that is longer than it |\n\n```text\n  - code that is longer than it\n```\nfive\n";
        assert_eq!(
            prose(text, " ", 24),
            " # A title that is longer than the line\n\n one two three four\n\n \
             - an item that does go\n   on and on\n - another\n 1. first\n\n \
             | a | table that is longer than it |\n\n ```text\n   - code that is longer than it\n ```\n five"
        );
    }

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(
            wrap("one two three four five six", "  ", 24),
            "  one two three four\n  five six"
        );
        assert_eq!(wrap("a\n\nb", "> ", 40), "> a\n> \n> b");
    }

    #[test]
    fn what_is_cut_says_so_and_fits() {
        assert_eq!(shortened("naïve", 5), "naïve");
        assert_eq!(shortened("naïve", 4), "naï…");
    }

    #[test]
    fn a_bar_has_one_place_a_stage() {
        assert_eq!(bar(2, 5), "▰▰▱▱▱");
        assert_eq!(bar(0, 0), "");
    }
}
