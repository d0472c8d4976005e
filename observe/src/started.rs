//! How does a test watch a child that is still running?

use crate::arena::{Arena, Record};
use crate::calls::Calls;
use crate::child::captured;
use crate::descriptors::Descriptors;
use crate::inside;
use crate::process::Process;
use crate::report::{Note, emit, fail, tidy_path};
use crate::run::{Run, seconds};
use crate::signals::Signal;
use crate::sweep;
use crate::terminal::Reader;
use crate::watch::Watcher;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt as _;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracer::Tracer;

/// A child in the background. Dropped without [`wait`](Started::wait), it and its descendants are killed.
pub struct Started<T> {
    watcher: Watcher,
    arena: Arc<Arena>,
    limit: Duration,
    output: [File; 2],
    terminal: Option<Reader>,
    trace: Option<Traced>,
    value: PhantomData<T>,
}

/// A child under trace.
struct Traced {
    session: tracer::Session,
    /// The descriptors that the closure finds.
    open: Descriptors,
    tell: bool,
}

impl Traced {
    /// The calls of a child that has ended, with all its descendants.
    fn finish(self) -> Calls {
        let trace = self
            .session
            .run()
            .unwrap_or_else(|error| panic!("the tracer failed: {error}"));
        let calls = Calls::new(&trace, &self.open);
        if self.tell && !calls.is_empty() {
            emit(&Note::Calls {
                text: calls.head(NOTED),
            });
        }
        calls
    }
}

/// Bytes of stderr of which the grader is told: a screen.
const LAST_WORDS: usize = 1500;
/// Bytes of stderr in which they are looked for.
const READ: u64 = 16 << 10;

impl<T> Drop for Started<T> {
    /// Tells the grader what stands last on stderr, for whoever looks into a program by printing.
    fn drop(&mut self) {
        let mut text = end_of(&self.output[1], READ);
        if text.is_empty() {
            return;
        }
        // Panics are told by themselves.
        for panic in self.arena.records().iter().filter_map(Record::panic) {
            text = text.replace(&inside::printed(&panic), "");
        }
        // As `dbg!` names a file that a specification takes in.
        let text = last_lines(&text, LAST_WORDS).replace("/tests/../", "/");
        if !text.trim().is_empty() {
            emit(&Note::Stderr { text });
        }
    }
}

/// The end of what a file holds, at most `bytes`.
fn end_of(file: &File, bytes: u64) -> String {
    let size = file.metadata().map_or(0, |data| data.len());
    let from = size.saturating_sub(bytes);
    let mut end = vec![0; (size - from) as usize];
    let got = file.read_at(&mut end, from).unwrap_or(0);
    String::from_utf8_lossy(&end[..got]).into_owned()
}

/// The last whole lines, as many as `bytes` hold; of a single longer line its end.
fn last_lines(text: &str, bytes: usize) -> &str {
    let from = text.len().saturating_sub(bytes);
    let end = &text[text.ceil_char_boundary(from)..];
    match end.split_once('\n') {
        Some((_cut, whole)) if from > 0 && !whole.trim().is_empty() => whole,
        _ => end,
    }
}

/// Calls of which the grader is told.
const NOTED: usize = 200;

impl<T: DeserializeOwned> Started<T> {
    pub(crate) fn new(
        arena: Arc<Arena>,
        watcher: Watcher,
        limit: Duration,
        output: [File; 2],
        terminal: Option<Reader>,
    ) -> io::Result<Started<T>> {
        if !watcher.ready() && watcher.pid() < 0 {
            return Err(io::Error::other("fork(2) failed in the child's keeper"));
        }
        crate::facts::register(watcher.keeper(), watcher.pid());
        Ok(Started {
            watcher,
            arena,
            limit,
            output,
            terminal,
            trace: None,
            value: PhantomData,
        })
    }

    /// Puts the child, which waits for [`go`](Started::go), under trace.
    pub(crate) fn trace(&mut self, tracer: Tracer, tell: bool) -> io::Result<()> {
        let open = Descriptors::of(self.pid())?;
        let session = tracer.seize(self.pid())?;
        self.trace = Some(Traced {
            session,
            open,
            tell,
        });
        Ok(())
    }

    /// Lets the child call the closure.
    pub(crate) fn go(&self) {
        self.watcher.go();
    }

    /// The child's pid. Of the process that called the closure: a daemon's has ended long since.
    pub fn pid(&self) -> i32 {
        self.watcher.pid()
    }

    /// Facts of the child from /proc.
    ///
    /// # Errors
    /// ESRCH: it has ended.
    pub fn process(&self) -> io::Result<Process> {
        Process::of(self.pid())
    }

    /// Facts of every living descendant of the child, orphans included, the child itself left out.
    pub fn others(&self) -> Vec<Process> {
        sweep::descendants(self.watcher.keeper())
            .into_iter()
            .filter(|pid| *pid != self.pid())
            .filter_map(|pid| Process::of(pid).ok())
            .filter(|process| !process.zombie())
            .collect()
    }

    /// Sends a signal, kill(2).
    ///
    /// # Errors
    /// ESRCH: the child has ended.
    pub fn signal(&self, signal: impl Into<Signal>) -> io::Result<()> {
        // SAFETY: kill takes two integers; the child's pid is not reused before its keeper reaped it, and the
        // keeper notes its end first.
        if unsafe { libc::kill(self.pid(), signal.into().0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits until the child's own process has ended, leaving its descendants alone: for a daemon, whose first
    /// process exits. False at the limit.
    pub fn ended(&self) -> bool {
        self.watcher.ended()
    }

    /// The signal that stopped the child, none while it runs. A traced child shows as stopped in /proc at each of its
    /// system calls; this tells the difference.
    pub fn stopped_by(&self) -> Option<Signal> {
        match self.arena.header().stopped_by.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(Signal(signal)),
        }
    }

    /// Waits until `condition` holds, at most `limit`; false when it never did.
    pub fn until(&self, limit: Duration, mut condition: impl FnMut(&Started<T>) -> bool) -> bool {
        let until = Instant::now() + limit;
        let mut nap = Duration::from_micros(200);
        while !condition(self) {
            if Instant::now() > until || self.failed() {
                return condition(self);
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(20));
        }
        true
    }

    /// Waits until every thread of the child has been asleep for 100 ms, as in a call that blocks, at most `limit`;
    /// false when that never was, or when the child ended first.
    pub fn falls_asleep(&self, limit: Duration) -> bool {
        const NAP: Duration = Duration::from_millis(5);
        let until = Instant::now() + limit;
        let mut naps = 0;
        while naps < 20 {
            let threads = match self.process() {
                Ok(process) if !process.zombie() => process.threads,
                _ => return false,
            };
            let asleep = threads.iter().all(|thread| thread.state == 'S');
            naps = if asleep { naps + 1 } else { 0 };
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(NAP);
        }
        true
    }

    /// Waits until `condition` holds and goes on; a child that fails first (at its `todo!()`, say), or for which
    /// it does not hold within 10 s, is the test's failure: "the exercise did not {what} …".
    ///
    /// ```no_run
    /// # let (child, port) = (observe::Child::new().start(|| ()), 0);
    /// let child = child.does("listen", |_| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    /// ```
    #[must_use = "a child that is dropped is killed"]
    #[track_caller]
    pub fn does(self, what: &str, condition: impl FnMut(&Started<T>) -> bool) -> Started<T> {
        const LIMIT: Duration = Duration::from_secs(10);
        if self.until(LIMIT, condition) {
            return self;
        }
        let caller = Location::caller();
        if self.failed() {
            self.wait().fail(caller, &format!("before it could {what}"));
        }
        let message = format!("the exercise did not {what} within {}", seconds(LIMIT));
        let note = Note::Failed {
            message: message.clone(),
            file: tidy_path(caller.file()),
            line: caller.line(),
        };
        fail(&note, &message)
    }

    /// Whether the child's process has ended otherwise than by returning or with status 0.
    fn failed(&self) -> bool {
        let header = self.arena.header();
        header.ended.load(Ordering::Acquire) != 0
            && (
                header.code.load(Ordering::Relaxed),
                header.status.load(Ordering::Relaxed),
            ) != (libc::CLD_EXITED, 0)
    }

    /// What was written to descriptor 1 so far.
    pub fn stdout(&self) -> Vec<u8> {
        captured(&self.output[0], &self.output[1], Vec::new()).stdout
    }

    /// What was written to the terminal so far.
    pub fn terminal(&self) -> Vec<u8> {
        self.terminal.as_ref().map_or_else(Vec::new, Reader::so_far)
    }

    /// Types on the child's terminal: `b"\x03"` is ^C.
    ///
    /// # Errors
    /// ENOTTY: the child has no terminal of ours.
    pub fn type_keys(&self, keys: &[u8]) -> io::Result<()> {
        let terminal = self
            .terminal
            .as_ref()
            .ok_or(io::Error::from_raw_os_error(libc::ENOTTY))?;
        terminal.write(keys)
    }

    /// Closes the terminal, as a window that is closed: SIGHUP to its session's leader.
    pub fn hang_up(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.close();
        }
    }

    /// Waits for the end of the child, looks at what it left, and kills that.
    pub fn wait(mut self) -> Run<T> {
        let outcome = self.watcher.outcome();
        let terminal = self.terminal.take().map_or_else(Vec::new, Reader::finish);
        let captured = captured(&self.output[0], &self.output[1], terminal);
        let calls = self
            .trace
            .take()
            .map_or_else(Calls::default, Traced::finish);
        Run::new(&self.arena, outcome, self.limit, captured, calls)
    }
}

impl<T> std::fmt::Debug for Started<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started")
            .field("pid", &self.watcher.pid())
            .finish_non_exhaustive()
    }
}
