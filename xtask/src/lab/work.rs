//! How is another program run for minutes, shown on one line, and ended at Ctrl-C?

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::fail::{About as _, Failure, Result};
use crate::{interrupt, sandbox};

/// As many of its last lines as are kept to explain a failure.
const KEPT: usize = 300;

/// Set when work that goes on at the same time has failed.
#[derive(Default)]
pub(crate) struct Cancel(AtomicBool);

impl Cancel {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst) || interrupt::requested()
    }
}

/// A line of the program's output.
pub(crate) enum Line {
    Out(String),
    Err(String),
}

/// How a program ended, and its last lines on stderr, or on both.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl Ended {
    /// Its last `count` lines.
    pub(crate) fn tail(&self, count: usize) -> String {
        let lines: Vec<&str> = self.said.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

/// Runs `command` to its end; ends it, and all it has started, at Ctrl-C and at `cancel`.
///
/// `heard` says of each line whether it is kept for [`Ended::said`].
pub(crate) fn run(
    mut command: Command,
    cancel: &Cancel,
    mut heard: impl FnMut(&Line) -> bool,
) -> Result<Ended> {
    end_with_us(&mut command, libc::SIGKILL);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::cannot_run(&command, &error))?;
    let (send, receive) = mpsc::channel();
    let (out, err) = (send.clone(), send);
    each_line(child.stdout.take(), move |line| {
        out.send(Line::Out(line)).is_ok()
    });
    each_line(child.stderr.take(), move |line| {
        err.send(Line::Err(line)).is_ok()
    });
    let mut kept = std::collections::VecDeque::new();
    loop {
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                if heard(&line) {
                    let (Line::Out(text) | Line::Err(text)) = line;
                    kept.push_back(text);
                    if kept.len() > KEPT {
                        kept.pop_front();
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) if cancel.requested() => {
                sandbox::end_tree(child.id().cast_signed());
                let _ = child.wait();
                return Err(Failure::new("interrupted"));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = wait(&mut child)?;
    // A terminal sends SIGINT to all of the group; the program's own error is then none.
    if cancel.requested() {
        return Err(Failure::new("interrupted"));
    }
    let said: Vec<String> = kept.into();
    Ok(Ended {
        status,
        said: said.join("\n"),
    })
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    child.wait().about("cannot wait for a child")
}

/// The program gets `signal` when the thread that starts it ends, also by SIGKILL:
/// an installer that outlives us would write below the next one's hands.
pub(crate) fn end_with_us(command: &mut Command, signal: libc::c_int) {
    // SAFETY: runs in the child between fork and exec; prctl(2) with integers is
    // async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, signal);
            Ok(())
        });
    }
}

/// Gives `line` each line of `pipe`, in a thread of its own.
fn each_line(
    pipe: Option<impl Read + Send + 'static>,
    mut line: impl FnMut(String) -> bool + Send + 'static,
) {
    let mut pipe = BufReader::new(pipe.expect("a pipe was asked for"));
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while pipe
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&bytes);
            if !line(text.trim_end_matches(['\n', '\r']).to_owned()) {
                break;
            }
            bytes.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_heard_and_what_was_wanted_is_kept() {
        let mut heard = 0;
        let ended = run(
            shell("echo a; echo b >&2; exit 3"),
            &Cancel::default(),
            |line| {
                heard += 1;
                matches!(line, Line::Err(_))
            },
        )
        .unwrap();
        assert_eq!((heard, ended.said.as_str()), (2, "b"));
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn cancelled_work_ends_with_all_it_started() {
        let cancel = Cancel::default();
        cancel.set();
        let started = std::time::Instant::now();
        let refused = run(shell("sleep 60 & sleep 60"), &cancel, |_| true).err();
        assert!(refused.is_some() && started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let ended = run(shell("seq 500"), &Cancel::default(), |_| true).unwrap();
        assert_eq!(ended.tail(2), "499\n500");
        assert_eq!(ended.said.lines().count(), KEPT);
    }
}
