//! Completion and documentation.
//!
//! By a rust-analyzer of its own, in a process of its own: it may load the sources of the standard library and of
//! crates, which takes seconds, and it answers while a cell runs. What it gets is a text that has everything earlier
//! cells have defined, and the cell behind.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use evcxr::{CommandContext, EvalContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Completion, Match, MimeBundle};

use crate::commands::{EVCXRS, OWN};
use crate::hosting::lock;
use crate::scanner;
use crate::session::Known;

/// The argument that makes this program the process of the analysis.
pub(crate) const COMMAND: &str = "analyse";

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Complete { code: String, position: usize },
    Inspect { code: String, position: usize },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    matches: Vec<(String, String)>,
    start: usize,
    end: usize,
    plain: String,
    html: String,
}

/// The process, seen from the kernel.
pub(crate) struct Analysis {
    folder: PathBuf,
    /// The standard library's, if they are installed.
    sources: PathBuf,
    process: Mutex<Option<Process>>,
    /// Its pid, to be had while somebody waits for its answer; 0: there is none.
    pid: AtomicI32,
    ended: AtomicBool,
}

struct Process {
    child: Child,
    ask: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Analysis {
    /// Starts it with the first question: it takes seconds, and as much memory as all the rest.
    pub(crate) fn new(folder: PathBuf, sources: PathBuf) -> Analysis {
        Analysis {
            folder,
            sources,
            process: Mutex::new(None),
            pid: AtomicI32::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Ends it, also while it is asked: a first answer takes seconds.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let pid = self.pid.swap(0, Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: two integers; who waits for this child takes the pid away first.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        self.bury(&mut lock(&self.process));
    }

    fn ask(&self, question: &Question) -> Option<Answer> {
        let mut process = lock(&self.process);
        if process.is_none() {
            let started = Process::start(&self.folder, &self.sources).ok()?;
            self.pid.store(started.child.id() as i32, Ordering::SeqCst);
            *process = Some(started);
        }
        let answer = match &mut *process {
            Some(process) if !self.ended.load(Ordering::SeqCst) => process.ask(question),
            _ => None,
        };
        if answer.is_none() {
            // It crashed: the next question gets a new one.
            self.bury(&mut process);
        }
        answer
    }

    fn bury(&self, process: &mut Option<Process>) {
        self.pid.store(0, Ordering::SeqCst);
        if let Some(mut dead) = process.take() {
            let _ = dead.child.kill();
            let _ = dead.child.wait();
        }
    }

    /// What could stand at the cursor (a character).
    pub(crate) fn complete(&self, known: &Known, code: &str, cursor: usize) -> Completion {
        let position = byte(code, cursor);
        if let Some(own) = command(code, position) {
            return own;
        }
        let before = known.text();
        // What is still open would swallow everything; what stands before it on its line shifts evcxr's places.
        let closed = format!(
            "{before}{}{}",
            statements_on_lines(code, position),
            scanner::closers(code)
        );
        let asked = Question::Complete {
            code: closed,
            position: before.len() + position,
        };
        let Some(answer) = self.ask(&asked) else {
            return Completion {
                matches: Vec::new(),
                start: cursor,
                end: cursor,
            };
        };
        let char_at = |at: usize| {
            code[..at.saturating_sub(before.len()).min(code.len())]
                .chars()
                .count()
        };
        let matches = answer
            .matches
            .into_iter()
            .map(|(text, kind)| Match { text, kind });
        Completion {
            matches: matches.collect(),
            start: char_at(answer.start),
            end: char_at(answer.end),
        }
    }

    /// The documentation of what stands at the cursor (a character).
    pub(crate) fn inspect(&self, known: &Known, code: &str, cursor: usize) -> Option<MimeBundle> {
        let position = word_end(code, byte(code, cursor));
        let before = known.text();
        let asked = Question::Inspect {
            code: format!("{before}{code}"),
            position: before.len() + position,
        };
        let answer = self.ask(&asked)?;
        if answer.plain.is_empty() || answer.plain == "No documentation found" {
            return None;
        }
        let mut content = MimeBundle::new();
        content.insert("text/plain".into(), Value::String(answer.plain));
        content.insert("text/html".into(), Value::String(answer.html));
        Some(content)
    }
}

impl Known {
    /// Everything that is known, as the beginning of a cell.
    fn text(&self) -> String {
        let mut text = self.items.join("\n");
        text.push('\n');
        for (name, found) in &self.variables {
            text += &format!("let mut {name}: {found} = unimplemented!();\n");
        }
        text
    }
}

/// The same text, byte for byte, but each statement of the cursor's line on a line of its own.
fn statements_on_lines(code: &str, position: usize) -> String {
    let start = code[..position].rfind('\n').map_or(0, |at| at + 1);
    let end = code[position..]
        .find('\n')
        .map_or(code.len(), |at| position + at);
    let line = &code[start..end];
    if line.contains("//") {
        return code.to_owned();
    }
    format!(
        "{}{}{}",
        &code[..start],
        line.replace("; ", ";\n"),
        &code[end..]
    )
}

/// Completion of a command.
fn command(code: &str, position: usize) -> Option<Completion> {
    let line_start = code[..position].rfind('\n').map_or(0, |at| at + 1);
    let word = &code[line_start..position];
    if !word.starts_with(':') || word.contains(' ') {
        return None;
    }
    let all = OWN.iter().chain(&EVCXRS).map(|(name, _)| *name);
    let all = all.chain([":help"]);
    let matches = all.filter(|name| name.starts_with(word)).map(|name| Match {
        text: name.to_owned(),
        kind: "magic".into(),
    });
    let start = code[..line_start].chars().count();
    Some(Completion {
        matches: matches.collect(),
        start,
        end: start + word.chars().count(),
    })
}

fn byte(text: &str, character: usize) -> usize {
    text.char_indices()
        .nth(character)
        .map_or(text.len(), |(at, _)| at)
}

/// The end of the word at this byte.
fn word_end(text: &str, at: usize) -> usize {
    let rest = text[at..].find(|c: char| !c.is_alphanumeric() && c != '_');
    rest.map_or(text.len(), |length| at + length)
}

impl Process {
    fn start(folder: &Path, sources: &Path) -> std::io::Result<Process> {
        std::fs::create_dir_all(folder)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .env("EVCXR_TMPDIR", folder)
            .env(syslab_rustc::cargo::ANALYSIS, "1")
            .env("RUST_SRC_PATH", sources)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (ask, hear) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        match (ask, hear) {
            (Some(ask), Some(hear)) => Ok(Process { child, ask, hear }),
            _ => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn ask(&mut self, question: &Question) -> Option<Answer> {
        let mut line = serde_json::to_vec(question).ok()?;
        line.push(b'\n');
        self.ask.write_all(&line).ok()?;
        let mut answer = String::new();
        self.hear.read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }
}

/// In the process: answers until its stdin ends.
///
/// # Errors
/// That evcxr did not start.
pub(crate) fn main() -> Result<(), String> {
    // SAFETY: integers. What runs is more urgent; and it ends with the kernel.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    // Nothing is run here: evcxr's own first cell is said to have been.
    let mut nobody = Command::new("sh");
    nobody.args([
        "-c",
        "while read -r _; do echo EVCXR_EXECUTION_COMPLETE; done",
    ]);
    let (context, outputs) =
        EvalContext::with_subprocess_command(nobody).map_err(|why| why.to_string())?;
    for lines in [outputs.stdout, outputs.stderr] {
        std::thread::spawn(move || lines.into_iter().for_each(drop));
    }
    let mut context = CommandContext::with_eval_context(context);
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let answer = match serde_json::from_str(&line) {
            Ok(question) => answer(&mut context, question),
            Err(why) => return Err(why.to_string()),
        };
        let line = serde_json::to_string(&answer).map_err(|why| why.to_string())?;
        println!("{line}");
    }
    Ok(())
}

fn answer(context: &mut CommandContext, question: Question) -> Answer {
    match question {
        Question::Complete { code, position } => match context.completions(&code, position) {
            Ok(found) => Answer {
                matches: found
                    .completions
                    .into_iter()
                    .map(|one| (one.code, one.kind.to_owned()))
                    .collect(),
                start: found.start_offset,
                end: found.end_offset,
                ..Answer::default()
            },
            Err(_) => Answer {
                start: position,
                end: position,
                ..Answer::default()
            },
        },
        Question::Inspect { code, position } => match context.hover_at(&code, position) {
            Ok((plain, html)) => Answer {
                plain,
                html,
                ..Answer::default()
            },
            Err(_) => Answer::default(),
        },
    }
}
