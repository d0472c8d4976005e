//! How does a kernel look that knows no language?
//!
//! Each line of a cell is a command, and anything else is echoed to stdout. `tests/protocol.py` runs against it with
//! `SYSLAB_SNIPPETS=echo`: what fails there is the protocol's fault and not the compiler's.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use wire::{
    About, Cell, Completeness, Completion, Engine, Failure, Match, MimeBundle, Outcome, Publisher,
    StreamName,
};

fn main() -> Result<(), wire::Error> {
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    let file = file.expect("usage: echo CONNECTION_FILE");
    wire::serve(&file, Arc::new(Echo::default()))
}

#[derive(Default)]
struct Echo {
    interrupts: Mutex<usize>,
    interrupted: Condvar,
}

impl Engine for Echo {
    fn about(&self) -> About {
        About {
            implementation: "echo".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            language_version: "1.95.0".into(),
            banner: "Echoes what it is told.".into(),
            help_links: vec![("Rust".into(), "https://doc.rust-lang.org".into())],
        }
    }

    fn execute(&self, cell: Cell, publisher: &Publisher) -> Outcome {
        let mut value = None;
        for line in cell.code.lines() {
            match self.line(line, publisher) {
                Outcome::Done(new) => value = new,
                other => return other,
            }
        }
        Outcome::Done(value)
    }

    fn evaluate(&self, expression: &str) -> Result<MimeBundle, Failure> {
        let terms: Result<Vec<i64>, _> = expression
            .split('+')
            .map(|term| term.trim().parse())
            .collect();
        let sum: i64 = terms
            .map_err(|error| failure("E0425", &error.to_string()))?
            .iter()
            .sum();
        Ok(plain(&sum.to_string()))
    }

    fn interrupt(&self) {
        *self.interrupts.lock().unwrap() += 1;
        self.interrupted.notify_all();
    }

    fn complete(&self, code: &str, cursor: usize) -> Completion {
        let before: String = code.chars().take(cursor).collect();
        let word = before
            .rsplit(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or_default();
        let known = ["println", "print", "panic"].into_iter();
        let matches = known
            .filter(|known| !word.is_empty() && known.starts_with(word))
            .map(|text| Match {
                text: text.into(),
                kind: "function".into(),
            })
            .collect();
        Completion {
            matches,
            start: cursor - word.chars().count(),
            end: cursor,
        }
    }

    fn inspect(&self, code: &str, _cursor: usize, _detail: u8) -> Option<MimeBundle> {
        code.contains("Vec")
            .then(|| plain("A contiguous growable array type."))
    }

    fn is_complete(&self, code: &str) -> Completeness {
        match code.matches('{').count().cmp(&code.matches('}').count()) {
            std::cmp::Ordering::Less => Completeness::Invalid,
            std::cmp::Ordering::Equal => Completeness::Complete,
            std::cmp::Ordering::Greater => Completeness::Incomplete("    ".into()),
        }
    }

    fn shutdown(&self, _restart: bool) {
        self.interrupt();
    }
}

impl Echo {
    fn line(&self, line: &str, publisher: &Publisher) -> Outcome {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "!fail" => return Outcome::Failed(failure("Panic", "told to fail")),
            "!panic" => panic!("told to panic"),
            "!value" => return Outcome::Done(Some(plain(rest))),
            "!sleep" => return self.sleep(rest.parse().unwrap_or(0)),
            "!flood" => return self.flood(publisher),
            "!err" => publisher.stream(StreamName::Stderr, &format!("{rest}\n")),
            "!big" => publisher.stream(StreamName::Stdout, &"x".repeat(rest.parse().unwrap_or(0))),
            "!lines" => {
                for number in 0..rest.parse().unwrap_or(0) {
                    publisher.stream(StreamName::Stdout, &format!("{number}\n"));
                }
            }
            "!late" => {
                let (publisher, text) = (publisher.clone(), format!("{rest}\n"));
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(300));
                    publisher.stream(StreamName::Stdout, &text);
                });
            }
            "!display" => publisher.display(plain(rest), Map::new(), Some("echo")),
            "!update" => publisher.update_display("echo", plain(rest), Map::new()),
            "!clear" => publisher.clear_output(rest == "wait"),
            "!input" | "!password" => match publisher.input(rest, command == "!password") {
                Ok(text) => publisher.stream(StreamName::Stdout, &format!("{text}\n")),
                Err(error) => return Outcome::Failed(failure("Input", &error.to_string())),
            },
            _ => publisher.stream(StreamName::Stdout, &format!("{line}\n")),
        }
        Outcome::Done(None)
    }

    fn flood(&self, publisher: &Publisher) -> Outcome {
        let before = *self.interrupts.lock().unwrap();
        while *self.interrupts.lock().unwrap() == before {
            publisher.stream(StreamName::Stdout, "the same line again\n");
        }
        Outcome::Failed(failure("Interrupted", "told to stop"))
    }

    fn sleep(&self, milliseconds: u64) -> Outcome {
        let interrupts = self.interrupts.lock().unwrap();
        let before = *interrupts;
        let limit = Duration::from_millis(milliseconds);
        let waited = self
            .interrupted
            .wait_timeout_while(interrupts, limit, |now| *now == before)
            .unwrap();
        if waited.1.timed_out() {
            Outcome::Done(None)
        } else {
            Outcome::Failed(failure("Interrupted", "told to stop"))
        }
    }
}

fn plain(text: &str) -> MimeBundle {
    let Value::Object(bundle) = json!({"text/plain": text}) else {
        unreachable!()
    };
    bundle
}

fn failure(name: &str, value: &str) -> Failure {
    Failure {
        name: name.into(),
        value: value.into(),
        traceback: vec![format!("\u{1b}[31m{name}\u{1b}[0m: {value}")],
    }
}
