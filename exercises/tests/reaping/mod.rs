//! How is an init started, held up while its children end, and seen to its own end?

use crate::mini_init::init;
use libc::SIGSTOP;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{Child, End, Failure, Run, Scratch, Signal, Started, errno, zombies};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// How long something that has to happen may take, below a child's limit.
pub const PATIENCE: Duration = Duration::from_secs(9);

pub const LIMIT: Duration = Duration::from_secs(50);

/// The exit status that `init` returned.
pub type Answer = Result<i32, Failure>;

/// The directory of a command, with two fifos at which it and its orphans wait.
pub struct Site {
    pub scratch: Scratch,
}

impl Site {
    pub fn new() -> Site {
        let scratch = Scratch::new();
        for name in ["hold", "end"] {
            mkfifo(&scratch.join(name), Mode::from_bits_truncate(0o600)).unwrap();
        }
        Site { scratch }
    }

    /// Calls the exercise; in a child.
    pub fn init(&self, script: &str) -> Answer {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .current_dir(self.scratch.path());
        errno(init(command))
    }

    /// Starts it, and waits until the command has begun.
    #[track_caller]
    pub fn start(&self, script: &str) -> Started<Answer> {
        let script = format!("touch up; {script}");
        let started = Child::new().limit(LIMIT).start(|| self.init(&script));
        started.does("start its command", |_| self.scratch.join("up").exists())
    }

    /// Starts it with a command that waits at `end`. No shell: some give up the mask that they inherit.
    #[track_caller]
    pub fn start_cat(&self, before: impl FnOnce()) -> Started<Answer> {
        let started = Child::new().start(|| {
            before();
            let mut command = Command::new("cat");
            command.arg(self.scratch.join("end"));
            errno(init(command))
        });
        started.does("start its command", |started| {
            started.others().iter().any(|other| other.name == "cat")
        })
    }

    pub fn ready(&self) -> bool {
        self.scratch.join("all").exists()
    }

    /// Waits until 100 orphans and the command are init's children.
    #[track_caller]
    pub fn all_adopted(&self, started: &Started<Answer>) {
        let children = || started.process().map_or(0, |init| init.children.len());
        started.until(PATIENCE, |_| self.ready() && children() >= 101);
        let adopted = children().saturating_sub(1);
        assert!(
            adopted == 100,
            "of 100 orphans {adopted} have got init as their parent"
        );
    }

    /// Stops init, and lets `ended` of its children end meanwhile.
    #[track_caller]
    pub fn end_while_stopped(&self, started: &Started<Answer>, fifo: &str, ended: usize) {
        started.signal(SIGSTOP).unwrap();
        assert!(started.until(PATIENCE, |started| started.stopped_by().is_some()));
        self.release(fifo, || zombies(started.pid()).len() == ended);
    }

    /// Wakes those who wait at a fifo, until `done`.
    pub fn release(&self, fifo: &str, done: impl Fn() -> bool) {
        for _ in 0..2000 {
            if done() {
                return;
            }
            // ENXIO while nobody has it open for reading: not there yet, or gone.
            let writer = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(self.scratch.join(fifo));
            drop(writer);
            sleep(Duration::from_millis(2));
        }
    }
}

#[track_caller]
pub fn status(answer: Answer) -> i32 {
    answer.unwrap_or_else(|failure| panic!("init failed with {failure}"))
}

pub fn text(started: &Started<Answer>) -> String {
    String::from_utf8_lossy(&started.stdout()).into_owned()
}

/// How often the command has said that it got this signal.
pub fn said(started: &Started<Answer>, signal: Signal) -> usize {
    let number = signal.0.to_string();
    let text = text(started);
    text.lines().filter(|line| *line == number).count()
}

pub fn ended(started: &Started<Answer>) -> bool {
    started.process().map_or(true, |init| init.zombie())
}

/// The end of an init whose command ends by itself. Who sleeps beside a zombie was not woken by it.
#[track_caller]
pub fn over(started: Started<Answer>) -> Run<Answer> {
    let mut asleep = 0;
    started.until(LIMIT, |started| {
        // A fork from before init was called may be dead already, and wakes nobody.
        let name = |pid: &i32| std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let own = name(&started.pid());
        let sleeps = started.process().is_ok_and(|init| init.state == 'S');
        let beside = sleeps && zombies(started.pid()).iter().any(|pid| name(pid) != own);
        asleep = if beside { asleep + 1 } else { 0 };
        asleep == 50 || ended(started)
    });
    assert!(
        asleep < 50,
        "the command has ended and init does not notice: did SIGCHLD wake it?"
    );
    let run = started.wait();
    run.tell_todo();
    run
}

pub fn end_of(run: &Run<Answer>) -> String {
    run.tell_todo();
    match &run.end {
        End::Returned(Err(failure)) => format!("failed with {failure}"),
        End::Returned(Ok(status)) => format!("returned {status}"),
        _ => run.sentence(),
    }
}
