//! Which system calls did the exercise make?

use crate::descriptors::Descriptors;
use crate::roles::Roles;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use tracer::{Event, Trace};

/// System calls in the order of their start, those of descendants among them.
///
/// Shown, and serialised for a snapshot, as one line a call without what differs each time: no addresses, process
/// ids as `process 2`, descriptors by what they refer to, calls by their family.
#[derive(Clone, Debug, Default)]
pub struct Calls(Vec<Call>);

/// One system call. Dereferences to what was recorded: number, registers, decoded arguments, result.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which process made it: 1 is the child, others in the order of their birth.
    pub process: usize,
    /// What its first descriptor argument refers to: `stdout`, `pipe1:write`, `$TMPDIR/new`.
    pub on: Option<String>,
    line: String,
    recorded: tracer::Call,
    /// Whether std made it to see, in a debug build, that a descriptor it is about to close is open.
    checks: bool,
}

/// What allocators, thread libraries and libc do on their own, in any program.
const RUNTIME: [&str; 16] = [
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "futex",
    "rseq",
    "set_robust_list",
    "set_tid_address",
    "sched_yield",
    "sched_getaffinity",
    "sigaltstack",
    "sigreturn",
    "restart_syscall",
    "getrandom",
];

impl Calls {
    pub(crate) fn new(trace: &Trace, open: &Descriptors) -> Calls {
        let mut processes = vec![trace.pid];
        processes.extend(trace.events.iter().filter_map(|event| match event {
            Event::Spawn {
                child,
                thread: false,
                ..
            } => Some(*child),
            _ => None,
        }));
        let mut roles = Roles::new(processes, open);
        let mut calls: Vec<Call> = Vec::new();
        for event in &trace.events {
            match event {
                Event::Call(call) => {
                    let on = roles.on(call);
                    let line = roles.line(call);
                    if call.name == "close"
                        && let Some(before) =
                            calls.iter_mut().rfind(|before| before.tid == call.tid)
                    {
                        before.checks = before.is_check_before(call);
                    }
                    calls.push(Call {
                        process: roles.process(call.pid),
                        on,
                        line,
                        recorded: call.clone(),
                        checks: false,
                    });
                    roles.after(call);
                }
                Event::Spawn {
                    pid,
                    child,
                    thread: false,
                    ..
                } => roles.spawned(*pid, *child),
                _ => {}
            }
        }
        Calls(calls)
    }

    /// The families in order: `["open", "write", "fsync", "rename"]`.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|call| call.family).collect()
    }

    /// How many there are of that name or family.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|call| call.is(name)).count()
    }

    /// Those of that name or family.
    #[must_use]
    pub fn of(&self, name: &str) -> Calls {
        self.filter(|call| call.is(name))
    }

    /// Those of these names or families.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Calls {
        self.filter(|call| names.iter().any(|name| call.is(name)))
    }

    /// Those not of these names or families.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Calls {
        self.filter(|call| !names.iter().any(|name| call.is(name)))
    }

    /// Without what allocators, thread libraries, libc and std do on their own: memory, futexes, signal stacks,
    /// the F_GETFD by which a debug build of std checks a descriptor before it closes it.
    #[must_use]
    pub fn without_runtime(&self) -> Calls {
        self.filter(|call| !call.checks && !RUNTIME.iter().any(|name| call.is(name)))
    }

    /// Those on a descriptor that refers to `role`, or with a path that is it: `stdout`, `pipe1:write`,
    /// `$TMPDIR/new`.
    #[must_use]
    pub fn on(&self, role: &str) -> Calls {
        self.filter(|call| {
            call.on.as_deref() == Some(role)
                || call.path().is_some_and(|path| crate::redact(path) == role)
        })
    }

    /// Those that failed.
    #[must_use]
    pub fn failed(&self) -> Calls {
        self.filter(|call| call.errno().is_some())
    }

    /// Those of one process: 1 is the child.
    #[must_use]
    pub fn of_process(&self, process: usize) -> Calls {
        self.filter(|call| call.process == process)
    }

    /// Those of each process by itself, `process 1` first: between processes the order is the scheduler's.
    pub fn by_process(&self) -> BTreeMap<String, Calls> {
        let mut all = BTreeMap::new();
        for call in &self.0 {
            let key = format!("process {}", call.process);
            let calls: &mut Calls = all.entry(key).or_default();
            calls.0.push(call.clone());
        }
        all
    }

    /// Those for which `keep` holds.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Call) -> bool) -> Calls {
        Calls(self.0.iter().filter(|call| keep(call)).cloned().collect())
    }

    /// Shows `secret` as `shown` in every line: for a name that the exercise is free to choose.
    #[must_use]
    pub fn replace(mut self, secret: &str, shown: &str) -> Calls {
        for call in &mut self.0 {
            call.line = call.line.replace(secret, shown);
        }
        self
    }

    /// The first `count` lines.
    pub(crate) fn head(&self, count: usize) -> String {
        let lines: Vec<String> = self.lines().take(count).collect();
        match self.0.len().saturating_sub(count) {
            0 => lines.join("\n"),
            more => format!("{}\n… and {more} more", lines.join("\n")),
        }
    }

    /// One line a call, with the process in front where there are several.
    fn lines(&self) -> impl Iterator<Item = String> {
        let first = self.0.first().map(|call| call.process);
        let several = self.0.iter().any(|call| Some(call.process) != first);
        self.0.iter().map(move |call| {
            if several {
                format!("[{}] {call}", call.process)
            } else {
                call.to_string()
            }
        })
    }
}

impl Call {
    /// Whether it is of that name or family.
    pub fn is(&self, name: &str) -> bool {
        self.family == name || self.name == name
    }

    fn is_check_before(&self, close: &tracer::Call) -> bool {
        self.name == "fcntl"
            && self.args[1] as i32 == libc::F_GETFD
            && self.args[0] as i32 == close.args[0] as i32
    }
}

impl Deref for Calls {
    type Target = [Call];

    fn deref(&self) -> &[Call] {
        &self.0
    }
}

impl Deref for Call {
    type Target = tracer::Call;

    fn deref(&self) -> &tracer::Call {
        &self.recorded
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Calls {
    /// The calls on one line, for a sentence; "no call" when there is none.
    pub fn in_a_line(&self) -> String {
        if self.is_empty() {
            return "no call".to_owned();
        }
        self.lines().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.lines().collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Serialize for Calls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.lines())
    }
}
