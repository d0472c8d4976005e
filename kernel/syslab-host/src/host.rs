//! What happens when: a cell is asked for, runs, ends, dies, is interrupted.
//!
//! One thread, the tracer of the cell process, does all of this, and so nothing here is concurrent with itself. What it
//! waits for is in [`inbox`](crate::inbox).

mod burial;
mod notes;
mod own;
mod reports;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libc::c_int;
use link::{Death, End, FromHost, ToHost, TraceRequest};

use crate::death::Crash;
use crate::inbox::{Event, Inbox, Next, Timer};
use crate::page::{self, Page, command, outcome, stdio};
use crate::pump::{Ends, Line, Pump};
use crate::traced::{self, Traced};
use crate::{spawn, sys, tree};
use notes::Notes;
use own::Own;

/// How long a cell may go on after an interrupt.
const GRACE: Duration = Duration::from_secs(2);
/// How long a cell process that has stopped itself stays stopped.
const STOPPED: Duration = Duration::from_millis(400);

/// What the kernel has said about the cell that comes.
#[derive(Default)]
struct Settings {
    cell: u64,
    stdin: bool,
    trace: Option<TraceRequest>,
    tty: bool,
    /// An interrupt came while the cell was still being compiled.
    interrupted: bool,
}

/// A cell that runs.
struct Run {
    number: u64,
    /// Our copies of the cell's ends of its pipes, to be closed when it has ended.
    _theirs: Vec<OwnedFd>,
    interrupted: Option<Instant>,
}

struct Host {
    page: &'static Page,
    memory: OwnedFd,
    inbox: Arc<Inbox>,
    line: Line,
    pump: Pump,
    settings: Settings,
    runs: u64,
    run: Option<Run>,

    cell: c_int,
    /// Its process group, as far as it hasn't left that.
    group: c_int,
    checkpoint: Option<c_int>,
    /// What the checkpoint doesn't have.
    own: Own,
    /// Whether the cell process is our tracee.
    traced: bool,
    threads: HashSet<c_int>,
    recorded: Option<Traced>,
    /// The last signal of each thread that could kill.
    crashes: HashMap<c_int, Crash>,
    /// The program that has replaced the cell process.
    executed: Option<String>,
    /// The cell process is at its end, or beyond: its wait status.
    dying: Option<c_int>,
}

/// Never returns; ends with the kernel.
pub(crate) fn main() -> ! {
    // SAFETY: takes nothing: a terminal's Ctrl-C is for the kernel.
    unsafe { libc::setsid() };
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    let (page, memory) = Page::new().expect("memory for the shared page");
    let path = std::env::var_os(link::SOCKET).expect("the kernel says where it listens");
    let stream = UnixStream::connect(path).expect("the kernel listens");
    let inbox = Inbox::new();
    listen(&inbox, stream.try_clone().expect("a descriptor"), page);
    let line = Line::new(stream);
    let pump = Pump::start(line.clone()).expect("a thread");
    let mut host = Host {
        page,
        memory,
        inbox,
        line,
        pump,
        settings: Settings::default(),
        runs: 0,
        run: None,
        cell: 0,
        group: 0,
        checkpoint: None,
        own: Own::default(),
        traced: false,
        threads: HashSet::new(),
        recorded: None,
        crashes: HashMap::new(),
        executed: None,
        dying: None,
    };
    let limits = host.start();
    let pid = std::process::id() as i32;
    host.line.say(&FromHost::Hello { pid, limits }, b"");
    host.checkpoint();
    loop {
        host.next();
    }
}

/// Threads that put into the inbox what isn't a child's.
fn listen(inbox: &Arc<Inbox>, mut stream: UnixStream, page: &'static Page) {
    let kernel = Arc::clone(inbox);
    std::thread::spawn(move || {
        while let Ok((said, bytes)) = link::receive::<ToHost>(&mut stream) {
            kernel.push(Event::Kernel(said, bytes));
        }
        kernel.push(Event::Quit);
    });
    let evcxr = Arc::clone(inbox);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let words = line
                .strip_prefix("LOAD_AND_RUN ")
                .and_then(|rest| rest.rsplit_once(' '));
            if let Some((library, function)) = words {
                let (library, function) = (library.to_owned(), function.to_owned());
                evcxr.push(Event::Load { library, function });
            }
        }
        evcxr.push(Event::Quit);
    });
    let cell = Arc::clone(inbox);
    std::thread::spawn(move || {
        let mut heard = 0;
        loop {
            page::wait(&page.bell, heard, None);
            let now = page.bell.load(Ordering::SeqCst);
            if now != heard {
                heard = now;
                cell.push(Event::Bell);
            }
        }
    });
}

/// What `/proc` calls a pipe: the same at both ends.
fn pipe_name(end: &OwnedFd) -> String {
    let inode = sys::identity(end.as_raw_fd()).map_or(0, |(_, inode)| inode);
    format!("pipe:[{inode}]")
}

/// Ends everybody below, and this program.
fn quit() -> ! {
    tree::kill(std::process::id() as i32, &[]);
    std::process::exit(0);
}

fn tell_evcxr(line: &[u8]) {
    let mut out = std::io::stdout().lock();
    // evcxr that is gone ends our stdin, too.
    let _ = out.write_all(line).and_then(|()| out.flush());
}

impl Host {
    fn next(&mut self) {
        match self.inbox.next() {
            Next::Report(tid, status) => self.report(tid, status),
            Next::Event(Event::Load { library, function }) => self.load(&library, &function),
            Next::Event(Event::Kernel(said, bytes)) => self.kernel(said, bytes),
            Next::Event(Event::Bell) => self.bell(),
            Next::Event(Event::Timer(timer)) => self.timer(timer),
            Next::Event(Event::Quit) => quit(),
        }
        if self.dying.is_some() {
            self.bury();
        }
    }

    fn kernel(&mut self, said: ToHost, bytes: Vec<u8>) {
        match said {
            ToHost::Begin {
                cell,
                stdin,
                trace,
                tty,
            } => {
                self.settings = Settings {
                    cell,
                    stdin,
                    trace,
                    tty,
                    interrupted: false,
                };
                self.line.say(&FromHost::Synced, b"");
            }
            ToHost::Sync => self.line.say(&FromHost::Synced, b""),
            ToHost::Interrupt => self.interrupt(),
            ToHost::Input => self.pump.input(Some(bytes)),
            ToHost::InputEnd => self.pump.input(None),
            ToHost::KillOthers => {
                let ours: Vec<c_int> = [Some(self.cell), self.checkpoint]
                    .into_iter()
                    .flatten()
                    .collect();
                let count = tree::kill(std::process::id() as i32, &ours);
                self.line.say(&FromHost::Killed(count), b"");
            }
            ToHost::KillAll => {
                self.finish_off(self.cell);
                let count = 1 + tree::kill(std::process::id() as i32, &[]);
                self.line.say(&FromHost::Killed(count), b"");
                // evcxr or the kernel ends us next; until then there is nothing to bring back.
                while !matches!(self.inbox.next(), Next::Event(Event::Quit)) {}
                quit();
            }
            ToHost::Who => {
                let who = FromHost::Who {
                    host: std::process::id() as i32,
                    cell: self.cell,
                    checkpoint: self.checkpoint,
                };
                self.line.say(&who, b"");
            }
        }
    }

    // ── the cell process ──

    /// The first cell process; what this machine denies.
    fn start(&mut self) -> Vec<String> {
        let mut limits = Vec::new();
        self.introduce();
        match spawn::cell_process(&self.memory) {
            Ok(pid) => {
                self.group = pid;
                if let Err(why) = self.adopt(pid) {
                    limits.push(format!(
                        "ptrace(2) is not allowed here ({why}): no `:trace`, and open files are lost when a cell crashes"
                    ));
                }
            }
            Err(why) => limits.push(format!("no process for cells could be started: {why}")),
        }
        limits
    }

    /// This is the cell process from now on.
    fn adopt(&mut self, pid: c_int) -> std::io::Result<()> {
        self.cell = pid;
        self.threads = HashSet::from([pid]);
        self.crashes.clear();
        self.executed = None;
        self.dying = None;
        let seized = traced::seize(pid);
        self.traced = seized.is_ok();
        seized
    }

    /// Says who is who. Said again before each use: a cell may have written over it.
    fn introduce(&self) {
        let page = self.page;
        page.host.store(std::process::id() as i32, Ordering::SeqCst);
        page.cookie
            .store(tracer::region::cookie(), Ordering::SeqCst);
        page.group.store(self.group, Ordering::SeqCst);
    }

    fn ask(&self, what: u32) -> u32 {
        self.introduce();
        self.page.command.store(what, Ordering::SeqCst);
        let number = self.page.asked.fetch_add(1, Ordering::SeqCst) + 1;
        page::wake(&self.page.asked);
        number
    }

    /// Has a new checkpoint made, and lets the old one go: it must never be older than what evcxr knows.
    fn checkpoint(&mut self) {
        let old = self.checkpoint.take();
        self.page.message.set("");
        let number = self.ask(command::CHECKPOINT);
        let began = Instant::now();
        while self.page.done.load(Ordering::SeqCst) != number
            && self.dying.is_none()
            && began.elapsed() < Duration::from_secs(10)
        {
            if began.elapsed() > STOPPED {
                // A child or a thread has stopped it, and no timer is heard here.
                sys::kill(self.cell, libc::SIGCONT);
            }
            page::wait(&self.page.done, number - 1, Some(Duration::from_millis(1)));
            while let Some((tid, status)) = traced::pending() {
                self.report(tid, status);
            }
        }
        if let Some(old) = old {
            sys::kill(old, libc::SIGKILL);
        }
        let copy = self.page.checkpoint.load(Ordering::SeqCst);
        let made = self.page.done.load(Ordering::SeqCst) == number;
        // The number comes from a page that a cell can write to, and whoever has it will be killed some day.
        let ours = copy != self.cell && tree::parent(copy) == Some(std::process::id() as i32);
        if made && ours {
            self.checkpoint = Some(copy);
            self.own = Own::of(self.cell, self.page);
        }
    }

    // ── a cell ──

    fn load(&mut self, library: &str, function: &str) {
        if self.settings.interrupted {
            let death = Death {
                name: "Interrupted".into(),
                interrupted: true,
                restored: true,
                ..Death::default()
            };
            self.tell_end(End::Died(death));
            return tell_evcxr(b"\xff\n");
        }
        self.runs += 1;
        let number = self.runs;
        let theirs = match self.pipes() {
            Ok(theirs) => theirs,
            Err(why) => {
                self.tell_end(End::NotLoaded(format!("no pipes for the cell: {why}")));
                return tell_evcxr(b"\xff\n");
            }
        };
        self.run = Some(Run {
            number,
            _theirs: theirs,
            interrupted: None,
        });
        self.page.library.set(library);
        self.page.function.set(function);
        self.page.stdio.store(stdio::NONE, Ordering::SeqCst);
        self.page.take_notes();
        let trace = self.settings.trace.take().filter(|_| self.traced);
        self.page
            .traced
            .store(u32::from(trace.is_some()), Ordering::SeqCst);
        if let Some(request) = trace {
            self.recorded = Some(Traced::begin(self.cell, &self.threads, request));
        }
        self.ask(command::RUN);
    }

    /// Makes pipes, or a terminal, for the cell that comes; its ends, which it opens itself.
    fn pipes(&mut self) -> std::io::Result<Vec<OwnedFd>> {
        if self.settings.tty {
            return self.terminal();
        }
        let (stdin, input) = sys::pipe()?;
        let (output, stdout) = sys::pipe()?;
        let (errors, stderr) = sys::pipe()?;
        let named = pipe_name(&stdin);
        self.pump.attach(Ends {
            cell: self.settings.cell,
            stdin: self.settings.stdin.then_some((input, named)),
            stdout: output,
            stderr: Some(errors),
        });
        let theirs = vec![stdin, stdout, stderr];
        for (place, fd) in self.page.descriptors.iter().zip(&theirs) {
            place.store(fd.as_raw_fd(), Ordering::SeqCst);
        }
        self.pump.watch(self.cell);
        Ok(theirs)
    }

    fn terminal(&mut self) -> std::io::Result<Vec<OwnedFd>> {
        let (master, slave, path) = sys::terminal()?;
        let input = master.try_clone()?;
        self.pump.attach(Ends {
            cell: self.settings.cell,
            stdin: Some((input, path)),
            stdout: master,
            stderr: None,
        });
        if !self.settings.stdin {
            self.pump.input(None);
        }
        for place in &self.page.descriptors {
            place.store(slave.as_raw_fd(), Ordering::SeqCst);
        }
        self.pump.watch(self.cell);
        Ok(vec![slave])
    }

    /// The cell process has said something.
    fn bell(&mut self) {
        if self.page.stdio.load(Ordering::SeqCst) == stdio::OFFERED {
            self.accept();
        }
        let done = self.page.done.load(Ordering::SeqCst) == self.page.asked.load(Ordering::SeqCst);
        if self.run.is_some() && done && self.dying.is_none() {
            self.finished();
        }
    }

    /// Takes the other ends of the pipes that the cell process has made itself.
    fn accept(&mut self) {
        let taken = sys::pidfd(self.cell).and_then(|cell| {
            let take = |place: usize| {
                let fd = self.page.descriptors[place].load(Ordering::SeqCst);
                // SAFETY: pidfd_getfd(2) gave us this copy.
                sys::getfd(cell.as_raw_fd(), fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            };
            let stdin = take(0)?;
            let named = pipe_name(&stdin);
            Ok(Ends {
                cell: self.settings.cell,
                stdin: self.settings.stdin.then_some((stdin, named)),
                stdout: take(1)?,
                stderr: Some(take(2)?),
            })
        });
        let answer = match taken {
            Ok(ends) => {
                self.pump.attach(ends);
                self.pump.watch(self.cell);
                stdio::ACCEPTED
            }
            Err(_) => stdio::REFUSED,
        };
        self.page.stdio.store(answer, Ordering::SeqCst);
        self.page.answered.fetch_add(1, Ordering::SeqCst);
        page::wake(&self.page.answered);
    }

    fn finished(&mut self) {
        let cell = self.settings.cell;
        if self.page.outcome.load(Ordering::SeqCst) == outcome::UNFIT && self.checkpoint.is_some() {
            // It goes as if it had died; `bury` says why.
            self.dying = Some(0);
            return;
        }
        self.run = None;
        if self.page.stdio.load(Ordering::SeqCst) == stdio::KEPT {
            self.pump.rename(cell);
        }
        if let Some(recorded) = self.recorded.take() {
            let content = recorded.end(&self.threads);
            self.pump.drain(cell, false);
            self.line.say(&FromHost::Show { cell, content }, b"");
        }
        self.pump.drain(cell, true);
        if self.page.outcome.load(Ordering::SeqCst) == outcome::NOT_LOADED {
            self.tell_end(End::NotLoaded(self.page.message.get()));
            return tell_evcxr(b"\xff\n");
        }
        let notes = Notes::of(self.page.take_notes());
        let lines = notes.for_evcxr();
        self.tell_end(notes.end());
        tell_evcxr(&lines);
        // After the reply, so that nobody waits for it.
        self.checkpoint();
    }

    fn tell_end(&self, end: End) {
        let cell = self.settings.cell;
        self.line.say(&FromHost::Ended { cell, end }, b"");
    }

    // ── interrupts and stops ──

    fn interrupt(&mut self) {
        let cell = self.cell;
        let Some(run) = &mut self.run else {
            self.settings.interrupted = true;
            return;
        };
        if let Some(since) = run.interrupted {
            if since.elapsed() > Duration::from_millis(500) {
                sys::kill(cell, libc::SIGKILL);
            }
            return;
        }
        run.interrupted = Some(Instant::now());
        sys::kill(-self.group, libc::SIGINT);
        if sys::group(cell) != Some(self.group) {
            sys::kill(cell, libc::SIGINT);
        }
        self.inbox.later(GRACE, Timer::Kill(run.number));
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Kill(number) => {
                if self.run.as_ref().is_some_and(|run| run.number == number) {
                    sys::kill(self.cell, libc::SIGKILL);
                }
            }
            Timer::Continue(pid) => {
                if pid == self.cell {
                    sys::kill(pid, libc::SIGCONT);
                }
            }
        }
    }
}
