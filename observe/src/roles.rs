//! What is descriptor 7, and who is process 4711? The numbers differ from run to run; what they refer to does not.
//!
//! Follows the calls in their order and keeps, for each process, a table like the kernel's: which call gave the
//! descriptor, which closed it, what a fork inherited.

use crate::descriptors::Descriptors;
use crate::errno::Errno;
use crate::scratch::redact;
use std::collections::HashMap;
use tracer::{Arg, Call};

/// The state of the tables at one moment of a trace.
pub(crate) struct Roles {
    /// Pids in the order of birth.
    processes: Vec<i32>,
    tables: HashMap<i32, HashMap<i32, String>>,
    /// How many pipes, sockets, … there were: `pipe2` is the second.
    counts: HashMap<&'static str, usize>,
}

/// Calls that give a new descriptor as their result, and what it is called.
const GIVERS: [(&str, &str); 15] = [
    ("socket", "socket"),
    ("accept", "connection"),
    ("memfd_create", "memfd"),
    ("eventfd", "eventfd"),
    ("timerfd_create", "timerfd"),
    ("signalfd", "signalfd"),
    ("epoll_create", "epoll"),
    ("inotify_init", "inotify"),
    ("pidfd_open", "pidfd"),
    ("mq_open", "mqueue"),
    ("userfaultfd", "userfaultfd"),
    ("fanotify_init", "fanotify"),
    ("io_uring_setup", "io_uring"),
    ("perf_event_open", "perf_event"),
    ("pidfd_getfd", "descriptor"),
];

impl Roles {
    /// At the closure's begin: all processes of the trace in the order of birth, and the first one's table.
    pub(crate) fn new(processes: Vec<i32>, open: &Descriptors) -> Roles {
        let pid = processes[0];
        let mut roles = Roles {
            processes,
            tables: HashMap::new(),
            counts: HashMap::new(),
        };
        let mut table = HashMap::new();
        let mut pipes: HashMap<&str, String> = HashMap::new();
        for (fd, descriptor) in &open.0 {
            let role = match (fd, descriptor.link.split_once(":[")) {
                (0..=2, _) => standard(*fd),
                (_, Some(("pipe", _))) => {
                    let pipe = pipes
                        .entry(&descriptor.link)
                        .or_insert_with(|| roles.next("pipe"));
                    format!(
                        "{pipe}:{}",
                        if descriptor.readable() {
                            "read"
                        } else {
                            "write"
                        }
                    )
                }
                (_, Some(("socket", _))) => roles.next("socket"),
                _ => descriptor.target(),
            };
            table.insert(*fd, role);
        }
        roles.tables.insert(pid, table);
        roles
    }

    /// The process's number, from 1, in the order of birth.
    pub(crate) fn process(&self, pid: i32) -> usize {
        self.processes
            .iter()
            .rposition(|it| *it == pid)
            .unwrap_or(0)
            + 1
    }

    /// A fork: the new process has a copy of the table.
    pub(crate) fn spawned(&mut self, parent: i32, child: i32) {
        let table = self.tables.get(&parent).cloned().unwrap_or_default();
        self.tables.insert(child, table);
    }

    /// What the call's first descriptor argument refers to.
    pub(crate) fn on(&self, call: &Call) -> Option<String> {
        call.decoded.iter().find_map(|arg| match arg {
            Arg::Fd {
                fd: libc::AT_FDCWD, ..
            } => None,
            Arg::Fd { fd, .. } => Some(self.fd(call.pid, *fd)),
            _ => None,
        })
    }

    /// The call as one line: `write(stdout, 5) = 5`.
    pub(crate) fn line(&self, call: &Call) -> String {
        let args = self.args(call);
        let result = self.result(call);
        let injected = if call.injected { " (injected)" } else { "" };
        format!("{}({}) = {result}{injected}", call.family, args.join(", "))
    }

    fn args(&self, call: &Call) -> Vec<String> {
        let [first, second, third, ..] = call.args;
        match (call.family, call.name) {
            // Their arguments are the C library's choice.
            ("fork" | "thread" | "poll" | "select" | "sigreturn", _) => Vec::new(),
            ("stat" | "access", _) => {
                let path = call
                    .path()
                    .filter(|path| !path.is_empty())
                    .map(|path| format!("{:?}", redact(path)));
                path.or_else(|| self.on(call)).into_iter().collect()
            }
            (_, "wait4") => self.wait(call, first as i32, third),
            (_, "waitid") => {
                let pid = if first == u64::from(libc::P_PID) {
                    second as i32
                } else {
                    -1
                };
                self.wait(call, pid, call.args[3])
            }
            (_, "kill" | "tkill") => {
                vec![self.pid(first as i32), crate::Signal(second as i32).name()]
            }
            (_, "tgkill") => vec![self.pid(first as i32), crate::Signal(third as i32).name()],
            (_, "umask") => vec![format!("{:03o}", first as u32)],
            (_, "setpgid") => vec![self.pid(first as i32), self.pid(second as i32)],
            (_, "pidfd_open" | "getsid" | "getpgid") => vec![self.pid(first as i32)],
            (_, "dup2" | "dup3") => vec![self.fd(call.pid, first as i32), standard(second as i32)],
            (_, "fcntl") => self.fcntl(call),
            (_, "mmap") => self.mmap(call),
            _ => {
                let creates = call.decoded.iter().any(|arg| {
                    matches!(arg, Arg::Flags(flags) if flags.contains("O_CREAT") || flags.contains("O_TMPFILE"))
                });
                let opens = call.family == "open" && call.name != "creat" && !creates;
                // Without flags they ask what preadv(2) and pwritev(2) do.
                let relative = matches!(call.name, "preadv2" | "pwritev2") && call.args[5] == 0;
                let count = if relative { 4 } else { call.decoded.len() };
                let args = call
                    .decoded
                    .iter()
                    .take(count)
                    .filter(|arg| !(opens && matches!(arg, Arg::Mode(_))));
                args.filter_map(|arg| self.arg(call.pid, arg)).collect()
            }
        }
    }

    /// One argument; none for what is volatile, or says only how this libc or architecture puts the question.
    fn arg(&self, pid: i32, arg: &Arg) -> Option<String> {
        Some(match arg {
            Arg::Address(_)
            | Arg::Bytes { .. }
            | Arg::Pair(..)
            | Arg::Fd {
                fd: libc::AT_FDCWD, ..
            } => return None,
            Arg::Flags(flags) if flags == "0" => return None,
            Arg::Fd { fd, .. } => self.fd(pid, *fd),
            Arg::Path(path) => format!("{:?}", redact(path)),
            Arg::Strings(strings) => {
                let strings: Vec<String> = strings.iter().map(|string| redact(string)).collect();
                format!("{strings:?}")
            }
            Arg::Sockaddr(address) => sockaddr(address),
            other => other.to_string(),
        })
    }

    fn wait(&self, call: &Call, pid: i32, options: u64) -> Vec<String> {
        let mut args = vec![if pid == -1 {
            "any child".to_owned()
        } else {
            self.pid(pid)
        }];
        for (bit, name) in [
            (libc::WNOHANG, "WNOHANG"),
            (libc::WUNTRACED, "WUNTRACED"),
            (libc::WNOWAIT, "WNOWAIT"),
        ] {
            if options as i32 & bit != 0 {
                args.push(name.to_owned());
            }
        }
        args.extend(call.decoded.iter().find_map(|arg| match arg {
            Arg::Wait(status) => Some(status.clone()),
            _ => None,
        }));
        args
    }

    /// The third argument is a number only with some commands, else rubbish or an address.
    fn fcntl(&self, call: &Call) -> Vec<String> {
        let mut args: Vec<String> = call
            .decoded
            .iter()
            .take(2)
            .filter_map(|arg| self.arg(call.pid, arg))
            .collect();
        match call.args[1] as i32 {
            libc::F_SETFD => args.push(
                if call.args[2] & 1 == 1 {
                    "FD_CLOEXEC"
                } else {
                    "0"
                }
                .to_owned(),
            ),
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC | libc::F_SETPIPE_SZ | libc::F_ADD_SEALS => {
                args.push(call.args[2].to_string());
            }
            libc::F_SETFL => args.push(format!("{:#o}", call.args[2])),
            _ => {}
        }
        args
    }

    /// Without the offset 0 and the absent file of an anonymous mapping.
    fn mmap(&self, call: &Call) -> Vec<String> {
        let anonymous = call
            .decoded
            .iter()
            .any(|arg| matches!(arg, Arg::Fd { fd: -1, .. }));
        let keep = |arg: &&Arg| !anonymous || !matches!(arg, Arg::Fd { .. } | Arg::Size(0));
        call.decoded
            .iter()
            .filter(keep)
            .filter_map(|arg| self.arg(call.pid, arg))
            .collect()
    }

    fn result(&self, call: &Call) -> String {
        let value = match call.result {
            None => return "?".to_owned(),
            Some(Err(errno)) => return Errno(errno).name(),
            Some(Ok(value)) => value,
        };
        match (call.family, call.name) {
            ("fork", _)
            | (_, "getpid" | "getppid" | "setsid" | "getsid" | "getpgid" | "getpgrp") => {
                self.pid(value as i32)
            }
            ("wait", _) if value > 0 => self.pid(value as i32),
            ("thread", _) | (_, "gettid" | "set_tid_address") => "a thread".to_owned(),
            (_, "mmap" | "brk" | "mremap" | "shmat") => "an address".to_owned(),
            (_, "umask") => format!("{value:03o}"),
            ("dup", "dup2" | "dup3") => standard(value as i32),
            ("open" | "dup", _) => "a descriptor".to_owned(),
            (_, "fcntl")
                if matches!(call.args[1] as i32, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) =>
            {
                "a descriptor".to_owned()
            }
            ("pipe", _) => format!("pipe{}", self.peek("pipe")),
            ("socketpair", _) => format!(
                "socket{}, socket{}",
                self.peek("socket"),
                self.peek("socket") + 1
            ),
            (family, _) => match GIVERS.iter().find(|(giver, _)| *giver == family) {
                Some((_, kind)) => format!("{kind}{}", self.peek(kind)),
                None => value.to_string(),
            },
        }
    }

    /// What the call did to the table.
    pub(crate) fn after(&mut self, call: &Call) {
        let Some(Ok(value)) = call.result else { return };
        let fd = value as i32;
        let pid = call.pid;
        let first = call.args[0] as i32;
        let given = match (call.family, call.name) {
            ("open", _) => redact(call.path().unwrap_or("a file")),
            ("dup", _) => self.fd(pid, first),
            (_, "fcntl")
                if matches!(call.args[1] as i32, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) =>
            {
                self.fd(pid, first)
            }
            (_, "close") => {
                self.tables.entry(pid).or_default().remove(&first);
                return;
            }
            (_, "close_range") => {
                let range = call.args[0] as u32..=call.args[1] as u32;
                self.tables
                    .entry(pid)
                    .or_default()
                    .retain(|fd, _| !range.contains(&(*fd as u32)));
                return;
            }
            ("pipe" | "socketpair", _) => {
                let pair = call.decoded.iter().find_map(|arg| match arg {
                    Arg::Pair(first, second) => Some((*first, *second)),
                    _ => None,
                });
                let Some((one, other)) = pair else { return };
                let names = if call.family == "pipe" {
                    let pipe = self.next("pipe");
                    [format!("{pipe}:read"), format!("{pipe}:write")]
                } else {
                    [self.next("socket"), self.next("socket")]
                };
                let table = self.tables.entry(pid).or_default();
                table.extend([one, other].into_iter().zip(names));
                return;
            }
            (family, _) => match GIVERS.iter().find(|(giver, _)| *giver == family) {
                Some((_, kind)) => self.next(kind),
                None => return,
            },
        };
        self.tables.entry(pid).or_default().insert(fd, given);
    }

    fn fd(&self, pid: i32, fd: i32) -> String {
        let known = self.tables.get(&pid).and_then(|table| table.get(&fd));
        known.cloned().unwrap_or_else(|| format!("fd {fd}"))
    }

    fn pid(&self, pid: i32) -> String {
        if pid == 0 || pid == -1 {
            return pid.to_string();
        }
        match self.processes.iter().rposition(|it| *it == pid.abs()) {
            Some(index) if pid < 0 => format!("group of process {}", index + 1),
            Some(index) => format!("process {}", index + 1),
            None => "another process".to_owned(),
        }
    }

    /// The number that `next` will give.
    fn peek(&self, kind: &'static str) -> usize {
        self.counts.get(kind).copied().unwrap_or(0) + 1
    }

    fn next(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        format!("{kind}{count}")
    }
}

/// The name of a descriptor that is chosen by its number.
fn standard(fd: i32) -> String {
    match fd {
        0 => "stdin".to_owned(),
        1 => "stdout".to_owned(),
        2 => "stderr".to_owned(),
        fd => format!("fd {fd}"),
    }
}

/// An address without the port, which the kernel chose.
fn sockaddr(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => format!("{host}:port"),
        _ => redact(address),
    }
}
