//! The course in a cell: its commands are those of `cargo xtask`, which prints what there is to show.
//!
//! What is shown comes as MIME bundles, one a line; what goes on meanwhile comes on standard error and is one line
//! that changes, until the first bundle takes its place.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use wire::{MimeBundle, Publisher};

use crate::commands::{self, Done};
use crate::failure;
use crate::session::Session;

/// Runs `cargo xtask WORDS` in the course's folder.
pub(crate) fn run(session: &Session, words: &[&str], publisher: Option<&Publisher>) -> Done {
    let here = std::env::current_dir().unwrap_or_default();
    let Some(course) = folder(&here) else {
        let said = format!("{} is not inside the course", here.display());
        return Done::Failed(failure::plain("Error", said));
    };
    let all: Vec<&str> = ["cargo", "xtask"].iter().chain(words).copied().collect();
    // Several verdicts are a board, which is text.
    if let ["check", rest @ ..] = words
        && (rest.len() != 1 || rest[0].starts_with('-'))
    {
        return commands::shell(session, &all, Some(&course), publisher);
    }
    let mut command = commands::program(&all, Some(&course));
    command.arg("--mime");
    let screen = Screen::new(publisher);
    let ran = commands::to_its_end(session, command, |child| {
        let (stdout, stderr) = pipes(child);
        std::thread::scope(|scope| {
            let said = scope.spawn(|| screen.listen(stderr));
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(Value::Object(bundle)) = serde_json::from_str(&line) {
                    screen.show(bundle);
                }
            }
            said.join().unwrap_or_default()
        })
    });
    match ran {
        Err(failed) => failed,
        Ok(_) if screen.shown() => Done::Shown(None),
        Ok((_, said)) => {
            let from = said.find("error:").unwrap_or(0);
            screen.clear();
            Done::Failed(failure::plain("Error", said[from..].trim()))
        }
    }
}

/// The folder that holds the exercises: around the notebook, else where this was built.
fn folder(here: &Path) -> Option<PathBuf> {
    let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    here.ancestors()
        .chain([built.as_path()])
        .find(|folder| folder.join("exercises/exercises.toml").exists())
        .map(Path::to_owned)
}

fn pipes(child: &mut Child) -> (impl Read + use<>, impl Read + Send + use<>) {
    let none = "piped by `program`";
    (
        child.stdout.take().expect(none),
        child.stderr.take().expect(none),
    )
}

/// One place in the cell's output: a line that changes, then the first bundle.
struct Screen<'a> {
    publisher: Option<&'a Publisher>,
    id: String,
    state: Mutex<State>,
}

#[derive(PartialEq, Clone, Copy)]
enum State {
    Empty,
    Progress,
    Shown,
}

impl<'a> Screen<'a> {
    fn new(publisher: Option<&'a Publisher>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            publisher,
            id: format!(
                "course-{}-{}",
                std::process::id(),
                NUMBER.fetch_add(1, Ordering::Relaxed)
            ),
            state: Mutex::new(State::Empty),
        }
    }

    /// Shows each line until something else is shown; gives all of them.
    fn listen(&self, from: impl Read) -> String {
        let mut said = String::new();
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let text = line.trim();
            // Cargo's own last words say nothing about the exercise.
            let of_cargo = matches!(text.split(' ').next(), Some("" | "Finished" | "Running"));
            if !of_cargo {
                self.progress(text);
            }
            said += &line;
            said.push('\n');
        }
        said
    }

    fn progress(&self, text: &str) {
        let mut state = crate::hosting::lock(&self.state);
        if *state != State::Shown {
            self.put(commands::text(format!("… {text}")), *state);
            *state = State::Progress;
        }
    }

    fn show(&self, bundle: MimeBundle) {
        let mut state = crate::hosting::lock(&self.state);
        match (*state, self.publisher) {
            // The first takes the place of what went on.
            (State::Empty | State::Progress, _) => self.put(bundle, *state),
            (State::Shown, Some(publisher)) => publisher.display(bundle, Map::new(), None),
            (State::Shown, None) => {}
        }
        *state = State::Shown;
    }

    fn put(&self, bundle: MimeBundle, state: State) {
        let Some(publisher) = self.publisher else {
            return;
        };
        match state {
            State::Empty => publisher.display(bundle, Map::new(), Some(&self.id)),
            _ => publisher.update_display(&self.id, bundle, Map::new()),
        }
    }

    fn shown(&self) -> bool {
        *crate::hosting::lock(&self.state) == State::Shown
    }

    /// Takes the line away.
    fn clear(&self) {
        if *crate::hosting::lock(&self.state) == State::Progress
            && let Some(publisher) = self.publisher
        {
            publisher.clear_output(false);
        }
    }
}
