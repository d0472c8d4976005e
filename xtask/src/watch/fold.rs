//! How does a line that is wider than the screen go on?

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Lines that are wider than the screen go on below, between words where there are some.
pub(super) fn folded(lines: &[Line<'static>], width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let mut all = Vec::new();
    for line in lines {
        let letters: Vec<(char, Style)> = line
            .spans
            .iter()
            .flat_map(|span| span.content.chars().map(|letter| (letter, span.style)))
            .collect();
        let mut rest = &letters[..];
        loop {
            let (part, after) = rest.split_at(fitting(rest, width));
            let mut spans: Vec<Span<'static>> = Vec::new();
            for (letter, style) in part {
                match spans.last_mut().filter(|span| span.style == *style) {
                    Some(span) => span.content.to_mut().push(*letter),
                    None => spans.push(Span::styled(letter.to_string(), *style)),
                }
            }
            all.push(Line::from(spans).style(line.style));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    all
}

/// How many letters fit into `width` columns; the last word stays whole when it can.
fn fitting(letters: &[(char, Style)], width: usize) -> usize {
    let mut used = 0;
    let columns = |letter: char| Span::raw(letter.to_string()).width();
    let fit = letters
        .iter()
        .take_while(|(letter, _)| {
            used += columns(*letter);
            used <= width
        })
        .count()
        .max(1);
    if fit >= letters.len() {
        return letters.len();
    }
    let space = letters[..fit]
        .iter()
        .rposition(|(letter, _)| *letter == ' ');
    let indent = letters
        .iter()
        .take_while(|(letter, _)| *letter == ' ')
        .count();
    space.filter(|at| *at > indent).map_or(fit, |at| at + 1)
}
