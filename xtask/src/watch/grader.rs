//! Who grades while the screen stays alive?
//!
//! Another process: this program, asked for one JSON document. What it is told to stop ends its
//! tests and its compiler; nothing that a learner's code does reaches the screen or the keys.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::flags::Confinement;
use crate::grade::Document;

/// How long a grader that was told to stop may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A verdict; that of an unchanged program is known.
    Check,
    /// A verdict, whatever is known.
    Afresh,
    /// The system calls of every stage.
    Trace,
}

/// What comes of it.
pub(super) enum Heard {
    /// What goes on now.
    Says(String),
    /// The document, or why there is none.
    Done(Asked, Box<Result<Document, String>>),
}

/// Grades one exercise at a time: the last that was asked for.
pub(super) struct Grader {
    root: PathBuf,
    confinement: Confinement,
    events: Sender<(u64, Heard)>,
    number: u64,
    running: Option<Running>,
}

struct Running {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

/// How a grading is stopped: before it has begun, or by its pid.
#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    /// 0 before the process is there, and before it is reaped.
    pid: AtomicI32,
}

impl Stop {
    fn now(&self, signal: i32) {
        self.asked.store(true, Ordering::SeqCst);
        let pid = self.pid.load(Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: takes two integers. The process is reaped only after its pid was taken back.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl Grader {
    pub(super) fn new(
        root: PathBuf,
        confinement: Confinement,
        events: Sender<(u64, Heard)>,
    ) -> Self {
        Self {
            root,
            confinement,
            events,
            number: 0,
            running: None,
        }
    }

    /// Begins to grade `target`; what was running is stopped, and nothing more is heard of it.
    pub(super) fn start(&mut self, target: &str, asked: Asked) {
        self.number += 1;
        let before = self.running.take();
        if let Some(before) = &before {
            before.end();
        }
        let mut command = self.command(target, asked);
        let stop = Arc::new(Stop::default());
        let (number, events, own) = (self.number, self.events.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            // One cargo at a time, and its lock is free.
            if let Some(before) = before {
                let _ = before.thread.join();
            }
            if own.asked.load(Ordering::SeqCst) {
                return;
            }
            let answer = grade(&mut command, &own, &|line| {
                let _ = events.send((number, Heard::Says(line)));
            });
            let _ = events.send((number, Heard::Done(asked, Box::new(answer))));
        });
        self.running = Some(Running { stop, thread });
    }

    /// True when what is heard under this number is of the grading that was asked for last.
    pub(super) fn is_current(&self, number: u64) -> bool {
        number == self.number
    }

    fn command(&self, target: &str, asked: Asked) -> Command {
        // Not by name: cargo may have put another program there.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("--root")
            .arg(&self.root)
            .args(["check", target, "--json", "--for-screen", "--sandbox"])
            .arg(match self.confinement {
                Confinement::Auto => "auto",
                Confinement::Namespaces => "namespaces",
                Confinement::Processes => "processes",
            })
            .args(match asked {
                Asked::Check => None,
                Asked::Afresh => Some("--fresh"),
                Asked::Trace => Some("--trace"),
            })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for the screen.
            .process_group(0);
        command
    }
}

impl Running {
    /// Asks for the end, and sees to it.
    fn end(&self) {
        self.stop.now(libc::SIGTERM);
        let stop = Arc::clone(&self.stop);
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            stop.now(libc::SIGKILL);
        });
    }
}

impl Drop for Grader {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
            let _ = running.thread.join();
        }
    }
}

/// Runs the grader to its end; `says` gets what it says meanwhile.
fn grade(command: &mut Command, stop: &Stop, says: &dyn Fn(String)) -> Result<Document, String> {
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start the grader: {error}"))?;
    stop.pid.store(child.id().cast_signed(), Ordering::SeqCst);
    if stop.asked.load(Ordering::SeqCst) {
        stop.now(libc::SIGTERM);
    }
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let document = thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        text
    });
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        says(line.clone());
        said.push(line);
    }
    let document = document.join().unwrap_or_default();
    stop.pid.store(0, Ordering::SeqCst);
    let status = child.wait().map_err(|error| error.to_string())?;
    serde_json::from_str(&document).map_err(|_| {
        // A person reads `error:` and what follows; the rest was what went on.
        let from = said.iter().position(|line| line.contains("error:"));
        from.map_or_else(
            || format!("the grader ended with {status}, and said nothing"),
            |from| said[from..].join("\n"),
        )
    })
}
