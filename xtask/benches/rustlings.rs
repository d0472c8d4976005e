//! How long does a learner wait, here and in rustlings?
//!
//! `cargo bench -p xtask` prints a Markdown table: medians of rounds in which the two take turns, on courses as
//! they are given and, for ours, solved. Needs `rustlings` 6 (`cargo install rustlings`) on PATH or in `RUSTLINGS`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const ROUNDS: usize = 7;

fn main() {
    let rustlings = std::env::var_os("RUSTLINGS").unwrap_or_else(|| "rustlings".into());
    let found = Command::new(&rustlings).arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no rustlings to compare with (`cargo install rustlings`)");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder in TMPDIR");
    let theirs = folder.path().join("rustlings");
    let ours = folder.path().join("course");
    run(Command::new("sh")
        .args(["-c", "yes '' | \"$0\" init"])
        .arg(&rustlings)
        .current_dir(folder.path()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    run(Command::new("git")
        .args(["clone", "--quiet"])
        .arg(root)
        .arg(&ours));

    let mut rows = Vec::new();
    // Both compile their first time outside the clock.
    let their_check = || command(&rustlings, &["check-all"], &theirs);
    let our_check = |words: &[&str]| xtask(words, &ours);
    seconds(their_check());
    seconds(our_check(&["check"]));
    let (their_times, our_times) =
        in_turns(|| seconds(their_check()), || seconds(our_check(&["check"])));
    rows.push((
        "everything, as given, nothing changed",
        Some(their_times),
        our_times,
    ));
    rows.push((
        "everything, as given, run again",
        None,
        rounds(|| seconds(our_check(&["check", "--fresh"]))),
    ));
    for entry in [
        "ch01_system_calls",
        "ch02_processes",
        "ch03_signals_ipc",
        "ch04_file_systems",
        "ch09_parallelism",
    ] {
        let from = ours.join("solutions").join(entry);
        for file in std::fs::read_dir(from).into_iter().flatten().flatten() {
            let to = ours.join("exercises").join(entry).join(file.file_name());
            std::fs::copy(file.path(), to).expect("a copy");
        }
    }
    seconds(our_check(&["check"]));
    rows.push((
        "everything, solved, nothing changed",
        None,
        rounds(|| seconds(our_check(&["check"]))),
    ));
    let file = ours.join("exercises/ch01_system_calls/read_exactly.rs");
    // The one of theirs that is given solved: it is compiled, run and linted.
    let their_file = theirs.join("exercises/00_intro/intro1.rs");
    let (their_times, our_times) = in_turns(
        || {
            touch(&their_file);
            seconds(command(&rustlings, &["run", "intro1"], &theirs))
        },
        || {
            touch(&file);
            seconds(our_check(&["check", "read_exactly"]))
        },
    );
    rows.push((
        "one solved exercise after a save",
        Some(their_times),
        our_times,
    ));
    println!("| seconds, median of {ROUNDS} (least–most) | rustlings | here | ratio |");
    println!("|---|--:|--:|--:|");
    for (what, theirs, ours) in rows {
        let ratio = theirs
            .as_ref()
            .map(|theirs| format!("{:.2}", median(&ours) / median(theirs)));
        println!(
            "| {what} | {} | {} | {} |",
            theirs.as_deref().map_or("–".into(), cell),
            cell(&ours),
            ratio.unwrap_or_else(|| "–".into())
        );
    }
}

fn command(program: &OsString, words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(folder);
    command
}

fn xtask(words: &[&str], root: &Path) -> Command {
    let mut command = command(&env!("CARGO_BIN_EXE_xtask").into(), words, root);
    command.env("SYSLAB_ROOT", root);
    command
}

/// Appends a comment: another text, the same program.
fn touch(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a learner's file");
    std::fs::write(file, text + "// saved\n").expect("a learner's file");
}

fn seconds(mut command: Command) -> f64 {
    let started = Instant::now();
    // An exercise that is open is no failure of this program.
    let _ = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    started.elapsed().as_secs_f64()
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Two that take turns, so that a busy moment of the machine falls on both.
fn in_turns(mut one: impl FnMut() -> f64, mut other: impl FnMut() -> f64) -> (Vec<f64>, Vec<f64>) {
    let (mut ones, mut others): (Vec<f64>, Vec<f64>) =
        (0..ROUNDS).map(|_| (one(), other())).unzip();
    ones.sort_by(f64::total_cmp);
    others.sort_by(f64::total_cmp);
    (ones, others)
}

fn rounds(mut round: impl FnMut() -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn cell(sorted: &[f64]) -> String {
    format!(
        "{:.2} ({:.2}–{:.2})",
        median(sorted),
        sorted[0],
        sorted[sorted.len() - 1]
    )
}
