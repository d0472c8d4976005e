//! Who descends from whom?

use std::collections::BTreeMap;
use std::io;

use crate::number;
use crate::picture::Picture;
use crate::proc::{self, Pid};
use crate::svg::{
    Anchor, GREEN, GREY, ORANGE, PURPLE, SKY, Style, Svg, VERMILION, WIDTH, code_width, shorten,
};
use crate::table::{self, Column, Table};

/// Processes that are shown.
const ROWS: usize = 100;

/// How far to the right a process is drawn at most: behind it and the longest name there are numbers.
const DEEPEST: f64 = 234.0;

/// A process and its descendants, with what ties them together: process group, session, state, threads.
///
/// Processes begin and end while this looks: one that is gone is left out.
///
/// # Errors
/// ENOENT: no such process. The message names the path.
pub fn process_tree(pid: impl Into<Pid>) -> io::Result<Picture> {
    let root = pid.into().number();
    // An error of the root is the caller's to know.
    let own = proc::read(root, "stat")?;
    let mut processes = everybody()?;
    processes.extend(Process::parse(&own));
    Ok(draw(root, &processes))
}

/// A process and its descendants, parents before their children.
///
/// # Errors
/// ENOENT: no such process. The message names the path.
pub(crate) fn family(root: i32) -> io::Result<Vec<(i32, String)>> {
    let own = Process::parse(&proc::read(root, "stat")?);
    let mut others = everybody()?;
    others.retain(|process| process.pid != root);
    let mut family: Vec<(i32, String)> = own.map(|own| (own.pid, own.name)).into_iter().collect();
    let mut next = 0;
    while next < family.len() {
        let parent = family[next].0;
        let children = others.extract_if(.., |process| process.parent == parent);
        family.extend(children.map(|child| (child.pid, child.name)));
        next += 1;
    }
    Ok(family)
}

/// All processes that can be seen, in the order of their pids.
fn everybody() -> io::Result<Vec<Process>> {
    let names = std::fs::read_dir("/proc")?
        .flatten()
        .map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse::<i32>().ok());
    let stats = numbers.filter_map(|pid| proc::read(pid, "stat").ok());
    let mut processes: Vec<Process> = stats.filter_map(|stat| Process::parse(&stat)).collect();
    processes.sort_by_key(|process| process.pid);
    Ok(processes)
}

/// What `proc_pid_stat(5)` says.
#[derive(Clone, Debug, PartialEq)]
struct Process {
    pid: i32,
    name: String,
    state: char,
    parent: i32,
    group: i32,
    session: i32,
    terminal: bool,
    threads: u32,
}

impl Process {
    fn parse(stat: &str) -> Option<Process> {
        // The name is in parentheses and may hold any of them.
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
        Some(Process {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            terminal: number(4)? != 0,
            threads: number(17)? as u32,
        })
    }

    fn state(&self) -> (&'static str, &'static str) {
        match self.state {
            'R' => (GREEN, "running"),
            'S' => (SKY, "sleeping"),
            'D' => (PURPLE, "waiting for a device"),
            'T' | 't' => (ORANGE, "stopped"),
            'Z' => (VERMILION, "zombie"),
            'I' => (GREY, "idle"),
            _ => (GREY, "dead"),
        }
    }
}

fn draw(root: i32, processes: &[Process]) -> Picture {
    let mut known: BTreeMap<i32, &Process> = processes.iter().map(|p| (p.pid, p)).collect();
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in known.values() {
        children
            .entry(process.parent)
            .or_default()
            .push(process.pid);
    }
    let mut found = Vec::new();
    // What is still to be visited: the process, its ancestors' columns that go on below, whether it is the last.
    let mut stack = vec![(root, Vec::new(), true)];
    while let Some((pid, columns, last)) = stack.pop() {
        // Taken, not looked at: a number may be used again while this reads, and a circle of parents has no end.
        let Some(process) = known.remove(&pid) else {
            continue;
        };
        let mut below: Vec<bool> = columns.clone();
        below.push(!last);
        let offspring = children.get(&pid).map_or(&[][..], Vec::as_slice);
        for (index, child) in offspring.iter().rev().enumerate() {
            stack.push((*child, below.clone(), index == 0));
        }
        found.push((process, columns, last));
    }

    let title = match found.len() {
        0 | 1 => format!("process {root} has no children"),
        several => format!(
            "process {root} and its {}",
            number::things(several - 1, "descendant")
        ),
    };
    let mut table = Table::new([
        Column::Code("process"),
        Column::Number("pid"),
        Column::Number("parent"),
        Column::Number("group"),
        Column::Number("session"),
        Column::Words("terminal"),
        Column::Words("state"),
        Column::Number("threads"),
    ]);
    let mut svg = Svg::default();
    svg.title(&title);
    let heads = [
        (510.0, "group"),
        (595.0, "session"),
        (660.0, "threads"),
        (684.0, "state"),
    ];
    for (x, head) in heads {
        let anchor = if head == "state" {
            Anchor::Start
        } else {
            Anchor::End
        };
        svg.text((x, 34.0), anchor, Style::Faint, head);
    }
    let mut y = 42.0;
    for (process, columns, last) in found.iter().take(ROWS) {
        let depth = columns.len();
        let (colour, state) = process.state();
        let mut lead = String::new();
        for (level, goes_on) in columns.iter().enumerate().skip(1) {
            lead.push_str(if *goes_on { "│  " } else { "   " });
            let x = (12.0 + 26.0 * (level as f64 - 1.0)).min(DEEPEST - 14.0);
            if *goes_on {
                svg.rule((x, y - 4.0), (x, y + 26.0), 0.6);
            }
        }
        if depth > 0 {
            lead.push_str(if *last { "└─ " } else { "├─ " });
            let x = (12.0 + 26.0 * (depth as f64 - 1.0)).min(DEEPEST - 14.0);
            svg.rule((x, y - 4.0), (x, y + if *last { 11.0 } else { 26.0 }), 0.6);
            svg.rule((x, y + 11.0), (x + 14.0, y + 11.0), 0.6);
        }
        // Very deep trees stay on the page.
        let x = (26.0 * depth as f64).min(DEEPEST);
        let label = format!("{} {}", process.pid, shorten(&process.name, 16));
        let width = code_width(&label) + 16.0;
        svg.rect((x, y, width, 22.0), colour, &format!("{label}: {state}"));
        svg.text(
            (x + 8.0, y + 15.0),
            Anchor::Start,
            Style::On(colour),
            &label,
        );
        let leads = |leads: bool, what: i32| format!("{what}{}", if leads { " ★" } else { "" });
        let group = leads(process.group == process.pid, process.group);
        let session = leads(process.session == process.pid, process.session);
        for (x, cell) in [
            (510.0, &group),
            (595.0, &session),
            (660.0, &process.threads.to_string()),
        ] {
            svg.text((x, y + 15.0), Anchor::End, Style::Normal, cell);
        }
        svg.text((684.0, y + 15.0), Anchor::Start, Style::Normal, state);
        y += 30.0;
        table.row([
            format!("{lead}{}", process.name),
            process.pid.to_string(),
            process.parent.to_string(),
            process.group.to_string(),
            process.session.to_string(),
            if process.terminal { "yes" } else { "no" }.to_owned(),
            state.to_owned(),
            process.threads.to_string(),
        ]);
    }
    if found.len() > ROWS {
        let more = format!("… {} more processes", found.len() - ROWS);
        svg.text((0.0, y + 12.0), Anchor::Start, Style::Faint, &more);
        y += 20.0;
        table.note(more);
    }
    svg.text(
        (510.0, y + 10.0),
        Anchor::End,
        Style::Faint,
        "★: its leader",
    );
    let text = format!("{title}\n{}", table.text());
    let svg = svg.finish(&title, &text, WIDTH, y + 20.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    fn process(pid: i32, parent: i32, name: &str, state: char) -> Process {
        let stat =
            format!("{pid} ({name}) {state} {parent} 10 10 34816 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 99");
        Process::parse(&stat).unwrap()
    }

    #[test]
    fn a_tree_of_four() {
        let processes = [
            process(10, 1, "sh", 'S'),
            process(11, 10, "a) R (b", 'R'),
            process(12, 11, "sleep", 'T'),
            process(13, 10, "<gone>", 'Z'),
            process(99, 1, "stranger", 'S'),
        ];
        let picture = draw(10, &processes);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn a_deep_tree_ends() {
        let chain: Vec<Process> = (10..1010)
            .map(|pid| process(pid, pid - 1, "p", 'S'))
            .collect();
        let picture = draw(10, &chain);
        assert!(picture.text().contains("… 900 more processes"));
        assert!(picture.html().len() < 1_500_000);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let circle = [process(10, 11, "a", 'S'), process(11, 10, "b", 'S')];
        let picture = draw(10, &circle);
        assert_eq!(picture.text().lines().count(), 4, "{picture}");
        well_formed(&picture);
    }

    #[test]
    fn this_process_has_a_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("9")
            .spawn()
            .unwrap();
        let picture = process_tree(0).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(picture.text().contains(&format!("  {}  ", child.id())));
        well_formed(&picture);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert_eq!(
            process_tree(i32::MAX).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
