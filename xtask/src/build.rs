//! Which test programs are there, and what does rustc say of the others?
//!
//! One `cargo build --tests --keep-going` for all: a submission with a syntax
//! error takes nothing with it but itself, nor does one that rustc never ends with,
//! or dies of.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::distribution::{self, Thing};
use crate::fail::{Failure, Result};
use crate::progress::Spinner;
use crate::{interrupt, sandbox};

/// How long nothing may come from cargo once only exercises are left to compile;
/// each takes a second or two. `SYSLAB_COMPILE_SECONDS` is another limit.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a compiler says that finds a machine in its way.
const IN_THE_WAY: [&str; 4] = [
    NO_LINKER,
    "No space left on device",
    "Read-only file system",
    "Permission denied",
];
const NO_LINKER: &str = "error: linker `";

/// What became of one test target.
#[derive(Debug, Clone)]
pub(crate) enum Built {
    Executable(PathBuf),
    /// Does not compile; the errors as cargo renders them.
    Errors(String),
}

/// What is to be built.
pub(crate) struct Request<'a> {
    /// Folder of the workspace.
    pub(crate) workspace: &'a Path,
    /// Where cargo puts what it builds; none means its own choice.
    pub(crate) target_dir: Option<&'a Path>,
    pub(crate) targets: Vec<String>,
    /// With the feature `solutions`.
    pub(crate) solutions: bool,
    /// Without line tables: many programs of which nobody reads a backtrace.
    pub(crate) lean: bool,
}

#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-artifact")]
    Artifact {
        target: Target,
        executable: Option<PathBuf>,
        fresh: bool,
    },
    #[serde(rename = "compiler-message")]
    Diagnosed { target: Target, message: Diagnostic },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    /// Where in a text it is about; nowhere when it is about files or the linker.
    #[serde(default)]
    spans: Vec<serde::de::IgnoredAny>,
}

impl Diagnostic {
    /// True when the machine, and not a text, is in the way: no linker, no room, no right to write.
    fn is_of_the_machine(&self) -> bool {
        let text = self.rendered.as_deref().unwrap_or_default();
        self.spans.is_empty() && IN_THE_WAY.iter().any(|error| text.contains(error))
    }
}

/// Builds `request.targets`; every one of them is in the answer.
pub(crate) fn build(request: &Request<'_>, spinner: &Spinner) -> Result<HashMap<String, Built>> {
    if request.targets.is_empty() {
        return Ok(HashMap::new());
    }
    let mut command = cargo();
    command
        .current_dir(request.workspace)
        .args(["build", "--package", "exercises", "--keep-going"])
        .arg("--message-format=json-diagnostic-rendered-ansi");
    for target in &request.targets {
        command.args(["--test", target]);
    }
    if request.solutions {
        command.args(["--features", "solutions"]);
    }
    if request.lean {
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    }
    if let Some(target_dir) = request.target_dir {
        command.arg("--target-dir").arg(target_dir);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::cannot_run(&command, &error))?;
    let heard = listen(&mut child, spinner);
    let status = child
        .wait()
        .map_err(|error| Failure::new(format!("cannot wait for cargo: {error}")))?;
    if interrupt::requested() {
        return Err(Failure::new("interrupted while compiling"));
    }
    let Heard {
        mut built,
        others,
        machine,
        said,
        lost_patience,
    } = heard;
    if !machine.is_empty() {
        return Err(explain(&machine, &said, &status.to_string(), request));
    }
    for target in &request.targets {
        let Some(of_cargo) = failure(&said, target).filter(|_| !built.contains_key(target)) else {
            continue;
        };
        if IN_THE_WAY.iter().any(|error| of_cargo.contains(error)) {
            return Err(explain(&of_cargo, &said, &status.to_string(), request));
        }
        let errors = match lost_patience.filter(|_| of_cargo.contains("SIGKILL")) {
            Some(after) => format!("rustc was still compiling it after {after:?}, and was ended"),
            None => of_cargo,
        };
        built.insert(target.clone(), Built::Errors(errors));
    }
    let complete = request
        .targets
        .iter()
        .all(|target| built.contains_key(target));
    if complete {
        return Ok(built);
    }
    Err(explain(&others, &said, &status.to_string(), request))
}

/// All that cargo has said.
#[derive(Default)]
struct Heard {
    built: HashMap<String, Built>,
    /// Errors of anything but the tests.
    others: String,
    /// Errors that no text can mend.
    machine: String,
    /// Its standard error.
    said: String,
    /// How long it had been silent when a compiler was ended.
    lost_patience: Option<Duration>,
}

/// Listens to cargo to its end; ends compilers that don't, and everything at Ctrl-C.
fn listen(child: &mut Child, spinner: &Spinner) -> Heard {
    let cargo = child.id().cast_signed();
    // Both at once: cargo stops when either pipe is full.
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = stdout.lines().map_while(Result::ok);
        lines.try_for_each(|line| send.send(line))
    });
    let patience = std::env::var("SYSLAB_COMPILE_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .map_or(PATIENCE, Duration::from_secs);
    let mut heard = Heard::default();
    let (mut compiled, mut only_exercises, mut last) = (0, false, Instant::now());
    loop {
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                let message = serde_json::from_str(&line).unwrap_or(Message::Other);
                if let Message::Artifact { target, fresh, .. } = &message {
                    // The last of what the tests need, but for other people's crates.
                    only_exercises |= target.name == "observe" || target.is_test();
                    if !fresh {
                        compiled += 1;
                        spinner.say(&format!("compiling: {} ({compiled})", target.name));
                    }
                }
                heard.take(message);
                last = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) if interrupt::requested() => sandbox::end_tree(cargo),
            Err(RecvTimeoutError::Timeout) if only_exercises && last.elapsed() > patience => {
                // Cargo goes on with what has not had its turn.
                sandbox::end_below(cargo);
                heard.lost_patience = Some(patience);
                last = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    heard.said = said.join().unwrap_or_default();
    heard
}

impl Heard {
    fn take(&mut self, message: Message) {
        match message {
            Message::Artifact {
                target,
                executable: Some(path),
                ..
            } if target.is_test() => {
                self.built.insert(target.name, Built::Executable(path));
            }
            Message::Diagnosed { target, message } if message.level == "error" => {
                let of_the_machine = message.is_of_the_machine();
                let text = message.rendered.unwrap_or_default();
                if of_the_machine {
                    self.machine = text;
                    return;
                }
                if !target.is_test() {
                    self.others.push_str(&text);
                    return;
                }
                let none = Built::Errors(String::new());
                if let Built::Errors(errors) = self.built.entry(target.name).or_insert(none) {
                    // The file as the learner knows it.
                    errors.push_str(&text.replace("exercises/tests/../", "exercises/"));
                }
            }
            _ => {}
        }
    }
}

/// What cargo says of a target that gave no error of its own: rustc was killed, or crashed.
fn failure(said: &str, target: &str) -> Option<String> {
    let named = format!("(test \"{target}\")");
    let lines = said.lines().skip_while(|line| !line.contains(&named));
    let text: Vec<&str> = lines
        .take_while(|line| !line.starts_with("warning:"))
        .take(6)
        .collect();
    (!text.is_empty()).then(|| text.join("\n"))
}

impl Target {
    fn is_test(&self) -> bool {
        self.kind.iter().any(|kind| kind == "test")
    }
}

/// Cargo's own program when it has started us, so that the toolchain is the same.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Cargo tells its child which package it is for; the child's cargo must not believe it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Cargo could not do its work: finds the one line that a person can act on.
fn explain(others: &str, said: &str, status: &str, request: &Request<'_>) -> Failure {
    let workspace = request.workspace.display();
    // What a compiler says of the machine comes before what cargo makes of it.
    let text = if others.is_empty() {
        said.trim()
    } else {
        others.trim_end()
    };
    if text.contains(NO_LINKER) {
        return Failure::new(format!("rustc cannot link:\n{text}"))
            .next(distribution::install(Thing::C));
    }
    if text.contains("Read-only file system") || text.contains("Permission denied") {
        return Failure::new(format!(
            "cargo cannot write its target folder in {workspace}:\n{text}"
        ))
        .next("copy the course to a folder of your own, or set CARGO_TARGET_DIR to one");
    }
    if text.contains("No space left on device") || others.contains("No space left on device") {
        return Failure::new(format!("the disk is full:\n{text}")).next("df -h . ; cargo clean");
    }
    if text.contains("could not execute process") && text.contains("rustc") {
        return Failure::new(format!("cargo cannot run rustc:\n{text}"))
            .next("rustup show  (then `rustup toolchain install`)");
    }
    if others.is_empty() {
        return Failure::new(format!(
            "cargo could not build the exercises ({status}):\n{text}"
        ))
        .next("mend what cargo names, then run this again");
    }
    Failure::new(format!(
        "the course's own crates do not compile:\n{}",
        others.trim_end()
    ))
    .next("git status  (then `git checkout -- observe tracer`)")
}
