//! What is left when a program is killed in the middle of its work?
//!
//! Between two system calls a program changes nothing that outlives it. Killing it before its first call, before its
//! second, and so on, therefore shows every state in which a crash can leave the world.

use crate::calls::Call;
use crate::child::Child;
use crate::run::{End, Run};
use crate::signals::Signal;
use std::fmt;
use tracer::{Action, Fault, Matches};

/// The point at which the action was killed: say it in the failure's sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The call before which it was killed, from 1; 0 when it ran to its end.
    pub nth: usize,
    /// That call as one line; it was not executed.
    pub call: Option<String>,
    /// The one before, which was.
    pub before: Option<String>,
}

/// Crash points that are tried; of an action with more, this many are picked evenly.
const POINTS: usize = 300;

/// Runs `action` again and again, each time in the world that `setup` makes, and kills it at its first system call,
/// its second, … until it runs to its end. `check` looks at what was left each time, the whole run among them.
///
/// Only `action` runs in the child; `setup` and `check` run in the test and must not call the exercise.
///
/// Returns how many crash points there were.
///
/// ```no_run
/// use observe::Scratch;
///
/// observe::kill_at_every_call(
///     || {
///         let scratch = Scratch::new();
///         scratch.write("file", "old");
///         scratch
///     },
///     |scratch| std::fs::write(scratch.join("file"), "new").unwrap(),
///     |scratch, crash| {
///         let left = std::fs::read_to_string(scratch.join("file")).unwrap();
///         assert!(left == "old" || left == "new", "{crash}: the file holds {left:?}");
///     },
/// );
/// ```
///
/// # Panics
/// When `check` does, and when the action does not return without being killed.
#[track_caller]
pub fn kill_at_every_call<S>(
    setup: impl Fn() -> S,
    action: impl Fn(&S),
    check: impl Fn(&S, &Crash),
) -> usize {
    let world = setup();
    let whole = Child::new().traced().run(|| action(&world));
    let calls = whole.calls.clone();
    whole.returned();
    check(
        &world,
        &Crash {
            nth: 0,
            call: None,
            before: None,
        },
    );
    let step = calls.len().div_ceil(POINTS).max(1);
    let mut points = 0;
    for nth in (1..=calls.len()).step_by(step) {
        let world = setup();
        let fault = Fault::new(Matches::every(), Action::Kill).nth(nth as u32);
        let mut child = Child::new().traced().fault(fault);
        child.tell_calls = false;
        let run: Run<()> = child.run(|| action(&world));
        match run.end {
            End::Killed(Signal(libc::SIGKILL)) => {}
            // It made fewer calls this time: its end has been seen already.
            End::Returned(()) => break,
            _ => {
                run.returned();
                break;
            }
        }
        points += 1;
        let line = |index: usize| calls.get(index).map(Call::to_string);
        let crash = match run.calls.last() {
            // What was recorded of this run, which may differ from the first.
            Some(last) if run.calls.len() == nth => Crash {
                nth,
                call: Some(last.to_string()),
                before: nth
                    .checked_sub(2)
                    .and_then(|index| run.calls.get(index))
                    .map(Call::to_string),
            },
            _ => Crash {
                nth,
                call: line(nth - 1),
                before: nth.checked_sub(2).and_then(line),
            },
        };
        check(&world, &crash);
    }
    points
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the result: the call was not executed.
        let name = |line: &str| {
            line.rsplit_once(" = ")
                .map_or(line, |(call, _)| call)
                .to_owned()
        };
        match (&self.call, &self.before) {
            (None, _) => f.write_str("not killed"),
            (Some(call), None) => write!(f, "killed at the first call, {}", name(call)),
            (Some(call), Some(before)) => {
                write!(
                    f,
                    "killed at call {}, {}, after {}",
                    self.nth,
                    name(call),
                    name(before)
                )
            }
        }
    }
}
