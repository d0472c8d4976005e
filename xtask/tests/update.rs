//! `cargo xtask update` brings in a new version of the course; what a learner has written stays, whatever git
//! would have said.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::course::{CHAPTER, put};
use support::site::{Ran, run};

const LIMIT: Duration = Duration::from_secs(60);
const GIVEN: &str = "//! What is it?\npub fn answer() -> u32 {\n    todo!(\"think\")\n}\n";
const MINE: &str = "//! What is it?\npub fn answer() -> u32 {\n    42 // mine\n}\n";

/// A course in a repository, and a learner's clone of it. Nothing is compiled here.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let upstream = pair.upstream();
        std::fs::create_dir(&upstream).expect("a folder");
        pair.write(&["first", "second"]);
        git(
            &upstream,
            &["init", "--quiet", "--initial-branch=main", "."],
        );
        pair.publish("As it was given");
        git(
            pair.folder.path(),
            &["clone", "--quiet", "upstream", "clone"],
        );
        pair
    }

    fn upstream(&self) -> PathBuf {
        self.folder.path().join("upstream")
    }

    fn clone(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    /// The course with these exercises, upstream.
    fn write(&self, slugs: &[&str]) {
        let root = self.upstream();
        let mut list = String::new();
        for slug in slugs {
            put(&root.join(file(slug)), GIVEN.as_bytes());
            put(
                &root.join(format!("exercises/tests/ch66_{slug}.rs")),
                b"#[test]\nfn a() {}\n",
            );
            list += &format!(
                "[[exercise]]\nchapter = \"{CHAPTER}\"\nslug = \"{slug}\"\ntitle = \"What is it?\"\n\
                 difficulty = 1\nminutes = 1\nlimit_seconds = 5\n"
            );
        }
        put(&root.join("exercises/exercises.toml"), list.as_bytes());
        put(&root.join(".gitignore"), b"/.syslab\n");
        put(&root.join("notebooks/one.ipynb"), b"one\n");
        put(&root.join("notebooks/two.ipynb"), b"two\n");
    }

    fn publish(&self, message: &str) {
        git(&self.upstream(), &["add", "--all"]);
        git(
            &self.upstream(),
            &["commit", "--quiet", "--message", message],
        );
    }

    fn update(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("update")
            .args(args)
            .env("SYSLAB_ROOT", self.clone())
            .env("NO_COLOR", "1")
            // A learner who has told git no name.
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        run(command, LIMIT)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.clone().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn edit(&self, path: &str, text: &str) {
        put(&self.clone().join(path), text.as_bytes());
    }

    fn backups(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut folders = vec![self.clone().join(".syslab/backup")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    texts.push(std::fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
        texts
    }
}

fn file(slug: &str) -> String {
    format!("exercises/{CHAPTER}/{slug}.rs")
}

fn git(folder: &Path, args: &[&str]) {
    let user = [
        "-c",
        "user.name=author",
        "-c",
        "user.email=author@example.org",
    ];
    let status = Command::new("git")
        .current_dir(folder)
        .args(user)
        .args(["-c", "commit.gpgsign=false"])
        .args(args)
        .status()
        .expect("git runs");
    assert!(status.success(), "git {args:?}: {status}");
}

fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(
            ran.stdout.contains(word) || ran.stderr.contains(word),
            "no {word:?} in\n{}{}",
            ran.stdout,
            ran.stderr
        );
    }
}

/// The first exercise has another text, a third one is new, and so are a notebook and a tool.
fn new_version(pair: &Pair) {
    pair.write(&["first", "second", "third"]);
    let better = GIVEN.replace("What is it?", "What is it, really?");
    put(&pair.upstream().join(file("first")), better.as_bytes());
    put(
        &pair.upstream().join("notebooks/one.ipynb"),
        b"one, better\n",
    );
    put(&pair.upstream().join("xtask/src/new.rs"), b"// new\n");
    pair.publish("A new version");
}

#[test]
fn what_is_begun_stays_and_what_changed_in_it_is_shown() {
    let pair = Pair::new();
    pair.edit(&file("first"), MINE);
    pair.edit("notebooks/one.ipynb", "one, run\n");
    pair.edit("notebooks/two.ipynb", "two, run\n");
    new_version(&pair);
    let ran = pair.update(&[]);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    says(
        &ran,
        &[
            "new exercises: third",
            "first which you have begun",
            "+//! What is it, really?",
        ],
    );
    assert_eq!(pair.read(&file("first")), MINE);
    assert_eq!(pair.read(&file("third")), GIVEN);
    assert_eq!(pair.read("xtask/src/new.rs"), "// new\n");
    // The course's new notebook, and the learner's where there is no new one.
    says(
        &ran,
        &["notebooks/one.ipynb has changed in the course; yours is kept:"],
    );
    assert_eq!(pair.read("notebooks/one.ipynb"), "one, better\n");
    assert_eq!(pair.read("notebooks/two.ipynb"), "two, run\n");
    assert!(pair.backups().contains(&"one, run\n".to_owned()));
    says(&pair.update(&[]), &["nothing is new"]);
}

#[test]
fn what_is_committed_stays_too() {
    let pair = Pair::new();
    pair.edit(&file("first"), MINE);
    git(
        &pair.clone(),
        &["commit", "--quiet", "--all", "--message", "mine"],
    );
    pair.edit(&file("second"), MINE);
    new_version(&pair);
    let ran = pair.update(&[]);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert_eq!(pair.read(&file("first")), MINE);
    assert_eq!(pair.read(&file("second")), MINE);
    assert_eq!(pair.read(&file("third")), GIVEN);
    // And again, on top of the merge.
    put(
        &pair.upstream().join("notebooks/two.ipynb"),
        b"two, better\n",
    );
    pair.publish("Another");
    assert_eq!(pair.update(&[]).code(), Some(0));
    assert_eq!(pair.read("notebooks/two.ipynb"), "two, better\n");
    assert_eq!(pair.read(&file("first")), MINE);
}

#[test]
fn a_learners_own_file_in_the_way_of_a_new_exercise_stays() {
    let pair = Pair::new();
    pair.edit(&file("third"), MINE);
    pair.edit("xtask/src/new.rs", "// in the way\n");
    new_version(&pair);
    let ran = pair.update(&[]);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert_eq!(pair.read(&file("third")), MINE);
    assert_eq!(pair.read("xtask/src/new.rs"), "// new\n");
    assert!(pair.backups().contains(&"// in the way\n".to_owned()));
}

#[test]
fn without_a_network_nothing_changes() {
    let pair = Pair::new();
    pair.edit(&file("first"), MINE);
    std::fs::rename(pair.upstream(), pair.folder.path().join("gone")).unwrap();
    let ran = pair.update(&[]);
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    says(&ran, &["git fetch", "next:"]);
    assert_eq!(pair.read(&file("first")), MINE);
    let from = pair.folder.path().join("gone").display().to_string();
    says(&pair.update(&["--from", &from]), &["nothing is new"]);
}

#[test]
fn what_cannot_be_backed_up_is_not_touched() {
    let pair = Pair::new();
    pair.edit(&file("first"), MINE);
    new_version(&pair);
    // In place of the folder: no backup can be made, by root neither.
    put(&pair.clone().join(".syslab"), b"");
    let ran = pair.update(&[]);
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    says(&ran, &["cannot back up", "nothing was changed"]);
    assert_eq!(pair.read(&file("first")), MINE);
    assert!(!pair.clone().join(file("third")).exists());
}

#[test]
fn a_merge_that_is_not_ended_is_named() {
    let pair = Pair::new();
    put(&pair.clone().join(".git/MERGE_HEAD"), b"");
    let head = Command::new("git")
        .current_dir(pair.clone())
        .args(["rev-parse", "HEAD"])
        .output()
        .unwrap();
    std::fs::write(pair.clone().join(".git/MERGE_HEAD"), head.stdout).unwrap();
    let ran = pair.update(&[]);
    assert_eq!(ran.code(), Some(2));
    says(&ran, &["in the middle of a merge", "git status"]);
}
