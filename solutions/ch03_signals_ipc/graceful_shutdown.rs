//! # How does a server stop without losing a request?
//!
//! By letting the handler do nothing but wake the loop, and the loop all the rest. The traps: a signal
//! that comes between the look at a flag and the sleep in accept(2) wakes nobody, a byte in a descriptor
//! that poll(2) waits for does; close(2) on a listener throws away the connections in its queue, and so
//! does every moment between the last accept(2) and the close(2), unless shutdown(2) shut the door first.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{Shutdown, shutdown};

/// What became of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Those that were sent their answer, to the last byte.
    pub answered: u64,
    /// Those closed without it because the grace was over.
    pub cut: u64,
}

/// Answers the clients of `listener` until SIGTERM, and then ends without losing one of them.
///
/// A client sends one line and is answered by one line: what `handle` makes of the line (without its
/// `\n`), and a `\n`. Then the connection is closed.
///
/// - One who stops sending, or stops reading, holds up nobody else. One who goes away before the
///   answer is forgotten, and counted nowhere.
/// - The first SIGTERM may come at any moment from when the handler is installed, which is before the first
///   client is accepted; also when nobody is connected. From then on connect(2) is refused with
///   `ECONNREFUSED`; whoever was connected before, accepted or still in the queue, gets an answer. `serve`
///   returns as soon as the last one has it, and `grace` after the signal at the latest: then it closes
///   the connections that are left.
/// - The second SIGTERM ends the process at once, even while `handle` runs, and by the signal itself:
///   wait(2) says "killed by SIGTERM".
/// - The handler makes only calls of signal-safety(7): it takes no lock, allocates no memory, prints
///   nothing. errno is afterwards what it was, and a call that `handle` is blocked in goes on, without
///   `EINTR`.
///
/// # Errors
/// - `EMFILE`: no descriptor is left to wake the loop with, or for a connection.
/// - `ENOMEM`: no memory for them in the kernel.
pub fn serve<H>(listener: UnixListener, grace: Duration, handle: H) -> io::Result<Served>
where
    H: Fn(&str) -> String + Send + Sync + 'static,
{
    let wake = catch_sigterm()?;
    listener.set_nonblocking(true)?;
    let mut listener = Some(listener);
    let mut open = Vec::new();
    let mut answered = 0;
    let mut deadline = None;
    loop {
        if let Some(end) = deadline
            && (open.is_empty() || end <= Instant::now())
        {
            let cut = open.len() as u64;
            return Ok(Served { answered, cut });
        }
        let door = listener.as_ref().map(|listener| (wake, listener));
        let ready = wait(door, &open, deadline)?;

        let mut turns = ready.connections.into_iter();
        open.retain_mut(|connection: &mut Connection| {
            if turns.next() != Some(true) {
                return true;
            }
            match connection.proceed(&handle) {
                Ok(()) => {
                    answered += 1;
                    false
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        });

        if let Some(queue) = &listener {
            if ready.signal {
                deadline = Some(Instant::now() + grace);
                // Lets nobody in any more, but keeps the queue: what accept_all doesn't find now
                // was refused, so the close below loses nothing.
                shutdown(queue.as_raw_fd(), Shutdown::Read)?;
            }
            accept_all(queue, &mut open)?;
        }
        if ready.signal {
            listener = None;
        }
    }
}

/// What the handler writes to. Never closed: a handler may run until the process ends.
static WAKE: OnceLock<EventFd> = OnceLock::new();

/// Makes the first SIGTERM readable at the returned descriptor, and leaves the second its default.
fn catch_sigterm() -> io::Result<&'static EventFd> {
    let wake = if let Some(wake) = WAKE.get() {
        wake
    } else {
        let new = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        WAKE.get_or_init(|| new)
    };
    let action = SigAction::new(
        SigHandler::Handler(on_sigterm),
        SaFlags::SA_RESTART | SaFlags::SA_RESETHAND,
        SigSet::empty(),
    );
    // SAFETY: on_sigterm makes one write(2), which signal-safety(7) lists, to a descriptor that WAKE
    // keeps open to the end of the process; it neither locks nor allocates nor unwinds.
    unsafe { sigaction(Signal::SIGTERM, &action) }?;
    Ok(wake)
}

extern "C" fn on_sigterm(_signal: libc::c_int) {
    // The interrupted code may be about to read the errno of its own last call.
    let errno = Errno::last_raw();
    if let Some(wake) = WAKE.get() {
        // It can fail only when the counter is full: then the loop is awake already.
        let _ = wake.write(1);
    }
    Errno::set_raw(errno);
}

struct Ready {
    signal: bool,
    /// In the order of the connections asked for.
    connections: Vec<bool>,
}

/// poll(2) until one of them is ready or the deadline has passed.
///
/// `EINTR`, which SA_RESTART never spares poll(2): asked again, for what is left of the time. If it
/// was SIGTERM, the descriptor is readable by now.
fn wait(
    door: Option<(&EventFd, &UnixListener)>,
    open: &[Connection],
    deadline: Option<Instant>,
) -> io::Result<Ready> {
    let mut fds: Vec<PollFd<'_>> = open
        .iter()
        .map(|connection| PollFd::new(connection.stream.as_fd(), connection.awaits()))
        .collect();
    if let Some((wake, listener)) = door {
        fds.push(PollFd::new(wake.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
    }
    loop {
        match poll(&mut fds, timeout(deadline)) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut ready = fds.iter().map(|fd| fd.any() != Some(false));
    Ok(Ready {
        connections: ready.by_ref().take(open.len()).collect(),
        signal: ready.next() == Some(true),
    })
}

/// The milliseconds to `deadline`, rounded up: rounded down, the last one would be a busy loop.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

/// Takes everybody out of the queue.
///
/// The queue is empty at `EAGAIN`. std's accept makes a call that ended with `EINTR` again.
fn accept_all(listener: &UnixListener, open: &mut Vec<Connection>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                open.push(Connection::new(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// One client, and how far its request is.
struct Connection {
    stream: UnixStream,
    request: Vec<u8>,
    /// From when the request was complete.
    answer: Option<Vec<u8>>,
    /// Bytes of the answer the kernel has taken.
    sent: usize,
}

impl Connection {
    fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            request: Vec::new(),
            answer: None,
            sent: 0,
        }
    }

    fn awaits(&self) -> PollFlags {
        match self.answer {
            None => PollFlags::POLLIN,
            Some(_) => PollFlags::POLLOUT,
        }
    }

    /// Goes as far as it goes without waiting: `Ok` when the whole answer is sent, `EAGAIN` while
    /// the client has to send or read more, any other error when it is lost.
    fn proceed(&mut self, handle: &impl Fn(&str) -> String) -> io::Result<()> {
        if self.answer.is_none() {
            let line = self.read_line()?;
            self.answer = Some((handle(&line) + "\n").into_bytes());
        }
        let answer = self.answer.as_deref().unwrap_or_default();
        while self.sent < answer.len() {
            self.sent += self.stream.write(&answer[self.sent..])?;
        }
        Ok(())
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.request.iter().position(|&byte| byte == b'\n') {
                self.request.truncate(end);
                return String::from_utf8(std::mem::take(&mut self.request))
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.request.extend_from_slice(&part[..count]),
            }
        }
    }
}
