//! What does a signal handler do to the code that it interrupts?

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libc::SIGTERM;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use observe::{Call, Calls, Failure, Process, Signal};

use super::client::{PATIENCE, listen};
use super::server::Server;

/// More bytes than a socket takes while nobody reads.
pub const BIG: usize = 4 << 20;

/// What the clients of these tests can ask for. Runs in the server.
pub fn handle(request: &str) -> String {
    match request.split_once(' ') {
        Some(("wait", gate)) => Gate::wait(gate),
        _ if request == "interrupt" => interrupt(),
        _ if request == "big" => "x".repeat(BIG),
        _ => request.to_uppercase(),
    }
}

/// Families of calls, of those a handler may have a use for, that signal-safety(7) lists.
pub const SAFE: [&str; 22] = [
    "accept",
    "clock_gettime",
    "close",
    "dup",
    "exit",
    "fcntl",
    "getpid",
    "gettid",
    "kill",
    "open",
    "poll",
    "read",
    "recvfrom",
    "recvmsg",
    "select",
    "sendmsg",
    "sendto",
    "shutdown",
    "sigaction",
    "signal",
    "sigprocmask",
    "write",
];

pub fn prints(call: &Call) -> bool {
    (call.is("write") || call.is("writev")) && [1, 2].contains(&call.args[0])
}

/// The calls of the SIGTERM handler that ran on top of the getppid(2) in [`interrupt`].
pub fn in_handler(calls: &Calls) -> Vec<&Call> {
    let Some(at) = calls.iter().position(|call| call.is("getppid")) else {
        return Vec::new();
    };
    let thread = calls[at + 1..]
        .iter()
        .filter(|call| call.tid == calls[at].tid);
    thread.take_while(|call| !call.is("sigreturn")).collect()
}

pub fn took_sigterm(process: &Process) -> bool {
    let sigterm = Signal(SIGTERM);
    // One that blocks it reads it from a descriptor when `handle` lets it.
    !process.signals.pending.contains(&sigterm) || process.signals.blocked.contains(&sigterm)
}

/// In the server: lets SIGTERM come, by a fault at getppid(2), and says what its handler did to this thread.
fn interrupt() -> String {
    if SigSet::thread_get_mask()
        .unwrap()
        .contains(nix::sys::signal::SIGTERM)
    {
        // It has no handler: whoever reads it from a descriptor gets it.
        // SAFETY: integers only.
        unsafe { libc::kill(libc::getpid(), SIGTERM) };
        return "nothing".to_owned();
    }
    Errno::ENOTTY.set();
    ALLOCATIONS.set(Some(0));
    // SAFETY: getppid takes nothing. It never fails, so it leaves errno alone.
    unsafe { libc::getppid() };
    let allocations = ALLOCATIONS.take().unwrap_or_default();
    match (allocations, Errno::last()) {
        (0, Errno::ENOTTY) => "nothing".to_owned(),
        (0, errno) => format!("errno was ENOTTY, and now it is {errno:?}"),
        _ => format!("allocated memory, {allocations} times"),
    }
}

thread_local! {
    /// Counts while it is some.
    static ALLOCATIONS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// malloc(3), which sees when a handler calls it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(count) = ALLOCATIONS.get() {
            ALLOCATIONS.set(Some(count + 1));
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised; `memory` is from `alloc` above.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Holds a request inside `handle`, blocked in read(2), until the test lets it go.
pub struct Gate {
    listener: UnixListener,
    pub name: String,
}

impl Gate {
    pub fn new() -> Gate {
        let (listener, name, _) = listen();
        Gate { listener, name }
    }

    /// In the server: one read(2), and what became of it.
    fn wait(name: &str) -> String {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let mut gate = UnixStream::connect_addr(&address).unwrap();
        // SAFETY: gettid takes nothing.
        gate.write_all(&unsafe { libc::gettid() }.to_ne_bytes())
            .unwrap();
        let mut byte = 0u8;
        // Not std's, whose read_exact would hide EINTR.
        // SAFETY: reads at most one byte into a local; the descriptor is open.
        match unsafe { libc::read(gate.as_raw_fd(), (&raw mut byte).cast(), 1) } {
            1 => "went on".to_owned(),
            _ => format!("failed with {}", Failure::from(io::Error::last_os_error())),
        }
    }

    /// In the test: the other end, once the request sleeps in its read(2).
    #[track_caller]
    pub fn enter(&self, server: &Server) -> UnixStream {
        self.listener.set_nonblocking(true).unwrap();
        let until = Instant::now() + PATIENCE;
        let mut inside = loop {
            match self.listener.accept() {
                Ok((inside, _)) => break inside,
                Err(_) if Instant::now() < until => sleep(Duration::from_millis(1)),
                Err(_) => {
                    server.fail("a client sent its whole line, but `handle` was not called with it")
                }
            }
        };
        inside.set_nonblocking(false).unwrap();
        let mut tid = [0; 4];
        inside.read_exact(&mut tid).unwrap();
        let tid = i32::from_ne_bytes(tid);
        let asleep = |process: &Process| {
            process
                .threads
                .iter()
                .any(|thread| thread.tid == tid && thread.state == 'S')
        };
        server.until(asleep, "asleep in `handle`");
        inside
    }
}
