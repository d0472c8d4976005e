//! What goes wrong around the grader is one clear error that names the thing and the next command; what was
//! known is kept, what runs is ended, and the terminal is as it was.

mod support;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::Value;
use support::course::{Built, CHAPTER, Course, Exercise};
use support::site::{self, NOBODY, Ran, Site, wait};
use support::traces;

const LIMIT: Duration = Duration::from_secs(120);

/// Right, wrong, and one that takes longer than any test here waits.
fn copy(uid: Option<u32>) -> Site {
    static BUILT: OnceLock<(std::path::PathBuf, Built)> = OnceLock::new();
    let (root, built) = BUILT.get_or_init(|| {
        let wrong = "pub fn answer() -> u32 {\n    41\n}\n";
        let endless =
            "pub fn answer() -> u32 {\n    loop {\n        std::thread::park();\n    }\n}\n";
        let course = Course::make(&[
            Exercise::right("right"),
            Exercise::new("wrong", wrong),
            Exercise {
                seconds: 600.0,
                limit: 600,
                ..Exercise::new("endless", endless)
            },
        ]);
        let built = course.build(|_| true);
        (course.root.clone(), built)
    });
    Site::copied(root, built, uid)
}

/// The one that runs this test; a copy's is a script.
fn real_cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A user whom permissions hold: another one when this is root.
fn somebody() -> Option<u32> {
    nix::unistd::geteuid().is_root().then_some(NOBODY)
}

/// The grader could not run: status 2, nothing on stdout, and all of `words` in the one error.
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code(), Some(2), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "");
    // One of ours; it may quote cargo's.
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("next: ").count(), 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
    }
}

fn check(site: &Site, words: &[&str]) -> Ran {
    site.run(&[&["check", "--json"], words].concat(), LIMIT)
}

fn outcomes(document: &Value) -> Vec<(&str, &str)> {
    let of = |graded: &'_ Value, key: &str| -> String {
        graded[key].as_str().unwrap_or_default().to_owned()
    };
    let all = document["exercises"].as_array().expect("exercises").iter();
    all.map(|graded| {
        (
            of(graded, "slug").leak() as &str,
            of(graded, "outcome").leak() as &str,
        )
    })
    .collect()
}

/// The slugs whose results are kept, with their outcomes.
fn kept(site: &Site) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(site.course.join(".syslab/results.json"))
        .unwrap_or_else(|_| "{}".into());
    let file: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let records = file["exercises"].as_object().into_iter().flatten();
    records
        .filter_map(|(target, record)| {
            Some((
                target.clone(),
                record["last"]["outcome"].as_str()?.to_owned(),
            ))
        })
        .collect()
}

fn is_kept(site: &Site, slug: &str, outcome: &str) -> bool {
    kept(site).contains(&(format!("ch66_{slug}"), outcome.to_owned()))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

// The course.

#[test]
fn a_broken_list_is_named_with_its_line() {
    let site = copy(None);
    let list = site.course.join("exercises/exercises.toml");
    std::fs::write(
        &list,
        "[[exercise]]\nchapter = \"ch66_hostile\nslug = \"right\"\n",
    )
    .unwrap();
    refused(
        &check(&site, &[]),
        &[
            "exercises/exercises.toml is broken",
            "line 2",
            "git checkout -- exercises/exercises.toml",
        ],
    );
    std::fs::remove_file(&list).unwrap();
    refused(
        &check(&site, &[]),
        &[
            "cannot read",
            "exercises.toml: No such file",
            "git checkout --",
        ],
    );
}

#[test]
fn a_list_that_names_a_missing_file_is_refused() {
    let site = copy(None);
    let test = format!("exercises/tests/ch66_{}.rs", "wrong");
    std::fs::remove_file(site.course.join(&test)).unwrap();
    std::fs::remove_dir_all(site.course.join(".git")).unwrap();
    // Not by the learner: the manifest agrees.
    let manifest = site.course.join("exercises/manifest.txt");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.ends_with(&test)).collect();
    std::fs::write(&manifest, without.join("\n")).unwrap();
    refused(
        &check(&site, &[]),
        &[
            "names wrong, but",
            &test,
            "is missing",
            &format!("git checkout -- {test}"),
        ],
    );
}

#[test]
fn a_missing_exercise_can_be_had_again() {
    let site = copy(None);
    let file = site.course.join(format!("exercises/{CHAPTER}/wrong.rs"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    refused(
        &check(&site, &[]),
        &["wrong.rs is missing", "cargo xtask reset wrong"],
    );
    let ran = site.run(&["reset", "wrong"], LIMIT);
    assert_eq!(ran.code(), Some(0), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn whatever_stands_in_an_exercises_place_is_named_and_kept_by_reset() {
    let site = copy(somebody());
    let path = format!("exercises/{CHAPTER}/wrong.rs");
    let file = site.course.join(&path);
    let given = std::fs::read_to_string(&file).unwrap();
    type Make = fn(&Path);
    let cases: [(&str, &str, Make); 5] = [
        (
            "it is not a regular file",
            "cargo xtask reset wrong",
            |file| {
                std::fs::create_dir(file).unwrap();
                std::fs::write(file.join("mine"), "mine").unwrap();
            },
        ),
        (
            "it is not a regular file",
            "cargo xtask reset wrong",
            |file| {
                nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap();
            },
        ),
        ("symbolic links", "cargo xtask reset wrong", |file| {
            std::os::unix::fs::symlink("wrong.rs", file).unwrap();
        }),
        ("is missing", "cargo xtask reset wrong", |file| {
            std::os::unix::fs::symlink("/nowhere/at/all", file).unwrap();
        }),
        ("Permission denied", "chmod u+r", |file| {
            std::fs::write(file, "mine").unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o0)).unwrap();
        }),
    ];
    for (what, next, make) in cases {
        std::fs::remove_file(&file).unwrap();
        make(&file);
        std::os::unix::fs::lchown(&file, somebody(), None).unwrap();
        let before = file.symlink_metadata().unwrap();
        refused(&check(&site, &[]), &[&path, what, next]);
        refused(&site.run(&["show", "wrong"], LIMIT), &[&path, what, next]);
        let ran = site.run(&["reset", "wrong"], LIMIT);
        assert_eq!(ran.code(), Some(0), "{what}: {}", ran.stderr);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), given);
        let mut lines = ran.stdout.lines();
        let kept = lines.find_map(|line| line.trim().strip_prefix("yours is kept: "));
        let kept = Path::new(kept.expect("a path")).symlink_metadata().unwrap();
        assert_eq!(kept.file_type(), before.file_type(), "{what}");
        assert_eq!(kept.permissions(), before.permissions(), "{what}");
    }
    let mine = walk(&site.course.join(".syslab/backup"));
    assert!(
        mine.iter().any(|path| path.ends_with("wrong.rs/mine")),
        "{mine:?}"
    );
}

#[test]
fn an_unknown_exercise_suggests_the_nearest() {
    let site = copy(None);
    refused(
        &check(&site, &["rihgt"]),
        &["\"rihgt\"", "did you mean `cargo xtask check right`?"],
    );
    refused(
        &check(&site, &["right", "xyzzy"]),
        &["\"xyzzy\"", "cargo xtask list"],
    );
    refused(
        &site.run(&["hint", "rihgt"], LIMIT),
        &["\"rihgt\"", "did you mean `cargo xtask hint right`?"],
    );
    refused(
        &site.run(&["reset", CHAPTER], LIMIT),
        &[CHAPTER, "3 exercises; name one"],
    );
}

#[test]
fn a_list_without_what_was_asked_for_is_no_pass() {
    let site = copy(None);
    let list = site.course.join("exercises/exercises.toml");
    let text = std::fs::read_to_string(&list).unwrap();
    let moved = text.replace("slug = \"right\"", "slug = \"rigth\"");
    std::fs::write(&list, moved).unwrap();
    refused(
        &check(&site, &["rigth"]),
        &[
            "exercises/exercises.toml was changed",
            "it has no ch66_rigth",
            "git checkout -- exercises/exercises.toml",
        ],
    );
}

#[test]
fn doctor_says_that_the_list_is_broken() {
    let site = copy(None);
    let list = site.course.join("exercises/exercises.toml");
    std::fs::write(&list, "[[exercise]]\nslug = 3\n").unwrap();
    let ran = site.run(&["doctor"], LIMIT);
    assert_eq!(ran.code(), Some(2), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("cargo") && !ran.stdout.contains("ready"),
        "{}",
        ran.stdout
    );
    for words in ["exercises/exercises.toml is broken", "git checkout --"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

#[test]
fn a_number_that_makes_no_sense_is_refused() {
    let site = copy(None);
    let ran = site.run(&["check", "--jobs", "0"], LIMIT);
    assert_eq!(ran.code(), Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("--jobs"), "{}", ran.stderr);
}

#[test]
fn a_broken_manifest_is_named_with_its_line() {
    let site = copy(None);
    let manifest = site.course.join("exercises/manifest.txt");
    std::fs::write(&manifest, "0123 exercises/tests/../../etc\n").unwrap();
    refused(
        &check(&site, &[]),
        &[
            "exercises/manifest.txt has a broken line: \"0123",
            "git checkout --",
        ],
    );
    std::fs::remove_file(&manifest).unwrap();
    refused(
        &check(&site, &[]),
        &["cannot read exercises/manifest.txt", "git checkout --"],
    );
}

#[test]
fn outside_the_course_is_told_the_way_back() {
    let site = copy(None);
    let mut command = site.command(&["check"]);
    command.env_remove("SYSLAB_ROOT").current_dir("/");
    refused(
        &site::run(command, LIMIT),
        &["/ is not inside the course", "cd into"],
    );
}

// The tools.

#[test]
fn without_cargo_or_rustc_the_way_to_them_is_named() {
    let site = copy(None);
    let mut command = site.command(&["check", "--json"]);
    command.env("CARGO", "/nowhere/cargo");
    refused(
        &site::run(command, LIMIT),
        &["cannot run /nowhere/cargo", "https://rustup.rs"],
    );
    let mut command = site.command(&["check", "--json"]);
    command.env_remove("CARGO").env("PATH", "/nowhere");
    refused(
        &site::run(command, LIMIT),
        &["cannot run cargo", "https://rustup.rs"],
    );

    let mut command = site.command(&["check", "--json"]);
    command
        .env("CARGO", real_cargo())
        .env("RUSTC", "/nowhere/rustc");
    refused(
        &site::run(command, LIMIT),
        &["cargo cannot run rustc", "/nowhere/rustc", "rustup"],
    );
}

#[test]
fn a_cargo_that_talks_nonsense_is_quoted() {
    let site = copy(None);
    let cargo = site.tmp.join("../cargo");
    std::fs::write(
        &cargo,
        "#!/bin/sh\necho 'no JSON'; echo 'error: the moon is full' >&2; exit 101\n",
    )
    .unwrap();
    refused(
        &check(&site, &[]),
        &["cargo could not build the exercises", "the moon is full"],
    );
}

#[test]
fn what_the_machine_lacks_is_no_verdict() {
    let site = copy(None);
    let cargo = site.tmp.join("../cargo");
    // As rustc and cargo say it: no place in a text.
    let of_rustc = |rendered: &str| {
        let message = serde_json::json!({
            "reason": "compiler-message",
            "target": { "name": "ch66_wrong", "kind": ["test"] },
            "message": { "level": "error", "rendered": rendered, "spans": [] },
        });
        format!("#!/bin/sh\ncat <<'END'\n{message}\nEND\nexit 101\n")
    };
    let of_cargo = "#!/bin/sh\ncat >&2 <<'END'\nerror: could not compile `exercises` (test \"ch66_wrong\")\n\nCaused by:\n  No space left on device (os error 28)\nEND\nexit 101\n";
    for (script, words) in [
        (
            of_rustc(
                "error: linker `cc` not found\n  |\n  = note: No such file or directory (os error 2)\n",
            ),
            ["rustc cannot link", "`cc` not found", "gcc"],
        ),
        (
            of_rustc(
                "error: linking with `cc` failed: exit status: 1\n  |\n  = note: final link failed: No space left on device\n",
            ),
            ["the disk is full", "final link failed", "df -h"],
        ),
        (
            of_cargo.into(),
            ["the disk is full", "No space left on device", "df -h"],
        ),
    ] {
        std::fs::write(&cargo, script).unwrap();
        refused(&check(&site, &["wrong"]), &words);
        assert_eq!(kept(&site), []);
    }
}

#[test]
fn without_git_that_is_what_is_missing() {
    let site = copy(None);
    let file = site.course.join(format!("exercises/{CHAPTER}/wrong.rs"));
    std::fs::write(&file, "// mine\n").unwrap();
    for arguments in [&["reset", "wrong"][..], &["update"]] {
        let mut command = site.command(arguments);
        command.env("PATH", "/nowhere");
        refused(
            &site::run(command, LIMIT),
            &["git", "No such file or directory", "cargo xtask doctor"],
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "// mine\n");
}

// Places to write to.

#[test]
fn a_tmpdir_that_cannot_be_used_is_named() {
    let site = copy(somebody());
    let mut command = site.command(&["check"]);
    command.env("TMPDIR", "/nowhere/at/all");
    refused(
        &site::run(command, LIMIT),
        &["cannot make a folder in /nowhere/at/all", "TMPDIR"],
    );
    std::fs::set_permissions(&site.tmp, std::fs::Permissions::from_mode(0o555)).unwrap();
    refused(
        &check(&site, &[]),
        &["cannot make a folder in", "Permission denied", "TMPDIR"],
    );
}

#[test]
fn a_full_tmpdir_is_named() {
    let site = copy(None);
    let mut command = site.command(&["check", "--json", "right"]);
    let tmp = site.tmp.clone();
    let full = in_mounts(&mut command, move || memory(&tmp, "size=4k,nr_inodes=1"));
    if full {
        refused(
            &site::run(command, LIMIT),
            &[
                "cannot make a folder in",
                "No space left on device",
                "make room",
            ],
        );
    }
}

#[test]
fn a_read_only_checkout_is_named() {
    let site = copy(None);
    let mut command = site.command(&["check", "--json"]);
    command
        .env("CARGO", real_cargo())
        .env_remove("CARGO_TARGET_DIR");
    let root = site.course.clone();
    if in_mounts(&mut command, move || read_only(&root)) {
        let words = [
            "cargo cannot write its target folder",
            "Read-only file system",
            "CARGO_TARGET_DIR",
        ];
        refused(&site::run(command, LIMIT), &words);
    }
}

#[test]
fn results_that_cannot_be_kept_are_shown_all_the_same() {
    let site = copy(somebody());
    std::fs::set_permissions(&site.course, std::fs::Permissions::from_mode(0o555)).unwrap();
    let ran = check(&site, &["right", "wrong"]);
    let document = ran.document();
    assert_eq!(ran.code(), Some(1));
    assert_eq!(
        outcomes(&document),
        [("right", "passed"), ("wrong", "failed")]
    );
    let notices = document["notices"].to_string();
    assert_eq!(
        notices.matches("cannot keep results in").count(),
        1,
        "{notices}"
    );
    let ran = site.run(&["check", "right"], LIMIT);
    assert_eq!(ran.code(), Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("cannot keep results in") && ran.stdout.contains("next: make room"),
        "{}",
        ran.stdout
    );
    std::fs::set_permissions(&site.course, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_disk_loses_neither_results_nor_an_exercise() {
    let site = copy(None);
    assert_eq!(check(&site, &["right"]).code(), Some(0));
    let (results, wrong) = (
        site.course.join(".syslab/results.json"),
        format!("exercises/{CHAPTER}/wrong.rs"),
    );
    let before = std::fs::read(&results).unwrap();
    let mine = format!(
        "// mine\n{}",
        std::fs::read_to_string(site.course.join(&wrong)).unwrap()
    );
    std::fs::write(site.course.join(&wrong), &mine).unwrap();

    let syslab = site.course.join(".syslab");
    let fill = move |results: &[u8]| {
        memory(&syslab, "size=4k")?;
        // The results as they were, and nothing free besides.
        std::fs::write(
            syslab.join("results.json"),
            &results[..results.len().min(4096)],
        )
    };
    let mut command = site.command(&["reset", "wrong"]);
    let (filled, text) = (fill.clone(), before.clone());
    if !in_mounts(&mut command, move || filled(&text)) {
        return;
    }
    refused(
        &site::run(command, LIMIT),
        &[
            "cannot back up",
            &wrong,
            "No space left",
            "nothing was changed",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(site.course.join(&wrong)).unwrap(),
        mine
    );

    // A look at what the grader left on the full disk, in the namespace where that is.
    let mut command = site.command(&["check", "--json", "--fresh", "wrong"]);
    let text = before.clone();
    assert!(in_mounts(&mut command, move || fill(&text)));
    let document = site::run(command, LIMIT).document();
    assert_eq!(outcomes(&document), [("wrong", "failed")]);
    assert!(
        document["notices"].to_string().contains("No space left"),
        "{}",
        document["notices"]
    );
    assert_eq!(std::fs::read(&results).unwrap(), before);
}

#[test]
fn broken_results_are_kept_aside() {
    let site = copy(None);
    let folder = site.course.join(".syslab");
    std::fs::create_dir(&folder).unwrap();
    for broken in [
        &b"{\"version\": 1, \"exerc"[..],
        b"\xff\xfe",
        b"{\"version\": 99, \"exercises\": {}}",
    ] {
        std::fs::write(folder.join("results.json"), broken).unwrap();
        let ran = check(&site, &["right"]);
        assert_eq!(ran.code(), Some(0), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("could not be read; it is kept as"),
            "{}",
            ran.stderr
        );
        let is_it = |path: &Path| std::fs::read(path).is_ok_and(|bytes| bytes == broken);
        let mut names = std::fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        assert!(names.any(|path| is_it(&path)), "{broken:?} is gone");
        assert!(is_kept(&site, "right", "passed"));
        // Their name is of the second.
        std::thread::sleep(Duration::from_millis(1100));
    }
}

#[test]
fn reset_keeps_what_the_learner_wrote() {
    let site = copy(None);
    let file = site.course.join(format!("exercises/{CHAPTER}/right.rs"));
    let given = std::fs::read_to_string(&file).unwrap();
    for mine in ["// first\n", "// second\n"] {
        std::fs::write(&file, mine).unwrap();
        let ran = site.run(&["reset", "right"], LIMIT);
        assert_eq!(ran.code(), Some(0), "{}", ran.stderr);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), given);
        let kept = ran
            .stdout
            .lines()
            .find_map(|line| line.trim().strip_prefix("yours is kept: "));
        assert_eq!(
            std::fs::read_to_string(kept.expect("a path")).unwrap(),
            mine
        );
    }
}

#[test]
fn a_report_is_written_where_its_name_was_typed() {
    let site = copy(None);
    let folder = site.course.join("exercises");
    let mut command = site.command(&["report", "--html", "page.html"]);
    command.current_dir(&folder);
    let ran = site::run(command, LIMIT);
    assert_eq!(ran.code(), Some(0), "{}", ran.stderr);
    assert!(folder.join("page.html").is_file());
}

#[test]
fn a_report_that_cannot_be_written_is_named() {
    let site = copy(None);
    let ran = site.run(&["check", "--junit", "/nowhere/report.xml", "right"], LIMIT);
    assert_eq!(ran.code(), Some(2), "{}", ran.stdout);
    assert!(
        ran.stderr
            .contains("cannot write the JUnit report /nowhere/report.xml"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("next: "), "{}", ran.stderr);
    let report = site.tmp.join("report.xml");
    let ran = site.run(
        &["check", "--junit", report.to_str().unwrap()],
        Duration::from_secs(1),
    );
    assert_eq!(ran.status, None, "it waits for the endless one");
}

// The end of it.

#[test]
fn help_names_the_exit_codes() {
    let site = copy(None);
    for arguments in [&["--help"][..], &["check", "--help"]] {
        let ran = site.run(arguments, LIMIT);
        assert_eq!(ran.code(), Some(0));
        for line in [
            "0    everything",
            "1    something",
            "2    the grader itself",
            "130  stopped",
        ] {
            assert!(ran.stdout.contains(line), "no {line:?} in: {}", ran.stdout);
        }
    }
    assert_eq!(check(&site, &["right"]).code(), Some(0));
    assert_eq!(check(&site, &["wrong"]).code(), Some(1));
    assert_eq!(
        site.run(&["check", "--no-such-flag"], LIMIT).code(),
        Some(2)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let site = copy(None);
    for arguments in [
        &["check", "right"][..],
        &["check", "--json", "right"],
        &["list"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = site.command(arguments);
        let mut errors = tempfile::tempfile().unwrap();
        let mut child = command
            .stdout(writer)
            .stderr(errors.try_clone().unwrap())
            .spawn()
            .unwrap();
        let status = wait(&mut child, LIMIT).expect("an end");
        let mut text = String::new();
        std::io::Seek::rewind(&mut errors).unwrap();
        errors.read_to_string(&mut text).unwrap();
        assert!(
            !text.contains("panicked"),
            "{arguments:?}: {status}: {text}"
        );
    }
}

#[test]
fn a_full_disk_below_stdout_is_no_panic() {
    let site = copy(None);
    for arguments in [
        &["check", "right"][..],
        &["check", "--json", "right"],
        &["list"],
    ] {
        let mut command = site.command(arguments);
        let mut errors = tempfile::tempfile().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        command.stdout(full).stderr(errors.try_clone().unwrap());
        let status = wait(&mut command.spawn().unwrap(), LIMIT).expect("an end");
        let mut text = String::new();
        std::io::Seek::rewind(&mut errors).unwrap();
        errors.read_to_string(&mut text).unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {status}: {text}");
        assert!(
            text.contains("error: cannot write to stdout: No space left"),
            "{text}"
        );
    }
}

#[test]
fn two_checks_at_once_lose_nothing() {
    let site = copy(None);
    for _ in 0..3 {
        let _ = std::fs::remove_dir_all(site.course.join(".syslab"));
        let mut both: Vec<Child> = ["right", "wrong"]
            .map(|slug| {
                let mut command = site.command(&["check", "--json", "--fresh", slug]);
                command.stdout(Stdio::null()).spawn().unwrap()
            })
            .into();
        let codes: Vec<_> = both
            .iter_mut()
            .map(|child| wait(child, LIMIT).and_then(|status| status.code()))
            .collect();
        assert_eq!(codes, [Some(0), Some(1)]);
        assert!(
            is_kept(&site, "right", "passed") && is_kept(&site, "wrong", "failed"),
            "{:?}",
            kept(&site)
        );
    }
}

#[test]
fn ctrl_c_keeps_results_ends_everything_and_restores_the_terminal() {
    for how in ["namespaces", "processes"] {
        let site = copy(None);
        let (terminal, before, mut child) =
            on_a_terminal(site.command(&["check", "--sandbox", how, "--jobs", "2"]));
        until("a result", || is_kept(&site, "right", "passed"));
        until("the endless one", || {
            traces::runs(&site.mark("ch66_endless"))
        });
        // Without namespaces a failure may be looked at again, and is kept at the end.
        until("the wrong one's end", || {
            !traces::runs(&site.mark("ch66_wrong"))
        });
        std::thread::sleep(Duration::from_secs(1));
        // As a person types it.
        nix::unistd::write(&terminal, b"\x03").unwrap();
        let status = wait(&mut child, LIMIT).expect("an end");
        let text = all_of(&terminal);
        assert_eq!(status.code(), Some(130), "{status}: {text}");
        assert!(text.contains("results so far are kept"), "{text}");
        assert!(
            is_kept(&site, "wrong", "failed") && kept(&site).len() == 2,
            "{:?}",
            kept(&site)
        );
        assert!(
            tcgetattr(&terminal).unwrap() == before,
            "the terminal's settings have changed"
        );
        // indicatif hides the cursor.
        assert!(
            text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l"),
            "the cursor is hidden: {text:?}"
        );
        let left = traces::running(&site.marks);
        assert!(left.is_empty(), "still running: {left:?}");
        assert_eq!(
            std::fs::read_dir(&site.tmp).unwrap().count(),
            0,
            "files in TMPDIR"
        );
    }
}

#[test]
fn ctrl_c_ends_a_compiler_that_does_not_listen() {
    let site = copy(None);
    let cargo = site.tmp.join("../cargo");
    std::fs::write(&cargo, "#!/bin/sh\ntrap '' INT TERM\nsleep 86399 &\nwait\n").unwrap();
    let (terminal, _, mut child) = on_a_terminal(site.command(&["check"]));
    until("the compiler", || traces::runs(&site.mark("cargo")));
    nix::unistd::write(&terminal, b"\x03").unwrap();
    let status = wait(&mut child, LIMIT).expect("an end");
    assert_eq!(status.code(), Some(130), "{status}: {}", all_of(&terminal));
    let left = traces::running(&site.marks);
    assert!(left.is_empty(), "still running: {left:?}");
}

#[test]
fn a_signal_to_the_grader_alone_is_as_good_as_ctrl_c() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let site = copy(None);
        let mut child = site
            .command(&["check", "--json"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("a result", || is_kept(&site, "right", "passed"));
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let status = wait(&mut child, LIMIT).expect("an end");
        assert_eq!(status.code(), Some(130), "{signal}: {status}");
        let left = traces::running(&site.marks);
        assert!(left.is_empty(), "{signal}: still running: {left:?}");
    }
}

#[test]
fn a_killed_grader_leaves_nothing_running() {
    for how in ["namespaces", "processes"] {
        let site = copy(None);
        let mut command = site.command(&["check", "--json", "--sandbox", how]);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        until("a result", || is_kept(&site, "right", "passed"));
        until("the endless one", || {
            traces::runs(&site.mark("ch66_endless"))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let left = traces::running(&site.marks);
        assert!(left.is_empty(), "{how}: still running: {left:?}");
        // The next one finds its way, and clears away.
        assert_eq!(check(&site, &["right"]).code(), Some(0));
        assert!(is_kept(&site, "right", "passed"));
        assert_eq!(
            std::fs::read_dir(&site.tmp).unwrap().count(),
            0,
            "files in TMPDIR"
        );
    }
}

/// Runs `command` as the leader of a session on a terminal of its own: its master, settings, and the process.
fn on_a_terminal(mut command: Command) -> (OwnedFd, nix::sys::termios::Termios, Child) {
    let pair = nix::pty::openpty(None, None).unwrap();
    let before = tcgetattr(&pair.slave).unwrap();
    assert!(
        before.local_flags.contains(LocalFlags::ISIG),
        "^C is no signal here"
    );
    let duplicate = || Stdio::from(pair.slave.try_clone().unwrap());
    command
        .stdin(duplicate())
        .stdout(duplicate())
        .stderr(duplicate())
        .env("TERM", "xterm");
    // SAFETY: setsid(2) and ioctl(2) take no memory; descriptor 0 is the terminal.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            nix::Error::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
            Ok(())
        });
    }
    let child = command.spawn().unwrap();
    (pair.master, before, child)
}

/// What has been written to the terminal.
fn all_of(terminal: &OwnedFd) -> String {
    let mut file = File::from(terminal.try_clone().unwrap());
    nix::fcntl::fcntl(
        terminal,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .unwrap();
    let mut bytes = Vec::new();
    let _ = file.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every path below `folder`.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            let is_folder = entry.file_type().unwrap().is_dir();
            let below = if is_folder { walk(&path) } else { Vec::new() };
            below.into_iter().chain([path])
        })
        .collect()
}

/// Gives the command mounts of its own, prepared by `prepare`; false where this user may not.
fn in_mounts(
    command: &mut Command,
    prepare: impl Fn() -> std::io::Result<()> + Send + Sync + Clone + 'static,
) -> bool {
    fn enter() -> std::io::Result<()> {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        if uid.is_root() {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
        } else {
            nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        }
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        let none: Option<&str> = None;
        Ok(nix::mount::mount(none, "/", none, private, none)?)
    }
    let mut probe = Command::new("true");
    let tried = prepare.clone();
    // SAFETY: system calls in a process of one thread, before exec; its allocations are glibc's own to allow.
    unsafe {
        probe.pre_exec(move || enter().and_then(|()| tried()));
        command.pre_exec(move || enter().and_then(|()| prepare()));
    }
    let can = probe.status();
    if let Err(error) = &can {
        println!("skipped: this user may not mount: {error}");
    }
    can.is_ok()
}

fn memory(at: &Path, options: &str) -> std::io::Result<()> {
    let flags = nix::mount::MsFlags::empty();
    Ok(nix::mount::mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        flags,
        Some(options),
    )?)
}

fn read_only(path: &Path) -> std::io::Result<()> {
    use nix::mount::{MsFlags, mount};
    let none: Option<&str> = None;
    mount(Some(path), path, none, MsFlags::MS_BIND, none)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    Ok(mount(none, path, none, flags, none)?)
}
