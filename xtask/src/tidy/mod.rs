//! Is the course whole? Every exercise has its parts, every invariant holds.
//!
//! ARCHITECTURE.md names these checks beside the invariants they enforce.

mod notebooks;

use std::path::Path;

use crate::course::{Course, Exercise};
use crate::fail::Result;
use crate::manifest::Manifest;
use crate::{capability, mutants, source};

/// What is wrong, a sentence each.
pub(crate) fn problems(course: &Course) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for exercise in &course.exercises {
        parts(course, exercise, &mut problems);
        form(course, exercise, &mut problems);
        specification(course, exercise, &mut problems);
        mistakes(course, exercise, &mut problems);
    }
    strays(course, &mut problems);
    notebooks::check(course, &mut problems);
    arrows(course, &mut problems);
    pristine(course, &mut problems)?;
    Ok(problems)
}

/// Every man page that an exercise may name.
const MAN_PAGES: &str = include_str!("man-pages.txt");

fn parts(course: &Course, exercise: &Exercise, problems: &mut Vec<String>) {
    let slug = &exercise.slug;
    for path in [
        exercise.file(),
        exercise.test(),
        exercise.solution(),
        exercise.mutants(),
    ] {
        if !course.root.join(&path).is_file() {
            problems.push(format!("{slug}: {path} is missing"));
        }
    }
    let mut require = |holds: bool, what: &str| {
        if !holds {
            problems.push(format!("{slug}: {what}"));
        }
    };
    require(exercise.title.ends_with('?'), "the title is not a question");
    require(
        (1..=5).contains(&exercise.difficulty),
        "difficulty is not 1 to 5",
    );
    require(exercise.minutes > 0, "minutes is 0");
    require(exercise.hints.len() == 3, "there are not three hints");
    require(
        exercise.hints.iter().all(|hint| hint.trim().len() > 20),
        "a hint is (almost) empty",
    );
    require(!exercise.man.is_empty(), "no man page is named");
    for page in &exercise.man {
        let section = page
            .strip_suffix(')')
            .and_then(|page| page.rsplit_once('('));
        let holds = section.is_some_and(|(name, section)| {
            !name.is_empty() && section.starts_with(|first: char| ('1'..='8').contains(&first))
        });
        require(
            MAN_PAGES.lines().any(|known| known == page),
            &format!("there is no {page} in xtask/src/tidy/man-pages.txt"),
        );
        require(
            holds,
            &format!("{page:?} is not a man page like \"setsid(2)\""),
        );
    }
    let notebook = exercise
        .notebook
        .split_once(".ipynb#")
        .is_some_and(|(name, section)| {
            name.starts_with(exercise.number().trim_start_matches("ch")) && !section.is_empty()
        });
    require(
        notebook,
        "the notebook link is not NN-topic.ipynb#section of its chapter",
    );
    for need in &exercise.needs {
        let known = capability::ALL
            .iter()
            .any(|capability| capability.name == need);
        require(known, &format!("needs {need:?}, which nothing probes"));
    }
}

/// STYLE of an exercise's file, and of its solution: only the learner's crates.
fn form(course: &Course, exercise: &Exercise, problems: &mut Vec<String>) {
    let Ok(manifest) = Manifest::load(&course.root) else {
        return;
    };
    let Ok(stub) = manifest.pristine(&exercise.file()) else {
        return;
    };
    let stub = String::from_utf8_lossy(&stub);
    let path = exercise.file();
    let mut require = |holds: bool, what: &str| {
        if !holds {
            problems.push(format!("{path}: {what}"));
        }
    };
    require(
        stub.lines().next() == Some(&format!("//! # {}", exercise.title)),
        "does not begin with its title in exercises.toml",
    );
    require(
        stub.contains("todo!(\""),
        "has no todo!(\"…\") that says what to do first",
    );
    require(stub.contains("// TODO"), "has no // TODO steps");
    for lacks in end_of_head(&stub, &exercise.man, &exercise.notebook) {
        require(false, &lacks);
    }
    let solution =
        std::fs::read_to_string(course.root.join(exercise.solution())).unwrap_or_default();
    for (path, text) in [(exercise.file(), &*stub), (exercise.solution(), &*solution)] {
        for ours in ["observe::", "tracer::", "insta::"] {
            if text.contains(ours) {
                problems.push(format!("{path} uses {ours}, which is the tests'"));
            }
        }
        if let source::Look::ReachesOut(reason) = source::look(text, &exercise.allow) {
            problems.push(format!("{path}: {reason}"));
        }
    }
}

/// A stub's head ends with a paragraph that names what exercises.toml does: man pages, and where the notebook shows it.
fn end_of_head(stub: &str, man: &[String], notebook: &str) -> Vec<String> {
    let head: Vec<&str> = stub
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .collect();
    let last = head.rsplit(|line| line.is_empty()).next();
    let last = last.unwrap_or_default().join(" ");
    let end = format!(". Notebook: `{notebook}`.");
    let Some(pages) = last
        .strip_prefix("Man pages: ")
        .and_then(|rest| rest.strip_suffix(&end))
    else {
        return vec![format!(
            "its head does not end with \"Man pages: ….\" and \"Notebook: `{notebook}`.\""
        )];
    };
    let missing = man.iter().filter(|page| !pages.contains(page.as_str()));
    missing
        .map(|page| format!("does not name {page}, which exercises.toml does"))
        .collect()
}

fn specification(course: &Course, exercise: &Exercise, problems: &mut Vec<String>) {
    let path = exercise.test();
    let Ok(text) = std::fs::read_to_string(course.root.join(&path)) else {
        return;
    };
    let names = source::tests(&text).unwrap_or_default();
    let mut require = |holds: bool, what: String| {
        if !holds {
            problems.push(format!("{path}: {what}"));
        }
    };
    require(
        names.len() >= 3,
        format!("has {} stages, fewer than three", names.len()),
    );
    let attributes = text.matches("#[test]").count();
    require(
        attributes == names.len(),
        "a #[test] is not at the top level of the file".into(),
    );
    for refused in ["should_panic", "#[ignore", "assert!(true"] {
        require(!text.contains(refused), format!("holds {refused}"));
    }
    for part in [
        format!("{}/{}.rs\"", exercise.chapter, exercise.slug),
        "feature = \"solutions\"".into(),
        "not(feature = \"solutions\")".into(),
    ] {
        require(text.contains(&part), format!("does not include {part}"));
    }
    let prefix = format!("{}__", exercise.target());
    let folder = course.root.join("exercises/tests/snapshots");
    let snapshots: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    let own: Vec<&String> = snapshots
        .iter()
        .filter(|name| name.starts_with(&prefix))
        .collect();
    require(!own.is_empty(), "has no snapshot".into());
    for name in own {
        let stem = name.trim_end_matches(".snap");
        require(
            text.contains(stem),
            format!("does not use the snapshot {name}"),
        );
    }
}

fn mistakes(course: &Course, exercise: &Exercise, problems: &mut Vec<String>) {
    let path = exercise.mutants();
    match mutants::load(course, exercise) {
        Err(failure) => problems.push(failure.to_string()),
        Ok(mutants) => {
            if mutants.len() < 4 {
                problems.push(format!(
                    "{path} has {} mutants, fewer than four",
                    mutants.len()
                ));
            }
            let mut names = std::collections::HashSet::new();
            for mutant in &mutants {
                if !names.insert(&mutant.name) {
                    problems.push(format!("{path} has {} twice", mutant.name));
                }
                if mutant.fails.is_empty() || mutant.says.len() < 3 || mutant.why.len() < 10 {
                    problems.push(format!(
                        "{path}: {} says too little of why it fails",
                        mutant.name
                    ));
                }
            }
        }
    }
}

/// Files that belong to no exercise.
fn strays(course: &Course, problems: &mut Vec<String>) {
    let known = |test: &dyn Fn(&Exercise) -> bool| course.exercises.iter().any(test);
    for (folder, name) in files(&course.root, "exercises")
        .into_iter()
        .chain(files(&course.root, "solutions"))
    {
        let path = format!("{folder}/{name}");
        let place = folder.rsplit('/').next().unwrap_or_default();
        let stem = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(stem, _)| stem);
        let belongs = match place {
            "tests" => known(&|exercise| exercise.target() == stem),
            "snapshots" => known(&|exercise| name.starts_with(&format!("{}__", exercise.target()))),
            "mutants" => known(&|exercise| exercise.target() == stem),
            _ if place.starts_with("ch") => {
                known(&|exercise| exercise.chapter == place && exercise.slug == stem)
            }
            _ => true,
        };
        if !belongs {
            problems.push(format!("{path} belongs to no exercise of exercises.toml"));
        }
        if name.ends_with(".snap.new") {
            problems.push(format!("{path} is a snapshot that nobody accepted"));
        }
    }
}

fn files(root: &Path, below: &str) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(root.join(below)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(files(root, &format!("{below}/{name}")));
        } else {
            found.push((below.to_owned(), name));
        }
    }
    found
}

/// Which crate may know which; see ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 11] = [
    ("tracer", &[]),
    ("observe", &["tracer"]),
    ("exercises", &["observe"]),
    ("solutions", &[]),
    ("xtask", &["observe"]),
    ("notebooks/lens", &["tracer"]),
    ("kernel/link", &[]),
    ("kernel/wire", &[]),
    ("kernel/syslab-host", &["lens", "link", "tracer"]),
    ("kernel/syslab-rustc", &[]),
    (
        "kernel/syslab-kernel",
        &["evcxr", "lens", "link", "syslab-rustc", "wire"],
    ),
];

fn arrows(course: &Course, problems: &mut Vec<String>) {
    let members: Vec<&str> = ARROWS
        .iter()
        .filter_map(|(path, _)| path.rsplit('/').next())
        // Minutes of compiling: only the kernel's own program knows it.
        .chain(["evcxr"])
        .collect();
    for (name, allowed) in ARROWS {
        let path = format!("{name}/Cargo.toml");
        let table = std::fs::read_to_string(course.root.join(&path))
            .unwrap_or_default()
            .parse::<toml::Table>();
        let Ok(table) = table else {
            problems.push(format!("{path} cannot be read"));
            continue;
        };
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let named = table
                .get(kind)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten();
            for (dependency, _) in named {
                if members.contains(&dependency.as_str()) && !allowed.contains(&dependency.as_str())
                {
                    problems.push(format!("{path}: {name} must not know {dependency}"));
                }
            }
        }
    }
}

/// The manifest fits the files; what a learner edits may differ, but not in CI.
fn pristine(course: &Course, problems: &mut Vec<String>) -> Result<()> {
    let manifest = Manifest::load(&course.root)?;
    for path in manifest.tampered() {
        problems.push(format!(
            "{path} is not as the manifest has it (authors: cargo xtask bless)"
        ));
    }
    let now = Manifest::of_files(course)?;
    let listed: Vec<&str> = manifest.paths().collect();
    for path in now.paths().filter(|path| !listed.contains(path)) {
        problems.push(format!(
            "{path} is not in the manifest (authors: cargo xtask bless)"
        ));
    }
    if std::env::var_os("CI").is_some() {
        for exercise in course
            .exercises
            .iter()
            .filter(|exercise| !manifest.untouched(&exercise.file()))
        {
            problems.push(format!("{} is not as the manifest has it", exercise.file()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_man_pages_and_its_section() {
        let man = ["read(2)".to_owned(), "pipe(7)".to_owned()];
        let lacks = |end: &str| {
            let stub = format!("//! # Why?\n//!\n{end}\nuse std::io;\n//! no head\n");
            end_of_head(&stub, &man, "01-a.ipynb#b")
        };
        let notebook = "//! Notebook: `01-a.ipynb#b`.\n";
        let pages = "//! Man pages: read(2) (ERRORS),\n//! pipe(7).\n";
        assert_eq!(lacks(&format!("{pages}{notebook}")), [""; 0]);
        assert_eq!(
            lacks(&format!("//! Man pages: read(2).\n{notebook}")),
            ["does not name pipe(7), which exercises.toml does"]
        );
        for end in [pages, notebook, &format!("{notebook}{pages}")] {
            assert_eq!(lacks(end).len(), 1, "{end}");
        }
    }
}
