//! Which files was a test program compiled from?
//!
//! A `mod` or an `include!` that the text hides, `--cfg 'feature="solutions"'` in
//! RUSTFLAGS or in a cargo configuration: whatever leads rustc to other files than
//! the specification and the exercise, rustc's own list names them.

use std::path::{Component, Path, PathBuf};

use crate::course::Exercise;
use crate::manifest::Manifest;

/// Why `executable` is not the program of `exercise` and its test, in a sentence.
pub(crate) fn foreign(
    executable: &Path,
    workspace: &Path,
    exercise: &Exercise,
    manifest: &Manifest,
) -> Option<String> {
    let list = executable.with_extension("d");
    let Ok(text) = std::fs::read_to_string(&list) else {
        return Some(format!(
            "{} is missing, so nobody knows what it was compiled from; `cargo clean` and check again",
            list.display()
        ));
    };
    let own = exercise.file();
    let mut found = false;
    for file in sources(&text) {
        let path = below(workspace, &file);
        let path = path.to_string_lossy();
        let specified =
            path.starts_with("exercises/tests/") && manifest.paths().any(|known| known == path);
        found |= path == own;
        if path != own && !specified {
            return Some(format!(
                "{path} takes part in its program, and only {own} is graded"
            ));
        }
    }
    (!found).then(|| format!("its program was not compiled from {own}"))
}

/// The files that a `.d` file names: each has a rule of its own, without a dependency.
fn sources(text: &str) -> impl Iterator<Item = String> {
    let rules = text.lines().filter(|line| !line.starts_with('#'));
    rules
        .filter_map(|line| line.strip_suffix(':'))
        .map(|path| path.replace("\\ ", " "))
}

/// `path` without `..`, and without the workspace where it is below it.
fn below(workspace: &Path, path: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in workspace.join(path).components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
        .strip_prefix(workspace)
        .map_or(plain.clone(), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_rule_of_its_own() {
        let text = "/t/a-1: exercises/tests/a.rs exercises/tests/../ch/my\\ a.rs\n\n\
                    /t/a-1.d: exercises/tests/a.rs\n\nexercises/tests/a.rs:\n\
                    exercises/tests/../ch/my\\ a.rs:\n\n# env-dep:CARGO\n";
        let found: Vec<String> = sources(text).collect();
        assert_eq!(
            found,
            ["exercises/tests/a.rs", "exercises/tests/../ch/my a.rs"]
        );
        let workspace = Path::new("/course");
        assert_eq!(
            below(workspace, &found[1]),
            Path::new("exercises/ch/my a.rs")
        );
        assert_eq!(below(workspace, "/etc/passwd"), Path::new("/etc/passwd"));
    }
}
