//! Whatever is done to the course, the verdict is of the exercise that was asked for, against the text that was
//! written for it.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;
use support::course::{CHAPTER, Course, Exercise, put};
use support::site::{Ran, Site};

const LIMIT: Duration = Duration::from_secs(300);

fn course(exercises: &[Exercise]) -> (Course, Site) {
    let course = Course::make(exercises);
    let site = Site::in_place(&course);
    (course, site)
}

fn wrong(slug: &str) -> Exercise {
    Exercise::new(
        slug,
        "pub fn answer() -> u32 {\n    println!(\"the answer is 42\");\n    41\n}\n",
    )
}

fn outcome<'a>(document: &'a Value, slug: &str) -> (&'a str, &'a str) {
    let all = document["exercises"].as_array().expect("exercises");
    let graded = all
        .iter()
        .find(|graded| graded["slug"] == slug)
        .expect("a verdict");
    let message = graded["message"]
        .as_str()
        .or(graded["tests"][0]["message"].as_str());
    (
        graded["outcome"].as_str().expect("an outcome"),
        message.unwrap_or_default(),
    )
}

fn check(site: &Site) -> (Ran, Value) {
    let ran = site.run(&["check", "--json"], LIMIT);
    let document = ran.document();
    (ran, document)
}

#[test]
fn what_was_changed_is_named_and_the_pristine_text_is_used() {
    let (course, site) = course(&[Exercise::right("right"), wrong("wrong")]);
    let (right, wrong) = (&course.exercises[0], &course.exercises[1]);
    let change = |path: &str, text: &str| put(&course.root.join(path), text.as_bytes());
    change(&wrong.test(), "#[test]\nfn hostile_answers() {}\n");
    change(&right.snapshot(), "---\nsource: x\n---\nanything\n");
    std::fs::remove_file(course.root.join(wrong.snapshot())).unwrap();
    let cargo = std::fs::read_to_string(course.root.join("exercises/Cargo.toml")).unwrap();
    change(
        "exercises/Cargo.toml",
        &cargo.replace(
            "solutions = []",
            "solutions = []\ndefault = [\"solutions\"]",
        ),
    );
    change(&format!("solutions/{CHAPTER}/wrong.rs"), &right.source);
    let list = std::fs::read_to_string(course.root.join("exercises/exercises.toml")).unwrap();
    change(
        "exercises/exercises.toml",
        &list.replace("limit_seconds = 120", "limit_seconds = 1"),
    );
    let run = std::fs::read_to_string(course.root.join("observe/src/run.rs")).unwrap();
    change("observe/src/run.rs", &format!("{run}\n// Changed.\n"));
    // Also what was committed meanwhile: the pristine text is in the repository under its own name.
    course.commit("Seemingly innocent");

    let (ran, document) = check(&site);
    assert_eq!(ran.code(), Some(1), "{}", ran.stderr);
    let tampered: Vec<&str> = document["tampered"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut changed = vec![
        wrong.test(),
        right.snapshot(),
        wrong.snapshot(),
        "exercises/Cargo.toml".into(),
        "exercises/exercises.toml".into(),
        "observe/src/run.rs".into(),
    ];
    changed.sort();
    assert_eq!(tampered, changed);
    assert_eq!(outcome(&document, "right"), ("passed", ""));
    assert_eq!(outcome(&document, "wrong"), ("failed", "the answer is 41"));
    std::fs::remove_dir_all(course.root.join("solutions")).unwrap();
}

#[test]
fn without_its_pristine_text_one_exercise_is_not_graded() {
    let (course, site) = course(&[Exercise::right("right"), wrong("wrong")]);
    put(
        &course.root.join(course.exercises[1].test()),
        b"#[test]\nfn hostile_answers() {}\n",
    );
    std::fs::remove_dir_all(course.root.join(".git")).unwrap();
    let (_, document) = check(&site);
    assert_eq!(outcome(&document, "right").0, "passed");
    let (outcome, message) = outcome(&document, "wrong");
    assert_eq!(outcome, "tampered", "{message}");
    assert!(message.contains("ch66_wrong.rs"), "{message}");
}

#[test]
fn a_build_script_takes_no_part() {
    let (course, site) = course(&[Exercise::right("right"), wrong("wrong")]);
    let script = "fn main() {\n    println!(\"cargo:rustc-cfg=feature=\\\"solutions\\\"\");\n}\n";
    put(&course.root.join("exercises/build.rs"), script.as_bytes());
    put(
        &course.root.join(format!("solutions/{CHAPTER}/wrong.rs")),
        course.exercises[0].source.as_bytes(),
    );
    let (_, document) = check(&site);
    for path in ["exercises/build.rs", "solutions"] {
        let path = course.root.join(path);
        std::fs::remove_file(&path)
            .or_else(|_| std::fs::remove_dir_all(&path))
            .unwrap();
    }
    assert_eq!(outcome(&document, "wrong"), ("failed", "the answer is 41"));
}

#[test]
fn a_program_made_from_another_file_is_not_graded() {
    let (course, site) = course(&[Exercise::right("right"), wrong("wrong")]);
    put(
        &course.root.join(format!("solutions/{CHAPTER}/wrong.rs")),
        course.exercises[0].source.as_bytes(),
    );
    // As RUSTFLAGS or a cargo configuration would do it, but without compiling everybody's crates anew.
    let wrapper = site.tmp.join("../wrapper");
    let script = "#!/bin/sh\ncase \"$*\" in\n*ch66_wrong*) exec \"$@\" --cfg 'feature=\"solutions\"';;\n*) exec \"$@\";;\nesac\n";
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.command(&["check", "--json"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", &wrapper);
    let document = support::site::run(command, LIMIT).document();
    std::fs::remove_dir_all(course.root.join("solutions")).unwrap();
    let (outcome, message) = outcome(&document, "wrong");
    assert_eq!(outcome, "tampered", "{message}");
    assert!(
        message.contains(&format!(
            "solutions/{CHAPTER}/wrong.rs takes part in its program"
        )),
        "{message}"
    );
}

#[test]
fn rustc_that_crashes_or_never_ends_takes_one_exercise_with_it() {
    // So deep that rustc's stack overflows; no bracket of it is.
    let crash = Exercise::new(
        "crash",
        &format!(
            "pub fn answer() -> u32 {{\n    {}42\n}}\n",
            "!".repeat(200_000)
        ),
    );
    // A terminal on which nobody will ever write.
    let never = "const TEXT: &str = include_str!(\"/dev/ptmx\");\n\npub fn answer() -> u32 {\n    TEXT.len() as u32\n}\n";
    let (course, site) = course(&[
        crash,
        Exercise::new("never", never),
        Exercise::right("right"),
    ]);
    course.build(|exercise| exercise.slug == "right");
    let mut command = site.command(&["check", "--json"]);
    command.env("SYSLAB_COMPILE_SECONDS", "6");
    let document = support::site::run(command, LIMIT).document();
    assert_eq!(outcome(&document, "right"), ("passed", ""));
    let (outcome_of_crash, message) = outcome(&document, "crash");
    assert_eq!(outcome_of_crash, "does_not_compile", "{message}");
    assert!(message.contains("SIGSEGV"), "{message}");
    let (outcome_of_never, message) = outcome(&document, "never");
    assert_eq!(outcome_of_never, "does_not_compile", "{message}");
    assert!(
        message.contains("rustc was still compiling it after 6s"),
        "{message}"
    );
    let left = support::traces::running(&site.marks);
    assert!(left.is_empty(), "still running: {left:?}");
}
