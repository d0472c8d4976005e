//! How is a process told in words that are the same each time?
//!
//! As relations to the child it belongs to: "a new session, which it leads" and not "session 4711".

use crate::process::Process;
use crate::scratch::redact;
use crate::signals::Signal;
use crate::sweep::Stat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// A process in words that are the same each time: what a snapshot shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Whose child it is.
    pub parent: String,
    /// Which session it is in, and whether it leads it.
    pub session: String,
    /// Which process group it is in.
    pub group: String,
    /// Its controlling terminal.
    pub terminal: String,
    /// Its current directory.
    pub cwd: String,
    /// Its umask, octal.
    pub umask: String,
    /// Number → what it refers to.
    pub descriptors: BTreeMap<i32, String>,
    /// Signals it blocks.
    pub blocked: Vec<Signal>,
    /// Signals it ignores.
    pub ignored: Vec<Signal>,
    /// Signals it catches; without SIGSEGV and SIGBUS, which the runtime of every Rust program catches.
    pub caught: Vec<Signal>,
    /// How many threads it has.
    pub threads: usize,
}

impl Process {
    /// The process in words that are the same each time.
    pub fn facts(&self) -> Facts {
        let Relation {
            keeper,
            child,
            session,
            at_start,
        } = self.relation;
        let parent = match self.ppid {
            1 if self.pid != child => "init or the nearest subreaper",
            parent if parent == keeper && self.pid != child => "init or the nearest subreaper",
            parent if parent == keeper => "the test",
            parent if parent == child => "the exercise",
            _ => "another process",
        };
        let session = match (self.session == session, self.leads_session()) {
            (true, true) => "the one it was started in, which it leads",
            (true, false) => "the one it was started in",
            (false, true) => "a new one, which it leads",
            (false, false) => "a new one, which it does not lead",
        };
        let group = match self.pgrp {
            group if group == self.pid => "its own",
            group if group == child => "that of the exercise's first process",
            _ => "another process's",
        };
        Facts {
            parent: parent.to_owned(),
            session: session.to_owned(),
            group: group.to_owned(),
            terminal: if self.has_terminal() {
                "a terminal"
            } else {
                "none"
            }
            .to_owned(),
            cwd: match &self.cwd {
                Some(cwd) if at_start && cwd != "/" => "the one it was started in".to_owned(),
                Some(cwd) => redact(cwd),
                None => "unknown".to_owned(),
            },
            umask: self
                .umask
                .map_or("unknown".to_owned(), |mask| format!("{mask:03o}")),
            descriptors: self.descriptors.facts(),
            blocked: self.signals.blocked.clone(),
            ignored: self.signals.ignored.clone(),
            caught: self
                .signals
                .caught
                .iter()
                .copied()
                .filter(|signal| !matches!(signal.0, libc::SIGSEGV | libc::SIGBUS))
                .collect(),
            threads: self.threads.len(),
        }
    }
}

impl Facts {
    /// What is other than it was, as "it has now `umask: 000`, and had `umask: 022`"; none if nothing is.
    pub fn changed_to(&self, now: &Facts) -> Option<String> {
        let (before, now) = (crate::text(self), crate::text(now));
        let only = |one: &str, other: &str| {
            let lines = one.lines().map(str::trim);
            let lines = lines.filter(|line| !other.lines().any(|it| it.trim() == *line));
            let lines: Vec<String> = lines.map(|line| format!("`{line}`")).collect();
            (!lines.is_empty()).then(|| lines.join(", "))
        };
        match (only(&before, &now), only(&now, &before)) {
            (Some(had), Some(has)) => Some(format!("it has now {has}, and had {had}")),
            (Some(had), None) => Some(format!("it has no longer {had}")),
            (None, Some(has)) => Some(format!("it has now {has}")),
            (None, None) => None,
        }
    }
}

/// Where a process stands to the child it belongs to, known when its facts are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Relation {
    keeper: i32,
    child: i32,
    /// The session in which the child was started.
    session: i32,
    /// Whether its directory is still the one it was started in.
    at_start: bool,
}

impl Relation {
    pub(crate) fn of(pid: i32, stat: &Stat, cwd: Option<&str>) -> Relation {
        let at_start =
            cwd.is_some_and(|cwd| START.get().is_some_and(|start| Path::new(cwd) == start));
        let children = children();
        let inside = crate::inside::relation();
        let all = || inside.into_iter().chain(children.iter().copied());
        // The child itself, or one below it, or an orphan that its keeper adopted.
        let mut above = vec![pid, stat.ppid];
        let mut parent = stat.ppid;
        while let Some(stat) = Stat::of(parent).filter(|stat| stat.ppid > 0) {
            parent = stat.ppid;
            above.push(parent);
        }
        let found =
            all().find(|(keeper, child, _)| above.contains(child) || above.contains(keeper));
        let (keeper, child, session) = found.unwrap_or_default();
        Relation {
            keeper,
            child,
            session,
            at_start,
        }
    }
}

/// Keeper, pid and session of each child of this process, to tell relations from.
static CHILDREN: RwLock<Vec<(i32, i32, i32)>> = RwLock::new(Vec::new());

/// The directory that children are started in.
static START: OnceLock<PathBuf> = OnceLock::new();

/// Notes the test's directory, which is its children's.
pub(crate) fn begin() {
    if let Ok(here) = std::env::current_dir() {
        START.get_or_init(|| here);
    }
}

/// Notes a child once it is set up.
pub(crate) fn register(keeper: i32, child: i32) {
    let session = Stat::of(child).map_or(keeper, |stat| stat.session);
    CHILDREN
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .push((keeper, child, session));
}

/// The children of this process.
pub(crate) fn children() -> RwLockReadGuard<'static, Vec<(i32, i32, i32)>> {
    CHILDREN.read().unwrap_or_else(PoisonError::into_inner)
}
