//! Lines that begin with `:` or `!`.
//!
//! evcxr has commands of its own, which stay; here are those about the process of the cells, those that evcxr can't do
//! right when that process is ours, and shell commands, whose output is shown as it comes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;

use lens::Picture;
use link::TraceRequest;
use serde_json::Value;
use wire::{Failure, MimeBundle, Publisher, StreamName};

use crate::course;
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
pub(crate) const OWN: [(&str, &str); 16] = [
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
    (
        ":exercise",
        "what an exercise asks for; opens its file: `:exercise raw_write`",
    ),
    (":check", "grade an exercise: `:check raw_write`"),
    (":hint", "its next hint"),
    (":progress", "the chapters, and what of them is solved"),
    (":vars", "variables and their types"),
    (":type", "the type of a variable (also `:t`)"),
    (
        ":doc",
        "the documentation of a name: `:doc std::vec::Vec`, or `?std::vec::Vec`",
    ),
    (":restart", "a new process: variables are gone, items stay"),
    (":clear", "a new process without variables and items"),
];

/// Of evcxr's commands those that mean something here; the rest sets what its own compiling, showing and processes do.
pub(crate) const EVCXRS: [(&str, &str); 7] = [
    (
        ":dep",
        "a crate beside those of the course: `:dep regex = \"1\"`",
    ),
    (":show_deps", "such crates"),
    (
        ":opt",
        "how cells are optimised: `:opt 2` for what is measured, else 0",
    ),
    (":explain", "the compiler's explanation of the last error"),
    (
        ":efmt",
        "how an error after `?` is shown: `:efmt {}`, else {:?}",
    ),
    (
        ":offline",
        "whether cargo may fetch crates: `:offline 1` for no",
    ),
    (":version", "of evcxr"),
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
        ":check" => of_course(session, "check", rest, publisher),
        ":exercise" => of_course(session, "show", rest, publisher),
        ":hint" => of_course(session, "hint", rest, publisher),
        ":progress" => of_course(session, "report", rest, publisher),
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
        // With a name and nothing else it has not come this far: the analysis answers.
        ":doc" => Done::Failed(failure::plain(
            "Error",
            "`:doc` wants a name, and a cell for itself: `:doc std::vec::Vec`",
        )),
        ":help" => Done::Shown(Some(text(help()))),
        _ if !name.starts_with(':') || EVCXRS.iter().any(|(known, _)| *known == name) => {
            Done::NotOurs
        }
        _ => {
            let said = format!("there is no command `{name}` here; `:help` lists them");
            Done::Failed(failure::plain("Error", said))
        }
    }
}

/// A command of the course's own.
fn of_course(session: &Session, name: &str, rest: &str, publisher: Option<&Publisher>) -> Done {
    let words: Vec<&str> = [name].into_iter().chain(rest.split_whitespace()).collect();
    course::run(session, &words, publisher)
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

fn help() -> String {
    let shell = ("!COMMAND", "a shell command, shown as it runs");
    let all = OWN.into_iter().chain([shell]).chain(EVCXRS);
    all.map(|(name, what)| format!("{name:<10} {what}\n"))
        .collect()
}

/// Runs a program in a process group of its own, and shows what it writes when it writes it.
pub(crate) fn shell(
    session: &Session,
    words: &[&str],
    folder: Option<&Path>,
    publisher: Option<&Publisher>,
) -> Done {
    let command = program(words, folder);
    let ran = to_its_end(session, command, |child| {
        let pipes = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(|| pass_on(pipes.0, StreamName::Stdout, publisher));
            scope.spawn(|| pass_on(pipes.1, StreamName::Stderr, publisher));
        });
    });
    match ran {
        Err(failed) => failed,
        Ok((status, ())) if status.success() => Done::Shown(None),
        Ok((status, ())) => Done::Failed(failure::plain(
            "ShellError",
            format!("`{}`: {status}", words.last().unwrap_or(&"")),
        )),
    }
}

/// A program in a process group of its own and in the user's environment, with pipes to us.
pub(crate) fn program(words: &[&str], folder: Option<&Path>) -> Command {
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
    command
}

/// Runs a program while `listen` reads what it says; an interrupt ends it.
///
/// # Errors
/// What the cell's reply is to be: interrupted, or not started.
pub(crate) fn to_its_end<T>(
    session: &Session,
    mut command: Command,
    listen: impl FnOnce(&mut Child) -> T,
) -> Result<(ExitStatus, T), Done> {
    let shared = &session.shared;
    let ran = command.spawn().and_then(|mut child| {
        shared.shell.store(child.id() as i32, Ordering::SeqCst);
        let heard = listen(&mut child);
        let status = child.wait();
        shared.shell.store(0, Ordering::SeqCst);
        Ok((status?, heard))
    });
    if shared.interrupted.load(Ordering::SeqCst) {
        return Err(Done::Failed(failure::interrupted(&[])));
    }
    ran.map_err(|why| {
        let name = command.get_program().display();
        Done::Failed(failure::plain(
            "ShellError",
            format!("cannot run `{name}`: {why}"),
        ))
    })
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

pub(crate) fn text(text: String) -> MimeBundle {
    [("text/plain".to_owned(), Value::String(text))]
        .into_iter()
        .collect()
}
