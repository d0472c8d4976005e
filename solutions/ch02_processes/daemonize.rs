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

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;

/// A daemon whose caller still waits to be told that it is ready.
#[derive(Debug)]
#[must_use = "the caller waits until it is told that the daemon is ready"]
pub struct Daemon {
    caller: UnixStream,
}

impl Daemon {
    /// Lets the waiting caller exit with status 0. The pid file stays locked.
    ///
    /// # Errors
    /// - `EPIPE`: the caller is gone (killed by Ctrl-C, say). The daemon lives on: no SIGPIPE.
    pub fn ready(self) -> io::Result<()> {
        tell(&self.caller, 0)
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
    // Text still in the buffer would be copied by each fork and written by each copy.
    let _ = io::stdout().flush();
    let (caller, daemon) = UnixStream::pair()?;
    // SAFETY: the process has one thread (our own contract), so the copy is complete.
    match cvt(unsafe { libc::fork() })? {
        0 => {
            drop(caller);
            match become_daemon(pid_file, &daemon) {
                Ok(()) => Ok(Daemon { caller: daemon }),
                Err(error) => {
                    let _ = tell(&daemon, error.raw_os_error().unwrap_or(libc::EINVAL));
                    exit_copy(1)
                }
            }
        }
        child => {
            // Our copy of the daemon's end would keep us from ever seeing end of file.
            drop(daemon);
            reap(child);
            let errno = answer(caller)?;
            if errno == 0 {
                process::exit(0)
            }
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// Everything between the first fork and `Ok`; the process that returns is the daemon, while its
/// parent, which led the session, has ended.
fn become_daemon(pid_file: &Path, caller: &UnixStream) -> io::Result<()> {
    // SAFETY: takes and returns numbers only. Not EPERM: a forked process leads no group.
    cvt(unsafe { libc::setsid() })?;
    // SAFETY: the first fork left this process with one thread, so the copy is complete.
    if cvt(unsafe { libc::fork() })? != 0 {
        exit_copy(0);
    }
    reset_signals()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for stdio in 0..=2 {
        // SAFETY: only numbers are passed; that 0 to 2 change their target is our contract.
        cvt(unsafe { libc::dup2(null.as_raw_fd(), stdio) })?;
    }
    // Closed by number below, so it must not close itself a second time.
    let _ = null.into_raw_fd();
    close_all_but(caller)?;
    // SAFETY: takes and returns a number and cannot fail.
    unsafe { libc::umask(0) };
    // Before chdir: a relative path is the caller's.
    lock_pid_file(pid_file)?;
    std::env::set_current_dir("/")
}

/// Handlers are functions of the caller, and exec(2) would hand on what is ignored or blocked.
fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // EINVAL for SIGKILL, SIGSTOP and what libc keeps for itself: nothing to reset there.
        // SAFETY: SIG_DFL is no function, so no code of ours can run in a handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero sigset_t is a valid value; sigemptyset writes one sigset_t, sigprocmask
    // reads it, and both are done with it when they return.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        cvt(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut(),
        ))?;
    }
    Ok(())
}

/// Closes every descriptor above 2 except `kept`.
fn close_all_but(kept: &UnixStream) -> io::Result<()> {
    let kept = kept.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: only numbers are passed; that the owners of these descriptors neither use
            // nor drop them any more is daemonize's contract.
            cvt(unsafe { libc::close_range(first, last, 0) })?;
        }
    }
    Ok(())
}

/// The lock comes before the first change: until we have it, the contents may be another daemon's.
fn lock_pid_file(path: &Path) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)?;
    // SAFETY: only numbers are passed, and `file` keeps its descriptor open.
    cvt(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })?;
    file.set_len(0)?;
    file.write_all(format!("{}\n", process::id()).as_bytes())?;
    // Never closed: closing would unlock it, and a value could be dropped.
    let _ = file.into_raw_fd();
    Ok(())
}

/// Sends one errno, 0 for "ready". Not write(2): SIGPIPE has its default action, death, again.
fn tell(caller: &UnixStream, errno: i32) -> io::Result<()> {
    let message = errno.to_ne_bytes();
    // SAFETY: the kernel reads the 4 bytes of `message` during the call. An empty stream socket
    // takes them whole and at once, so there is neither a short count nor an EINTR to retry.
    cvt(unsafe {
        libc::send(
            caller.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            libc::MSG_NOSIGNAL,
        )
    } as i32)?;
    Ok(())
}

/// What the daemon said; `ESRCH` if it will never say anything. EINTR is retried.
fn answer(mut daemon: UnixStream) -> io::Result<i32> {
    let mut message = [0; 4];
    match daemon.read_exact(&mut message) {
        Ok(()) => Ok(i32::from_ne_bytes(message)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(libc::ESRCH),
        Err(error) => Err(error),
    }
}

/// Waits for the process between caller and daemon, which ends at once. EINTR is retried; ECHILD
/// (the caller ignores SIGCHLD) means that there is nothing to reap.
fn reap(child: libc::pid_t) {
    // SAFETY: a null status pointer makes the kernel write nothing.
    while let Err(error) = cvt(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }) {
        if error.kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
}

/// Ends a forked copy without running the caller's exit handlers a second time.
fn exit_copy(status: i32) -> ! {
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(status) }
}

/// The errno of a call that returned -1.
fn cvt(result: i32) -> io::Result<i32> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
