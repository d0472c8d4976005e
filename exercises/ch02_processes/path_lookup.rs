//! # How does a shell find the program behind a name?
//!
//! execve(2) takes a path and searches nothing. That `ls` means /usr/bin/ls is an agreement between
//! programs: the variable PATH holds directories with `:` between them, and the first one that has
//! such a program wins. The kernel has never heard of PATH.
//!
//! The agreement has corners. An empty element, as in `PATH=:/bin`
//! or behind a last `:`, is the current directory: whoever may write a file `ls` there decides what
//! `ls` does. A directory has execute bits too, and is no program. And `mode & 0o111` is the wrong
//! question: whether *you* may execute a file depends on who you are, and only the kernel knows.
//!
//! Build [`path_lookup`]. Its answer is a hint, since a file can go away right behind it; execve(2)
//! has the last word. The other exercises of this chapter start programs.
//!
//! Man pages: execvp(3), access(2), environ(7), path_resolution(7), stat(2).
//! Notebook: `02-processes.ipynb#a-shell-runs-a-command`.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

/// Where PATH is not set, as in execvp(3).
pub const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The path of the program that `name` means, for execve(2).
///
/// A name with a `/` in it is a path already: it is not searched for, and comes back as it is. Any
/// other name is looked for in the elements of `path`, the value of PATH, from left to right;
/// `None` means that PATH is not set, and [`DEFAULT_PATH`] is taken. `Some("")` is one empty element.
///
/// - The path found is the element, a `/` and the name. An empty element is `.`. Return
///   `./name`, not `name`: execvp(3) would search for that again. `Path::new("").join(name)` gives the latter.
/// - A program is a regular file, or a symbolic link that leads to one, that this process may execute.
///   access(2) says whether it may; the mode bits alone don't. (access(2) asks for the real user id;
///   the difference only matters in set-user-ID programs.)
/// - An element is only bytes, and need not be UTF-8. One that is not a directory, or does not exist,
///   is passed over, and so is a file that is no program.
///
/// # Errors
/// An error carries its errno: `io::Error::from_raw_os_error(libc::ENOENT)`, not only an `ErrorKind`.
/// - `ENOENT`: there is nothing of that name, or only a symbolic link that leads nowhere. The empty
///   name is the name of nothing.
/// - `EACCES`: there is something, but no program: a file that may not be executed, a directory, a
///   FIFO; or a directory of PATH may not be searched (no x permission on the directory), so that nobody
///   knows. It is the answer only if no element has a program.
/// - Any other error of access(2) on an element of PATH counts as nothing.
/// - For a name with a `/`, what execve(2) would answer: also `ENOTDIR`, `ELOOP` and so on.
pub fn path_lookup(name: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    // TODO: 1. Can this path be executed? A function for that: Ok(()), or the errno that says why not.
    //          What does access(2) say of a directory?
    // TODO: 2. A name with a `/`: that function's answer is the answer.
    // TODO: 3. Take PATH apart at each `:`. std::os::unix::ffi::OsStrExt shows the bytes of an OsStr.
    // TODO: 4. The first element with a program is the answer. Note on the way whether there was an
    //          EACCES, for the end.
    todo!("take PATH apart and look for the name in each of its elements")
}
