//! `cargo xtask watch`, driven by keys over a terminal: a save gives a verdict, nothing that a learner writes
//! blocks a key, and the terminal is afterwards as it was.

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use support::course::{Course, Exercise};
use support::site::{Site, wait};
use support::traces;

/// No answer is this late on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(60);

const WRONG: &str = "pub fn answer() -> u32 {\n    println!(\"the answer is 42\");\n    41\n}\n";
const RIGHT: &str = "pub fn answer() -> u32 {\n    println!(\"the answer is 42\");\n    42\n}\n";
const TODO: &str = "pub fn answer() -> u32 {\n    todo!(\"think\")\n}\n";
const ENDLESS: &str = "pub fn answer() -> u32 {\n    loop {}\n}\n";
const BROKEN: &str = "pub fn answer() -> u32 {\n    \"42\"\n}\n";

/// A terminal of 80 × 24 in which `watch` runs.
struct Watched {
    child: Child,
    terminal: File,
    /// Our own handle on the side of `watch`: it is asked what the settings are.
    side: File,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Watched {
    fn start(site: &Site, editor: &str) -> Self {
        let [rows, columns] = [24, 80].map(|count: u16| NonZero::new(count).expect("not 0"));
        let size = Winsize {
            ws_row: rows.get(),
            ws_col: columns.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a terminal");
        let side = File::from(slave);
        let before = tcgetattr(&side).expect("a terminal has settings");
        let end = || Stdio::from(side.try_clone().expect("a duplicate"));
        let mut command: Command = site.command(&["watch"]);
        command
            .env("TERM", "xterm-256color")
            .env("EDITOR", editor)
            .env_remove("VISUAL")
            .stdin(end())
            .stdout(end())
            .stderr(end());
        // SAFETY: setsid(2) and ioctl(2) are async-signal-safe, and take no memory of ours.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().expect("xtask runs");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let terminal = File::from(master);
        let mut read = terminal.try_clone().expect("a duplicate");
        let seen = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO when the last process has closed the terminal.
            while let Ok(count @ 1..) = read.read(&mut bytes) {
                seen.lock()
                    .expect("no holder panics")
                    .process(&bytes[..count]);
            }
        });
        Self {
            child,
            terminal,
            side,
            before,
            screen,
        }
    }

    fn text(&self) -> String {
        let parser = self.screen.lock().expect("no holder panics");
        parser.screen().contents()
    }

    /// Waits until the screen shows all of `words`.
    fn shows(&mut self, words: &[&str]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if words.iter().all(|word| text.contains(word)) {
                return;
            }
            assert!(
                Instant::now() < until && self.child.try_wait().unwrap().is_none(),
                "no {words:?} on the screen:\n{text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).expect("a key");
    }

    /// Ends with `code`, and leaves the terminal as it was.
    fn ends(mut self, code: Option<i32>) {
        let status = wait(&mut self.child, PATIENCE).expect("watch ends");
        assert_eq!(status.code(), code);
        assert_eq!(
            tcgetattr(&self.side).expect("still a terminal"),
            self.before,
            "the terminal's settings"
        );
        let until = Instant::now() + PATIENCE;
        let left = || {
            let parser = self.screen.lock().expect("no holder panics");
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        };
        while !left() {
            assert!(Instant::now() < until, "still in full screen, or no cursor");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn save(course: &Path, exercise: &Exercise, text: &str) {
    std::fs::write(course.join(exercise.file()), text).expect("a learner's file");
}

/// A course of two, as it was given.
fn fresh() -> (Course, [Exercise; 2], Site) {
    let exercises = [Exercise::new("first", TODO), Exercise::new("second", TODO)];
    let course = Course::make(&exercises);
    let _ = std::fs::remove_dir_all(course.root.join(".syslab"));
    let site = Site::in_place(&course);
    (course, exercises, site)
}

#[test]
fn from_a_fresh_course_to_a_solved_one_by_keys() {
    let (course, [first, second], site) = fresh();
    // An editor that does its work and ends.
    let editor = site.tmp.join("editor");
    std::fs::write(
        &editor,
        format!("#!/bin/sh\ncat > \"$2\" <<'END'\n{RIGHT}END\n"),
    )
    .expect("a script");
    let mut watched = Watched::start(&site, &format!("sh {}", editor.display()));
    watched.shows(&["0 of 2 solved", "first", "todo", "0/1", "think"]);

    save(&course.root, &first, BROKEN);
    watched.shows(&["does not compile", "E0308", "mismatched types"]);
    save(&course.root, &first, WRONG);
    watched.shows(&["failed", "the answer is 41"]);
    watched.press("t");
    watched.shows(&["write"]);
    watched.press("t");
    watched.shows(&["the answer is 41"]);

    // Whoever saves another file looks at that one.
    save(&course.root, &second, WRONG);
    watched.shows(&["second", "the answer is 41"]);
    watched.press("p");
    watched.shows(&["first", "the answer is 41"]);
    watched.press("e");
    watched.shows(&["passed", "1 of 2 solved", "did what it promises"]);
    watched.press("n");
    watched.shows(&["second", "failed"]);
    watched.press("lfirst");
    watched.shows(&["search: first"]);
    watched.press("\r");
    watched.shows(&["first", "passed"]);
    watched.press("r");
    watched.shows(&["back as it was given?"]);
    watched.press("y");
    watched.shows(&["todo", "yours is kept: .syslab/backup/"]);
    watched.press("q");
    watched.ends(Some(0));

    let kept = find(&course.root.join(".syslab/backup"), "first.rs");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), RIGHT);
    // The next day: where one was.
    let mut watched = Watched::start(&site, "true");
    watched.shows(&["first", "todo", "1 of 2 solved"]);
    watched.press("\x03");
    watched.ends(Some(0));
}

#[test]
fn an_endless_loop_blocks_no_key_and_a_save_ends_it() {
    let (course, [first, _], site) = fresh();
    save(&course.root, &first, ENDLESS);
    let mut watched = Watched::start(&site, "true");
    watched.shows(&["graded: 0 of 1"]);
    watched.press("h");
    watched.shows(&["has no hints"]);
    save(&course.root, &first, RIGHT);
    watched.shows(&["did what it promises"]);
    save(&course.root, &first, ENDLESS);
    watched.shows(&["graded: 0 of 1"]);
    watched.press("q");
    watched.ends(Some(0));
    assert_eq!(traces::running(&site.marks), Vec::<String>::new());
}

#[test]
fn sigterm_leaves_a_clean_terminal_and_no_process() {
    let (course, [first, _], site) = fresh();
    save(&course.root, &first, ENDLESS);
    let mut watched = Watched::start(&site, "true");
    watched.shows(&["graded: 0 of 1"]);
    let pid = Pid::from_raw(watched.child.id().cast_signed());
    kill(pid, Signal::SIGTERM).expect("our own child");
    watched.ends(Some(130));
    assert_eq!(traces::running(&site.marks), Vec::<String>::new());
}

/// The file of this name below `folder`.
fn find(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                return path;
            }
        }
    }
    panic!("no {name} below {}", folder.display());
}

#[test]
fn an_answer_is_never_blessed_as_what_everybody_is_given() {
    let (course, [first, _], site) = fresh();
    save(&course.root, &first, RIGHT);
    let ran = site.run(&["bless", "--manifest-only"], PATIENCE);
    assert_eq!(ran.code(), Some(2), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("is an answer") && ran.stderr.contains("cargo xtask reset first"),
        "{}",
        ran.stderr
    );
    let text = std::fs::read_to_string(course.root.join(first.file())).unwrap();
    assert_eq!(text, RIGHT);
}
