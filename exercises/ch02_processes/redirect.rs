//! # Why is `2>&1 >file` not `>file 2>&1`?
//!
//! A program writes to descriptor 1, whatever that is. A shell that reads `>file` opens the file and
//! gives it the number 1, between fork(2) and execve(2), and the program never knows. `2>&1` gives
//! 2 what 1 refers to *now*: it is dup2(2), not a connection. So redirections are steps, and
//! their order counts: in `2>&1 >file` errors go where output went before.
//!
//! dup2(2) is the easy part. open(2) gives the lowest free number. Is that already the one you want,
//! because somebody started you with descriptor 0 closed? Then there is nothing to duplicate, the
//! flag O_CLOEXEC is still on it, and a `File` that goes out of scope closes what you have just made.
//!
//! Build [`redirect`]. In the copy that fork(2) made, `ls >list 2>&1` is
//!
//! ```ignore
//! let output = Redirection { fd: 1, to: Target::Write(Path::new("list")) };
//! let errors = Redirection { fd: 2, to: Target::Copy(1) };
//! unsafe { redirect(&[output, errors]) } // and then execve(2), or an error message and _exit(2)
//! ```
//!
//! Man pages: dup(2), open(2), close(2), fcntl(2), umask(2), sh(1).
//! Notebook: `02-processes.ipynb#a-shell-runs-a-command`.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;

/// One redirection: the number of a descriptor, and what it shall refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirection<'a> {
    /// The descriptor that is redirected. A shell takes 0 for `<` and 1 for `>` if none is written.
    pub fd: RawFd,
    /// What it refers to afterwards.
    pub to: Target<'a>,
}

/// What a descriptor shall refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `<path`: the file, opened for reading only. It must exist.
    Read(&'a Path),
    /// `>path`: the file, opened for writing only and emptied. If it does not exist it is created,
    /// with mode 0666 less the umask.
    Write(&'a Path),
    /// `>>path`: as `>path`, but not emptied, and every write goes to the end (`O_APPEND`).
    Append(&'a Path),
    /// `>&1`: what that descriptor refers to at this moment. Both share one offset.
    /// The copy stays open over execve(2): `5>&5` takes the close-on-exec flag off 5.
    Copy(RawFd),
    /// `>&-`: nothing, the descriptor is closed. It need not have been open: `Close` never fails with
    /// `EBADF`, whatever the number.
    Close,
}

/// Changes the descriptors of the calling process as a shell does for a command, one redirection
/// after the other. Each one sees what those before it did.
///
/// A redirected descriptor stays open over execve(2), whatever number open(2) gave, and also in
/// `5>&5`. Every other descriptor is afterwards what it was before, its close-on-exec flag
/// included. No extra descriptor is left open.
///
/// Here the process has one thread, so you may allocate memory; after fork(2) in a threaded program not.
///
/// # Errors
/// The first redirection that fails is the last one made. Its descriptor is as it was; those before it
/// have been redirected, and of those behind it no file was created; its own file may have been. No extra descriptor is left open.
/// - `EBADF`: the descriptor to copy is not open, or the number to redirect is none that a process may
///   have (RLIMIT_NOFILE).
/// - `ENOENT`, `EACCES`, `EISDIR`, `ENOTDIR` … from open(2).
///
/// # Safety
/// No value that owns one of the redirected descriptors is used or dropped afterwards: its number has
/// a new owner, or none.
pub unsafe fn redirect(redirections: &[Redirection<'_>]) -> io::Result<()> {
    // TODO: 1. `Copy` is dup2(2). What does it do when both numbers are the same?
    // TODO: 2. Open the file for `Read`, `Write` and `Append`, put it on `fd`, and close the number it
    //          was opened under, unless that is `fd` itself.
    // TODO: 3. `Close`, also of what is not open.
    // TODO: 4. All of them in their order, up to the first error.
    todo!("open the file of the first redirection and give it the number `fd` with dup2(2)")
}
