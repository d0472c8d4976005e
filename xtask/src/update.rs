//! `cargo xtask update`: a new version of the course, without losing a line of the learner's.
//!
//! git alone would refuse, or leave conflict markers in an exercise. Here every changed file is
//! backed up first; then the new version is put in place; then what the learner has written comes
//! back: always into exercises, and into everything else that the new version did not touch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anstream::println;

use crate::course::{Course, Exercise};
use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Update;
use crate::paint::{BOLD, DIM, GOOD, In, WARN};
use crate::progress::Spinner;
use crate::reset;
use crate::store::Store;

pub(crate) fn run(root: &Path, flags: &Update) -> Result<u8> {
    let git = Git { root };
    git.is_the_course()?;
    let spinner = Spinner::new("asking for a new version");
    let upstream = git.upstream(flags.from.as_deref())?;
    drop(spinner);
    let old = git.line(&["rev-parse", "HEAD"])?;
    let new = git.line(&["rev-parse", &format!("{upstream}^{{commit}}")])?;
    if git.is_ancestor(&new, &old) {
        println!("  {} nothing is new", In(GOOD, "✓"));
        return Ok(exit_code::PASSED);
    }
    let before = Course::load(root).ok();
    let own = git.changed_by_learner(&old, &new)?;
    let kept = Kept::back_up(root, own)?;
    let moved = git.move_to(&old, &new, &kept);
    let replaced = kept.put_back(&git, &old, &new, moved.is_ok());
    moved?;
    let replaced = replaced?;
    say(root, &git, &old, &new, before.as_ref(), &kept, &replaced)
}

/// What has come, and what it means for what was begun.
fn say(
    root: &Path,
    git: &Git<'_>,
    old: &str,
    new: &str,
    before: Option<&Course>,
    kept: &Kept,
    replaced: &[String],
) -> Result<u8> {
    let course = Course::load(root)?;
    let count = git.line(&["rev-list", "--count", &format!("{old}..{new}")])?;
    println!("  {} {count} changes came in", In(GOOD, "✓"));
    for (path, place) in &kept.files {
        if replaced.contains(path) {
            println!(
                "  {} {path} has changed in the course; yours is kept: {}",
                In(WARN, "·"),
                place.display()
            );
        } else {
            println!("  {} yours: {path}", In(DIM, "·"));
        }
    }
    let known = |exercise: &Exercise| {
        before.is_none_or(|course| {
            let all = course.exercises.iter();
            all.into_iter()
                .any(|other| other.target() == exercise.target())
        })
    };
    let new_ones: Vec<&str> = course
        .exercises
        .iter()
        .filter(|exercise| !known(exercise))
        .map(|exercise| exercise.slug.as_str())
        .collect();
    if !new_ones.is_empty() {
        println!();
        println!("  {} {}", In(BOLD, "new exercises:"), new_ones.join(", "));
    }
    let (store, _) = Store::open(root);
    for exercise in &course.exercises {
        let begun =
            kept.files.contains_key(&exercise.file()) || store.get(&exercise.target()).attempts > 0;
        if !begun || !known(exercise) {
            continue;
        }
        let text = git.text(&["diff", old, new, "--", &exercise.file()])?;
        let specification = git.text(&["diff", "--stat", old, new, "--", &exercise.test()])?;
        if text.is_empty() && specification.is_empty() {
            continue;
        }
        println!();
        println!(
            "  {} {}",
            In(BOLD, &exercise.slug),
            "which you have begun, has changed:"
        );
        // The header names blobs; what a person reads begins at the first hunk.
        let hunks = text.lines().skip_while(|line| !line.starts_with("@@"));
        for line in hunks {
            let style = match line.as_bytes().first() {
                Some(b'+') => GOOD,
                Some(b'-') => WARN,
                _ => DIM,
            };
            println!("    {}", In(style, line));
        }
        if !specification.is_empty() {
            println!("    {}", In(DIM, "its tests have changed, too"));
        }
        println!("    next: cargo xtask check {}", exercise.slug);
    }
    println!();
    println!("  next: cargo xtask check");
    Ok(exit_code::PASSED)
}

/// The learner's files and where they are kept meanwhile.
struct Kept {
    root: PathBuf,
    /// Path below the root → its copy.
    files: BTreeMap<String, PathBuf>,
}

impl Kept {
    fn back_up(root: &Path, paths: Vec<String>) -> Result<Self> {
        let (store, _) = Store::open(root);
        let mut files = BTreeMap::new();
        for path in paths {
            let place = store.back_up(root, &path)?;
            files.insert(path, place);
        }
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// Puts every file back that the learner's version of counts; gives the paths that the new
    /// version has replaced.
    fn put_back(&self, git: &Git<'_>, old: &str, new: &str, moved: bool) -> Result<Vec<String>> {
        let mut replaced = Vec::new();
        for (path, place) in &self.files {
            let is_theirs = is_exercise(path) || !moved || !git.differs(old, new, path);
            if !is_theirs {
                replaced.push(path.clone());
                continue;
            }
            let bytes = std::fs::read(place).about(format!("cannot read {}", place.display()))?;
            reset::put(&self.root, path, &bytes)
                .map_err(|failure| failure.next(format!("cp {} {path}", place.display())))?;
        }
        Ok(replaced)
    }
}

/// What a learner writes: `exercises/chNN_topic/SLUG.rs`.
fn is_exercise(path: &str) -> bool {
    path.starts_with("exercises/ch")
}

/// git, in the course's folder.
struct Git<'a> {
    root: &'a Path,
}

impl Git<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.root).args(args);
        // A merge needs a name; the learner may have told git none.
        for (name, value) in [("NAME", "learner"), ("EMAIL", "learner@localhost")] {
            for who in ["AUTHOR", "COMMITTER"] {
                let variable = format!("GIT_{who}_{name}");
                if std::env::var_os(&variable).is_none() && !self.knows_the_user() {
                    command.env(variable, value);
                }
            }
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command
    }

    fn knows_the_user(&self) -> bool {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(self.root)
            .args(["config", "user.email"]);
        command.output().is_ok_and(|output| output.status.success())
    }

    /// What a command prints, or why it failed.
    fn bytes(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.command(args);
        let output = command
            .output()
            .map_err(|error| Failure::cannot_run(&command, &error))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        Err(Failure::new(format!("git {}: {said}", args.join(" "))))
    }

    fn text(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(args)?).into_owned())
    }

    fn line(&self, args: &[&str]) -> Result<String> {
        Ok(self.text(args)?.trim().to_owned())
    }

    fn is_the_course(&self) -> Result<()> {
        // Without git nothing below is true.
        self.bytes(&["--version"])?;
        let top = self.line(&["rev-parse", "--show-toplevel"]);
        let same = top.is_ok_and(|top| {
            let canonical = |path: &Path| path.canonicalize().ok();
            canonical(Path::new(&top)) == canonical(self.root)
        });
        if !same {
            return Err(Failure::new(format!(
                "{} is no git repository, so there is no newer version to ask for",
                self.root.display()
            ))
            .next("git clone the course anew, and copy your exercises/ch* into it"));
        }
        for state in ["MERGE_HEAD", "REBASE_HEAD", "CHERRY_PICK_HEAD"] {
            if self.bytes(&["rev-parse", "--verify", "-q", state]).is_ok() {
                return Err(Failure::new("git is in the middle of a merge or rebase")
                    .next("git status  (end it or abort it, then `cargo xtask update`)"));
            }
        }
        Ok(())
    }

    /// Fetches; the name of what was fetched.
    fn upstream(&self, from: Option<&str>) -> Result<String> {
        if let Some(from) = from {
            let branch = self.line(&["symbolic-ref", "--short", "HEAD"]);
            let branch = branch.unwrap_or_else(|_| "main".into());
            self.bytes(&["fetch", "--quiet", from, &branch])
                .map_err(|failure| failure.next("see that the address is right and reachable"))?;
            return Ok("FETCH_HEAD".into());
        }
        let upstream = self
            .line(&["rev-parse", "--abbrev-ref", "@{upstream}"])
            .map_err(|_| {
                Failure::new("this copy of the course does not know where it came from")
                    .next("cargo xtask update --from URL")
            })?;
        let remote = upstream.split('/').next().unwrap_or("origin").to_owned();
        self.bytes(&["fetch", "--quiet", &remote])
            .map_err(|failure| {
                failure
                    .next("mend what git says, a network perhaps; then `cargo xtask update` again")
            })?;
        Ok(upstream)
    }

    fn is_ancestor(&self, one: &str, of: &str) -> bool {
        self.bytes(&["merge-base", "--is-ancestor", one, of])
            .is_ok()
    }

    fn differs(&self, old: &str, new: &str, path: &str) -> bool {
        self.bytes(&["diff", "--quiet", old, new, "--", path])
            .is_err()
    }

    fn paths(&self, args: &[&str]) -> Result<Vec<String>> {
        let text = self.text(args)?;
        let paths = text.split('\0').filter(|path| !path.is_empty());
        Ok(paths.map(String::from).collect())
    }

    /// Files that differ from what the course gave: edited, committed, or in the way of new ones.
    fn changed_by_learner(&self, old: &str, new: &str) -> Result<Vec<String>> {
        let base = self.line(&["merge-base", old, new]).map_err(|_| {
            Failure::new("the new version has nothing in common with this one")
                .next("git clone the course anew, and copy your exercises/ch* into it")
        })?;
        let mut paths = self.paths(&["diff", "--name-only", "--no-renames", "-z", &base])?;
        let untracked = self.paths(&["ls-files", "--others", "-z"])?;
        let coming = self.paths(&["ls-tree", "-r", "--name-only", "-z", new])?;
        let coming: std::collections::HashSet<&String> = coming.iter().collect();
        paths.extend(untracked.into_iter().filter(|path| coming.contains(path)));
        // What was deleted needs no copy.
        paths.retain(|path| self.root.join(path).symlink_metadata().is_ok());
        Ok(paths)
    }

    /// Makes the new version the current one; the learner's changes lie aside.
    fn move_to(&self, old: &str, new: &str, kept: &Kept) -> Result<()> {
        if self.is_ancestor(old, new) {
            for path in kept.files.keys() {
                self.as_given(old, path)?;
            }
            self.bytes(&["merge", "--ff-only", "--quiet", new])?;
            return Ok(());
        }
        // The learner has committed. Theirs and ours both stay in the history; the tree is the new
        // version's, and what is the learner's comes back into it.
        let tree = self.line(&["rev-parse", &format!("{new}^{{tree}}")])?;
        let message = "A new version of the course";
        let merged = self.line(&["commit-tree", &tree, "-p", old, "-p", new, "-m", message])?;
        for path in kept.files.keys() {
            self.as_given(old, path)?;
        }
        self.bytes(&["merge", "--ff-only", "--quiet", &merged])?;
        Ok(())
    }

    /// Makes one file what the current version says of it: its text, or nothing.
    fn as_given(&self, old: &str, path: &str) -> Result<()> {
        if self
            .bytes(&["cat-file", "-e", &format!("{old}:{path}")])
            .is_ok()
        {
            self.bytes(&["checkout", "--quiet", old, "--", path])
                .map(drop)
        } else {
            let _ = self.bytes(&["rm", "--cached", "--quiet", "--", path]);
            std::fs::remove_file(self.root.join(path)).about(format!("cannot move {path} aside"))
        }
    }
}
