//! Who did what when, and who waited?
//!
//! Calls that are narrower than two units would make a picture of megabytes: they are put together column by column,
//! and a column has the colour of the group that took most of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tracer::{Call, Event, Trace};

use crate::axis::{Axis, Unit};
use crate::group::{GROUPS, Group};
use crate::number;
use crate::picture::Picture;
use crate::svg::{Anchor, Style, Svg, VERMILION, WIDTH, code_width, shorten};
use crate::table::{self, Column, Table};

/// Threads that are shown.
const LANES: usize = 24;
const LEFT: f64 = 118.0;
const RIGHT: f64 = WIDTH - 12.0;
const LANE: f64 = 34.0;

/// A time line with one lane a thread: calls as bars, signals, new programs and ends as marks.
///
/// The longer a call took, the longer its bar: waiting shows. The tracer's own work is in it, a few microseconds each
/// call.
pub fn time_line(trace: &Trace) -> Picture {
    if trace.events.is_empty() {
        return empty();
    }
    let lanes = lanes(trace);
    let begin = trace.events.first().map(Event::time).unwrap_or_default();
    let end = trace
        .events
        .iter()
        .map(|event| match event {
            Event::Call(call) => call.start + call.duration,
            other => other.time(),
        })
        .max()
        .unwrap_or_default()
        .saturating_sub(begin);
    let title = format!(
        "{} of {} in {}",
        number::things(trace.calls().count(), "system call"),
        number::things(lanes.len(), "thread"),
        number::nanoseconds_plain(end.as_nanos() as f64)
    );
    let table = rows(&lanes, begin);
    let text = format!("{title}\n{}", table.text());

    let mut svg = Svg::default();
    let groups: Vec<_> = GROUPS
        .into_iter()
        .filter(|group| trace.calls().any(|call| Group::of(call) == *group))
        .map(|group| (group.colour(), group.name()))
        .collect();
    svg.title(&title);
    let top = svg.legend(LEFT, 22.0, &groups) + 4.0;
    let shown = lanes.len().min(LANES);
    let bottom = top + LANE * shown.max(1) as f64;
    let axis = Axis::new("").unit(Unit::Nanoseconds);
    let ends = [0.0, end.as_nanos().max(1) as f64];
    let scale = axis.scale(ends.into_iter(), LEFT, RIGHT);
    scale.horizontal(&mut svg, top, bottom, "time since the first event");
    let place = |time: Duration| scale.at(time.saturating_sub(begin).as_nanos() as f64);
    for (index, lane) in lanes.iter().take(LANES).enumerate() {
        let y = top + LANE * index as f64;
        svg.text(
            (LEFT - 10.0, y + 21.0),
            Anchor::End,
            Style::Normal,
            &lane.name(),
        );
        svg.rule((LEFT, y + LANE), (RIGHT, y + LANE), 0.15);
        bars(&mut svg, lane, y + 8.0, &place);
        marks(&mut svg, lane, y + 8.0, &place);
    }
    if lanes.iter().any(|lane| !lane.marks.is_empty()) {
        let key = "▼ signal · ○ new program · ● end";
        svg.text((RIGHT, bottom + 35.0), Anchor::End, Style::Faint, key);
    }
    let mut height = bottom + 44.0;
    if lanes.len() > shown {
        let more = format!("{} more threads are not shown", lanes.len() - shown);
        svg.text((LEFT, height + 8.0), Anchor::Start, Style::Faint, &more);
        height += 18.0;
    }
    let svg = svg.finish(&title, &text, WIDTH, height);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

/// Axes without anything between them would be no help.
fn empty() -> Picture {
    let title = "nothing to draw on a time line".to_owned();
    let mut svg = Svg::default();
    svg.text((0.0, 14.0), Anchor::Start, Style::Faint, &title);
    let svg = svg.finish(&title, &title, WIDTH, 20.0);
    let html = table::page(&svg);
    Picture::new(title.clone(), title + "\n", svg, html)
}

/// What happened in one thread.
struct Lane<'a> {
    pid: i32,
    tid: i32,
    calls: Vec<&'a Call>,
    marks: Vec<&'a Event>,
}

impl Lane<'_> {
    fn name(&self) -> String {
        if self.pid == self.tid {
            format!("process {}", self.pid)
        } else {
            format!("thread {}", self.tid)
        }
    }
}

/// In the order of their first events.
fn lanes(trace: &Trace) -> Vec<Lane<'_>> {
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    let mut places: BTreeMap<i32, usize> = BTreeMap::new();
    for event in &trace.events {
        let (pid, tid) = match event {
            Event::Call(call) => (call.pid, call.tid),
            Event::Signal(signal) => (signal.pid, signal.tid),
            Event::Spawn { pid, tid, .. } | Event::Exit { pid, tid, .. } => (*pid, *tid),
            Event::Exec { pid, .. } => (*pid, *pid),
        };
        let place = *places.entry(tid).or_insert_with(|| {
            lanes.push(Lane {
                pid,
                tid,
                calls: Vec::new(),
                marks: Vec::new(),
            });
            lanes.len() - 1
        });
        match event {
            Event::Call(call) => lanes[place].calls.push(call),
            // The call that made the child says so already.
            Event::Spawn { .. } => {}
            mark => lanes[place].marks.push(mark),
        }
    }
    lanes
}

/// Wide calls one by one, narrow ones by columns of one unit.
fn bars(svg: &mut Svg, lane: &Lane<'_>, y: f64, place: &impl Fn(Duration) -> f64) {
    let mut columns: BTreeMap<i64, (u64, BTreeMap<Group, Duration>)> = BTreeMap::new();
    for call in &lane.calls {
        let (from, to) = (place(call.start), place(call.start + call.duration));
        let group = Group::of(call);
        if to - from < 2.0 {
            let (calls, times) = columns.entry(from as i64).or_default();
            *calls += 1;
            *times.entry(group).or_default() += call.duration;
            continue;
        }
        let tip = format!(
            "{} — {}",
            shorten(&call.to_string(), 160),
            number::duration(call.duration)
        );
        svg.rect((from, y, to - from - 0.5, 20.0), group.colour(), &tip);
        if to - from > code_width(call.name) + 6.0 {
            let middle = f64::midpoint(from, to);
            svg.text(
                (middle, y + 14.0),
                Anchor::Middle,
                Style::On(group.colour()),
                call.name,
            );
        }
    }
    let mut columns = columns.into_iter().peekable();
    while let Some((x, (mut calls, times))) = columns.next() {
        let dominant = |times: &BTreeMap<Group, Duration>| {
            times
                .iter()
                .max_by_key(|(_, time)| **time)
                .map(|(group, _)| *group)
        };
        let Some(group) = dominant(&times) else {
            continue;
        };
        let mut width = 1;
        while let Some((_, (more, _))) = columns
            .next_if(|(next, (_, times))| *next == x + width && dominant(times) == Some(group))
        {
            calls += more;
            width += 1;
        }
        let tip = match calls {
            1 => format!("1 call: {}", group.name()),
            calls => format!(
                "{} calls, most time: {}",
                number::count(calls),
                group.name()
            ),
        };
        // At least a unit and a half: one call among nothing is to be seen.
        let width = (width as f64).max(1.5);
        svg.rect((x as f64, y, width, 20.0), group.colour(), &tip);
    }
}

/// Signals, new programs, ends; of very many the first ones.
fn marks(svg: &mut Svg, lane: &Lane<'_>, y: f64, place: &impl Fn(Duration) -> f64) {
    for event in lane.marks.iter().take(200) {
        let x = place(event.time());
        let tip = event.to_string();
        match event {
            Event::Signal(_) => svg.pin((x, y + 2.0), VERMILION, &tip),
            Event::Exit { .. } => {
                svg.rule((x, y - 2.0), (x, y + 22.0), 1.0);
                svg.dot((x, y + 10.0), 3.5, "currentColor", true, &tip);
            }
            _ => svg.dot((x, y + 10.0), 4.0, "currentColor", false, &tip),
        }
    }
}

/// The same in words.
fn rows(lanes: &[Lane<'_>], begin: Duration) -> Table {
    let mut table = Table::new([
        Column::Words("thread"),
        Column::Number("begins"),
        Column::Number("calls"),
        Column::Number("in calls"),
        Column::Code("longest"),
        Column::Number("took"),
        Column::Code("marks"),
    ]);
    for lane in lanes.iter().take(LANES) {
        let begins = lane.calls.iter().map(|call| call.start);
        let begins = begins
            .chain(lane.marks.iter().map(|mark| mark.time()))
            .min();
        let longest = lane.calls.iter().max_by_key(|call| call.duration);
        let marks: Vec<String> = lane.marks.iter().take(4).map(ToString::to_string).collect();
        table.row([
            lane.name(),
            begins.map_or_else(String::new, |time| {
                number::duration(time.saturating_sub(begin))
            }),
            number::count(lane.calls.len() as u64),
            number::duration(lane.calls.iter().map(|call| call.duration).sum()),
            longest.map_or_else(String::new, |call| call.name.to_owned()),
            longest.map_or_else(String::new, |call| number::duration(call.duration)),
            marks.join(" "),
        ]);
    }
    if lanes.len() > LANES {
        table.note(format!("… {} more threads", lanes.len() - LANES));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::{call, signal, well_formed};

    #[test]
    fn one_lane_a_thread() {
        let mut of_thread = call("futex", 30, 500);
        of_thread.tid = 8;
        let trace = Trace {
            events: vec![
                Event::Call(call("getpid", 1, 20)),
                Event::Call(of_thread),
                Event::Call(call("read", 50, 200)),
                Event::Signal(signal(260)),
                Event::Exit {
                    pid: 7,
                    tid: 7,
                    status: tracer::Status::Exited(0),
                    time: Duration::from_micros(600),
                },
            ],
            ..Trace::default()
        };
        let picture = time_line(&trace);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn nothing_is_a_time_line_too() {
        well_formed(&time_line(&Trace::default()));
    }

    #[test]
    fn a_hundred_thousand_calls_stay_small() {
        let events = (0..100_000)
            .map(|at| {
                let name = ["read", "mmap", "futex"][at as usize % 7 % 3];
                let mut call = call(name, at * 3, 2);
                call.tid += at as i32 % 40;
                Event::Call(call)
            })
            .collect();
        let picture = time_line(&Trace {
            events,
            ..Trace::default()
        });
        assert!(picture.html().len() < 3_000_000, "{}", picture.html().len());
        well_formed(&picture);
    }
}
