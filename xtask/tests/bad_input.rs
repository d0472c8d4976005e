//! Whatever is wrong around the grader is one error that names the thing and the next command, and loses nothing.

mod support;

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::course::{Built, Course, Exercise, put};
use support::site::{Ran, Site, run, wait};
use support::traces;

/// Long enough for a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);

/// A course with a right answer, another one, and one that never ends; compiled once for all tests.
fn built() -> &'static (Course, Built) {
    static BUILT: OnceLock<(Course, Built)> = OnceLock::new();
    BUILT.get_or_init(|| {
        let endless =
            "pub fn answer() -> u32 {\n    loop {\n        std::hint::spin_loop();\n    }\n}\n";
        let exercises = [
            Exercise::right("first"),
            Exercise::right("second"),
            Exercise {
                seconds: 100.0,
                ..Exercise::new("endless", endless)
            },
        ];
        let course = Course::make(&exercises);
        let built = course.build(|_| true);
        (course, built)
    })
}

/// A copy of it, to be spoilt.
fn site() -> Site {
    let (course, built) = built();
    Site::copied(course, built, None)
}

/// It stopped with status 2, and said all of `parts`.
#[track_caller]
fn refused(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.code(), Some(2), "{}\n{}", ran.stdout, ran.stderr);
    for part in parts.iter().chain(&["error:", "next:"]) {
        assert!(
            ran.stderr.contains(part),
            "{part:?} is not in: {}",
            ran.stderr
        );
    }
}

#[track_caller]
fn outcomes(ran: &Ran) -> Vec<(String, String)> {
    let document = ran.document();
    let all = document["exercises"].as_array().expect("a list");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    all.iter()
        .map(|graded| (text(&graded["slug"]), text(&graded["outcome"])))
        .collect()
}

fn outcome<'a>(of: &'a [(String, String)], slug: &str) -> &'a str {
    of.iter()
        .find(|(name, _)| name == slug)
        .map_or("", |(_, outcome)| outcome)
}

#[test]
fn broken_list_names_the_line() {
    let site = site();
    put(
        &site.course.join("exercises/exercises.toml"),
        b"[[exercise]]\nslug = 3\n",
    );
    refused(
        &site.run(&["check"], LIMIT),
        &[
            "exercises.toml is broken",
            "slug = 3",
            "git checkout -- exercises/exercises.toml",
        ],
    );
}

#[test]
fn missing_list_is_named() {
    let site = site();
    std::fs::remove_file(site.course.join("exercises/exercises.toml")).unwrap();
    refused(
        &site.run(&["list"], LIMIT),
        &["exercises.toml", "No such file", "git checkout"],
    );
}

#[test]
fn missing_exercise_names_the_file_and_reset_brings_it_back() {
    let site = site();
    let file = built().0.exercises[0].file();
    std::fs::remove_file(site.course.join(&file)).unwrap();
    refused(
        &site.run(&["check"], LIMIT),
        &[&file, "is missing", "cargo xtask reset first"],
    );
    assert_eq!(site.run(&["reset", "first"], LIMIT).code(), Some(0));
    assert_eq!(
        outcome(
            &outcomes(&site.run(&["check", "first", "--json"], LIMIT)),
            "first"
        ),
        "passed"
    );
}

#[test]
fn unknown_exercise_suggests_the_nearest() {
    refused(
        &site().run(&["check", "secnod"], LIMIT),
        &["\"secnod\"", "did you mean `cargo xtask check second`?"],
    );
}

#[test]
fn missing_cargo_is_named() {
    let site = site();
    let mut command = site.command(&["check"]);
    command.env("CARGO", "/nowhere/cargo");
    refused(
        &run(command, LIMIT),
        &["cannot run /nowhere/cargo", "rustup"],
    );
}

#[test]
fn missing_rustc_is_named() {
    let site = Site::in_place(&built().0);
    let mut command = site.command(&["check", "first", "--fresh"]);
    command.env("RUSTC", "/nowhere/rustc");
    refused(&run(command, LIMIT), &["/nowhere/rustc", "rustup"]);
}

#[test]
fn missing_tmpdir_is_named() {
    let site = site();
    let mut command = site.command(&["check"]);
    command.env("TMPDIR", "/nowhere/at/all");
    refused(
        &run(command, LIMIT),
        &["cannot make a folder in /nowhere/at/all", "set TMPDIR"],
    );
}

/// `program` with `setup` done first, in user and mount namespaces of its own; none where there are none.
fn with_mounts(setup: &str, inner: &Command) -> Option<Command> {
    let offered = Command::new("unshare")
        .args(["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !offered.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this machine does not let this user mount anything in a namespace");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["-Urm", "sh", "-ec", &format!("{setup}; exec \"$@\""), "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir("/");
    Some(command)
}

#[test]
fn full_tmpdir_is_named() {
    let site = site();
    let inner = site.command(&["check"]);
    let setup = "mount -t tmpfs -o size=4k,nr_inodes=1 none \"$TMPDIR\"";
    if let Some(command) = with_mounts(setup, &inner) {
        refused(
            &run(command, LIMIT),
            &[
                "cannot make a folder in",
                "No space left on device",
                "make room",
            ],
        );
    }
}

#[test]
fn read_only_checkout_is_named() {
    let site = Site::in_place(&built().0);
    let mut inner = site.command(&["check"]);
    inner.env_remove("CARGO_TARGET_DIR");
    let setup =
        "mount --bind \"$SYSLAB_ROOT\" \"$SYSLAB_ROOT\"; mount -o remount,bind,ro \"$SYSLAB_ROOT\"";
    if let Some(command) = with_mounts(setup, &inner) {
        refused(
            &run(command, LIMIT),
            &["cargo cannot write its target folder", "CARGO_TARGET_DIR"],
        );
    }
}

#[test]
fn results_that_cannot_be_kept_are_said_and_grading_goes_on() {
    let site = site();
    put(
        &site.course.join(".syslab"),
        b"a file where a folder is wanted",
    );
    let ran = site.run(&["check", "first"], LIMIT);
    assert_eq!(ran.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 of 1 exercises"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("cannot keep results in"),
        "{}",
        ran.stdout
    );
}

#[test]
fn missing_and_broken_manifests_are_named() {
    let site = site();
    let manifest = site.course.join("exercises/manifest.txt");
    put(&manifest, b"not a manifest\n");
    refused(
        &site.run(&["check"], LIMIT),
        &[
            "manifest.txt has a broken line",
            "git checkout -- exercises/manifest.txt",
        ],
    );
    std::fs::remove_file(manifest).unwrap();
    refused(
        &site.run(&["check"], LIMIT),
        &["cannot read exercises/manifest.txt", "git checkout"],
    );
}

#[test]
fn unreadable_results_are_kept_aside() {
    let site = site();
    put(&site.course.join(".syslab/results.json"), b"{ half a res");
    let ran = site.run(&["check", "first"], LIMIT);
    assert_eq!(ran.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("could not be read; it is kept as"),
        "{}",
        ran.stderr
    );
    let entries = std::fs::read_dir(site.course.join(".syslab"))
        .unwrap()
        .flatten();
    let kept = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    assert!(kept.into_iter().any(|text| text == "{ half a res"));
}

#[test]
fn reset_keeps_what_was_there() {
    let site = site();
    let file = site.course.join(built().0.exercises[0].file());
    let given = std::fs::read(&file).unwrap();
    put(&file, b"// an evening's work\n");
    let ran = site.run(&["reset", "first"], LIMIT);
    assert_eq!(ran.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(std::fs::read(&file).unwrap(), given);
    let kept = ran
        .stdout
        .lines()
        .find_map(|line| line.split_once("yours is kept: "))
        .expect("where it is kept")
        .1;
    assert_eq!(
        std::fs::read_to_string(kept).unwrap(),
        "// an evening's work\n"
    );
}

#[test]
fn reset_that_cannot_back_up_changes_nothing() {
    let site = site();
    let file = site.course.join(built().0.exercises[0].file());
    put(&file, b"// an evening's work\n");
    put(
        &site.course.join(".syslab"),
        b"a file where a folder is wanted",
    );
    refused(
        &site.run(&["reset", "first"], LIMIT),
        &["cannot back up", "nothing was changed"],
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "// an evening's work\n"
    );
}

#[test]
fn two_checks_at_once_keep_both_results() {
    let site = site();
    let mut children = ["first", "second"].map(|slug| {
        let mut command = site.command(&["check", slug]);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    });
    for child in &mut children {
        let status = wait(child, LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
    }
    let text = std::fs::read_to_string(site.course.join(".syslab/results.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).expect("whole");
    for target in ["ch66_first", "ch66_second"] {
        assert_eq!(
            kept["exercises"][target]["solved"], true,
            "{target}: {text}"
        );
    }
}

#[test]
fn help_documents_every_exit_status() {
    let ran = site().run(&["check", "--help"], LIMIT);
    for line in [
        "0    everything",
        "1    something did not pass",
        "2    the grader itself",
        "130  stopped by Ctrl-C",
    ] {
        assert!(
            ran.stdout.contains(line),
            "{line:?} is not in {}",
            ran.stdout
        );
    }
}

/// The grader on a terminal of its own, with a check that never ends, as soon as the first result is kept.
struct OnTerminal {
    site: Site,
    child: std::process::Child,
    terminal: OwnedFd,
    before: nix::sys::termios::Termios,
}

impl OnTerminal {
    fn start() -> Self {
        let site = site();
        let pty = nix::pty::openpty(None, None).expect("a pty");
        let before = nix::sys::termios::tcgetattr(&pty.master).unwrap();
        let mut command = site.command(&["check", "--jobs", "2"]);
        let slave = || std::process::Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        // SAFETY: both calls take integers only and are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(pty.slave);
        let running = Self {
            site,
            child,
            terminal: pty.master,
            before,
        };
        running.drain();
        let until = Instant::now() + LIMIT;
        while !["ch66_first", "ch66_second"]
            .iter()
            .all(|target| running.kept(target))
        {
            assert!(Instant::now() < until, "no result was kept");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// Reads what is printed, so that the grader never waits for it.
    fn drain(&self) {
        let mut terminal = std::fs::File::from(self.terminal.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut terminal, &mut std::io::sink()));
    }

    fn kept(&self, target: &str) -> bool {
        let text = std::fs::read_to_string(self.site.course.join(".syslab/results.json"))
            .unwrap_or_default();
        text.contains(&format!("\"{target}\""))
    }
}

#[test]
fn ctrl_c_keeps_results_and_leaves_nothing_running() {
    let mut running = OnTerminal::start();
    nix::unistd::write(running.terminal.as_fd(), b"\x03").unwrap();
    let status = wait(&mut running.child, LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130), "{status:?}");
    assert!(
        running.kept("ch66_first") && running.kept("ch66_second") && !running.kept("ch66_endless")
    );
    let none: [String; 0] = [];
    assert_eq!(traces::running(&running.site.marks), none);
    let after = nix::sys::termios::tcgetattr(&running.terminal).unwrap();
    assert_eq!(after.local_flags, running.before.local_flags);
    assert_eq!(after.input_flags, running.before.input_flags);
    assert_eq!(after.output_flags, running.before.output_flags);
    let left: Vec<_> = std::fs::read_dir(&running.site.tmp)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "left in TMPDIR: {left:?}");
}

#[test]
fn killed_grader_leaves_nothing_running() {
    let mut running = OnTerminal::start();
    running.child.kill().unwrap();
    wait(&mut running.child, LIMIT).expect("it ends");
    let until = Instant::now() + Duration::from_secs(30);
    while !traces::running(&running.site.marks).is_empty() && Instant::now() < until {}
    let none: [String; 0] = [];
    assert_eq!(traces::running(&running.site.marks), none);
    assert!(running.kept("ch66_first"));
}

#[test]
fn a_folder_that_is_not_the_course_says_so() {
    let site = site();
    let mut command = site.command(&["check"]);
    command
        .env_remove("SYSLAB_ROOT")
        .current_dir(Path::new("/"));
    refused(
        &run(command, LIMIT),
        &["/ is not inside the course", "cd into the folder"],
    );
}
