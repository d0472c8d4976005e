//! What in a cell's output is different every time?
//!
//! Numbers of processes, addresses, durations and the like become names in 〈〉 before
//! anything is compared, and the space that lined them up is made the same. Within one
//! text the same process keeps its letter, so that "child's parent = parent" is still
//! seen. What no rule can know, the cell's tag `volatile` says.

use std::collections::HashMap;
use std::ops::Range;

/// Words before a number that make it a process's (or a thread's, a session's, …).
const PROCESS_WORDS: [&str; 20] = [
    "pid",
    "ppid",
    "tid",
    "tgid",
    "pgid",
    "pgrp",
    "sid",
    "tracerpid",
    "nspid",
    "child",
    "children",
    "parent",
    "process",
    "processes",
    "session",
    "group",
    "thread",
    "daemon",
    "grandchild",
    "leader",
];
/// These pids are somebody's in every namespace, and a lesson when they are seen.
const TELLING: u64 = 2;
const UNITS: [&str; 10] = [
    "ns", "µs", "μs", "us", "ms", "s", "sec", "seconds", "min", "h",
];
/// `net.ipv4.ip_local_port_range` begins here.
const EPHEMERAL: u64 = 32_768;

/// `text` as it is compared.
pub(super) fn redact(text: &str, root: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let text = if root.is_empty() {
        text
    } else {
        text.replace(root, "〈course〉")
    };
    let mut pen = Pen {
        rest: "",
        written: String::new(),
        column: 0,
        pid_columns: Vec::new(),
        processes: HashMap::new(),
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        lines.push(pen.line(line));
    }
    lines.join("\n").trim_matches('\n').to_owned()
}

struct Pen<'a> {
    /// Of this line, what is not read yet.
    rest: &'a str,
    /// And what is written.
    written: String,
    /// Characters of the line before `rest`.
    column: usize,
    /// Where a table's heading says that pids stand, until the table ends.
    pid_columns: Vec<Range<usize>>,
    processes: HashMap<u64, usize>,
}

impl<'a> Pen<'a> {
    fn line(&mut self, line: &'a str) -> String {
        let heading = is_heading(line);
        if heading {
            self.pid_columns = pid_columns(line);
        } else if line.trim().is_empty() {
            self.pid_columns.clear();
        }
        (self.rest, self.column) = (line, 0);
        while !self.rest.is_empty() {
            self.step();
        }
        let written = std::mem::take(&mut self.written);
        // What is as wide as its contents is a column of a table, not an indentation.
        let lined_up = heading || written.contains('〈');
        let text = if lined_up {
            written.trim()
        } else {
            written.trim_end()
        };
        narrow(text)
    }

    fn step(&mut self) {
        let first = self.rest.chars().next().expect("not at the end");
        let inside = self
            .written
            .ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if self.path() {
            return;
        }
        if first.is_ascii_hexdigit() && !inside && (self.id() || self.address()) {
            return;
        }
        if first.is_ascii_digit() && !inside && (self.clock() || self.number()) {
            return;
        }
        self.copy(first.len_utf8());
    }

    fn copy(&mut self, bytes: usize) {
        let copied = self.take(bytes);
        self.written.push_str(copied);
    }

    fn replace(&mut self, bytes: usize, name: &str) -> bool {
        self.take(bytes);
        self.written.push_str(name);
        true
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    /// Bytes of `text` whose characters are all `of`.
    fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
        text.find(|c| !of(c)).unwrap_or(text.len())
    }

    /// Names under `/proc` and in temporary folders; the inode in `pipe:[4242]`.
    fn path(&mut self) -> bool {
        for (prefix, name) in [
            ("/proc/", "〈pid〉"),
            ("/task/", "〈tid〉"),
            ("/dev/pts/", "〈n〉"),
        ] {
            if let Some(after) = self.rest.strip_prefix(prefix) {
                let digits = Self::run(after, |c| c.is_ascii_digit());
                if digits > 0
                    && after[..digits]
                        .parse::<u64>()
                        .is_ok_and(|n| n > TELLING || prefix != "/proc/")
                {
                    self.copy(prefix.len());
                    return self.replace(digits, name);
                }
            }
        }
        for prefix in ["/tmp/", "/dev/shm/", "/var/tmp/"] {
            if let Some(after) = self.rest.strip_prefix(prefix) {
                let name = Self::run(after, |c| c.is_alphanumeric() || "._-".contains(c));
                if name > 0 {
                    self.copy(prefix.len());
                    return self.replace(name, "〈name〉");
                }
            }
        }
        if let Some(after) = self.rest.strip_prefix(":[") {
            let digits = Self::run(after, |c| c.is_ascii_digit());
            if digits > 0 && after[digits..].starts_with(']') {
                self.copy(2);
                return self.replace(digits, "〈inode〉");
            }
        }
        false
    }

    /// `0x7ffd5e8a1000`, and `55d0c0a2b000-55d0c0a2c000` as in `/proc/PID/maps`.
    fn address(&mut self) -> bool {
        if let Some(after) = self.rest.strip_prefix("0x") {
            let digits = Self::run(after, |c| c.is_ascii_hexdigit() || c == '_');
            // Flags and error codes are shorter.
            return digits >= 6 && self.replace(2 + digits, "〈address〉");
        }
        let digits = Self::run(self.rest, |c| c.is_ascii_hexdigit());
        let (word, after) = self.rest.split_at(digits);
        let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let range = after.starts_with('-') || self.written.ends_with("〈address〉-");
        let both = word.contains(|c: char| c.is_ascii_digit())
            && word.contains(|c: char| c.is_ascii_lowercase());
        ends && ((8..=16).contains(&digits) && (both || range))
            && self.replace(digits, "〈address〉")
    }

    /// `c0ffee00-…`: a UUID's later groups fall to `address` or stay; its first is eight.
    fn id(&mut self) -> bool {
        let length = Self::run(self.rest, |c| c.is_ascii_hexdigit() || c == '-');
        let word = &self.rest[..length];
        let groups: Vec<usize> = word.split('-').map(str::len).collect();
        groups == [8, 4, 4, 4, 12] && self.replace(length, "〈uuid〉")
    }

    /// `12:34:56.789`, `2025-11-24`.
    fn clock(&mut self) -> bool {
        let length = Self::run(self.rest, |c| c.is_ascii_digit() || ":.".contains(c));
        let word = self.rest[..length].trim_end_matches([':', '.']);
        let parts: Vec<&str> = word.split(':').collect();
        let numbers = |part: &&str| part.len() >= 2 && part.as_bytes()[0].is_ascii_digit();
        if parts.len() == 3 && parts.iter().all(numbers) {
            return self.replace(word.len(), "〈clock〉");
        }
        let length = Self::run(self.rest, |c| c.is_ascii_digit() || c == '-');
        let groups: Vec<usize> = self.rest[..length].split('-').map(str::len).collect();
        groups == [4, 2, 2] && self.replace(length, "〈date〉")
    }

    fn number(&mut self) -> bool {
        let length = number_length(self.rest);
        let (word, after) = self.rest.split_at(length);
        let (gap, unit) = {
            let spaces = after.len() - after.trim_start_matches([' ', '\u{a0}', '\u{202f}']).len();
            let unit = &after[spaces..];
            (spaces, &unit[..Self::run(unit, char::is_alphabetic)])
        };
        // "3 s", "3s", but not "3  s" of a table nor "3 session".
        if gap <= 3 && UNITS.contains(&unit) {
            let unit = gap + unit.len();
            let rate = after[unit..].starts_with('/');
            return self.replace(
                length + unit,
                if rate { "〈time〉" } else { "〈duration〉" },
            );
        }
        // "120 MB/s", "3.1 M calls/s".
        let line = after.lines().next().unwrap_or_default();
        if let Some(slash) = line.find("/s")
            && slash <= 16
            && line[..slash].chars().all(|c| c.is_alphabetic() || c == ' ')
            && !line[slash + 2..].starts_with(char::is_alphanumeric)
        {
            return self.replace(length + slash + 2, "〈rate〉");
        }
        if after.trim_start().starts_with('%') {
            return self.replace(length, "〈share〉");
        }
        let measured = word.contains('.') && after.starts_with(" times");
        if measured
            || after.starts_with('×')
            || (gap == 0 && unit == "x" && !after[1..].starts_with(char::is_alphanumeric))
        {
            return self.replace(length, "〈ratio〉");
        }
        let Ok(value) = word.parse::<u64>() else {
            self.copy(length);
            return true;
        };
        let here = self.column..self.column + length;
        let in_column = |column: &Range<usize>| column.start < here.end && here.start < column.end;
        let process = self.after_word(&PROCESS_WORDS) || self.pid_columns.iter().any(in_column);
        if process && value > TELLING {
            let next = self.processes.len();
            let letter = *self.processes.entry(value).or_insert(next);
            return self.replace(length, &format!("〈pid {}〉", letter_of(letter)));
        }
        if (EPHEMERAL..=65_535).contains(&value)
            && (self.written.ends_with(':') || self.after_word(&["port"]))
        {
            return self.replace(length, "〈port〉");
        }
        if self.after_word(&["inode", "ino"]) {
            return self.replace(length, "〈inode〉");
        }
        self.copy(length);
        true
    }

    /// Whether what is written ends with one of `words` and at most punctuation.
    fn after_word(&self, words: &[&str]) -> bool {
        let before = self
            .written
            .trim_end_matches([' ', '\t', ':', '=', '(', '#', '"', '\'', '{', '[']);
        if before.ends_with('\n') || self.written.len() - before.len() > 12 {
            return false;
        }
        let start = before
            .rfind(|c: char| !c.is_alphanumeric())
            .map_or(0, |at| {
                at + before[at..].chars().next().map_or(1, char::len_utf8)
            });
        // `Pid(42)`, `child_pid = 42`, `ThreadId(3)`.
        let word = before[start..].to_lowercase();
        words.contains(&word.as_str()) || words.contains(&word.trim_end_matches("id"))
    }
}

/// `TIME  PID  CALL`: words in capitals, and nothing else.
fn is_heading(line: &str) -> bool {
    let words = line.split_whitespace().count();
    words > 1
        && line.contains("  ")
        && !line.contains(|c: char| c.is_lowercase() || c == '〈')
        && line.contains(|c: char| c.is_uppercase())
}

/// Where `PID` and its like stand in a heading.
fn pid_columns(heading: &str) -> Vec<Range<usize>> {
    let mut columns = Vec::new();
    let (mut start, mut word) = (0, String::new());
    for (at, c) in heading.chars().chain([' ']).enumerate() {
        if c.is_alphabetic() {
            if word.is_empty() {
                start = at;
            }
            word.extend(c.to_lowercase());
        } else if !word.is_empty() && PROCESS_WORDS.contains(&std::mem::take(&mut word).as_str()) {
            columns.push(start..at);
        }
    }
    columns
}

/// Two spaces for any more between two words; an indentation stays.
fn narrow(line: &str) -> String {
    let indentation = line.len() - line.trim_start_matches(' ').len();
    let mut narrow = line[..indentation].to_owned();
    let mut spaces = 0;
    for c in line[indentation..].chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 {
            narrow.push(c);
        }
    }
    narrow
}

/// `1`, `1.5`, `1_000`, `1,000`; not the full stop after it.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    while digit(at)
        || (at > 0 && bytes.get(at).is_some_and(|b| b"._,".contains(b)) && digit(at + 1))
    {
        at += 1;
    }
    at
}

fn letter_of(index: usize) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    match index / 26 {
        0 => letter.to_string(),
        more => format!("{letter}{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(redact(text, "/home/me/course"), *expected, "of {text:?}");
        }
    }

    #[test]
    fn processes_get_letters_and_keep_them() {
        check(&[
            (
                "pid 4242, ppid: 4241; child=4242",
                "pid 〈pid A〉, ppid: 〈pid B〉; child=〈pid A〉",
            ),
            ("Pid(77) PID 78", "Pid(〈pid A〉) PID 〈pid B〉"),
            ("child_pid = 99", "child_pid = 〈pid A〉"),
            ("ThreadId(12)", "ThreadId(〈pid A〉)"),
            (
                "reads /proc/4242/task/4243/status",
                "reads /proc/〈pid〉/task/〈tid〉/status",
            ),
        ]);
    }

    #[test]
    fn what_a_lesson_is_about_stays() {
        check(&[
            (
                "pid 1 is the namespace's init",
                "pid 1 is the namespace's init",
            ),
            ("/proc/1/ns", "/proc/1/ns"),
            ("read 4096 bytes, errno 11", "read 4096 bytes, errno 11"),
            ("flags 0x80000, mode 0o644", "flags 0x80000, mode 0o644"),
            ("3 children, 2 threads", "3 children, 2 threads"),
            ("descriptor 3 of 1024", "descriptor 3 of 1024"),
            ("version 6.18.2", "version 6.18.2"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("deadbeef is a word", "deadbeef is a word"),
            ("a faded decade", "a faded decade"),
        ]);
    }

    #[test]
    fn durations_and_rates_go() {
        check(&[
            ("took 12.5 ms", "took 〈duration〉"),
            (
                "1.234567ms, 52µs, 3 s",
                "〈duration〉, 〈duration〉, 〈duration〉",
            ),
            ("p99 1_234 ns.", "p99 〈duration〉."),
            ("41 ns/call", "〈time〉/call"),
            ("write: 1.2 GB/s", "write: 〈rate〉"),
            ("1,200 calls/s", "〈rate〉"),
            ("3.4× as fast", "〈ratio〉× as fast"),
            (
                "8.0 times as much, 68 % of it",
                "〈ratio〉 times as much, 〈share〉 % of it",
            ),
            ("called 3 times", "called 3 times"),
            ("2 sessions", "2 sessions"),
        ]);
    }

    #[test]
    fn addresses_go() {
        check(&[
            ("at 0x7ffd5e8a1000", "at 〈address〉"),
            (
                "55d0c0a2b000-55d0c0a2c000 r-xp",
                "〈address〉-〈address〉 r-xp",
            ),
            ("00400000-00452000 r-xp", "〈address〉-〈address〉 r-xp"),
            ("id 6fa459ea-ee8a-3ca4-894e-db77e160355e", "id 〈uuid〉"),
        ]);
    }

    #[test]
    fn names_of_the_moment_go() {
        check(&[
            ("at 12:34:56.789 on 2025-11-24", "at 〈clock〉 on 〈date〉"),
            (
                "/tmp/.tmpAb12/x /dev/pts/7",
                "/tmp/〈name〉/x /dev/pts/〈n〉",
            ),
            (
                "pipe:[4242] and mnt:[4026531841]",
                "pipe:[〈inode〉] and mnt:[〈inode〉]",
            ),
            (
                "127.0.0.1:43210, port 50000",
                "127.0.0.1:〈port〉, port 〈port〉",
            ),
            ("/home/me/course/notebooks/a", "〈course〉/notebooks/a"),
            ("\u{1b}[31mred\u{1b}[0m  \n\n", "red"),
        ]);
    }

    #[test]
    fn tables_are_compared_without_their_widths() {
        let table = |first: &str, second: &str, pid: &str| {
            format!(
                "2 system calls\n{:>9}  {:>5}  CALL   RESULT\n{first:>9}  {pid:>5}  write      12\n\
                 {second:>9}  {pid:>5}  read     4096\n\n{pid} bytes",
                "TIME", "PID"
            )
        };
        assert_eq!(
            redact(&table("1.5 µs", "1.25 ms", "4096"), ""),
            "2 system calls\nTIME  PID  CALL  RESULT\n〈duration〉  〈pid A〉  write  12\n\
             〈duration〉  〈pid A〉  read  4096\n\n4096 bytes"
        );
        assert_eq!(
            redact(&table("1.5 µs", "1.25 ms", "77"), "").replace("77", "4096"),
            redact(&table("10.25 µs", "1 ns", "4096"), "")
        );
    }

    #[test]
    fn an_indentation_that_means_something_stays() {
        check(&[
            ("init\n  sh\n    sleep", "init\n  sh\n    sleep"),
            ("a     b", "a  b"),
        ]);
    }

    #[test]
    fn nothing_is_changed_twice() {
        let once = redact("pid 4242 took 3 ms at 0x7ffd5e8a1000, 12:00:01", "");
        assert_eq!(redact(&once, ""), once);
    }
}
