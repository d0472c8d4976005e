//! What kind of process is this: whose child, in which session, with which descriptors, masks and limits?

use crate::descriptors::Descriptors;
use crate::facts::Relation;
use crate::inside::unseen;
use crate::signals::Signal;
use crate::sweep::{Stat, descendants};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Facts of one process at one moment, read from /proc, proc(5).
///
/// The numbers are the kernel's. [`facts`](Process::facts) gives the same as relations, for snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Parent's process id.
    pub ppid: i32,
    /// Process group.
    pub pgrp: i32,
    /// Session.
    pub session: i32,
    /// Device number of the controlling terminal, 0 for none.
    pub tty_nr: i32,
    /// The foreground process group of that terminal, -1 without one.
    pub tpgid: i32,
    /// The command's name, at most 15 bytes.
    pub name: String,
    /// The arguments, argv.
    pub command: Vec<String>,
    /// `R`, `S`, `D`, `T`, `t`, `Z` as in proc(5).
    pub state: char,
    /// The current directory; none of a zombie, or where it may not be read.
    pub cwd: Option<String>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// The descriptor table; empty of a zombie, or where it may not be read.
    pub descriptors: Descriptors,
    /// Masks and dispositions.
    pub signals: Signals,
    /// The threads, the main one first.
    pub threads: Vec<Thread>,
    /// Resource limits: name as in /proc/PID/limits → soft and hard, none for unlimited.
    pub limits: BTreeMap<String, (Option<u64>, Option<u64>)>,
    /// Namespaces: kind → identity, as `pid` → `pid:[4026531836]`.
    pub namespaces: BTreeMap<String, String>,
    /// Real, effective, saved user id and file system user id.
    pub uids: Vec<u32>,
    /// Capability sets as bits: `CapInh`, `CapPrm`, `CapEff`, `CapBnd`, `CapAmb`.
    pub capabilities: BTreeMap<String, u64>,
    /// Whether execve(2) grants no new privileges, PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// The living and zombie children.
    pub children: Vec<i32>,
    /// Relation to the child it belongs to, known when the facts were read.
    pub(crate) relation: Relation,
}

/// The signal sets of a process; `blocked` is that of the main thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    /// Sent to the process as a whole, not yet delivered.
    pub pending: Vec<Signal>,
    /// Blocked by sigprocmask(2).
    pub blocked: Vec<Signal>,
    /// Set to SIG_IGN.
    pub ignored: Vec<Signal>,
    /// Having a handler.
    pub caught: Vec<Signal>,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id.
    pub tid: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its state letter.
    pub state: char,
    /// What it blocks.
    pub blocked: Vec<Signal>,
    /// Sent to this thread alone, not yet delivered.
    pub pending: Vec<Signal>,
}

impl Process {
    /// Reads the facts of a process. What may not be read, of another user's process, is empty.
    ///
    /// # Errors
    /// ESRCH: no such process.
    pub fn of(pid: i32) -> io::Result<Process> {
        unseen(|| Process::read(pid))
    }

    fn read(pid: i32) -> io::Result<Process> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let stat = Stat::of(pid).ok_or_else(gone)?;
        let status = Status::of(&format!("/proc/{pid}/status")).ok_or_else(gone)?;
        let cwd = link(pid, "cwd");
        Ok(Process {
            pid,
            ppid: stat.ppid,
            pgrp: stat.pgrp,
            session: stat.session,
            tty_nr: stat.tty_nr,
            tpgid: stat.tpgid,
            name: status.text("Name"),
            command: command(pid),
            state: stat.state,
            umask: u32::from_str_radix(&status.text("Umask"), 8).ok(),
            descriptors: if pid == std::process::id() as i32 {
                Descriptors::mine()
            } else {
                Descriptors::of(pid).unwrap_or_default()
            },
            signals: Signals {
                pending: status.signals("ShdPnd"),
                blocked: status.signals("SigBlk"),
                ignored: status.signals("SigIgn"),
                caught: status.signals("SigCgt"),
            },
            threads: threads(pid),
            limits: limits(pid),
            namespaces: namespaces(pid),
            uids: status
                .text("Uid")
                .split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect(),
            capabilities: ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
                .into_iter()
                .map(|set| {
                    (
                        set.to_owned(),
                        u64::from_str_radix(&status.text(set), 16).unwrap_or(0),
                    )
                })
                .collect(),
            no_new_privs: status.text("NoNewPrivs") == "1",
            children: descendants(pid)
                .into_iter()
                .filter(|child| Stat::of(*child).is_some_and(|stat| stat.ppid == pid))
                .collect(),
            relation: Relation::of(pid, &stat, cwd.as_deref()),
            cwd,
        })
    }

    /// The calling process: for use inside a child's closure.
    ///
    /// # Panics
    /// When /proc is not mounted.
    pub fn me() -> Process {
        Process::of(std::process::id() as i32).expect("/proc/self can be read")
    }

    /// Whether it has ended and was not waited for.
    pub fn zombie(&self) -> bool {
        // A main thread that has ended alone, by pthread_exit(3), looks the same while the others go on.
        matches!(self.state, 'Z' | 'X') && self.threads.len() <= 1
    }

    /// Whether it is stopped by a signal or a tracer.
    pub fn stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether it leads its session.
    pub fn leads_session(&self) -> bool {
        self.pid == self.session
    }

    /// Whether it has a controlling terminal.
    pub fn has_terminal(&self) -> bool {
        self.tty_nr != 0
    }

    /// Whether it is in its terminal's foreground process group: it may read, and ^C reaches it.
    pub fn in_foreground(&self) -> bool {
        self.pgrp == self.tpgid
    }

    /// Whether `signal` has a handler.
    pub fn catches(&self, signal: impl Into<Signal>) -> bool {
        self.signals.caught.contains(&signal.into())
    }

    /// Whether `signal` is blocked in the main thread.
    pub fn blocks(&self, signal: impl Into<Signal>) -> bool {
        self.signals.blocked.contains(&signal.into())
    }

    /// Whether `signal` is ignored.
    pub fn ignores(&self, signal: impl Into<Signal>) -> bool {
        self.signals.ignored.contains(&signal.into())
    }
}

/// The `Name:\tvalue` lines of a status file.
struct Status(String);

impl Status {
    fn of(path: &str) -> Option<Status> {
        Some(Status(
            String::from_utf8_lossy(&fs::read(path).ok()?).into_owned(),
        ))
    }

    fn text(&self, name: &str) -> String {
        let line = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    fn signals(&self, name: &str) -> Vec<Signal> {
        Signal::of_mask(&self.text(name))
    }
}

fn link(pid: i32, name: &str) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/{name}")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

fn command(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let text = text.strip_suffix('\0').unwrap_or(&text);
    if text.is_empty() {
        Vec::new()
    } else {
        text.split('\0').map(str::to_owned).collect()
    }
}

fn threads(pid: i32) -> Vec<Thread> {
    let mut threads: Vec<Thread> = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let tid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = Status::of(&format!("/proc/{pid}/task/{tid}/status"))?;
            Some(Thread {
                tid,
                name: status.text("Name"),
                state: status.text("State").chars().next()?,
                blocked: status.signals("SigBlk"),
                pending: status.signals("SigPnd"),
            })
        })
        .collect();
    threads.sort_by_key(|thread| (thread.tid != pid, thread.tid));
    threads
}

fn limits(pid: i32) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    // Columns are padded to 26, 21 and 21 bytes (fs/proc/base.c, proc_pid_limits); names hold blanks.
    let row = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        let mut values = rest.split_whitespace().map(|value| value.parse().ok());
        Some((name.trim().to_owned(), (values.next()?, values.next()?)))
    };
    text.lines().skip(1).filter_map(row).collect()
}

fn namespaces(pid: i32) -> BTreeMap<String, String> {
    fs::read_dir(format!("/proc/{pid}/ns"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let kind = entry.file_name().to_str()?.to_owned();
            Some((kind, fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
        })
        .collect()
}
