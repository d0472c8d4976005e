//! Which call shall go wrong, and how.
//!
//! Calls are counted over the whole process tree, in the order in which the kernel reports them; a call that the
//! kernel restarts after a signal counts once.

use std::time::Duration;

/// One thing that shall go wrong: the `nth` matching call and the `times - 1` after it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which calls are counted.
    pub calls: Matches,
    /// The first of them that is touched, from 1.
    pub nth: u32,
    /// How many in a row; `u32::MAX` is "until the end".
    pub times: u32,
    /// What happens to it.
    pub action: Action,
}

impl Fault {
    /// The first matching call, once.
    pub fn new(calls: impl Into<Matches>, action: Action) -> Fault {
        Fault {
            calls: calls.into(),
            nth: 1,
            times: 1,
            action,
        }
    }

    /// The first one touched is the `nth`, from 1.
    #[must_use]
    pub fn nth(mut self, nth: u32) -> Fault {
        self.nth = nth;
        self
    }

    /// So many in a row.
    #[must_use]
    pub fn times(mut self, times: u32) -> Fault {
        self.times = times;
        self
    }

    /// From the `nth` on, all.
    #[must_use]
    pub fn always(self) -> Fault {
        self.times(u32::MAX)
    }
}

/// Which calls a [`Fault`] counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    names: Vec<String>,
    fd: Option<i32>,
}

impl Matches {
    /// Every call.
    pub fn every() -> Matches {
        Matches::default()
    }

    /// Those of these names or families.
    pub fn named<I: IntoIterator<Item = S>, S: Into<String>>(names: I) -> Matches {
        Matches {
            names: names.into_iter().map(Into::into).collect(),
            fd: None,
        }
    }

    /// And only if their first argument is this descriptor.
    #[must_use]
    pub fn on(mut self, fd: i32) -> Matches {
        self.fd = Some(fd);
        self
    }

    fn call(&self, name: &str, family: &str, args: &[u64; 6]) -> bool {
        (self.names.is_empty() || listed(&self.names, name, family))
            && self.fd.is_none_or(|fd| args[0] as i32 == fd)
    }
}

impl From<&str> for Matches {
    fn from(name: &str) -> Matches {
        Matches::named([name])
    }
}

impl<const N: usize> From<[&str; N]> for Matches {
    fn from(names: [&str; N]) -> Matches {
        Matches::named(names)
    }
}

impl From<&[&str]> for Matches {
    fn from(names: &[&str]) -> Matches {
        Matches::named(names.iter().copied())
    }
}

/// Whether a list of names and families holds this call.
pub(crate) fn listed(names: &[String], name: &str, family: &str) -> bool {
    names
        .iter()
        .any(|listed| listed == name || listed == family)
}

/// What a [`Fault`] does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The call isn't executed and fails with this errno.
    Fail(i32),
    /// The call is executed with its byte count capped at this number: `read(2)`, `write(2)`, `pread(2)`,
    /// `pwrite(2)`, their vectored forms, `recv(2)`, `send(2)`, `getrandom(2)`, `sendfile(2)`, `splice(2)`,
    /// `copy_file_range(2)`. Other calls are left alone.
    Short(u64),
    /// The process dies by SIGKILL before the call is executed.
    Kill,
    /// This signal is sent to the thread as it enters the call: one that would block is interrupted.
    Signal(i32),
    /// This signal is sent to the process at the last moment before the call: its handler runs first, then the call
    /// is made, and may block. That is the race of a program that looks at a flag and goes to sleep. As `kill(2)`
    /// does, it goes to the main thread; when another makes the call, or the main thread blocks it, the kernel
    /// chooses who takes it, and the call waits for nothing.
    SignalBefore(i32),
    /// The call is executed after so long a pause; other threads and processes go on meanwhile.
    Delay(Duration),
}

/// A fault with its count so far.
#[derive(Debug)]
pub(crate) struct Armed {
    fault: Fault,
    seen: u32,
}

impl Armed {
    pub(crate) fn new(fault: Fault) -> Armed {
        Armed { fault, seen: 0 }
    }

    /// Counts this call if it matches; the action if it is this one's turn.
    pub(crate) fn strike(&mut self, name: &str, family: &str, args: &[u64; 6]) -> Option<Action> {
        if !self.fault.calls.call(name, family, args) {
            return None;
        }
        self.seen = self.seen.saturating_add(1);
        let past = self.seen.checked_sub(self.fault.nth)?;
        (past < self.fault.times).then_some(self.fault.action)
    }
}
