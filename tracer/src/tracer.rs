//! What shall be recorded, and of whom.
//!
//! The thread that seizes is the only one that may wait for the tracee. It is made for that: it has no children of
//! its own, so that `waitpid(-1)` can't take an exit status that somebody else waits for.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use crate::available::reap;
use crate::decode::Depth;
use crate::fault::Armed;
use crate::gate::{self, Gate};
use crate::{Fault, Trace, ptrace, region, session};

/// What shall be recorded of a process tree.
#[derive(Debug)]
pub struct Tracer {
    follow: bool,
    only: Vec<String>,
    faults: Vec<Fault>,
    region_only: bool,
    decode: Option<Depth>,
    limit: usize,
}

impl Default for Tracer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracer {
    /// Every call of every process and thread, decoded.
    pub fn new() -> Tracer {
        // Before any tracee is forked.
        region::agree();
        Tracer {
            follow: true,
            only: Vec::new(),
            faults: Vec::new(),
            region_only: false,
            decode: Some(Depth {
                bytes: 32,
                targets: false,
            }),
            limit: 1_000_000,
        }
    }

    /// Whether processes and threads that the first one makes come under trace too. Default: they do.
    #[must_use]
    pub fn follow(mut self, yes: bool) -> Self {
        self.follow = yes;
        self
    }

    /// Records only calls of these names or [families](crate::family()). Faults count others all the same.
    #[must_use]
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(mut self, calls: I) -> Self {
        self.only.extend(calls.into_iter().map(Into::into));
        self
    }

    /// Makes a call go wrong. Of several that would strike the same call, the one given first does.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Records, and counts for faults, only what happens between [`region::begin`] and [`region::end`] in a
    /// tracee. Processes and threads made inside are inside from their birth; what [`region::outside`] runs is not. Ends of processes are always recorded.
    #[must_use]
    pub fn region_only(mut self) -> Self {
        self.region_only = true;
        self
    }

    /// Whether arguments are decoded, which reads the tracee's memory. Default: they are.
    #[must_use]
    pub fn decode(mut self, yes: bool) -> Self {
        self.decode = yes.then(|| self.depth());
        self
    }

    /// How many bytes of a buffer are kept. Default: 32.
    #[must_use]
    pub fn bytes(mut self, count: usize) -> Self {
        self.decode = Some(Depth {
            bytes: count,
            ..self.depth()
        });
        self
    }

    /// Whether descriptors are looked up in `/proc/PID/fd`, which costs a `readlink(2)` each. Default: they aren't.
    #[must_use]
    pub fn fd_targets(mut self, yes: bool) -> Self {
        self.decode = Some(Depth {
            targets: yes,
            ..self.depth()
        });
        self
    }

    /// How many events are kept; later ones are only counted ([`Trace::dropped`]). Default: a million.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events;
        self
    }

    fn depth(&self) -> Depth {
        self.decode.unwrap_or(Depth {
            bytes: 32,
            targets: false,
        })
    }

    /// Runs a program and traces it to the end of its whole tree, from its `execve(2)` on.
    ///
    /// # Errors
    /// Those of [`Command::spawn`] and of [`seize`](Tracer::seize).
    pub fn command(self, command: &mut Command) -> io::Result<Trace> {
        let (gate, ours) = Gate::new()?;
        let theirs = Arc::new(AtomicI32::new(gate.child.as_raw_fd()));
        let door = Arc::clone(&theirs);
        // SAFETY: between fork and execve the closure makes only system calls on one descriptor, which is open
        // until `spawn` returns; a later spawn of the same command finds -1 and does nothing.
        unsafe { command.pre_exec(move || gate::pass(door.load(Ordering::Relaxed))) };
        let tracing = on_own_thread(move || self.through_gate(ours))?;
        let spawned = command.spawn();
        theirs.store(-1, Ordering::Relaxed);
        gate.close();
        let traced = join(tracing);
        spawned?;
        traced
    }

    /// Runs a closure in a forked child and traces it to the end of the child's whole tree. Only what happens
    /// inside the closure is recorded.
    ///
    /// The child is a fork of this process with this thread alone: a lock that another thread holds is never
    /// released there. A panic of the closure ends the child with status 101.
    ///
    /// # Errors
    /// Those of `fork(2)` and of [`seize`](Tracer::seize).
    pub fn closure(self, f: impl FnOnce()) -> io::Result<Trace> {
        let (gate, ours) = Gate::new()?;
        // What is still in the buffer would be written twice.
        io::stdout().flush()?;
        // SAFETY: the child runs the closure, as documented, and leaves by _exit(2).
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                let passed = gate::pass(gate.child.as_raw_fd());
                drop(gate);
                let status = if passed.is_ok() {
                    inside_region(f)
                } else {
                    127
                };
                // SAFETY: ends this process without running what the parent has registered.
                unsafe { libc::_exit(status) }
            }
            pid => {
                drop(gate);
                let tracing = self.region_only();
                let traced = on_own_thread(move || tracing.through_gate(ours)).and_then(join);
                if traced.is_err() {
                    // Not seized, or killed with the tracing thread: nobody else reaps it.
                    reap(pid);
                }
                traced
            }
        }
    }

    /// Attaches to a process, all its threads included, and returns once every call from now on is seen. To miss
    /// nothing, let it wait: blocked in `read(2)` on a pipe, say.
    ///
    /// While it is traced, nobody else in this process may wait for it or for a descendant of it (`waitpid(2)` in
    /// any thread, [`Child::wait`](std::process::Child::wait)): that would take stops away from the tracer, and the
    /// tracee would never go on. How it ended is in [`Trace::status`].
    ///
    /// # Errors
    /// EPERM: Yama's `ptrace_scope`, a missing capability, a seccomp filter, or it is traced already. ESRCH: no such
    /// process. EIO: a kernel older than 5.3.
    pub fn seize(self, pid: i32) -> io::Result<Session> {
        let (say, hear) = mpsc::channel();
        let thread = on_own_thread(move || {
            let (tracing, answer) = match self.attach(pid) {
                Ok(tracing) => (Some(tracing), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // The other end waits for this.
            let _ = say.send(answer);
            tracing.map_or_else(|| Ok(Trace::default()), |mut tracing| tracing.run())
        })?;
        match hear.recv() {
            Ok(Ok(())) => Ok(Session { pid, thread }),
            Ok(Err(error)) => Err(error),
            // It panicked.
            Err(_) => join(thread).map(|_| unreachable!("the tracer ended without a word")),
        }
    }

    /// On the tracing thread: takes the process that waits at the gate and lets it go.
    fn through_gate(self, mut gate: UnixStream) -> io::Result<Trace> {
        let mut pid = [0; 4];
        if gate.read_exact(&mut pid).is_err() {
            // It ended before it came here: `spawn` says why.
            return Ok(Trace::default());
        }
        let starting = !self.region_only;
        match self.attach(i32::from_ne_bytes(pid)) {
            Ok(mut tracing) => {
                if starting {
                    tracing.starting();
                }
                gate.write_all(&0i32.to_ne_bytes())?;
                drop(gate);
                tracing.run()
            }
            Err(error) => {
                gate.write_all(&error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes())?;
                Err(error)
            }
        }
    }

    fn attach(self, pid: i32) -> io::Result<session::Tracing> {
        session::Tracing::attach(self.options(pid))
    }

    pub(crate) fn options(self, pid: i32) -> session::Options {
        session::Options {
            pid,
            ptrace: if self.follow {
                ptrace::WITH_CHILDREN
            } else {
                ptrace::ALONE
            },
            only: self.only,
            faults: self.faults.into_iter().map(Armed::new).collect(),
            region_only: self.region_only,
            depth: self.decode,
            limit: self.limit,
        }
    }
}

/// A process under trace, by a thread of its own. Dropping it lets that thread trace on to the end.
#[derive(Debug)]
pub struct Session {
    pid: i32,
    thread: JoinHandle<io::Result<Trace>>,
}

impl Session {
    /// The process that was seized.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the whole tree is gone.
    ///
    /// # Errors
    /// Those of `waitpid(2)` and `ptrace(2)` that don't mean that a tracee has ended.
    pub fn run(self) -> io::Result<Trace> {
        join(self.thread)
    }
}

/// Runs a closure in a forked child and traces it: [`Tracer::closure`] with nothing left out.
pub fn trace(f: impl FnOnce()) -> io::Result<Trace> {
    Tracer::new().closure(f)
}

/// In the child: the closure between its marks; the exit status.
fn inside_region(f: impl FnOnce()) -> i32 {
    region::begin();
    let done = catch_unwind(AssertUnwindSafe(f));
    region::end();
    let flushed = io::stdout().flush();
    if done.is_err() {
        101
    } else {
        i32::from(flushed.is_err())
    }
}

fn on_own_thread(
    f: impl FnOnce() -> io::Result<Trace> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<Trace>>> {
    thread::Builder::new().name("tracer".into()).spawn(f)
}

fn join(thread: JoinHandle<io::Result<Trace>>) -> io::Result<Trace> {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
