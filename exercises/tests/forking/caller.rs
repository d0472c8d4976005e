//! What did a call that forks give, and what did it leave its caller with?

use super::ALLOCATES;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, fork};
use observe::{Facts, Failure, Process, Run, errno, text};
use std::io;

/// What a call returned; its caller before and after; and the children that the caller has then.
pub type Answer = (Result<String, Failure>, Facts, Facts, Vec<i32>);

/// Makes the call; in a child.
pub fn observed<T: ToString>(call: impl FnOnce() -> io::Result<T>) -> Answer {
    let before = Process::me();
    super::watch_copies();
    let returned = call();
    let after = Process::me();
    (
        errno(returned.map(|value| value.to_string())),
        before.facts(),
        after.facts(),
        after.children,
    )
}

/// What the call returned, in a caller that is afterwards what it was, and whose copies did nothing they may not.
#[track_caller]
pub fn answer(run: Run<Answer>) -> Result<String, Failure> {
    let copies = run.elsewhere.len();
    let allocates = run.stderr_text().contains(ALLOCATES);
    let (returned, before, after, children) = run.returned_and_left().0;
    assert!(
        copies == 0,
        "the call returned in a copy of the caller, too: what follows is done twice"
    );
    assert!(
        children.is_empty(),
        "the answer was {}, and a child was left: a zombie that nobody waited for, or one that still runs",
        told(&returned)
    );
    let (before, after) = (text(&before), text(&after));
    assert!(
        before == after,
        "the call changed its caller, from\n{before}\nto\n{after}"
    );
    assert!(
        !allocates,
        "a copy of the caller allocated or freed memory between fork and exec: with threads, that may wait for ever"
    );
    returned
}

/// Makes the call in a caller that has another child, which has exited with 7; in a child. Says whether its status is
/// still there afterwards.
pub fn beside_another_child<T: ToString>(
    call: impl FnOnce() -> io::Result<T>,
) -> (Result<String, Failure>, bool) {
    // SAFETY: a child has one thread, and its copy exits at once.
    let other = match unsafe { fork() }.unwrap() {
        // SAFETY: ends the process and runs nothing of it.
        ForkResult::Child => unsafe { libc::_exit(7) },
        ForkResult::Parent { child } => child,
    };
    waitid(Id::Pid(other), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    let returned = call();
    let others = waitpid(other, None) == Ok(WaitStatus::Exited(other, 7));
    (errno(returned.map(|value| value.to_string())), others)
}

/// The answer in words.
pub fn told(returned: &Result<String, Failure>) -> String {
    match returned {
        Ok(value) => value.clone(),
        Err(failure) => failure.to_string(),
    }
}
