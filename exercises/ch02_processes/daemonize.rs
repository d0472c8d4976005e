//! # How does a program leave its terminal for good?
//!
//! A program started from a shell belongs to the shell's session: it shares the terminal, the
//! working directory and every open file. When the window closes, the kernel hangs up on all of
//! the session (SIGHUP). A daemon has left: it is adopted by init, or by the nearest subreaper, it
//! can never get a terminal again, and it holds nothing of the place it was started from.
//!
//! W. Richard Stevens wrote the recipe down; daemon(7) lists it as the SysV steps. What most
//! versions forget is its end: the command that started the daemon must say whether the service is
//! *up*, so it may end only when the daemon is ready.
//!
//! Build [`daemonize`] and [`Daemon::ready`], to be used like this:
//!
//! ```ignore
//! fn main() -> io::Result<()> {
//!     // SAFETY: no thread was started and no descriptor opened so far.
//!     let daemon = unsafe { daemonize(Path::new("/run/clock.pid")) }?; // here the daemon goes on,
//!     let socket = UdpSocket::bind("[::]:37")?; // and if this fails, the command fails with ESRCH
//!     daemon.ready()?; // the command ends with status 0: clients may come
//!     serve(&socket)
//! }
//! ```
//!
//! Man pages: daemon(7), fork(2), setsid(2), credentials(7), close_range(2), umask(2), chdir(2),
//! signal(7), flock(2), socketpair(2), waitpid(2).
//! Notebook: `02-processes.ipynb#daemons`.

use std::io;
use std::path::Path;

/// A daemon whose caller still waits to be told that it is ready.
#[derive(Debug)]
#[must_use = "the caller waits until it is told that the daemon is ready"]
pub struct Daemon {
    // TODO: the end of a pipe or socket at whose other end the caller waits.
}

impl Daemon {
    /// Lets the waiting caller exit with status 0. The pid file stays locked.
    ///
    /// # Errors
    /// - `EPIPE`: the caller is gone (killed by Ctrl-C, say). The daemon lives on: no SIGPIPE.
    pub fn ready(self) -> io::Result<()> {
        todo!("tell the caller that the daemon is ready")
    }
}

/// Turns the calling process into a daemon; returns in the daemon, or with an error in the caller.
/// See daemon(7).
///
/// The daemon
/// - is an orphan, adopted by init or the nearest subreaper;
/// - is in a session of its own without a controlling terminal (setsid(2)), and leads neither the
///   session nor its process group: a session leader gets the next terminal it opens as its
///   controlling terminal;
/// - has the working directory `/` and the umask 0;
/// - has descriptors 0, 1 and 2 on `/dev/null` (0 readable, 1 and 2 writable). Above them only the
///   pid file is open and, until [`Daemon::ready`], what that needs; all these are close-on-exec;
/// - blocks no signal and has the default disposition of each (Rust programs ignore SIGPIPE).
///
/// `pid_file`, if relative, is looked up from the caller's working directory. It is created with
/// mode 0644, whatever the caller's umask, and contains the daemon's pid in decimal and a newline.
/// The daemon keeps it open and locked, by flock(2) or fcntl(2), as long as it lives, and leaves it
/// behind when it ends. Only the lock counts: whatever a file contains that nobody has locked,
/// it is taken over. Of several starts at the same moment one gets it.
///
/// The caller waits until the daemon is ready, and exits with status 0. Text that it had printed,
/// buffered or not, comes out once. If it gets an error instead, its descriptors, session, umask,
/// working directory and signals are as before, and it has no child more.
///
/// # Errors
/// All in the caller, none in the daemon:
/// - `EAGAIN`: a running daemon has the pid file locked. The file is untouched.
/// - `ESRCH`: the daemon ended, or dropped its [`Daemon`], before it was ready.
/// - the errno of any step that failed, such as `ENOENT`, `EACCES` or `EISDIR` from open(2) on the
///   pid file.
///
/// # Safety
/// - The process has one thread. fork(2) copies only the thread that calls it, and a lock that
///   another one holds stays locked in the copy.
/// - The daemon neither uses nor drops a descriptor from before the call: it is closed, and its
///   number may have a new owner.
pub unsafe fn daemonize(pid_file: &Path) -> io::Result<Daemon> {
    // TODO: 1. Open a channel to hear from the daemon and fork(2). The caller keeps one end: it
    //          reaps its child, then waits for an answer, an errno, or end of file.
    // TODO: 2. In the copy: setsid(2), then fork(2) again and _exit(2): the grandchild stays.
    // TODO: 3. In the grandchild: signals, descriptors, umask and directory as promised above.
    // TODO: 4. The pid file: open, lock, empty, write, in this order; keep the lock.
    // TODO: 5. Whatever fails after the first fork is sent to the caller, which returns it.
    todo!(
        "fork(2): the caller waits for the answer of the copy, the copy goes on to become the daemon"
    )
}
