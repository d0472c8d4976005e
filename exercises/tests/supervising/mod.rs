//! What the tests of a supervisor stand on: workers that are shell scripts, a config, a log, and who lives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libc::SIGTERM;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{Child, Descriptor, Failure, Left, Process, Run, Scratch, Started, errno};

use super::{Pace, supervise};

/// What anything may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Longer than a test.
pub const LONG: Duration = Duration::from_secs(3600);

/// Nobody waits for long, and nobody is killed.
pub const QUICK: Pace = Pace {
    first: Duration::from_millis(20),
    most: Duration::from_millis(100),
    calm: LONG,
    grace: LONG,
};

/// What `supervise` gave; how a child that is no worker ended, if there was one, or which descriptors are left.
pub type Ended = Result<String, Failure>;

/// A directory with a config, scripts and a log.
pub struct Site {
    scratch: Scratch,
    log: File,
}

impl Site {
    pub fn new() -> Site {
        let scratch = Scratch::new();
        mkfifo(&scratch.join("never"), Mode::S_IRWXU).unwrap();
        scratch.write("log", b"");
        let log = OpenOptions::new().append(true).open(scratch.join("log"));
        let log = log.unwrap();
        Site { scratch, log }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// A line of the config: a script of that text, run with `word` as $1. Its directory is $2.
    ///
    /// `$WAIT` sleeps in a read(2) that never ends.
    pub fn worker(&self, name: &str, text: &str, word: &str) -> String {
        let wait = "exec 3<> \"$2/never\"\nread line <&3";
        let script = self.path(&format!("{name}.sh"));
        // One line after the other is read by whoever runs it: a changed text is another file.
        let other = self.scratch.write("script", text.replace("$WAIT", wait));
        fs::rename(other, &script).unwrap();
        format!(
            "{name} /bin/sh {} {word} {}\n",
            script.display(),
            self.scratch.path().display()
        )
    }

    /// Puts another config in the place of the one that is there.
    pub fn config(&self, text: impl AsRef<[u8]>) {
        let file = self.scratch.write("new", text);
        fs::rename(file, self.path("config")).unwrap();
    }

    /// In a child: what the exercise does.
    pub fn supervise(&self, pace: Pace) -> Result<(), Failure> {
        let log = self.log.try_clone();
        errno(log.and_then(|log| supervise(&self.path("config"), pace, log)))
    }

    /// The same; what it left open, in words.
    fn supervise_and_look(&self, pace: Pace) -> Ended {
        let before = Process::me().descriptors;
        self.supervise(pace)?;
        let mut after = Process::me().descriptors;
        after.0.retain(|fd, _| before.get(*fd).is_none());
        let left: Vec<String> = after.0.values().map(Descriptor::target).collect();
        Ok(left.join(", "))
    }

    pub fn child(&self) -> Child {
        Child::new().limit(Duration::from_secs(40)).keep(&self.log)
    }

    /// A supervisor of this config.
    pub fn start(&self, pace: Pace, config: &str) -> Supervisor<'_> {
        self.config(config);
        let child = self.child();
        self.started(child.start(|| self.supervise_and_look(pace)))
    }

    /// In a process that has a child already, who exits with 7 and waits to be waited for.
    pub fn start_beside_a_stranger(&self, pace: Pace, config: &str) -> Supervisor<'_> {
        self.config(config);
        self.started(self.child().start(|| {
            let mut stranger = Command::new("/bin/sh");
            let mut stranger = stranger.args(["-c", "exit 7"]).spawn().unwrap();
            let ended = self.supervise(pace);
            let status = errno(stranger.wait()).map(|status| status.to_string());
            ended.map(|()| status.unwrap_or_else(|failure| failure.to_string()))
        }))
    }

    fn started(&self, started: Started<Ended>) -> Supervisor<'_> {
        Supervisor {
            site: self,
            started: RefCell::new(Some(started)),
        }
    }

    /// The whole lines of the log, as text.
    pub fn log(&self) -> Vec<String> {
        let log = fs::read(self.path("log")).unwrap();
        let whole = log
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&log[..whole]).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// What stands behind `NAME: ` in the log.
    pub fn said(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}: ");
        let log = self.log();
        log.iter()
            .filter_map(|line| line.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }

    /// The pids that a worker has said it has, oldest first.
    pub fn pids(&self, name: &str) -> Vec<i32> {
        self.said(name)
            .iter()
            .filter_map(|line| line.strip_prefix("up ")?.split(' ').next()?.parse().ok())
            .collect()
    }
}

/// A supervisor that runs.
pub struct Supervisor<'site> {
    pub site: &'site Site,
    /// Taken when it has ended.
    started: RefCell<Option<Started<Ended>>>,
}

impl Supervisor<'_> {
    /// Waits until it holds; that it never did is told as `what`, unless the supervisor itself has failed.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            let gone = self.process().is_none_or(|process| process.zombie());
            if gone && !holds() {
                ended(self.wait(), &format!("before {what}"));
                panic!("before {what}, supervise returned");
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{PATIENCE:?} went by without {what}; the log ends with {:?}",
                self.site.log().last()
            );
            sleep(Duration::from_millis(3));
        }
    }

    /// Waits until so many processes of a worker have said that they are up; the last one's pid.
    #[track_caller]
    pub fn up(&self, name: &str, times: usize) -> i32 {
        let mut pids = Vec::new();
        self.until(&format!("start {times} of worker {name}"), || {
            pids = self.site.pids(name);
            pids.len() >= times
        });
        pids[times - 1]
    }

    pub fn process(&self) -> Option<Process> {
        self.started.borrow().as_ref()?.process().ok()
    }

    /// Sends it a signal; it may have ended already.
    pub fn signal(&self, signal: i32) {
        if let Some(started) = &*self.started.borrow() {
            let _ = started.signal(signal);
        }
    }

    /// The living processes below it, by the name of their worker.
    pub fn workers(&self) -> BTreeMap<String, Vec<i32>> {
        let mut workers: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        let others = self.started.borrow().as_ref().map(Started::others);
        for process in others.unwrap_or_default() {
            let script = process.command.iter().find_map(|word| {
                let name = word.rsplit('/').next()?.strip_suffix(".sh")?;
                Some(name.to_owned())
            });
            if let Some(name) = script {
                workers.entry(name).or_default().push(process.pid);
            }
        }
        workers
    }

    /// Waits for its end, whichever that is.
    pub fn wait(&self) -> Run<Ended> {
        let started = self.started.take();
        started.expect("a supervisor is waited for once").wait()
    }

    /// SIGTERM, and its end, which leaves nothing behind.
    #[track_caller]
    pub fn end(&self) {
        self.signal(SIGTERM);
        self.ends("after SIGTERM");
    }

    /// Its end, after a SIGTERM, with nothing left behind.
    #[track_caller]
    pub fn ends(&self, when: &str) {
        let start = Instant::now();
        while self.process().is_some_and(|process| !process.zombie()) {
            assert!(
                start.elapsed() < PATIENCE,
                "{when}, supervise is still running {PATIENCE:?} later"
            );
            sleep(Duration::from_millis(3));
        }
        let run = self.wait();
        let left: Vec<String> = run.left.iter().map(Left::words).collect();
        let open = ended(run, when);
        assert!(
            open.is_empty(),
            "{when}, supervise returned and left open: {open}"
        );
        assert!(
            left.is_empty(),
            "{when}, supervise returned and left behind: {}",
            left.join(", ")
        );
    }

    /// SIGTERM, and its end, by which processes that are no children of it are left; how the stranger ended.
    #[track_caller]
    pub fn ends_beside_others(&self) -> String {
        self.signal(SIGTERM);
        ended(self.wait(), "after SIGTERM")
    }
}

#[track_caller]
fn ended(run: Run<Ended>, when: &str) -> String {
    match run.returned_and_left().0 {
        Ok(stranger) => stranger,
        Err(failure) => panic!("{when}, supervise failed with {failure}"),
    }
}

/// kill(2) by the test.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: integers only.
    unsafe { libc::kill(pid, signal) };
}

/// Whether there is no such process any more, or only what is left for its parent to wait for.
pub fn gone(pid: i32) -> bool {
    Process::of(pid).map_or(true, |process| process.zombie())
}
