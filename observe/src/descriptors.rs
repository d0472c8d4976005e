//! What does each descriptor of a process refer to, and how was it opened?

use crate::inside::unseen;
use crate::scratch::redact;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// The descriptor table of a process: number → what it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Descriptors(pub BTreeMap<i32, Descriptor>);

/// One descriptor, from /proc/PID/fd and /proc/PID/fdinfo, proc(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What readlink(2) says: `/dev/null`, `pipe:[4711]`, `socket:[4712]`, `/dev/pts/3`.
    pub link: String,
    /// The open(2) flags, O_CLOEXEC among them.
    pub flags: i32,
    /// The file offset.
    pub offset: u64,
    /// Whether it is a terminal (a `pts` or `tty` device).
    pub terminal: bool,
}

impl Descriptors {
    /// Reads the table of a process.
    ///
    /// # Errors
    /// ENOENT, ESRCH: no such process. EACCES: it is another user's or is not dumpable.
    pub fn of(pid: i32) -> io::Result<Descriptors> {
        unseen(|| Descriptors::read(pid))
    }

    fn read(pid: i32) -> io::Result<Descriptors> {
        let mut table = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let Some(fd) = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A descriptor closed meanwhile is no error: it is not in the table any more.
            if let Some(descriptor) = Descriptor::of(pid, fd) {
                table.insert(fd, descriptor);
            }
        }
        Ok(Descriptors(table))
    }

    /// Reads the table of this process; the descriptor that reads it is left out.
    pub fn mine() -> Descriptors {
        unseen(Descriptors::read_mine)
    }

    fn read_mine() -> Descriptors {
        let mut table = BTreeMap::new();
        let open: Vec<i32> = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        // The directory's own descriptor has been closed by now and reads as absent.
        let pid = std::process::id() as i32;
        table.extend(
            open.into_iter()
                .filter_map(|fd| Some((fd, Descriptor::of(pid, fd)?))),
        );
        Descriptors(table)
    }

    /// The descriptor of that number.
    pub fn get(&self, fd: i32) -> Option<&Descriptor> {
        self.0.get(&fd)
    }

    /// The open numbers, ascending.
    pub fn numbers(&self) -> Vec<i32> {
        self.0.keys().copied().collect()
    }

    /// The numbers above standard error.
    pub fn above_stderr(&self) -> Vec<i32> {
        self.0.keys().copied().filter(|fd| *fd > 2).collect()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The table in words: number → "/dev/null, read and write".
    pub fn facts(&self) -> BTreeMap<i32, String> {
        self.0
            .iter()
            .map(|(fd, descriptor)| (*fd, descriptor.words()))
            .collect()
    }
}

impl Descriptor {
    fn of(pid: i32, fd: i32) -> Option<Descriptor> {
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim().to_owned())
        };
        let link = link.to_string_lossy().into_owned();
        Some(Descriptor {
            flags: i32::from_str_radix(&field("flags")?, 8).ok()?,
            offset: field("pos")?.parse().ok()?,
            terminal: is_terminal(&link),
            link,
        })
    }

    /// Whether it can be read from.
    pub fn readable(&self) -> bool {
        matches!(self.flags & libc::O_ACCMODE, libc::O_RDONLY | libc::O_RDWR)
    }

    /// Whether it can be written to.
    pub fn writable(&self) -> bool {
        matches!(self.flags & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR)
    }

    /// Whether execve(2) closes it.
    pub fn close_on_exec(&self) -> bool {
        self.flags & libc::O_CLOEXEC != 0
    }

    /// What it refers to, without numbers that differ each time: `a pipe`, `the terminal`, `/dev/null`,
    /// `$TMPDIR/log`.
    pub fn target(&self) -> String {
        if self.terminal {
            return "the terminal".to_owned();
        }
        if let Some(name) = self.link.strip_prefix("/memfd:") {
            return match name.trim_end_matches(" (deleted)") {
                "stdin" => "the test's input".to_owned(),
                "stdout" => "the captured stdout".to_owned(),
                "stderr" => "the captured stderr".to_owned(),
                name => format!("a memfd ({name})"),
            };
        }
        if let Some(kind) = self.link.strip_prefix("anon_inode:") {
            let kind = kind.trim_matches(['[', ']']);
            let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
                "an"
            } else {
                "a"
            };
            return format!("{article} {kind}");
        }
        if let Some((kind, _)) = self.link.split_once(":[") {
            return format!("a {kind}");
        }
        redact(&self.link)
    }

    /// Target, access mode and close-on-exec in words.
    pub fn words(&self) -> String {
        let mode = match (self.readable(), self.writable()) {
            (true, true) => "read and write",
            (true, false) => "read",
            (false, true) => "write",
            (false, false) => "no access",
        };
        let mut words = format!("{}, {mode}", self.target());
        for (flag, name) in [
            (libc::O_APPEND, "append"),
            (libc::O_NONBLOCK, "non-blocking"),
            (libc::O_PATH, "path only"),
            (libc::O_CLOEXEC, "close-on-exec"),
        ] {
            if self.flags & flag != 0 {
                words = format!("{words}, {name}");
            }
        }
        words
    }
}

fn is_terminal(link: &str) -> bool {
    link.strip_prefix("/dev/").is_some_and(|device| {
        device.starts_with("pts/") || device.starts_with("tty") || device == "console"
    }) || link.starts_with("/pts/") // a devpts of another mount namespace
}
