//! Which processes hold the ends of which pipes, files and sockets?

use std::io;

use crate::descriptors;
use crate::number;
use crate::picture::Picture;
use crate::proc::Pid;
use crate::process_tree;
use crate::svg::{
    Anchor, GREEN, GREY, ORANGE, PURPLE, SKY, Style, Svg, VERMILION, WIDTH, code_width, shorten,
    shorten_path,
};
use crate::table::{self, Column, Table};

/// Processes that are shown, and descriptors of each.
const PROCESSES: usize = 16;
const DESCRIPTORS: usize = 16;

/// Where the boxes of the processes end, and those of what they hold begin.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 520.0;
const ROW: f64 = 20.0;

/// A process and its descendants on the left, what is behind their descriptors on the right, and lines between them:
/// what one process writes and another reads is in the middle of two lines.
///
/// # Errors
/// ENOENT: no such process. EACCES: it is another user's. The message names the path.
pub fn connections(pid: impl Into<Pid>) -> io::Result<Picture> {
    let root = pid.into().number();
    let mut processes = Vec::new();
    for (pid, name) in process_tree::family(root)? {
        let held = match descriptors::table_of(pid) {
            Ok(entries) => entries.into_iter().map(Held::of).collect(),
            Err(error) if pid == root => return Err(error),
            // It has ended since, or has become another user's.
            Err(_) => Vec::new(),
        };
        processes.push(Process { pid, name, held });
    }
    Ok(draw(&processes))
}

struct Process {
    pid: i32,
    name: String,
    held: Vec<Held>,
}

/// A descriptor, and what is behind it.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    fd: i32,
    reads: bool,
    writes: bool,
    target: String,
}

impl Held {
    fn of(entry: descriptors::Entry) -> Held {
        let mode = entry.flags.split('|').next().unwrap_or_default();
        Held {
            fd: entry.fd,
            reads: mode == "O_RDONLY" || mode == "O_RDWR",
            writes: mode == "O_WRONLY" || mode == "O_RDWR",
            target: entry.target,
        }
    }

    fn arrow(&self) -> &'static str {
        match (self.reads, self.writes) {
            (true, true) => "↔",
            (true, false) => "←",
            (false, true) => "→",
            (false, false) => "–",
        }
    }

    fn verb(&self) -> &'static str {
        match (self.reads, self.writes) {
            (true, true) => "reads and writes",
            (true, false) => "reads",
            (false, true) => "writes",
            (false, false) => "names",
        }
    }
}

fn colour(target: &str) -> (&'static str, &'static str) {
    match target {
        _ if target.starts_with("pipe:") => (SKY, "pipe"),
        _ if target.starts_with("socket:") => (PURPLE, "socket"),
        _ if target.starts_with("/dev/pts/") || target.starts_with("/dev/tty") => {
            (ORANGE, "terminal")
        }
        _ if target.starts_with("/dev/") => (GREY, "device"),
        _ if target.starts_with('/') => (GREEN, "file"),
        _ => (GREY, "other"),
    }
}

fn draw(processes: &[Process]) -> Picture {
    let shown = &processes[..processes.len().min(PROCESSES)];
    let mut things: Vec<&str> = Vec::new();
    for held in shown.iter().flat_map(Process::shown) {
        if !things.contains(&&*held.target) {
            things.push(&held.target);
        }
    }
    // Each beside those that hold it: fewer lines cross.
    things.sort_by_key(|thing| {
        let held = shown.iter().flat_map(Process::shown).enumerate();
        let rows: Vec<usize> = held
            .filter(|(_, held)| held.target == **thing)
            .map(|(row, _)| row)
            .collect();
        100 * rows.iter().sum::<usize>() / rows.len().max(1)
    });
    let title = format!(
        "{} of {}",
        number::things(things.len(), "connection"),
        match processes {
            [alone] => format!("process {} ({})", alone.pid, alone.name),
            _ => format!("{} processes", processes.len()),
        }
    );
    let mut table = rows(shown);
    if processes.len() > shown.len() {
        let more = processes.len() - shown.len();
        table.note(format!("… {more} more processes"));
    }
    let text = format!("{title}\n{}", table.text());

    let mut svg = Svg::default();
    svg.title(&title);
    let mut legend: Vec<(&'static str, &str)> = Vec::new();
    for kind in things.iter().map(|thing| colour(thing)) {
        if !legend.contains(&kind) {
            legend.push(kind);
        }
    }
    let top = svg.legend(0.0, 22.0, &legend) + 6.0;
    let height = |process: &Process| 26.0 + ROW * process.shown().len() as f64 + 14.0;
    let total: f64 = shown.iter().map(height).sum();
    // What is held is spread over the height of those that hold it.
    let step = (total / things.len().max(1) as f64).clamp(30.0, 60.0);
    let place = |thing: &str| {
        let index = things.iter().position(|known| *known == thing);
        top + step * (index.unwrap_or(0) as f64 + 0.5)
    };
    let mut y = top;
    for process in shown {
        let label = format!("{} {}", process.pid, shorten(&process.name, 16));
        svg.rect((0.0, y, LEFT, 22.0), VERMILION, &label);
        let (at, style) = ((8.0, y + 15.0), Style::On(VERMILION));
        svg.text(at, Anchor::Start, style, &label);
        y += 26.0;
        for held in process.shown() {
            let (fill, _) = colour(&held.target);
            let from = (LEFT, y + 8.0);
            let to = (RIGHT, place(&held.target));
            let bend = [from, (from.0 + 24.0, from.1), (to.0 - 24.0, to.1), to];
            svg.path(&bend, fill, if held.writes { "" } else { "7 3" });
            let label = format!("{} {:>3} {}", held.verb(), held.fd, held.arrow());
            let at = (LEFT - 6.0, y + 12.0);
            svg.text(at, Anchor::End, Style::Code, &label);
            y += ROW;
        }
        if process.held.len() > DESCRIPTORS {
            let more = format!("… {} more descriptors", process.held.len() - DESCRIPTORS);
            svg.text((8.0, y + 2.0), Anchor::Start, Style::Faint, &more);
        }
        y += 14.0;
    }
    for thing in &things {
        let (fill, kind) = colour(thing);
        let y = place(thing);
        let label = shorten_path(thing, 42);
        let width = code_width(&label) + 16.0;
        svg.rect((RIGHT, y - 11.0, width, 22.0), fill, kind);
        let at = (RIGHT + 8.0, y + 4.0);
        svg.text(at, Anchor::Start, Style::On(fill), &label);
    }
    let bottom = y.max(top + step * things.len() as f64) + 14.0;
    let key = "full line: written, or read and written · dashed: only read";
    svg.text((0.0, bottom), Anchor::Start, Style::Faint, key);
    let svg = svg.finish(&title, &text, WIDTH, bottom + 8.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

impl Process {
    fn shown(&self) -> &[Held] {
        &self.held[..self.held.len().min(DESCRIPTORS)]
    }
}

fn rows(processes: &[Process]) -> Table {
    let mut table = Table::new([
        Column::Number("pid"),
        Column::Name("program"),
        Column::Number("fd"),
        Column::Words("does"),
        Column::Code("what"),
        Column::Words("also held by"),
    ]);
    for process in processes {
        if process.held.is_empty() {
            let note = format!("{} ({}) holds nothing", process.pid, process.name);
            table.note(note);
        }
        for held in process.shown() {
            let others: Vec<String> = processes
                .iter()
                .filter(|other| other.pid != process.pid)
                .flat_map(|other| other.shown().iter().map(move |held| (other, held)))
                .filter(|(_, other)| other.target == held.target)
                .map(|(other, held)| format!("{} {}", other.name, held.fd))
                .collect();
            table.row([
                process.pid.to_string(),
                process.name.clone(),
                held.fd.to_string(),
                held.verb().to_owned(),
                shorten_path(&held.target, 60),
                others.join(", "),
            ]);
        }
        if process.held.len() > DESCRIPTORS {
            let more = process.held.len() - DESCRIPTORS;
            table.note(format!("… {more} more of {}", process.name));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    fn held(fd: i32, reads: bool, writes: bool, target: &str) -> Held {
        Held {
            fd,
            reads,
            writes,
            target: target.into(),
        }
    }

    #[test]
    fn a_pipe_ties_two_processes() {
        let processes = [
            Process {
                pid: 10,
                name: "sh".into(),
                held: vec![held(0, true, true, "/dev/pts/4")],
            },
            Process {
                pid: 11,
                name: "ls".into(),
                held: vec![
                    held(0, true, true, "/dev/pts/4"),
                    held(1, false, true, "pipe:[77]"),
                ],
            },
            Process {
                pid: 12,
                name: "<wc>".into(),
                held: vec![
                    held(0, true, false, "pipe:[77]"),
                    held(1, false, true, "/tmp/a & b"),
                ],
            },
            Process {
                pid: 13,
                name: "zombie".into(),
                held: vec![],
            },
        ];
        let picture = draw(&processes);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn a_crowd_stays_on_the_page() {
        let crowd: Vec<Process> = (0..100)
            .map(|pid| Process {
                pid,
                name: "p".into(),
                held: (0..100)
                    .map(|fd| held(fd, true, false, &format!("pipe:[{fd}]")))
                    .collect(),
            })
            .collect();
        let picture = draw(&crowd);
        assert!(picture.text().contains("… 84 more processes"));
        assert!(picture.html().len() < 200_000, "{}", picture.html().len());
        well_formed(&picture);
    }

    #[test]
    fn this_process_and_its_child() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let picture = connections(0).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(picture.text().contains(&child.id().to_string()));
        assert!(picture.text().contains("pipe:["), "{}", picture.text());
        well_formed(&picture);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        let error = connections(i32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
