//! What stands between the question and the keys: the verdict, the text, hints, system calls.

use ratatui::style::{Color, Modifier};
use ratatui::text::{Line, Span};

use super::state::{Pane, State};
use super::theme::{BOLD, DIM, Theme};
use crate::course::Exercise;
use crate::verdict::{Graded, Outcome};
use crate::{feedback, hint, list, paint, show};

/// The lines of the pane that is open; the list is drawn with the screen.
pub(super) fn lines(state: &State<'_>, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let exercise = state.exercise();
    let columns = usize::from(width).saturating_sub(2).clamp(30, 120);
    match &state.pane {
        Pane::Verdict => verdict(state, theme, columns),
        Pane::Text => text_of(state, exercise, columns),
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
            Span::raw(file),
        ]));
        lines.push(Line::from(vec![
            Span::styled("  e", BOLD),
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
fn text_of(state: &State<'_>, exercise: &Exercise, columns: usize) -> Vec<Line<'static>> {
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
    for line in paint::prose(&text, " ", columns).lines() {
        lines.push(match line.strip_prefix(" # ") {
            Some(title) => Line::styled(format!(" {title}"), BOLD),
            None => Line::raw(line.to_owned()),
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
