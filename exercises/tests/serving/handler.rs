//! What can a client ask for, and what does the server's handler do to it meanwhile?

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libc::SIGTERM;
use nix::sys::signal::SigSet;
use observe::{Failure, Process, Signal};

use super::client::{PATIENCE, listen};
use super::server::Server;
use crate::handlers::disturbance;

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
    // SAFETY: getppid takes nothing.
    disturbance(|| unsafe {
        libc::getppid();
    })
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
