//! How is code run that may crash, hang, exit, close everything or leave processes behind?

use crate::arena::Arena;
use crate::inside::{self, Setup};
use crate::run::{Captured, Run};
use crate::started::Started;
use crate::terminal::Terminal;
use crate::watch::Watch;
use crate::{facts, launch, report, sweep};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracer::{Fault, Tracer};

/// A process to be forked, in which a closure runs: the only place where a test calls the exercise.
///
/// The child has: a process group of its own in a session without a terminal; stdin on /dev/null, stdout and
/// stderr captured; no other descriptor; every signal at its default and unblocked, but SIGPIPE ignored and
/// SIGSEGV and SIGBUS caught, as in every Rust program; umask 022; no core dump; at most 16 MiB a file.
///
/// Neither `kill(0, …)` nor `kill(getppid(), …)` reaches the test; `kill(-1, …)` does, as it reaches every process of
/// the user.
///
/// ```
/// use observe::{Child, End};
///
/// let run = Child::new().run(|| println!("hello"));
/// assert_eq!(run.stdout, b"hello\n");
/// let run = Child::new().run(|| -> i32 { std::process::exit(3) });
/// assert_eq!(run.end, End::Exited(3));
/// ```
#[derive(Debug)]
#[must_use = "a child runs only when asked to: `run` or `start`"]
pub struct Child {
    limit: Duration,
    stdin: Stdin,
    terminal: bool,
    to_the_last: bool,
    keep: Vec<i32>,
    tracer: Option<Tracer>,
    /// Notes the calls for the grader.
    pub(crate) tell_calls: bool,
}

#[derive(Debug)]
enum Stdin {
    Null,
    Bytes(Vec<u8>),
    Fd(OwnedFd),
}

impl Default for Child {
    fn default() -> Child {
        Child::new()
    }
}

impl Child {
    /// A child with a limit of 10 s and an empty standard input.
    pub fn new() -> Child {
        let tracer = on_request();
        report::begin();
        facts::begin();
        sweep::subreaper();
        undumpable();
        Child {
            limit: Duration::from_secs(10),
            stdin: Stdin::Null,
            terminal: false,
            to_the_last: false,
            keep: Vec::new(),
            tracer,
            tell_calls: true,
        }
    }

    /// When the child and all it started are killed: [`End::TimedOut`](crate::End::TimedOut).
    pub fn limit(mut self, limit: Duration) -> Child {
        self.limit = limit;
        self
    }

    /// What descriptor 0 reads, from a file in memory.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Child {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Descriptor 0 is /dev/null. This is the default.
    pub fn stdin_null(mut self) -> Child {
        self.stdin = Stdin::Null;
        self
    }

    /// Descriptor 0 is a duplicate of `fd`, a pipe's read end for example.
    pub fn stdin_fd(mut self, fd: impl Into<OwnedFd>) -> Child {
        self.stdin = Stdin::Fd(fd.into());
        self
    }

    /// The child leads a new session whose controlling terminal is a fresh pseudoterminal; descriptors 0 to 2
    /// are that terminal. What is written there is [`Run::terminal`].
    pub fn terminal(mut self) -> Child {
        self.terminal = true;
        self
    }

    /// Keeps a descriptor open in the child, under its number; may be called again for others.
    pub fn keep(mut self, fd: &impl AsRawFd) -> Child {
        self.keep.push(fd.as_raw_fd());
        self
    }

    /// Waits, within the limit, until the child's descendants have ended too. Orphans are reaped as by init.
    pub fn to_the_last(mut self) -> Child {
        self.to_the_last = true;
        self
    }

    /// Records the system calls of the closure and of what it starts: [`Run::calls`].
    ///
    /// A test that uses it begins with [`needs("ptrace")`](crate::needs()).
    pub fn traced(mut self) -> Child {
        self.tracer = self.tracer.or_else(|| Some(Tracer::new().region_only()));
        self
    }

    /// Records only calls of these names or families. Implies [`traced`](Child::traced).
    pub fn only(self, calls: &[&str]) -> Child {
        self.tracer(|tracer| tracer.only(calls.iter().copied()))
    }

    /// Keeps so many bytes of each buffer that a call is given or fills, instead of 32: [`Arg::Bytes`](crate::Arg).
    /// Implies [`traced`](Child::traced).
    pub fn bytes(self, count: usize) -> Child {
        self.tracer(|tracer| tracer.bytes(count))
    }

    /// Makes a call of the exercise go wrong; what [`Process::me`](crate::Process::me) and its like ask the kernel in the
    /// closure is not counted. Implies [`traced`](Child::traced); may be called again for another fault.
    pub fn fault(self, fault: Fault) -> Child {
        self.tracer(|tracer| tracer.fault(fault))
    }

    fn tracer(self, more: impl FnOnce(Tracer) -> Tracer) -> Child {
        let mut child = self.traced();
        child.tracer = child.tracer.map(more);
        child
    }

    /// Runs `f` in the child and waits for its end.
    ///
    /// `f` may borrow from the calling thread's stack, not from another thread's: the child has only one of them. A
    /// descriptor that `f` owns or uses must be [kept](Child::keep); what is moved into `f` is dropped here after the
    /// fork, so that a pipe's end of file comes when the child closes its end.
    ///
    /// # Panics
    /// When the machine cannot fork: that is no verdict on the exercise.
    pub fn run<T, F>(self, f: F) -> Run<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> T,
    {
        self.launch(f, true).wait()
    }

    /// Runs `f` in the child while the test goes on: for servers and daemons.
    ///
    /// # Panics
    /// When the machine cannot fork.
    pub fn start<T, F>(self, f: F) -> Started<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> T,
    {
        self.launch(f, false)
    }

    fn launch<T, F>(self, f: F, at_once: bool) -> Started<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> T,
    {
        self.try_launch(f, at_once)
            .unwrap_or_else(|error| panic!("the test cannot start a child: {error}"))
    }

    pub(crate) fn try_launch<T, F>(mut self, f: F, at_once: bool) -> io::Result<Started<T>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> T,
    {
        let arena = Arc::new(Arena::new()?);
        let (stdout, stderr) = (memory_file(c"stdout")?, memory_file(c"stderr")?);
        let (mut terminal, mut stdin) = (None, None);
        let stdio = if self.terminal {
            let pair = Terminal::open()?;
            let slave = pair.slave.as_raw_fd();
            terminal = Some(pair);
            [slave; 3]
        } else {
            let file = self.stdin.open()?;
            let fd = file.as_raw_fd();
            stdin = Some(file);
            [fd, stdout.as_raw_fd(), stderr.as_raw_fd()]
        };
        self.keep.sort_unstable();
        self.keep.dedup();
        let traced = self.tracer.is_some();
        let setup = Setup {
            stdio,
            terminal: self.terminal,
            keep: self.keep,
            traced,
        };
        let mut watch = Watch::new(Arc::clone(&arena), setup, self.limit);
        watch.at_once = at_once;
        watch.to_the_last = self.to_the_last;
        // Moved into `body`, so that after the fork the test's copy is dropped, with the descriptors it owns.
        let mut f = Some(f);
        let mut body = || {
            if let Some(f) = f.take() {
                if traced {
                    tracer::region::begin();
                }
                let value = f();
                if traced {
                    tracer::region::end();
                }
                inside::returned(&value);
            }
        };
        let watcher = launch::start(watch, &mut body)?;
        drop(f);
        drop(stdin);
        let terminal = terminal.map(Terminal::read_on);
        let mut started = Started::new(arena, watcher, self.limit, [stdout, stderr], terminal)?;
        if let Some(tracer) = self.tracer {
            started.trace(tracer, self.tell_calls)?;
        }
        started.go();
        Ok(started)
    }
}

/// With `SYSLAB_TRACE` in the environment every child is traced, for a person who wants to see what it did.
fn on_request() -> Option<Tracer> {
    // Asked once, before the first child: what is not dumpable cannot try it.
    static ASKED: OnceLock<bool> = OnceLock::new();
    let asked = ASKED
        .get_or_init(|| std::env::var_os("SYSLAB_TRACE").is_some() && tracer::available().is_ok());
    asked.then(|| Tracer::new().region_only())
}

/// Closes the test's own process to its children: as a user without privileges they can neither trace it nor open its
/// memory or its descriptors through /proc. Children are dumpable again.
fn undumpable() {
    // SAFETY: integers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

impl Stdin {
    fn open(&self) -> io::Result<File> {
        match self {
            Stdin::Null => high(&File::open("/dev/null")?),
            Stdin::Fd(fd) => high(fd),
            Stdin::Bytes(bytes) => {
                let mut file = memory_file(c"stdin")?;
                file.write_all(bytes)?;
                // Opened anew: read-only, at offset 0.
                high(&File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
            }
        }
    }
}

/// A file in memory, or a nameless one in TMPDIR where memfd_create(2) is missing.
fn memory_file(name: &std::ffi::CStr) -> io::Result<File> {
    // SAFETY: `name` is a C string, read during the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd >= 0 {
        // SAFETY: just made, owned by nobody else.
        return high(&unsafe { OwnedFd::from_raw_fd(fd) });
    }
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(std::env::temp_dir())?;
    high(&file)
}

/// A close-on-exec duplicate above the numbers that dup2(2) will overwrite.
fn high(fd: &impl AsRawFd) -> io::Result<File> {
    // SAFETY: integers only; `fd` is open.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 64) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// What a captured stream holds, from its beginning.
pub(crate) fn captured(stdout: &File, stderr: &File, terminal: Vec<u8>) -> Captured {
    Captured {
        stdout: whole(stdout),
        stderr: whole(stderr),
        terminal,
    }
}

fn whole(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    // pread(2): the offset is the child's, shared with any descendant. The size is read once, so that a writer
    // which cannot be stopped cannot keep the reader.
    let size = file
        .metadata()
        .map_or(0, |data| data.len())
        .min(inside::FILE_LIMIT);
    let mut bytes = vec![0; size as usize];
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], got as u64) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.truncate(got);
    bytes
}
