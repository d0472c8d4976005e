//! How is a daemon started, and found again, by a test that shares no descriptor with it?

use crate::daemonize::{Daemon, daemonize};
use observe::{End, Failure, Process, Run, Scratch, Started};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The parent of an orphan.
pub const ADOPTED: &str = "init or the nearest subreaper";

/// How long something that has to happen may take, below a child's limit.
pub const PATIENCE: Duration = Duration::from_secs(9);

/// A caller's end of `daemonize`: an error, or it exits inside. `Ok` is what must never come back.
pub type Caller = Result<(), Failure>;

/// The paths by which the test and a daemon, which share no descriptor, wait for one another.
pub struct Site {
    pub scratch: Scratch,
    pub pid_file: PathBuf,
    /// Made by the daemon when `daemonize` has returned.
    pub up: PathBuf,
    /// Made by the test: the daemon may get ready.
    pub go: PathBuf,
    /// Made by the daemon: what `ready` returned.
    pub told: PathBuf,
}

/// In the test's process.
impl Site {
    pub fn new() -> Site {
        let scratch = Scratch::new();
        let [pid_file, up, go, told] =
            ["clock.pid", "up", "go", "told"].map(|name| scratch.join(name));
        Site {
            scratch,
            pid_file,
            up,
            go,
            told,
        }
    }

    pub fn let_go(&self) {
        fs::write(&self.go, "").unwrap();
    }

    /// What `ready` returned in the daemon.
    pub fn answer(&self) -> String {
        fs::read_to_string(&self.told).unwrap()
    }

    /// The daemon that the pid file names, once it has given `sign`: `up` or `told`.
    #[track_caller]
    pub fn daemon(&self, started: Started<Caller>, sign: &Path) -> (Started<Caller>, Process) {
        let mut alone = 0;
        within(PATIENCE, || {
            // Once may be chance: an orphan on its way to its new parent is easily missed.
            let nobody = started.process().is_err() && started.others().is_empty();
            alone = if nobody { alone + 1 } else { 0 };
            sign.exists() || alone > 5
        });
        if !sign.exists() {
            let run = started.wait();
            exited_with_0(&run);
            panic!("the caller exited with status 0 and left no daemon");
        }
        let text = fs::read_to_string(&self.pid_file)
            .unwrap_or_else(|error| panic!("the daemon is up, its pid file is not: {error}"));
        let mut daemon = None;
        within(Duration::from_secs(2), || {
            let mut others = started.others().into_iter();
            daemon = others.find(|other| text == format!("{}\n", other.pid));
            // The process that forked it may still be on its way out.
            let settled = |daemon: &Process| sign == self.up || daemon.facts().parent == ADOPTED;
            daemon.as_ref().is_some_and(settled)
        });
        let Some(daemon) = daemon else {
            let others = started.others();
            let right: Vec<_> = others
                .iter()
                .map(|other| format!(r#""{}\n""#, other.pid))
                .collect();
            panic!(
                "the pid file contains {text:?} instead of {}",
                right.join(" or ")
            );
        };
        (started, daemon)
    }
}

/// In the child, and in the daemon.
impl Site {
    /// A daemon that is ready at once.
    pub fn start(&self) -> Caller {
        start_as(&self.pid_file, |daemon| self.tell(daemon))
    }

    /// A daemon that is ready when the test lets it go.
    pub fn start_and_hold(&self) -> Caller {
        start_as(&self.pid_file, |daemon| {
            fs::write(&self.up, "").unwrap();
            wait_for(&self.go);
            self.tell(daemon);
        })
    }

    /// Gets ready and leaves a note of how that went.
    pub fn tell(&self, daemon: Daemon) {
        let answer = match observe::errno(daemon.ready()) {
            Ok(()) => "Ok".to_owned(),
            Err(Failure::Errno(errno)) => errno.name(),
            Err(other) => other.to_string(),
        };
        // Renamed, so that the note is whole when it is there.
        let draft = self.told.with_extension("draft");
        fs::write(&draft, answer).unwrap();
        fs::rename(&draft, &self.told).unwrap();
    }
}

/// Calls the exercise as a program would: `serve` is the daemon's, the rest the caller's.
pub fn start_as(pid_file: &Path, serve: impl FnOnce(Daemon)) -> Caller {
    let caller = process::id();
    // SAFETY: a child has one thread, and nothing below uses or drops a descriptor opened above.
    let daemon = unsafe { daemonize(pid_file) }?;
    if process::id() == caller {
        return Ok(());
    }
    serve(daemon);
    // Should the test be killed and never end its daemon, this does.
    sleep(Duration::from_mins(1));
    process::exit(0);
}

/// Asserts that a caller ended as it should when its daemon is ready.
#[track_caller]
pub fn exited_with_0(run: &Run<Caller>) {
    run.tell_todo();
    if let End::Returned(_) = run.end {
        panic!("the caller {} instead of exiting", in_a_sentence(&run.end));
    }
    run.exited(0);
}

pub fn in_a_sentence(end: &End<Caller>) -> String {
    match end {
        End::Returned(Ok(())) => "got Ok from daemonize, as only the daemon should".to_owned(),
        End::Returned(Err(error)) => format!("got {error} from daemonize"),
        other => format!("ended with {other:?}"),
    }
}

/// In the daemon: sleeps until a file is there, and ends should the test have been killed.
pub fn wait_for(path: &Path) {
    if !within(Duration::from_mins(1), || path.exists()) {
        process::exit(1);
    }
}

/// Whether the condition came true in time.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        sleep(Duration::from_millis(1));
    }
    true
}
