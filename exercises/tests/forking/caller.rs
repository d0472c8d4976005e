//! What did a call that forks give, and what did it leave its caller with?

use super::ALLOCATES;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, fork};
use observe::{Child, Descriptor, Errno, Facts, Failure, Process, Run, Started, errno, text};
use std::io;
use std::time::Duration;

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

/// Runs a call that hangs if the end of a pipe is left open somewhere, and says where. Not for a child under trace.
#[track_caller]
pub fn to_its_end(child: Child, call: impl FnOnce() -> Answer) -> Run<Answer> {
    wait(child.start(call))
}

/// As `to_its_end`, for a call that is already made.
#[track_caller]
pub fn wait(started: Started<Answer>) -> Run<Answer> {
    // Only who hangs is asked. Below the child's limit.
    const PATIENCE: Duration = Duration::from_secs(6);
    if !started.until(PATIENCE, |started| started.process().is_err())
        && let Some(held) = held_end(&started)
    {
        panic!("the call does not return, and {held}");
    }
    started.wait()
}

/// "the caller still has descriptor 4, the write end of a pipe": one that is nobody's standard input or output.
fn held_end(started: &Started<Answer>) -> Option<String> {
    let caller = started.process().ok()?;
    let programs = started.others();
    let named = programs
        .iter()
        .map(|it| (format!("`{}`", it.command.join(" ")), it));
    let all = [("the caller".to_owned(), &caller)]
        .into_iter()
        .chain(named);
    let mut held: Vec<_> = all
        .flat_map(|(who, process)| {
            let above = process.descriptors.0.iter().filter(|(fd, _)| **fd > 2);
            let pipes = above.filter(|(_, descriptor)| descriptor.target() == "a pipe");
            pipes.map(move |(fd, descriptor)| (who.clone(), *fd, descriptor))
        })
        .collect();
    // Somebody waits for end of file more often than for SIGPIPE.
    held.sort_by_key(|(_, _, descriptor)| !descriptor.writable());
    let (who, fd, descriptor) = held.first()?;
    Some(format!(
        "{who} still has descriptor {fd}, {}",
        end(descriptor)
    ))
}

/// "the write end of a pipe".
pub fn end(descriptor: &Descriptor) -> String {
    match descriptor.target().as_str() {
        "a pipe" if descriptor.writable() => "the write end of a pipe".to_owned(),
        "a pipe" => "the read end of a pipe".to_owned(),
        other => other.to_owned(),
    }
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
    if let Some(changes) = before.changed_to(&after) {
        panic!(
            "the answer was {}, and the call changed its caller: {changes}",
            told(&returned)
        );
    }
    assert!(
        !allocates,
        "a copy of the caller allocated or freed memory between fork and exec: with threads, that may wait for ever"
    );
    returned
}

/// Asserts that the call failed with this errno, in a caller that is what it was.
#[track_caller]
pub fn fails(what: &str, run: Run<Answer>, errno: i32) {
    let ended = answer(run);
    assert!(
        ended.as_ref().is_err_and(|failure| failure.is(errno)),
        "{what}: the answer was {} instead of {}",
        told(&ended),
        Errno(errno)
    );
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
