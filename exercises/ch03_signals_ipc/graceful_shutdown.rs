//! # How does a server stop without losing a request?
//!
//! `kill PID` sends SIGTERM: please end. A server that just dies drops the requests it works on, and
//! those of clients it has never seen: connect(2) succeeds as soon as the connection is in the
//! listener's queue, long before accept(2), and close(2) on the listener throws the queue away.
//! A handler runs between any two instructions of the program, so it can do next to nothing: not even
//! print. It can set a flag, but one set after the loop looked at it and before accept(2) sleeps wakes
//! nobody. It can write(2) to a descriptor that the loop awaits in poll(2) beside the listener.
//! And for Unix sockets Linux has a way to shut the door without emptying the queue: after shutdown(2)
//! with `SHUT_RD` on the listener, connect(2) is refused, and accept(2) still returns those who wait.
//!
//! Build `serve`, a server that ends as politely as it is asked. `main` would be
//! `serve(listener, grace, handle)?`, so the process exits with status 0 when `serve` returns.
//!
//! Man pages: signal-safety(7), sigaction(2) (SA_RESTART, SA_RESETHAND), poll(2), eventfd(2) or pipe(2),
//! shutdown(2), unix(7), signal(7), accept(2).
//! Notebook: `03-signals-ipc.ipynb#asking-a-server-to-stop`.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::Duration;

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
    // TODO: 1. Answer: accept, read a line, write handle(&line) and "\n", close. For many at once
    //          either poll(2) and non-blocking sockets, or a thread a connection.
    //       2. A handler for SIGTERM that writes to an eventfd or a pipe, which the loop awaits too.
    //       3. At the signal: shutdown(2), accept the queue to its end, close the listener.
    //       4. Answer those who are left, until `grace` is over.
    //       5. Let the second SIGTERM do what SIGTERM does by default.
    todo!("accept one client and answer its line")
}
