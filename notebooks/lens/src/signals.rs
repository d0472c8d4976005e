//! What will a signal do to this process?

use std::io;

use crate::number;
use crate::picture::Picture;
use crate::proc::{self, Pid};
use crate::svg;
use crate::table::{self, Column, Table};

/// The signals of a process that are pending, blocked, ignored or caught (`proc_pid_status(5)`). Pending and blocked
/// are a thread's own affair: threads whose masks differ are named.
///
/// # Errors
/// ENOENT: no such process. The message names the path.
pub fn signals(pid: impl Into<Pid>) -> io::Result<Picture> {
    let pid = pid.into();
    let number = pid.number();
    let process = proc::read(number, "status")?;
    let threads: Vec<String> = proc::list(number, "task")
        .unwrap_or_default()
        .iter()
        .filter_map(|tid| proc::read(number, &format!("task/{tid}/status")).ok())
        .collect();
    Ok(draw(&pid.title(), &process, &threads))
}

/// A mask of `proc_pid_status(5)`: bit n-1 is signal n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mask(u64);

impl Mask {
    fn of(status: &str, key: &str) -> Mask {
        let hex = proc::value(status, key).unwrap_or_default();
        Mask(u64::from_str_radix(hex, 16).unwrap_or(0))
    }

    fn has(self, signal: i32) -> bool {
        self.0 >> (signal - 1) & 1 == 1
    }
}

fn draw(title: &str, process: &str, threads: &[String]) -> Picture {
    let [shared, ignored, caught] =
        ["ShdPnd", "SigIgn", "SigCgt"].map(|key| Mask::of(process, key));
    let threads: Vec<Thread> = threads.iter().map(|status| Thread::of(status)).collect();
    let mut table = Table::new([
        Column::Number("no."),
        Column::Name("signal"),
        Column::Words("when delivered"),
        Column::Words("blocked by"),
        Column::Words("pending for"),
    ]);
    let mut rows = 0;
    for signal in 1..=64 {
        let blocked = who(&threads, |thread| thread.blocked.has(signal));
        let mut pending = who(&threads, |thread| thread.pending.has(signal));
        if shared.has(signal) {
            let apart = if pending.is_empty() { "" } else { " and " };
            pending = format!("the process{apart}{pending}");
        }
        let action = if caught.has(signal) {
            "caught: a handler runs"
        } else if ignored.has(signal) {
            "ignored"
        } else if blocked.is_empty() && pending.is_empty() {
            continue;
        } else {
            "default"
        };
        rows += 1;
        table.row([
            signal.to_string(),
            name(signal),
            action.to_owned(),
            blocked,
            pending,
        ]);
    }
    table.note(if rows == 0 {
        "all signals have their default action; none is blocked or pending".to_owned()
    } else {
        format!(
            "the other {} have their default action; none is blocked or pending",
            64 - rows
        )
    });
    let table = table.without_empty();
    let title = match threads.len() {
        // The process has ended while this looked.
        0 => format!("signals of {title}"),
        some => format!("signals of {title}, {}", number::things(some, "thread")),
    };
    let text = format!("{title}\n{}", table.text());
    let svg = svg::of_text(&title, &text);
    let html = table::page(&table.html(&title));
    Picture::new(title, text, svg, html)
}

struct Thread {
    name: String,
    blocked: Mask,
    pending: Mask,
}

impl Thread {
    fn of(status: &str) -> Thread {
        let value = |key| proc::value(status, key).unwrap_or("?");
        Thread {
            name: format!("{} ({})", value("Pid"), value("Name")),
            blocked: Mask::of(status, "SigBlk"),
            pending: Mask::of(status, "SigPnd"),
        }
    }
}

/// "all threads", or those of whom it is so, by name.
fn who(threads: &[Thread], so: impl Fn(&Thread) -> bool) -> String {
    let those: Vec<&str> = threads.iter().filter(|t| so(t)).map(|t| &*t.name).collect();
    match (those.len(), threads.len()) {
        (0, _) => String::new(),
        (1, 1) => "its only thread".to_owned(),
        (some, all) if some == all => format!("all {all} threads"),
        (some, _) if some > 4 => format!("{some} threads, {} among them", those[0]),
        _ => those.join(", "),
    }
}

/// "SIGTERM", "SIGRTMIN+2". The lowest two real-time signals are the C library's own.
fn name(signal: i32) -> String {
    let min = libc::SIGRTMIN();
    match signal {
        1..32 => tracer::signal_name(signal).to_owned(),
        _ if signal < min => format!("SIG{signal} (libc's own)"),
        _ if signal == min => "SIGRTMIN".to_owned(),
        _ => format!("SIGRTMIN+{}", signal - min),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    /// SIGHUP is 1, SIGINT 2, SIGPIPE 13, SIGTERM 15, SIGCHLD 17.
    const PROCESS: &str =
        "ShdPnd:\t0000000000004000\nSigIgn:\t0000000000001000\nSigCgt:\t0000000200000002\n";

    #[test]
    fn masks_by_name_and_thread() {
        let main = "Name:\tmain\nPid:\t7\nSigPnd:\t0\nSigBlk:\t0000000000014000\n".to_owned();
        let other = "Name:\t<w>\nPid:\t8\nSigPnd:\t4000\nSigBlk:\t0000000000004000\n".to_owned();
        let picture = draw("process 7", PROCESS, &[main, other]);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn all_default() {
        let picture = draw("process 7", "", &[]);
        assert!(
            picture
                .text()
                .contains("all signals have their default action")
        );
        well_formed(&picture);
    }

    #[test]
    fn rust_ignores_sigpipe() {
        let text = signals(0).unwrap().text();
        let line = text.lines().find(|line| line.contains("SIGPIPE"));
        assert!(line.is_some_and(|line| line.contains("ignored")), "{text}");
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert_eq!(
            signals(i32::MAX).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
