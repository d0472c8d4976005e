//! Programs in, verdicts out: one process a test, several at a time.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::course::Exercise;
use crate::fail::{Failure, Result};
use crate::interrupt;
use crate::progress::Spinner;
use crate::sandbox::{self, Job, Mode, Sandbox};
use crate::scratch::{Private, Scratch};
use crate::verdict::{Graded, Outcome, Seen, Tested, judge};

/// One exercise's test program.
pub(crate) struct Unit<'a> {
    pub(crate) exercise: &'a Exercise,
    pub(crate) executable: PathBuf,
    pub(crate) tests: Vec<String>,
    /// Which program this is, for reusing its result.
    pub(crate) key: String,
}

/// Where and how tests run.
pub(crate) struct Setting<'a> {
    /// The folder of the workspace whose snapshots count.
    pub(crate) insta_root: &'a Path,
    pub(crate) sandbox: &'a Sandbox,
    /// Where tests get folders of their own.
    pub(crate) private: &'a Path,
    /// How many tests run at once.
    pub(crate) jobs: usize,
    /// Record the system calls of each.
    pub(crate) trace: bool,
    pub(crate) spinner: &'a Spinner,
}

/// Runs every test of every unit, several at a time; `done` gets each unit as it ends.
///
/// After Ctrl-C nothing new is started, and units that are not complete are left out.
pub(crate) fn all(
    units: &[Unit<'_>],
    setting: &Setting<'_>,
    done: &mut dyn FnMut(&Unit<'_>, Graded),
) {
    // What a lost warden leaves behind is adopted by the grader, and ended below.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let queue: Vec<(usize, usize)> = units
        .iter()
        .enumerate()
        .flat_map(|(unit, of)| (0..of.tests.len()).map(move |test| (unit, test)))
        .collect();
    let (next, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Vec<Mutex<Vec<Option<Tested>>>> = units
        .iter()
        .map(|unit| Mutex::new(vec![None; unit.tests.len()]))
        .collect();
    let spans = Mutex::new(Vec::new());
    let shared = shares_processes(setting.sandbox);
    let grade = |at: usize, tests| {
        let exercise = units[at].exercise;
        Graded::of_tests(&exercise.chapter, &exercise.slug, tests)
    };
    let mut doubtful: Vec<(usize, Vec<Tested>)> = Vec::new();
    let (send, receive) = mpsc::channel::<(usize, Vec<Tested>)>();
    let progress = |ended: usize| {
        let all = queue.len();
        setting
            .spinner
            .say(&format!("graded: {ended} of {all} stages"));
    };
    progress(0);
    std::thread::scope(|scope| {
        for _ in 0..setting.jobs.clamp(1, 128).min(queue.len().max(1)) {
            let send = send.clone();
            let (next, queue, results, spans) = (&next, &queue, &results, &spans);
            let (ended, progress) = (&ended, &progress);
            scope.spawn(move || {
                while let Some(&(at, test)) = queue.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if interrupt::requested() {
                        break;
                    }
                    let from = Instant::now();
                    let tested = run_test(&units[at], test, setting);
                    progress(ended.fetch_add(1, Ordering::SeqCst) + 1);
                    if interrupt::requested() {
                        break;
                    }
                    let span = Span::new((at, test), from, tested.outcome);
                    spans.lock().expect("no holder panics").push(span);
                    let mut tests = results[at].lock().expect("no holder panics");
                    tests[test] = Some(tested);
                    if tests.iter().all(Option::is_some) {
                        let all = tests.iter_mut().filter_map(Option::take).collect();
                        let _ = send.send((at, all));
                    }
                }
            });
        }
        drop(send);
        for (at, tests) in receive {
            if shared && failed(&tests).next().is_some() {
                doubtful.push((at, tests));
            } else {
                done(&units[at], grade(at, tests));
            }
        }
    });
    let spans = spans.into_inner().expect("no holder panics");
    for (at, mut tests) in doubtful {
        for test in failed(&tests).collect::<Vec<_>>() {
            if disturbed(&spans, (at, test)) && !interrupt::requested() {
                let again = run_test(&units[at], test, setting);
                if !interrupt::requested() {
                    tests[test] = again;
                }
            }
        }
        // After Ctrl-C, too: what was seen is kept.
        done(&units[at], grade(at, tests));
    }
    sandbox::end_adopted(&interrupt::wardens());
}

/// When a test ran.
struct Span {
    /// Its unit, and its number in that.
    test: (usize, usize),
    from: Instant,
    to: Instant,
    /// It did not end well, and may have taken all that there was.
    greedy: bool,
}

impl Span {
    /// From `from` to now.
    fn new(test: (usize, usize), from: Instant, outcome: Outcome) -> Self {
        use Outcome::{Crashed, Leaked, TimedOut};
        Self {
            test,
            from,
            to: Instant::now(),
            greedy: matches!(outcome, TimedOut | Crashed | Leaked),
        }
    }
}

/// True where tests take their processes from one allowance: `RLIMIT_NPROC` counts all
/// of a user's, in the whole system. A test that failed beside a fork bomb may have
/// found none left, and is run again, alone.
fn shares_processes(sandbox: &Sandbox) -> bool {
    sandbox.mode == Mode::Processes && !nix::unistd::getuid().is_root()
}

fn failed(tests: &[Tested]) -> impl Iterator<Item = usize> {
    let numbered = tests.iter().enumerate();
    numbered
        .filter(|(_, tested)| tested.outcome == Outcome::Failed)
        .map(|(test, _)| test)
}

/// True when another test that did not end well ran at the same time.
fn disturbed(spans: &[Span], test: (usize, usize)) -> bool {
    let own = spans.iter().find(|span| span.test == test);
    own.is_some_and(|own| {
        let others = spans.iter().filter(|span| span.test != test);
        others
            .into_iter()
            .any(|other| other.greedy && other.from < own.to && own.from < other.to)
    })
}

fn run_test(unit: &Unit<'_>, test: usize, setting: &Setting<'_>) -> Tested {
    let Setting {
        insta_root,
        sandbox,
        private,
        ..
    } = *setting;
    let name = &unit.tests[test];
    let scratch = match Scratch::new_in(private) {
        Ok(scratch) => scratch,
        Err(error) => {
            let reason = format!("no folder for it in {}: {error}", private.display());
            return judge(
                name,
                unit.exercise.limit_seconds,
                &sandbox::Ended::not_started(reason),
            );
        }
    };
    let wants_disk = unit.exercise.needs.iter().any(|need| need == "disk");
    // Gone with the test; a machine without one has been told so before.
    let disk = wants_disk.then(observe::disk).and_then(Result::ok);
    let disk = disk.and_then(|disk| {
        let parent = if private.starts_with(&disk) {
            private
        } else {
            &disk
        };
        Scratch::new_in(parent).ok()
    });
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let env = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut job = Job {
        program: unit.executable.clone(),
        args: ["--exact", name, "--test-threads=1", "--color=never"]
            .map(String::from)
            .to_vec(),
        env: vec![
            env(
                "PATH",
                &std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into()),
            ),
            env("HOME", &path(scratch.path())),
            env("TMPDIR", &path(scratch.path())),
            env("LANG", "C.UTF-8"),
            env("TERM", "dumb"),
            // Over whatever .config/insta.yaml says.
            env("INSTA_UPDATE", "no"),
            env("INSTA_FORCE_PASS", "0"),
            env("INSTA_OUTPUT", "none"),
            env("INSTA_WORKSPACE_ROOT", &path(insta_root)),
            env("SYSLAB_REPORT_FD", &sandbox::REPORT_FD.to_string()),
        ]
        .into_iter()
        .chain(
            disk.iter()
                .map(|disk| env(observe::DISK, &path(disk.path()))),
        )
        .collect(),
        scratch: scratch.path().to_owned(),
        disk: disk.as_ref().map(|disk| disk.path().to_owned()),
        limit: unit.exercise.limit(),
        mode: sandbox.mode,
        protect: vec![std::process::id().cast_signed()],
    };
    if setting.trace {
        job.env.push(env("SYSLAB_TRACE", "1"));
    }
    let mut tested = judge(name, unit.exercise.limit_seconds, &sandbox::run(&job));
    if let Some(seen) = &mut tested.seen {
        seen.expected = expected(insta_root, seen);
    }
    tested
}

/// The text of a snapshot, below insta's header.
fn expected(insta_root: &Path, seen: &Seen) -> String {
    let path = insta_root
        .join("exercises/tests/snapshots")
        .join(format!("{}.snap", seen.snapshot));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let body = text
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map(|(_, body)| body);
    body.unwrap_or(&text).trim_end().to_owned()
}

/// A folder for everything that tests write, gone when it is dropped.
pub(crate) fn private_folder() -> Result<Private> {
    let parent = std::env::temp_dir();
    Private::new_in(&parent).map_err(|error| {
        Failure::new(format!(
            "cannot make a folder in {}: {error}",
            parent.display()
        ))
        .next("make room there, or set TMPDIR to a folder that can be written")
    })
}
