//! How many calls of which kind, and how long did they take? As `strace -c` has it.

use tracer::Trace;

use crate::group::{GROUPS, of_family};
use crate::number;
use crate::picture::Picture;
use crate::svg::{Anchor, Style, Svg, WIDTH};
use crate::table::{self, Column, Table};

/// Rows that are shown; the rest is one row.
const ROWS: usize = 30;

/// Calls, errors and time by name, the one that took most time first.
pub fn summary(trace: &Trace) -> Picture {
    let counts = trace.summary();
    let calls: u64 = counts.iter().map(|count| count.calls).sum();
    let errors: u64 = counts.iter().map(|count| count.errors).sum();
    let total = counts
        .iter()
        .map(|count| count.time.as_nanos() as f64)
        .sum::<f64>();
    let title = format!(
        "{} of {} in {}, waiting included",
        number::things(calls as usize, "system call"),
        number::things(counts.len(), "kind"),
        number::nanoseconds_plain(total)
    );

    let mut table = Table::new([
        Column::Name("call"),
        Column::Number("calls"),
        Column::Number("errors"),
        Column::Number("time"),
        Column::Number("share"),
        Column::Number("each"),
    ]);
    let mut svg = Svg::default();
    svg.title(&title);
    let shown = &counts[..counts.len().min(ROWS)];
    let groups: Vec<_> = GROUPS
        .into_iter()
        .filter(|group| shown.iter().any(|count| of_family(count.name) == *group))
        .map(|group| (group.colour(), group.name()))
        .collect();
    let mut y = svg.legend(0.0, 22.0, &groups) + 2.0;
    let longest = counts
        .first()
        .map_or(1.0, |count| count.time.as_nanos().max(1) as f64);
    for count in shown {
        let time = count.time.as_nanos() as f64;
        let share = if total > 0.0 { time / total } else { 0.0 };
        let errors = match count.errors {
            0 => String::new(),
            some => number::count(some),
        };
        let cells = [
            count.name.to_owned(),
            number::count(count.calls),
            errors,
            number::duration(count.time),
            format!("{:.1} %", share * 100.0),
            number::nanoseconds_plain(time / count.calls.max(1) as f64),
        ];
        let failed = if count.errors > 0 {
            format!(", {} failed", number::count(count.errors))
        } else {
            String::new()
        };
        let beside = format!("{} × {}{failed}", cells[1], cells[5]);
        let width = (WIDTH - 420.0) * time / longest;
        svg.text((150.0, y + 13.0), Anchor::End, Style::Code, count.name);
        svg.rect(
            (160.0, y + 2.0, width, 14.0),
            of_family(count.name).colour(),
            &beside,
        );
        svg.text(
            (168.0 + width, y + 13.0),
            Anchor::Start,
            Style::Normal,
            &beside,
        );
        y += 20.0;
        if count.errors > 0 {
            table.failed(cells);
        } else {
            table.row(cells);
        }
    }
    if counts.len() > ROWS {
        let more = format!("… {} more kinds", counts.len() - ROWS);
        svg.text((160.0, y + 13.0), Anchor::Start, Style::Faint, &more);
        y += 20.0;
        table.note(more);
    }
    table.row([
        "total".into(),
        number::count(calls),
        if errors > 0 {
            number::count(errors)
        } else {
            String::new()
        },
        number::nanoseconds_plain(total),
        String::new(),
        String::new(),
    ]);
    let text = format!("{title}\n{}", table.text());
    let svg = svg.finish(&title, &text, WIDTH, y + 8.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::{call, well_formed};
    use tracer::Event;

    #[test]
    fn as_strace_counts() {
        let mut failed = call("openat", 9, 40);
        failed.result = Some(Err(libc::ENOENT));
        let trace = Trace {
            events: [call("write", 1, 20), call("write", 3, 30), failed]
                .map(Event::Call)
                .into(),
            ..Trace::default()
        };
        let picture = summary(&trace);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn nothing_was_called() {
        well_formed(&summary(&Trace::default()));
    }
}
