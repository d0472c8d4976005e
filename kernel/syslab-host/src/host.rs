//! What happens when: a cell is asked for, runs, ends, dies, is interrupted.
//!
//! One thread, the tracer of the cell process, does all of this, and so nothing here is concurrent with itself. What it
//! waits for is in [`inbox`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libc::c_int;
use link::{Death, End, FromHost, Panic, ToHost, TraceRequest};

use crate::death::{self, Crash};
use crate::inbox::{Event, Inbox, Next, Timer};
use crate::page::{self, Page, command, outcome, stdio};
use crate::pump::{Ends, Line, Pump};
use crate::traced::{self, Traced};
use crate::{spawn, sys, tree};

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
    checkpoint: Option<c_int>,
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
    page.host.store(std::process::id() as i32, Ordering::SeqCst);
    page.cookie
        .store(tracer::region::cookie(), Ordering::SeqCst);
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
        checkpoint: None,
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
        match spawn::cell_process(&self.memory) {
            Ok(pid) => {
                self.page.group.store(pid, Ordering::SeqCst);
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

    fn ask(&self, what: u32) -> u32 {
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
        let until = Instant::now() + Duration::from_secs(10);
        while self.page.done.load(Ordering::SeqCst) != number
            && self.dying.is_none()
            && Instant::now() < until
        {
            page::wait(&self.page.done, number - 1, Some(Duration::from_millis(1)));
            while let Some((tid, status)) = traced::pending() {
                self.report(tid, status);
            }
        }
        if let Some(old) = old {
            sys::kill(old, libc::SIGKILL);
        }
        let copy = self.page.checkpoint.load(Ordering::SeqCst);
        if self.page.done.load(Ordering::SeqCst) == number && copy > 0 {
            self.checkpoint = Some(copy);
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
        let group = self.page.group.load(Ordering::SeqCst);
        sys::kill(-group, libc::SIGINT);
        // SAFETY: takes an integer.
        if unsafe { libc::getpgid(cell) } != group {
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

    // ── reports of waitpid(2) ──

    fn report(&mut self, tid: c_int, status: c_int) {
        if libc::WIFSTOPPED(status) {
            return self.stopped(tid, status);
        }
        self.threads.remove(&tid);
        if let Some(recorded) = &mut self.recorded {
            let _ = recorded.recording.report(tid, status);
        }
        if tid == self.cell && self.dying.is_none() {
            self.dying = Some(status);
        } else if Some(tid) == self.checkpoint {
            self.checkpoint = None;
        }
    }

    fn stopped(&mut self, tid: c_int, status: c_int) {
        let signal = libc::WSTOPSIG(status);
        let event = status >> 16;
        match event {
            0 if signal != libc::SIGTRAP | 0x80 => {
                if let Ok(crash) = Crash::of(tid) {
                    self.crashes.insert(tid, crash);
                }
            }
            libc::PTRACE_EVENT_EXIT => {
                if tid == self.cell && self.dying.is_none() && !self.other_thread_execs() {
                    // Held here until the checkpoint has its descriptors.
                    self.dying = Some(traced::event_message(tid) as c_int);
                } else {
                    traced::resume(tid, 0);
                }
                return;
            }
            libc::PTRACE_EVENT_EXEC if tid == self.cell => {
                let program = std::fs::read_link(format!("/proc/{tid}/exe"));
                self.executed = Some(program.map_or_else(
                    |_| "another program".into(),
                    |path| path.display().to_string(),
                ));
                self.threads = HashSet::from([tid]);
            }
            libc::PTRACE_EVENT_CLONE => {
                let child = traced::event_message(tid) as c_int;
                if self.is_thread(child) {
                    self.threads.insert(child);
                }
            }
            _ => {}
        }
        let group_stop = event == libc::PTRACE_EVENT_STOP
            && [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
        if group_stop && tid == self.cell {
            let said = FromHost::Continued {
                cell: self.settings.cell,
                signal: tracer::signal_name(signal).to_owned(),
            };
            self.line.say(&said, b"");
            self.inbox.later(STOPPED, Timer::Continue(tid));
        }
        if let Some(recorded) = &mut self.recorded {
            let _ = recorded.recording.report(tid, status);
            return;
        }
        match event {
            _ if group_stop => {
                // SAFETY: a tracee in a group stop, where it shall stay.
                unsafe { libc::ptrace(libc::PTRACE_LISTEN, tid, 0, 0) };
            }
            0 if signal != libc::SIGTRAP | 0x80 => traced::resume(tid, signal),
            libc::PTRACE_EVENT_STOP if !self.threads.contains(&tid) && !self.is_thread(tid) => {
                // clone(2) without an exit signal: a process, and none of our business.
                // SAFETY: a stopped tracee of this thread.
                unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, 0, 0) };
            }
            libc::PTRACE_EVENT_STOP => {
                self.threads.insert(tid);
                traced::resume(tid, 0);
            }
            _ => traced::resume(tid, 0),
        }
    }

    /// Whether the first thread ends only because another one is in `execve(2)`, and will be the process.
    fn other_thread_execs(&self) -> bool {
        self.threads
            .iter()
            .filter(|&&tid| tid != self.cell)
            .any(|tid| {
                let call =
                    std::fs::read_to_string(format!("/proc/{}/task/{tid}/syscall", self.cell))
                        .unwrap_or_default();
                let number = call
                    .split_whitespace()
                    .next()
                    .and_then(|word| word.parse::<libc::c_long>().ok());
                matches!(number, Some(libc::SYS_execve | libc::SYS_execveat))
            })
    }

    fn is_thread(&self, tid: c_int) -> bool {
        std::path::Path::new(&format!("/proc/{}/task/{tid}", self.cell)).exists()
    }

    // ── death ──

    /// The cell process is at its end: its checkpoint takes its place, and everybody is told.
    fn bury(&mut self) {
        let status = self.dying.unwrap_or_default();
        let victim = self.cell;
        let run = self.run.take();
        let unfit = run.is_some() && self.page.outcome.load(Ordering::SeqCst) == outcome::UNFIT;
        self.page.outcome.store(outcome::RAN, Ordering::SeqCst);
        let mut death = if unfit {
            Death {
                name: "Undone".into(),
                what: format!(
                    "the cell ran, but after it {}: the process was put back to before the cell; do this in a child process",
                    self.page.message.get()
                ),
                ..Death::default()
            }
        } else {
            self.explain(status, victim)
        };
        death.interrupted = run.as_ref().is_some_and(|run| run.interrupted.is_some());
        let threads = self.page.threads.load(Ordering::SeqCst);
        if let Some(panic) = Notes::of(self.page.take_notes()).panics.pop() {
            death.what += &format!(", after a panic: {}", panic.message);
        }
        let copy = self.checkpoint.take();
        let promoted = copy.is_some_and(|copy| self.promote(copy, victim));
        self.finish_off(victim);
        let cell = self.settings.cell;
        let was_running = run.is_some();
        drop(run);
        if let Some(recorded) = self.recorded.take() {
            self.pump.drain(cell, false);
            self.line.say(
                &FromHost::Show {
                    cell,
                    content: recorded.show(),
                },
                b"",
            );
        }
        self.pump.drain(cell, was_running);
        if promoted {
            self.inherit(copy.unwrap_or_default(), threads, &mut death);
        } else {
            self.start_anew(&mut death);
        }
        if was_running {
            self.tell_end(End::Died(death));
            tell_evcxr(b"\xff\n");
        } else {
            self.line.say(&FromHost::DiedIdle(death), b"");
        }
        self.checkpoint();
    }

    fn explain(&self, status: c_int, victim: c_int) -> Death {
        let mut place = None;
        let mut what = if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            let name = tracer::signal_name(signal);
            let crash = self
                .crashes
                .iter()
                .find(|(_, crash)| crash.signal() == signal);
            match crash {
                Some((&tid, crash)) => {
                    place = crash.place(victim);
                    format!("killed by {name}: {}", crash.words(tid, victim))
                }
                None => format!("killed by {name}"),
            }
        } else {
            format!("ended with exit status {}", libc::WEXITSTATUS(status))
        };
        let mut name = death::name(status);
        if let Some(program) = &self.executed {
            what = format!(
                "execve(2) replaced the process by {program}, which {what}",
                what = what.replace("killed", "was killed")
            );
            name = "Replaced".into();
        } else {
            what = format!(
                "the process {what}",
                what = what.replace("killed", "was killed")
            );
        }
        Death {
            name,
            what,
            place,
            ..Death::default()
        }
    }

    /// The checkpoint takes over; false if it didn't.
    fn promote(&self, copy: c_int, victim: c_int) -> bool {
        let page = self.page;
        // What it was asked to do before, it has not to do any more.
        page.done
            .store(page.asked.load(Ordering::SeqCst), Ordering::SeqCst);
        page.victim.store(victim, Ordering::SeqCst);
        page.took_over.store(0, Ordering::SeqCst);
        page.promoted.store(copy, Ordering::SeqCst);
        page.promotions.fetch_add(1, Ordering::SeqCst);
        page::wake(&page.promotions);
        let until = Instant::now() + Duration::from_secs(10);
        while page.took_over.load(Ordering::SeqCst) == 0 {
            if Instant::now() > until || !tree::lives(copy) {
                sys::kill(copy, libc::SIGKILL);
                return false;
            }
            page::wait(&page.took_over, 0, Some(Duration::from_millis(2)));
        }
        true
    }

    /// Lets the process go that was held, and waits for its end.
    fn finish_off(&mut self, victim: c_int) {
        sys::kill(victim, libc::SIGKILL);
        traced::resume(victim, 0);
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && tree::lives(victim) {
            match traced::pending() {
                Some((tid, status)) if libc::WIFSTOPPED(status) => {
                    if let Some(recorded) = &mut self.recorded
                        && !self.threads.contains(&tid)
                    {
                        let _ = recorded.recording.report(tid, status);
                    } else {
                        traced::resume(tid, 0);
                    }
                }
                Some((tid, status)) => {
                    if let Some(recorded) = &mut self.recorded {
                        let _ = recorded.recording.report(tid, status);
                    }
                    if tid == victim {
                        return;
                    }
                }
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    fn inherit(&mut self, copy: c_int, threads: u32, death: &mut Death) {
        death.restored = true;
        let lost = self.page.lost.load(Ordering::SeqCst);
        if threads > 1 {
            death.losses.push(format!(
                "threads lost: {} (those that earlier cells had started)",
                threads - 1
            ));
        }
        if lost > 0 {
            let why = if self.executed.is_some() {
                " (closed by execve(2), or changed)"
            } else {
                ""
            };
            death.losses.push(format!("descriptors lost: {lost}{why}"));
        }
        // Without a tracer the next death is only seen when it is over.
        let _ = self.adopt(copy);
    }

    fn start_anew(&mut self, death: &mut Death) {
        let why = self.page.message.get();
        death.losses.push(if why.is_empty() {
            "variables lost: all (there was no copy of the process)".into()
        } else {
            format!("variables lost: all (no copy of the process could be kept: {why})")
        });
        self.page
            .done
            .store(self.page.asked.load(Ordering::SeqCst), Ordering::SeqCst);
        self.start();
    }
}

/// What a cell left in the page.
#[derive(Default)]
struct Notes {
    panicked: bool,
    /// All that the main thread has seen; the last may have ended the cell.
    panics: Vec<Panic>,
    question_mark: Option<String>,
    lost: Vec<String>,
    value: BTreeMap<String, String>,
    remarks: Vec<String>,
}

impl Notes {
    /// See `kernel/cell/src/note.rs`.
    fn of(notes: Vec<(u32, Vec<u8>)>) -> Notes {
        let mut all = Notes::default();
        for (kind, bytes) in notes {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match kind {
                1 => all.panicked = true,
                2 => all.lost.push(text),
                3 => all.question_mark = Some(text),
                4 => {
                    let mut parts = text.splitn(3, '\n');
                    let mut part = || parts.next().unwrap_or_default().to_owned();
                    let (file, line, message) = (part(), part(), part());
                    all.panics.push(Panic {
                        message,
                        file,
                        line: line.parse().unwrap_or_default(),
                    });
                }
                5 => {
                    if let Some((mime, content)) = text.split_once('\n') {
                        all.value.insert(mime.to_owned(), content.to_owned());
                    }
                }
                6 => all.remarks.push(text),
                _ => {}
            }
        }
        all
    }

    /// In evcxr's own words (`evcxr_internal_runtime.rs`).
    fn for_evcxr(&self) -> Vec<u8> {
        let mut lines = String::new();
        if self.panicked {
            lines += "EVCXR_PANIC_NOTIFICATION\n";
        }
        if self.question_mark.is_some() {
            lines += "EVCXR_ERROR_OCCURRED\n";
        }
        for name in self.lost.iter().filter(|name| !name.contains('\n')) {
            lines += &format!("EVCXR_VARIABLE_CHANGED_TYPE:{name}\n");
        }
        lines += "EVCXR_EXECUTION_COMPLETE\n";
        lines.into_bytes()
    }

    fn end(mut self) -> End {
        let panic = self.panicked.then(|| self.panics.pop().unwrap_or_default());
        let lost = self.lost.into_iter().map(|name| {
            format!("the variable `{name}` is lost: its type is another one now, or has no name")
        });
        let caught = self
            .panics
            .into_iter()
            .map(|panic| format!("thread 'main' panicked, and went on: {}", panic.message));
        End::Finished {
            value: self.value,
            panic,
            question_mark: self.question_mark,
            remarks: caught.chain(lost).chain(self.remarks).collect(),
        }
    }
}
