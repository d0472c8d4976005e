//! What did a call that forks give, and what did it leave its caller with?

use super::ALLOCATES;
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
    let words = match &returned {
        Ok(value) => value.clone(),
        Err(failure) => failure.to_string(),
    };
    assert!(
        children.is_empty(),
        "the answer was {words}, and a child was left: a zombie that nobody waited for, or one that still runs"
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
