//! Which system calls were made, one by one?

use std::time::Duration;

use tracer::{Event, Trace};

use crate::number;
use crate::picture::Picture;
use crate::svg;
use crate::table::{self, Column, Table};

/// Of a longer trace the first and the last events are shown.
const FIRST: usize = 60;
const LAST: usize = 20;

/// A table of the calls, with signals, new processes and ends between them, in time order.
///
/// Times are since the first event. Durations include the tracer's own work: compare them with each other, not with
/// an untraced program.
pub fn calls(trace: &Trace) -> Picture {
    let total = trace.calls().count();
    let failed = trace.calls().filter(|call| call.errno().is_some()).count();
    let title = match (number::things(total, "system call"), failed) {
        (calls, 0) => calls,
        (calls, failed) => format!("{calls}, {} failed", number::count(failed as u64)),
    };
    let table = rows(trace);
    let text = format!("{title}\n{}", table.text());
    let svg = svg::of_text(&title, &text);
    let html = table::page(&table.html(&title));
    Picture::new(title, text, svg, html)
}

fn rows(trace: &Trace) -> Table {
    let mut table = Table::new([
        Column::Number("time"),
        Column::Number("pid"),
        Column::Name("call"),
        Column::Code("arguments"),
        Column::Result("result"),
        Column::Number("took"),
    ]);
    let events = &trace.events;
    let begin = events.first().map(Event::time).unwrap_or_default();
    let hidden = events.len().saturating_sub(FIRST + LAST);
    // A line that says "1 more" is as long as that one.
    let (first, last) = if hidden > 1 {
        (&events[..FIRST], &events[events.len() - LAST..])
    } else {
        (&events[..], &events[events.len()..])
    };
    for event in first {
        row(&mut table, event, begin);
    }
    if hidden > 1 {
        table.note(format!("… {} more …", number::count(hidden as u64)));
    }
    for event in last {
        row(&mut table, event, begin);
    }
    if trace.dropped > 0 {
        table.note(format!(
            "{} later events were not kept",
            number::count(trace.dropped)
        ));
    }
    table
}

fn row(table: &mut Table, event: &Event, begin: Duration) {
    let time = in_ms(event.time().saturating_sub(begin));
    let pid = match event {
        // The thread is what strace shows, too.
        Event::Call(call) => call.tid,
        Event::Signal(signal) => signal.tid,
        Event::Spawn { tid, .. } | Event::Exit { tid, .. } => *tid,
        Event::Exec { pid, .. } => *pid,
    };
    let Event::Call(call) = event else {
        let what = event.to_string();
        let mut cells = [const { String::new() }; 6];
        (cells[0], cells[1], cells[3]) = (time, pid.to_string(), what);
        table.row(cells);
        return;
    };
    // "write(1, "x", 1) = 1": the result holds no " = ", whatever the arguments do.
    let line = call.to_string();
    let (head, result) = line.rsplit_once(") = ").unwrap_or((&line, ""));
    let (name, arguments) = head.split_once('(').unwrap_or((head, ""));
    let cells = [
        time,
        pid.to_string(),
        name.to_owned(),
        svg::shorten(arguments, 110),
        result.to_owned(),
        number::duration(call.duration),
    ];
    if call.errno().is_some() {
        table.failed(cells);
    } else {
        table.row(cells);
    }
}

/// All in one unit, so that they can be compared at a glance.
fn in_ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::{call, signal, well_formed};

    #[test]
    fn calls_signals_and_errors_in_order() {
        let mut failed = call("write", 3, 40);
        failed.result = Some(Err(libc::EPIPE));
        let trace = Trace {
            events: vec![
                Event::Call(call("getpid", 1, 20)),
                Event::Call(failed),
                Event::Signal(signal(5)),
            ],
            ..Trace::default()
        };
        let picture = calls(&trace);
        insta::assert_snapshot!(picture.text());
        let name = "<abbr title=\"Broken pipe\">-1 EPIPE</abbr>";
        assert!(picture.html().contains(name), "{}", picture.html());
        well_formed(&picture);
    }

    #[test]
    fn nothing_is_a_table_too() {
        let picture = calls(&Trace::default());
        assert_eq!(picture.title(), "no system calls");
        well_formed(&picture);
    }

    #[test]
    fn a_long_trace_is_shortened_in_the_middle() {
        let events = (0..100_000)
            .map(|at| Event::Call(call("read", at, 3)))
            .collect();
        let picture = calls(&Trace {
            events,
            ..Trace::default()
        });
        assert!(picture.text().contains("… 99 920 more …"));
        assert!(picture.html().len() < 30_000);
        assert!(picture.svg().len() < 60_000);
    }
}
