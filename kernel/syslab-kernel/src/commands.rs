//! Lines that begin with `:` or `!`.
//!
//! evcxr has commands of its own, which stay; here are those about the process of the cells, those that evcxr can't do
//! right when that process is ours, and shell commands, whose output is shown as it comes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use lens::Picture;
use link::TraceRequest;
use serde_json::Value;
use wire::{Failure, MimeBundle, Publisher, StreamName};

use crate::failure;
use crate::hosting::lock;
use crate::output::Decoder;
use crate::session::Session;

/// What became of a line.
pub(crate) enum Done {
    /// It is done; what there is to show as the cell's value.
    Shown(Option<MimeBundle>),
    /// The rest of the cell is to be traced.
    Trace(TraceRequest),
    /// The rest of the cell is to have a terminal.
    Terminal,
    /// evcxr knows it.
    NotOurs,
    Failed(Failure),
}

/// Commands and what they do, for `:help` and for completion.
pub(crate) const OWN: [(&str, &str); 12] = [
    (
        ":trace",
        "the cell's system calls: time line and table; -e NAME,NAME only these, -c counts",
    ),
    (":tty", "the cell's descriptors 0, 1 and 2 are a terminal"),
    (
        ":ps",
        "the session's processes; `:ps kill` ends those that cells have left",
    ),
    (":fds", "the descriptors of the process in which cells run"),
    (":maps", "its memory map"),
    (":signals", "its signal masks and dispositions"),
    (":ns", "its namespaces"),
    (":check", "grade an exercise: `:check raw_write`"),
    (":vars", "variables and their types"),
    (":type", "the type of a variable (also `:t`)"),
    (":restart", "a new process: variables are gone, items stay"),
    (":clear", "a new process without variables and items"),
];

/// Does what the line says, if it is one of ours.
pub(crate) fn run(session: &mut Session, line: &str, publisher: Option<&Publisher>) -> Done {
    if let Some(command) = line.strip_prefix('!') {
        return shell(session, &["sh", "-c", command], None, publisher);
    }
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match name {
        ":trace" => trace(rest),
        ":tty" => Done::Terminal,
        ":ps" if rest == "kill" => {
            let count = session.shared.hosting.kill(false).unwrap_or_default();
            Done::Shown(Some(text(format!("{count} processes ended"))))
        }
        ":ps" => picture(session, |host, _| lens::process_tree(host)),
        ":fds" => picture(session, |_, cell| lens::descriptors(cell)),
        ":maps" => picture(session, |_, cell| lens::memory_map(cell)),
        ":signals" => picture(session, |_, cell| lens::signals(cell)),
        ":ns" => picture(session, |_, cell| lens::namespaces(cell)),
        ":check" => check(session, rest, publisher),
        ":vars" => variables(session),
        ":type" | ":t" => type_of(session, rest),
        ":restart" => {
            session.begin_anew(true);
            Done::Shown(Some(text(
                "a new process: variables are gone, items are there".into(),
            )))
        }
        ":clear" => {
            session.begin_anew(false);
            Done::Shown(None)
        }
        ":help" => help(session),
        _ => Done::NotOurs,
    }
}

fn trace(words: &str) -> Done {
    let mut request = TraceRequest::default();
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-c" => request.summary = true,
            "-e" => match words.next() {
                Some(names) => request.only.extend(names.split(',').map(str::to_owned)),
                None => {
                    return Done::Failed(failure::plain(
                        "Error",
                        "`:trace -e` wants names: `:trace -e openat,read`",
                    ));
                }
            },
            other => {
                let said = format!("`:trace` doesn't know `{other}`; it knows -c and -e NAME,NAME");
                return Done::Failed(failure::plain("Error", said));
            }
        }
    }
    Done::Trace(request)
}

fn picture(session: &Session, draw: impl Fn(i32, i32) -> std::io::Result<Picture>) -> Done {
    let Some((host, cell, _)) = session.shared.hosting.who() else {
        return Done::Failed(failure::plain(
            "Error",
            "the host does not answer; restart the kernel",
        ));
    };
    match draw(host, cell) {
        Ok(picture) => {
            let mut content = text(picture.text());
            content.insert("text/html".into(), Value::String(picture.html()));
            Done::Shown(Some(content))
        }
        Err(why) => Done::Failed(failure::plain("Error", why.to_string())),
    }
}

fn variables(session: &Session) -> Done {
    let known = lock(&session.shared.known).clone();
    let lines: Vec<String> = known
        .variables
        .iter()
        .map(|(name, found)| format!("{name}: {found}"))
        .collect();
    Done::Shown(Some(text(if lines.is_empty() {
        "no variables".into()
    } else {
        lines.join("\n")
    })))
}

fn type_of(session: &Session, name: &str) -> Done {
    let known = lock(&session.shared.known).clone();
    match known
        .variables
        .iter()
        .find(|(variable, _)| variable == name)
    {
        Some((name, found)) => Done::Shown(Some(text(format!("{name}: {found}")))),
        None => Done::Failed(failure::plain(
            "Error",
            format!("there is no variable `{name}`; `:vars` lists them"),
        )),
    }
}

fn help(session: &mut Session) -> Done {
    let own: String = OWN
        .iter()
        .map(|(name, what)| format!("{name:<17} {what}\n"))
        .collect();
    let theirs = session.evcxr_command(":help").unwrap_or_default();
    let theirs = theirs
        .get("text/plain")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let theirs: Vec<&str> = theirs
        .lines()
        .filter(|line| {
            let name = line.split_whitespace().next().unwrap_or_default();
            // Ours do the same, or what they do is not for notebooks.
            !OWN.iter().any(|(own, _)| *own == name)
                && ![":t", ":quit", ":help", ":internal_debug", ":load_config"].contains(&name)
        })
        .collect();
    let all = format!(
        "{own}{:<17} a shell command, shown as it runs\n\n{}",
        "!COMMAND",
        theirs.join("\n")
    );
    Done::Shown(Some(text(all)))
}

/// `cargo xtask check` in the course's folder.
fn check(session: &Session, exercise: &str, publisher: Option<&Publisher>) -> Done {
    let here = std::env::current_dir().unwrap_or_default();
    let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let course = here
        .ancestors()
        .chain([built.as_path()])
        .find(|folder| folder.join("exercises/exercises.toml").exists());
    let Some(course) = course.map(Path::to_owned) else {
        return Done::Failed(failure::plain(
            "Error",
            format!("{} is not inside the course", here.display()),
        ));
    };
    let words: Vec<&str> = ["cargo", "xtask", "check"]
        .into_iter()
        .chain(exercise.split_whitespace())
        .collect();
    shell(session, &words, Some(&course), publisher)
}

/// Runs a program in a process group of its own, and shows what it writes when it writes it.
fn shell(
    session: &Session,
    words: &[&str],
    folder: Option<&Path>,
    publisher: Option<&Publisher>,
) -> Done {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    syslab_rustc::answers::users_environment(&mut command);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("SYSLAB") || name.starts_with("EVCXR") || name == "RUST_SRC_PATH"
        }) {
            command.env_remove(name);
        }
    }
    let shared = &session.shared;
    let status = command.spawn().and_then(|mut child| {
        shared.shell.store(child.id() as i32, Ordering::SeqCst);
        let pipes = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(|| pass_on(pipes.0, StreamName::Stdout, publisher));
            scope.spawn(|| pass_on(pipes.1, StreamName::Stderr, publisher));
        });
        let status = child.wait();
        shared.shell.store(0, Ordering::SeqCst);
        status
    });
    match status {
        _ if shared.interrupted.load(Ordering::SeqCst) => Done::Failed(failure::interrupted(&[])),
        Ok(status) if status.success() => Done::Shown(None),
        Ok(status) => Done::Failed(failure::plain(
            "ShellError",
            format!("`{}`: {status}", words.last().unwrap_or(&"")),
        )),
        Err(why) => Done::Failed(failure::plain(
            "ShellError",
            format!("cannot run `{}`: {why}", words[0]),
        )),
    }
}

fn pass_on(from: Option<impl Read>, to: StreamName, publisher: Option<&Publisher>) {
    let Some(mut from) = from else {
        return;
    };
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let said = decoder.decode(&bytes[..count]);
        if let Some(publisher) = publisher {
            publisher.stream(to, &said);
        }
    }
}

fn text(text: String) -> MimeBundle {
    [("text/plain".to_owned(), Value::String(text))]
        .into_iter()
        .collect()
}
