//! The screen: the question, the bar, the verdict, and what to press.

use ansi_to_tui::IntoText as _;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Filter, Pane, State};
use crate::course::Exercise;
use crate::paint;
use crate::verdict::{Graded, Outcome};
use crate::{feedback, hint, list, show};

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

    fn colour(self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    fn outcome(self, outcome: Outcome) -> Style {
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
    fn lines(self, text: &str) -> Vec<Line<'static>> {
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

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws everything; tells the state how far it can be scrolled.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State<'_>, theme: Theme) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("at least {} × {} characters, please", LEAST.0, LEAST.1);
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
        let lines = folded(&body_lines(state, theme, body.width), body.width);
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

fn body_lines(state: &State<'_>, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let exercise = state.exercise();
    let columns = usize::from(width).saturating_sub(2).clamp(30, 120);
    match &state.pane {
        Pane::Verdict => verdict(state, theme, columns),
        Pane::Text => text_of(state, exercise),
        Pane::Hints(tier) => hints(exercise, *tier, columns),
        Pane::Trace => trace(state),
        Pane::Solution => {
            let path = exercise.solution();
            let text = std::fs::read_to_string(state.course.root.join(&path))
                .unwrap_or_else(|error| format!("cannot read {path}: {error}"));
            let mut lines = vec![Line::styled(format!(" {path}"), DIM), Line::default()];
            lines.extend(text.lines().map(|line| Line::raw(format!(" {line}"))));
            lines
        }
        Pane::Reset => vec![
            Line::default(),
            Line::styled(
                format!("  Put {} back as it was given?", exercise.file()),
                BOLD,
            ),
            Line::raw("  Your file is kept in .syslab/backup."),
        ],
        Pane::List => Vec::new(),
    }
}

fn verdict(state: &State<'_>, theme: Theme, columns: usize) -> Vec<Line<'static>> {
    let exercise = state.exercise();
    if let Some(failure) = &state.failure {
        let mut lines = vec![Line::default()];
        lines.extend(theme.lines(&paint::wrap(failure, "  ", columns)));
        return lines;
    }
    let mut lines = Vec::new();
    for notice in &state.notices {
        let text = paint::wrap(notice, "  ", columns);
        lines.extend(
            theme
                .lines(&text)
                .into_iter()
                .map(|line| line.style(theme.colour(Color::Yellow))),
        );
    }
    let Some(graded) = &state.verdict else {
        lines.push(Line::default());
        lines.push(Line::raw(
            "  The first check compiles the grader's crates: under a minute.",
        ));
        return lines;
    };
    if graded.outcome == Outcome::Passed {
        lines.extend(praise(state, exercise, graded, theme));
        return lines;
    }
    if graded.outcome == Outcome::Todo && graded.passed == 0 {
        lines.push(Line::default());
        let file = exercise.file();
        lines.push(Line::from(vec![
            Span::styled("  begin: ", BOLD),
            Span::raw(format!("{file}   ")),
            Span::styled("e", BOLD),
            Span::raw(" opens it, "),
            Span::styled("i", BOLD),
            Span::raw(" shows its text here"),
        ]));
    }
    let place = |file: &str, line: Option<u32>| match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    let text = feedback::lines(exercise, graded, columns, &place);
    lines.extend(theme.lines(&text.join("\n")));
    lines
}

fn praise(
    state: &State<'_>,
    exercise: &Exercise,
    graded: &Graded,
    theme: Theme,
) -> Vec<Line<'static>> {
    let record = state.record();
    let good = theme.colour(Color::Green).add_modifier(Modifier::BOLD);
    let mut said = format!("{} stages", graded.total);
    if record.attempts > 0 {
        let s = if record.attempts == 1 { "" } else { "s" };
        said += &format!(" · {} attempt{s}", record.attempts);
    }
    if record.seconds >= 60 {
        said += &format!(" · {} min", record.seconds / 60);
    }
    let mut lines = vec![
        Line::default(),
        Line::from(vec![
            Span::styled(format!("  ✓ {} did what it promises", exercise.slug), good),
            Span::styled(format!("  {said}"), DIM),
        ]),
        Line::default(),
    ];
    for test in &graded.tests {
        let mark = if test.outcome == Outcome::Skipped {
            "–"
        } else {
            "✓"
        };
        lines.push(Line::from(vec![
            Span::styled(format!("    {mark} "), theme.outcome(test.outcome)),
            Span::raw(test.name.replace('_', " ")),
        ]));
    }
    lines.push(Line::default());
    lines.push(Line::from(vec![
        Span::styled("  n", BOLD),
        Span::raw(" the next exercise   "),
        Span::styled("s", BOLD),
        Span::raw(" one way to do it   "),
        Span::styled("t", BOLD),
        Span::raw(" the system calls it made"),
    ]));
    lines
}

/// The exercise's own words, as they stand in the learner's file.
fn text_of(state: &State<'_>, exercise: &Exercise) -> Vec<Line<'static>> {
    let text = show::text(state.course, exercise).unwrap_or_else(|failure| failure.to_string());
    let mut lines = vec![Line::styled(
        format!(
            " {} · {} min · {}",
            list::stars(exercise.difficulty),
            exercise.minutes,
            exercise.man.join(", ")
        ),
        DIM,
    )];
    for line in text.lines() {
        lines.push(match line.strip_prefix("# ") {
            Some(title) => Line::styled(format!(" {title}"), BOLD),
            None => Line::raw(format!(" {line}")),
        });
    }
    lines
}

fn hints(exercise: &Exercise, tier: u8, columns: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (number, hint) in exercise.hints.iter().take(usize::from(tier)).enumerate() {
        lines.push(Line::default());
        let title = format!(
            " hint {} of {}: {}",
            number + 1,
            exercise.hints.len(),
            hint::TIERS[number.min(2)]
        );
        lines.push(Line::styled(title, BOLD));
        let text = hint::shown(hint, columns);
        lines.extend(text.lines().map(|line| Line::raw(line.to_owned())));
    }
    lines.push(Line::default());
    if usize::from(tier) < exercise.hints.len() {
        lines.push(Line::from(vec![
            Span::styled(" h", BOLD),
            Span::raw(" the next hint"),
        ]));
    }
    lines.push(Line::styled(
        format!(" shown live in notebooks/{}", exercise.notebook),
        DIM,
    ));
    lines
}

fn trace(state: &State<'_>) -> Vec<Line<'static>> {
    let Some((stage, calls)) = &state.trace else {
        return vec![
            Line::default(),
            Line::raw("  recording the system calls of every stage …"),
        ];
    };
    let count = calls.lines().count();
    let mut lines = vec![
        Line::from(vec![
            Span::styled(format!(" {stage}"), BOLD),
            Span::styled(format!("  {count} lines"), DIM),
        ]),
        Line::default(),
    ];
    lines.extend(calls.lines().map(|line| Line::raw(format!("  {line}"))));
    lines
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

/// Lines that are wider than the screen go on below, between words where there are some.
fn folded(lines: &[Line<'static>], width: u16) -> Vec<Line<'static>> {
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
