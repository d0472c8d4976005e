//! The screen: the question, the bar, the verdict, and what to press.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::fold::folded;
use super::panes;
use super::state::{Filter, Pane, State};
use super::theme::{BOLD, DIM, Theme};
use crate::paint;
use crate::verdict::Outcome;

/// Below this there is no room to say anything.
const LEAST: (u16, u16) = (40, 10);

/// What to press, as it stands at the bottom.
const KEYS: [(&str, &str); 10] = [
    ("n", "next"),
    ("l", "list"),
    ("i", "text"),
    ("h", "hint"),
    ("e", "edit"),
    ("t", "trace"),
    ("s", "solution"),
    ("f", "fresh"),
    ("r", "reset"),
    ("q", "quit"),
];

/// Draws everything; tells the state how far it can be scrolled.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State<'_>, theme: Theme) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("at least {} × {} characters, please", LEAST.0, LEAST.1);
        let text = paint::wrap(&text, "", usize::from(area.width));
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [head, rule, body, below, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(header(state, theme, head.width)), head);
    let line = || Paragraph::new("─".repeat(usize::from(area.width))).style(DIM);
    frame.render_widget(line(), rule);

    let (lines, top) = if state.pane == Pane::List {
        list_lines(state, theme, body)
    } else {
        let lines = folded(&panes::lines(state, theme, body.width), body.width);
        state.page = usize::from(body.height).saturating_sub(1).max(1);
        state.last_scroll = lines.len().saturating_sub(usize::from(body.height));
        state.scroll = state.scroll.min(state.last_scroll);
        (lines, state.scroll)
    };
    let more = lines.len().saturating_sub(top + usize::from(body.height));
    let shown: Vec<Line<'_>> = lines
        .into_iter()
        .skip(top)
        .take(usize::from(body.height))
        .collect();
    frame.render_widget(Paragraph::new(shown), body);
    frame.render_widget(line(), below);
    if more > 0 {
        let text = format!(" {more} more lines: ↓ or space ");
        let width = u16::try_from(text.chars().count())
            .unwrap_or(0)
            .min(below.width);
        let at = Rect {
            x: below.right().saturating_sub(width + 2),
            width,
            ..below
        };
        frame.render_widget(Paragraph::new(text).style(DIM), at);
    }
    frame.render_widget(Paragraph::new(footer(state, theme)), foot);
}

fn header(state: &State<'_>, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let exercise = state.exercise();
    let all = &state.course.exercises;
    let solved = all.iter().filter(|exercise| state.solved(exercise)).count();
    let progress = format!("{solved} of {} solved", all.len());
    let chapter = format!(" {}", state.course.chapter_title(exercise));
    let mut lines = vec![
        ends(
            Span::styled(chapter, DIM),
            Span::styled(progress, DIM),
            width,
        ),
        Line::from(vec![
            Span::styled(format!(" {}", exercise.slug), BOLD),
            Span::raw(format!("  {}", exercise.title)),
        ]),
    ];
    let (passed, total, word) = match &state.verdict {
        Some(graded) => (
            graded.passed,
            graded.total,
            Span::styled(graded.outcome.word(), theme.outcome(graded.outcome)),
        ),
        None => (0, 0, Span::raw("")),
    };
    let mut left = vec![
        Span::styled(
            format!(" {}", paint::bar(passed, total)),
            theme.colour(Color::Green),
        ),
        Span::raw(format!("  {passed}/{total}  ")),
    ];
    let right = if let Some((_, says)) = &state.grading {
        left.push(Span::styled("…", BOLD));
        let seconds = state.elapsed().unwrap_or_default().as_secs_f64();
        let says = paint::shortened(says, usize::from(width) / 2);
        format!("{says} · {seconds:.1} s")
    } else {
        left.push(word);
        let seconds = state.verdict.as_ref().map(|graded| graded.seconds);
        seconds
            .map(|seconds| format!("{seconds:.1} s"))
            .unwrap_or_default()
    };
    let used: usize = left.iter().map(Span::width).sum();
    let gap = usize::from(width).saturating_sub(used + right.chars().count() + 1);
    left.push(Span::raw(" ".repeat(gap)));
    left.push(Span::styled(right, DIM));
    lines.push(Line::from(left));
    lines
}

/// One text at the left end, one at the right.
fn ends(left: Span<'static>, right: Span<'static>, width: u16) -> Line<'static> {
    let gap = usize::from(width).saturating_sub(left.width() + right.width() + 1);
    Line::from(vec![left, Span::raw(" ".repeat(gap)), right])
}

fn footer(state: &State<'_>, theme: Theme) -> Line<'static> {
    if let Some(answer) = &state.answer {
        return Line::styled(format!(" {answer}"), theme.colour(Color::Yellow));
    }
    let keys: &[(&str, &str)] = match state.pane {
        Pane::List => &[
            ("↑↓", "choose"),
            ("Enter", "go there"),
            ("Tab", "filter"),
            ("a-z", "search"),
            ("Esc", "back"),
        ],
        Pane::Reset => &[("y", "put it back"), ("any other key", "leave it")],
        _ => &KEYS,
    };
    let mut spans = vec![Span::raw(" ")];
    for (key, word) in keys {
        spans.push(Span::styled((*key).to_owned(), BOLD));
        spans.push(Span::styled(format!(" {word} "), DIM));
    }
    Line::from(spans)
}

/// The list, with the chosen row in sight; the first line that is shown.
fn list_lines(state: &mut State<'_>, theme: Theme, area: Rect) -> (Vec<Line<'static>>, usize) {
    let filter = match state.filter {
        Filter::All => "all",
        Filter::Unsolved => "unsolved",
        Filter::Solved => "solved",
        Filter::Skipped => "skipped",
    };
    let rows = state.rows();
    let mut lines = vec![Line::from(vec![
        Span::styled(format!(" {filter}"), BOLD),
        Span::styled(format!(" ({})   search: ", rows.len()), DIM),
        Span::raw(format!("{}▏", state.search)),
    ])];
    let slugs = state
        .course
        .exercises
        .iter()
        .map(|exercise| exercise.slug.len());
    let slugs = slugs.max().unwrap_or(0);
    let (mut chapter, mut chosen) = ("", 0);
    for (row, at) in rows.iter().enumerate() {
        let exercise = &state.course.exercises[*at];
        if chapter != exercise.chapter {
            chapter = &exercise.chapter;
            lines.push(Line::styled(
                format!(" {}", state.course.chapter_title(exercise)),
                BOLD,
            ));
        }
        let record = &state.records[&exercise.target()];
        let (mark, style) = match &record.last {
            _ if record.solved => ("✓", theme.colour(Color::Green)),
            Some(last) if last.outcome == Outcome::Skipped => ("–", DIM),
            Some(_) if record.attempts > 0 => ("…", theme.colour(Color::Yellow)),
            _ => ("·", DIM),
        };
        let arrow = if row == state.row { "▶" } else { " " };
        let mut line = Line::from(vec![
            Span::raw(format!(" {arrow} ")),
            Span::styled(mark, style),
            Span::raw(format!(" {:slugs$}  ", exercise.slug)),
            Span::styled(exercise.title.clone(), DIM),
        ]);
        if row == state.row {
            chosen = lines.len();
            line = line.style(Style::new().add_modifier(Modifier::REVERSED));
        }
        lines.push(line);
    }
    let height = usize::from(area.height);
    state.page = height.saturating_sub(2).max(1);
    // In the middle, where there is something above.
    let top = chosen
        .saturating_sub(height / 2)
        .min(lines.len().saturating_sub(height));
    (lines, top)
}
