//! What came of it? The words of a result, as the board, JSON and JUnit share them.

use observe::report::Note;
use serde::{Deserialize, Serialize};

use crate::sandbox::{Ended, Exit};

/// How a test, or an exercise, came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It did what its text promises.
    Passed,
    /// Something that the text promises did not hold.
    Failed,
    /// It stopped at `todo!()`.
    Todo,
    /// rustc refuses it.
    DoesNotCompile,
    /// It was still running at its limit.
    TimedOut,
    /// A signal killed it.
    Crashed,
    /// It left processes or files behind.
    Leaked,
    /// This machine lacks what it needs.
    Skipped,
    /// It reaches into its own specification, or that can't be restored.
    Tampered,
}

impl Outcome {
    /// As it stands on the board.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Todo => "todo",
            Self::DoesNotCompile => "does not compile",
            Self::TimedOut => "timed out",
            Self::Crashed => "crashed",
            Self::Leaked => "leaked",
            Self::Skipped => "skipped",
            Self::Tampered => "tampered",
        }
    }
}

/// One test: one stage of an exercise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tested {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// One sentence: what the world saw.
    pub(crate) message: Option<String>,
    /// Of the assertion, or of the exercise's `todo!` or panic.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    /// What a snapshot was compared with, when that is what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
    /// What it has written to stderr, the end of it, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stderr: Option<String>,
    /// The system calls that were seen, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<String>,
}

impl Tested {
    /// Nothing to say of it but how it ended.
    pub(crate) fn new(name: &str, outcome: Outcome, seconds: f64) -> Self {
        Self {
            name: name.to_owned(),
            outcome,
            seconds,
            message: None,
            file: None,
            line: None,
            seen: None,
            stderr: None,
            calls: None,
        }
    }
}

/// A snapshot and what was seen in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) snapshot: String,
    #[serde(default)]
    pub(crate) expected: String,
    pub(crate) text: String,
}

/// One exercise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Graded {
    pub(crate) chapter: String,
    pub(crate) slug: String,
    pub(crate) outcome: Outcome,
    pub(crate) passed: usize,
    pub(crate) total: usize,
    pub(crate) seconds: f64,
    /// Why no test was run: rustc's errors, the missing capability, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The result of an earlier check of the same program.
    #[serde(default)]
    pub(crate) reused: bool,
    pub(crate) tests: Vec<Tested>,
}

impl Graded {
    /// The stages that are not done, in their order.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Tested> {
        let done = |test: &&Tested| !matches!(test.outcome, Outcome::Passed | Outcome::Skipped);
        self.tests.iter().filter(done)
    }

    /// The system calls of the first stage that is open, or of the first at all: its name, and a
    /// line each.
    pub(crate) fn traced(&self) -> Option<(String, String)> {
        let of = |test: &Tested| {
            let calls = test.calls.as_ref().filter(|calls| !calls.is_empty())?;
            Some((test.name.replace('_', " "), calls.clone()))
        };
        match self.open().next() {
            Some(first) => of(first),
            None if self.outcome == Outcome::Passed => self.tests.iter().find_map(of),
            None => None,
        }
    }

    /// The exercise's outcome follows from its tests'.
    pub(crate) fn of_tests(chapter: &str, slug: &str, tests: Vec<Tested>) -> Self {
        let count = |outcome| tests.iter().filter(|test| test.outcome == outcome).count();
        let passed = count(Outcome::Passed);
        // The worst that happened; `todo` only when nothing is wrong with the rest.
        let order = [
            Outcome::Tampered,
            Outcome::Crashed,
            Outcome::TimedOut,
            Outcome::Leaked,
            Outcome::Failed,
            Outcome::Todo,
            Outcome::Skipped,
        ];
        let outcome = order
            .into_iter()
            .find(|outcome| count(*outcome) > 0)
            .unwrap_or(Outcome::Passed);
        Self {
            chapter: chapter.to_owned(),
            slug: slug.to_owned(),
            outcome,
            passed,
            total: tests.len(),
            seconds: tests.iter().map(|test| test.seconds).sum(),
            message: None,
            reused: false,
            tests,
        }
    }

    /// No test was run, and why.
    pub(crate) fn without_tests(
        chapter: &str,
        slug: &str,
        outcome: Outcome,
        total: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            chapter: chapter.to_owned(),
            slug: slug.to_owned(),
            outcome,
            passed: 0,
            total,
            seconds: 0.0,
            message: Some(message.into()),
            reused: false,
            tests: Vec::new(),
        }
    }
}

/// Reads a verdict from what one test's process did.
///
/// `passed` needs libtest's own two lines and status 0 from a process in which no
/// line of the learner's has run; everything else is told as precisely as the
/// notes allow, and the notes can never make it `passed`.
pub(crate) fn judge(name: &str, limit_seconds: u64, ended: &Ended) -> Tested {
    let said = |is: &dyn Fn(&str) -> bool| ended.stdout.lines().any(is);
    let ok = said(&|line| line == format!("test {name} ... ok"))
        && said(&|line| line.starts_with("test result: ok. 1 passed; 0 failed;"));
    let (outcome, message) = of_exit(limit_seconds, ended, ok);
    let mut tested = Tested {
        message,
        ..Tested::new(name, outcome, ended.seconds)
    };
    heed_notes(&mut tested, ended, ok);
    if tested.outcome == Outcome::Passed {
        let left: Vec<&str> = ended
            .left_processes
            .iter()
            .chain(&ended.left_files)
            .map(String::as_str)
            .collect();
        if !left.is_empty() {
            tested.outcome = Outcome::Leaked;
            tested.message = Some(format!("it left behind: {}", left.join(", ")));
        }
    }
    let texts = [
        &mut tested.message,
        &mut tested.file,
        &mut tested.stderr,
        &mut tested.calls,
    ];
    for text in texts {
        *text = text.take().map(|text| inert(&text));
    }
    if let Some(seen) = &mut tested.seen {
        seen.text = inert(&seen.text);
    }
    tested
}

/// What the end of the test's process alone says.
fn of_exit(limit_seconds: u64, ended: &Ended, ok: bool) -> (Outcome, Option<String>) {
    let (outcome, message) = match &ended.exit {
        Exit::Exited(0) if ok => return (Outcome::Passed, None),
        Exit::Exited(0) => (
            Outcome::Failed,
            "the test's process ended with status 0 before the test did: something called exit"
                .into(),
        ),
        Exit::TimedOut => (
            Outcome::TimedOut,
            format!(
                "it was still running after {limit_seconds} s, and was ended with all it had started"
            ),
        ),
        Exit::Killed(signal) => (
            Outcome::Crashed,
            format!(
                "the test's own process was killed by {}",
                signal_name(*signal)
            ),
        ),
        Exit::NotStarted(reason) => (
            Outcome::Failed,
            format!("the test could not be run: {reason}"),
        ),
        Exit::WardenLost(reason) => (Outcome::Crashed, reason.clone()),
        Exit::Exited(101) => (Outcome::Failed, last_words(ended)),
        Exit::Exited(code) => (
            Outcome::Failed,
            format!("the test's process ended with status {code}"),
        ),
    };
    (outcome, Some(message))
}

/// What the notes add to it.
fn heed_notes(tested: &mut Tested, ended: &Ended, ok: bool) {
    let notes = ended
        .notes
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let ended_by_itself = matches!(ended.exit, Exit::Exited(_)) && !ok;
    let (mut seen, mut asserted, mut stderr) = (None, None, None);
    for note in notes {
        match note {
            Note::Seen {
                snapshot,
                text,
                file,
                line,
            } => {
                asserted = Some((file, line));
                seen = Some(Seen {
                    snapshot,
                    expected: String::new(),
                    text,
                });
            }
            Note::Stderr { text } => stderr = Some(text),
            Note::Calls { text } => tested.calls = Some(text),
            // A skipped test ends well: nothing that failed is forgiven by a note.
            Note::Skipped { needs } if ok && ended.exit == Exit::Exited(0) => {
                tested.outcome = Outcome::Skipped;
                tested.message = Some(format!("this machine lacks {needs}"));
            }
            Note::Failed {
                message,
                file,
                line,
            } if ended_by_itself => {
                let from_insta = message.starts_with("snapshot assertion for");
                if from_insta {
                    tested.seen = seen.take();
                }
                tested.outcome = Outcome::Failed;
                tested.message = Some(if from_insta {
                    "seen from outside, it did not do what is expected".to_owned()
                } else {
                    message
                });
                // Insta's own place says nothing: where the specification asks is what counts.
                let (file, line) = asserted
                    .take()
                    .filter(|_| from_insta)
                    .unwrap_or((file, line));
                tested.file = Some(file);
                tested.line = Some(line);
            }
            Note::Todo {
                message,
                file,
                line,
            } if ended_by_itself => {
                tested.outcome = Outcome::Todo;
                tested.message = Some(message);
                tested.file = Some(file);
                tested.line = Some(line);
            }
            Note::TimedOut { message, .. } if ended_by_itself => {
                tested.outcome = Outcome::TimedOut;
                tested.message = Some(message);
            }
            Note::Leaked { message } if ended_by_itself => {
                tested.outcome = Outcome::Leaked;
                tested.message = Some(message);
            }
            Note::Crashed { message, .. } if ended_by_itself => {
                tested.outcome = Outcome::Crashed;
                tested.message = Some(message);
            }
            _ => {}
        }
    }
    if !matches!(tested.outcome, Outcome::Passed | Outcome::Skipped) {
        tested.stderr = stderr;
    }
}

/// `text` with what would steer a terminal made visible: a panic's message, a
/// process's name and what was printed are the learner's, and must not draw a board.
fn inert(text: &str) -> String {
    // Bidirectional controls (Unicode, UAX #9) change the order of what is read.
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || !(c.is_control() || turns(c)) {
            plain.push(c);
        } else {
            plain.extend(c.escape_default());
        }
    }
    plain
}

/// What a test without notes said last: the panic's message, or the end of its output.
fn last_words(ended: &Ended) -> String {
    let text = format!("{}\n{}", ended.stderr, ended.stdout);
    let panic = text
        .lines()
        .skip_while(|line| !line.contains(" panicked at "))
        .nth(1);
    panic
        .or_else(|| text.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("it failed")
        .to_owned()
}

/// `SIGKILL`
fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal).map_or_else(
        |_| format!("signal {signal}"),
        |signal| signal.as_str().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Exit, stdout: &str, notes: &str) -> Ended {
        Ended {
            exit,
            stdout: stdout.into(),
            notes: notes.into(),
            ..Ended::not_started("")
        }
    }

    const OK: &str =
        "\nrunning 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";

    #[test]
    fn passed_needs_both_lines_and_status_zero() {
        assert_eq!(
            judge("a", 1, &ended(Exit::Exited(0), OK, "")).outcome,
            Outcome::Passed
        );
        for (exit, stdout) in [
            (Exit::Exited(0), ""),
            (Exit::Exited(0), "test a ... ok\n"),
            (
                Exit::Exited(0),
                "test b ... ok\ntest result: ok. 1 passed; 0 failed;\n",
            ),
            (Exit::Exited(0), "test result: ok. 0 passed; 0 failed;\n"),
            (Exit::Exited(101), OK),
            (Exit::Killed(9), OK),
            (Exit::TimedOut, OK),
            (Exit::WardenLost("killed".into()), OK),
        ] {
            let tested = judge("a", 1, &ended(exit.clone(), stdout, ""));
            assert_ne!(tested.outcome, Outcome::Passed, "{exit:?} {stdout:?}");
            assert!(tested.message.is_some(), "{exit:?} {stdout:?}");
        }
    }

    #[test]
    fn no_note_can_make_a_failure_pass_or_a_pass_fail() {
        let todo = r#"{"note":"todo","message":"m","file":"f","line":3}"#;
        assert_eq!(
            judge("a", 1, &ended(Exit::Exited(101), "", todo)).outcome,
            Outcome::Todo
        );
        assert_eq!(
            judge("a", 1, &ended(Exit::Exited(0), OK, todo)).outcome,
            Outcome::Passed
        );
        assert_eq!(
            judge("a", 1, &ended(Exit::TimedOut, "", todo)).outcome,
            Outcome::TimedOut
        );
    }

    #[test]
    fn what_was_printed_is_told_of_what_did_not_pass() {
        let note = "{\"note\":\"stderr\",\"text\":\"n = 3\\u0007\\n\"}";
        let stderr = |exit, stdout| judge("a", 1, &ended(exit, stdout, note)).stderr;
        assert_eq!(stderr(Exit::Exited(0), OK), None);
        let told = stderr(Exit::Exited(101), "").unwrap();
        assert_eq!(told, "n = 3\\u{7}\n");
        assert_eq!(stderr(Exit::TimedOut, ""), Some(told));
    }

    #[test]
    fn only_what_ended_well_is_skipped() {
        let note = r#"{"note":"skipped","needs":"pty"}"#;
        let outcome = |exit, stdout| judge("a", 1, &ended(exit, stdout, note)).outcome;
        assert_eq!(outcome(Exit::Exited(0), OK), Outcome::Skipped);
        assert_eq!(outcome(Exit::Exited(101), ""), Outcome::Failed);
        assert_eq!(outcome(Exit::Killed(9), OK), Outcome::Crashed);
        assert_eq!(outcome(Exit::Exited(0), ""), Outcome::Failed);
    }

    #[test]
    fn no_message_steers_the_terminal() {
        let note = "{\"note\":\"failed\",\"message\":\"\\u001b[2Jall\\r\\npassed\\u202e\",\"file\":\"f\",\"line\":3}";
        let tested = judge("a", 1, &ended(Exit::Exited(101), "", note));
        assert_eq!(tested.message.unwrap(), "\\u{1b}[2Jall\\r\npassed\\u{202e}");
    }

    #[test]
    fn what_is_left_behind_is_named() {
        let mut left = ended(Exit::Exited(0), OK, "");
        left.left_processes.push("sleep (pid 7)".into());
        let tested = judge("a", 1, &left);
        assert_eq!(tested.outcome, Outcome::Leaked);
        assert_eq!(tested.message.unwrap(), "it left behind: sleep (pid 7)");
    }

    #[test]
    fn an_exercise_is_as_good_as_its_worst_test() {
        let test = |outcome| Tested {
            outcome,
            ..judge("a", 1, &ended(Exit::Exited(0), OK, ""))
        };
        let graded = |outcomes: &[Outcome]| {
            Graded::of_tests(
                "c",
                "s",
                outcomes.iter().map(|outcome| test(*outcome)).collect(),
            )
        };
        assert_eq!(
            graded(&[Outcome::Passed, Outcome::Todo]).outcome,
            Outcome::Todo
        );
        assert_eq!(
            graded(&[Outcome::Failed, Outcome::Todo]).outcome,
            Outcome::Failed
        );
        assert_eq!(
            graded(&[Outcome::Failed, Outcome::TimedOut]).outcome,
            Outcome::TimedOut
        );
        assert_eq!(
            graded(&[Outcome::Passed, Outcome::Passed]).outcome,
            Outcome::Passed
        );
        assert_eq!(graded(&[Outcome::Passed, Outcome::Todo]).passed, 1);
    }
}
