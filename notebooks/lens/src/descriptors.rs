//! What is behind each descriptor?

use std::io;

use crate::number;
use crate::picture::Picture;
use crate::proc::{self, Pid};
use crate::svg;
use crate::table::{self, Column, Table};

/// Descriptors that are shown.
const ROWS: usize = 100;

/// The descriptor table of a process (`proc_pid_fd(5)`, `proc_pid_fdinfo(5)`): what each leads to, how it was opened,
/// at which offset the next read or write is, and which of them share one open file description (`kcmp(2)`).
///
/// # Errors
/// ENOENT: no such process. EACCES: it is another user's. The message names the path.
pub fn descriptors(pid: impl Into<Pid>) -> io::Result<Picture> {
    let pid = pid.into();
    let number = pid.number();
    let mut entries = table_of(number)?;
    share(number, &mut entries);
    Ok(draw(&pid.title(), &entries))
}

/// By their numbers.
pub(crate) fn table_of(pid: i32) -> io::Result<Vec<Entry>> {
    let mut fds: Vec<i32> = proc::list(pid, "fd")?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    fds.sort_unstable();
    // The one this was listed through is closed by now: its link is gone.
    let entries = fds.into_iter().filter_map(|fd| Entry::read(pid, fd));
    Ok(entries.collect())
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) fd: i32,
    pub(crate) target: String,
    /// "O_RDWR|O_APPEND".
    pub(crate) flags: String,
    offset: String,
    /// What only this kind of file has: a counter, a set of signals, watched descriptors.
    more: String,
    /// The first descriptor with the same open file description.
    same: Option<i32>,
}

impl Entry {
    /// `None`: it is closed by now.
    fn read(pid: i32, fd: i32) -> Option<Entry> {
        let target = match proc::link(pid, &format!("fd/{fd}")) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => format!("({})", error.kind()),
        };
        let info = proc::read(pid, &format!("fdinfo/{fd}")).unwrap_or_default();
        Some(Entry::parse(fd, target, &info))
    }

    fn parse(fd: i32, target: String, info: &str) -> Entry {
        let flags = proc::value(info, "flags").and_then(|flags| i32::from_str_radix(flags, 8).ok());
        // Pipes and sockets have no offset; their line says 0.
        let seekable = target.starts_with('/') && !target.starts_with("/dev/pts/");
        let offset = proc::value(info, "pos").filter(|_| seekable);
        let common = ["pos", "flags", "mnt_id", "ino", "scm_fds"];
        let more: Vec<String> = info
            .lines()
            .filter(|line| {
                let key = line.split(':').next().unwrap_or_default();
                !common.contains(&key)
            })
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        Entry {
            fd,
            target,
            flags: flags.map(names).unwrap_or_default(),
            offset: offset.unwrap_or_default().to_owned(),
            more: svg::shorten(&more.join("; "), 90),
            same: None,
        }
    }
}

/// Marks what `dup(2)` or an inherited copy has made: same target, and one open file description behind it.
fn share(pid: i32, entries: &mut [Entry]) {
    for index in 1..entries.len() {
        let (before, rest) = entries.split_at_mut(index);
        let entry = &mut rest[0];
        entry.same = before
            .iter()
            .filter(|other| other.same.is_none() && other.target == entry.target)
            .find(|other| same_file(pid, other.fd, entry.fd))
            .map(|other| other.fd);
    }
}

/// `kcmp(2)` with KCMP_FILE; where it isn't allowed, nothing is known to be the same.
fn same_file(pid: i32, a: i32, b: i32) -> bool {
    const KCMP_FILE: i32 = 0;
    // SAFETY: kcmp(2) takes five numbers and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, a, b) == 0 }
}

/// "O_RDWR|O_APPEND|O_CLOEXEC": of the flags of `open(2)` those that last.
fn names(flags: i32) -> String {
    let mut names = vec![match flags & libc::O_ACCMODE {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        _ => "3",
    }];
    for (flag, name) in [
        (libc::O_APPEND, "O_APPEND"),
        (libc::O_NONBLOCK, "O_NONBLOCK"),
        (libc::O_SYNC, "O_SYNC"),
        (libc::O_DIRECT, "O_DIRECT"),
        (libc::O_DIRECTORY, "O_DIRECTORY"),
        (libc::O_PATH, "O_PATH"),
        (libc::O_CLOEXEC, "O_CLOEXEC"),
    ] {
        if flags & flag == flag {
            names.push(name);
        }
    }
    names.join("|")
}

fn draw(title: &str, entries: &[Entry]) -> Picture {
    let title = format!("{} of {title}", number::things(entries.len(), "descriptor"));
    let mut table = Table::new([
        Column::Number("fd"),
        Column::Code("target"),
        Column::Code("flags"),
        Column::Number("offset"),
        Column::Words("shared with"),
        Column::Code("more"),
    ]);
    for entry in entries.iter().take(ROWS) {
        table.row([
            entry.fd.to_string(),
            svg::shorten_path(&entry.target, 70),
            entry.flags.clone(),
            entry.offset.clone(),
            entry
                .same
                .map_or_else(String::new, |fd| format!("same file description as {fd}")),
            entry.more.clone(),
        ]);
    }
    if entries.len() > ROWS {
        table.note(format!("… {} more", entries.len() - ROWS));
    }
    let table = table.without_empty();
    let text = format!("{title}\n{}", table.text());
    let svg = svg::of_text(&title, &text);
    let html = table::page(&table.html(&title));
    Picture::new(title, text, svg, html)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::svg::tests::well_formed;

    #[test]
    fn what_fdinfo_says() {
        let entries = [
            Entry::parse(
                0,
                "/tmp/<a&b>".into(),
                "pos:\t12\nflags:\t0102002\nmnt_id:\t9\nino:\t5\n",
            ),
            Entry::parse(
                3,
                "pipe:[77]".into(),
                "pos:\t0\nflags:\t02000001\nmnt_id:\t15\n",
            ),
            Entry::parse(
                4,
                "anon_inode:[eventfd]".into(),
                "pos:\t0\nflags:\t02004002\nmnt_id:\t16\neventfd-count:                7\neventfd-id: 3\n",
            ),
            Entry {
                fd: 5,
                target: "(permission denied)".into(),
                same: Some(3),
                ..Entry::default()
            },
        ];
        let picture = draw("process 7", &entries);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
        well_formed(&draw("process without any", &[]));
    }

    #[test]
    fn a_dup_shares_its_file_description_and_an_open_does_not() {
        let first = File::open("/proc/self/status").unwrap();
        let dup = first.try_clone().unwrap();
        let open = File::open("/proc/self/status").unwrap();
        let pid = std::process::id() as i32;
        let (first, dup, open) = (first.as_raw_fd(), dup.as_raw_fd(), open.as_raw_fd());
        assert!(!same_file(pid, first, open));
        // Not allowed everywhere: then nothing is claimed.
        let text = descriptors(0).unwrap().text();
        let claimed = text.contains(&format!("same file description as {first}"));
        assert_eq!(claimed, same_file(pid, first, dup));
        assert!(!text.contains("/fd "), "its own listing is in it: {text}");
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert_eq!(
            descriptors(i32::MAX).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
