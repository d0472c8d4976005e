//! Do notebooks and exercises fit each other, and what the curriculum claims?
//!
//! `notebooks/claims.toml` holds each claim of a chapter and the cells that show it; the notebook
//! holds the sections that its exercises name, and a row for each of them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::course::{Course, Exercise};

const CLAIMS: &str = "notebooks/claims.toml";

/// What the text of a code cell must not hold: it is right on one machine, or for one person.
const OF_ONE_MACHINE: [&str; 8] = [
    "/home/",
    "/root/",
    "/Users/",
    "/mnt/",
    "/dev/sd",
    "/dev/nvme",
    "192.168.",
    "eth0",
];

/// Notebook's stem → its claims.
type Claims = BTreeMap<String, Vec<Claim>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    /// The sentence that is shown to be true.
    claim: String,
    /// Ids of the code cells that show it.
    cells: Vec<String>,
}

struct Cell {
    id: String,
    code: bool,
    text: String,
}

pub(super) fn check(course: &Course, problems: &mut Vec<String>) {
    let notebooks = read_all(&course.root, problems);
    claims(course, &notebooks, problems);
    for (stem, cells) in &notebooks {
        machine_specific(stem, cells, problems);
        if !stem.starts_with("00") {
            beginning(stem, cells, problems);
        }
        let number = stem.get(..2).unwrap_or_default();
        let own = |exercise: &&Exercise| exercise.number().trim_start_matches("ch") == number;
        for exercise in course.exercises.iter().filter(own) {
            names(stem, cells, exercise, problems);
        }
    }
    links(&course.root, &notebooks, problems);
    let readme = std::fs::read_to_string(course.root.join("README.md")).unwrap_or_default();
    for exercise in &course.exercises {
        if !readme.contains(&format!("`{}`", exercise.slug)) {
            problems.push(format!("README.md does not name {}", exercise.slug));
        }
    }
}

fn read_all(root: &Path, problems: &mut Vec<String>) -> BTreeMap<String, Vec<Cell>> {
    let mut all = BTreeMap::new();
    let entries = std::fs::read_dir(root.join("notebooks")).into_iter();
    for path in entries.flatten().flatten().map(|entry| entry.path()) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let numbered = stem.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if !numbered
            || path
                .extension()
                .is_none_or(|extension| extension != "ipynb")
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let Ok(notebook) = serde_json::from_str::<Value>(&text) else {
            problems.push(format!("notebooks/{stem}.ipynb cannot be read"));
            continue;
        };
        let cells = notebook["cells"].as_array().into_iter().flatten();
        let cells = cells.map(|cell| Cell {
            id: cell["id"].as_str().unwrap_or_default().to_owned(),
            code: cell["cell_type"] == "code",
            text: match &cell["source"] {
                Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
                text => text.as_str().unwrap_or_default().to_owned(),
            },
        });
        all.insert(stem.into_owned(), cells.collect());
    }
    all
}

/// Every claim names cells that are there, and every chapter's notebook makes some.
fn claims(course: &Course, notebooks: &BTreeMap<String, Vec<Cell>>, problems: &mut Vec<String>) {
    let text = std::fs::read_to_string(course.root.join(CLAIMS)).unwrap_or_default();
    let claims: Claims = match toml::from_str(&text) {
        Ok(claims) => claims,
        Err(error) => {
            problems.push(format!("{CLAIMS} is broken: {error}"));
            return;
        }
    };
    for (stem, claims) in &claims {
        let Some(cells) = notebooks.get(stem) else {
            problems.push(format!("{CLAIMS}: there is no notebooks/{stem}.ipynb"));
            continue;
        };
        for Claim {
            claim,
            cells: shown,
        } in claims
        {
            if shown.is_empty() {
                problems.push(format!("{CLAIMS}: {stem}: nothing shows {claim:?}"));
            }
            for id in shown {
                if !cells.iter().any(|cell| cell.code && cell.id == *id) {
                    problems.push(format!(
                        "{CLAIMS}: notebooks/{stem}.ipynb has no code cell {id:?} to show {claim:?}"
                    ));
                }
            }
        }
    }
    for stem in notebooks.keys().filter(|stem| !stem.starts_with("00")) {
        if claims.get(stem).is_none_or(Vec::is_empty) {
            problems.push(format!("{CLAIMS} has no claim of {stem}"));
        }
    }
}

fn machine_specific(stem: &str, cells: &[Cell], problems: &mut Vec<String>) {
    for cell in cells.iter().filter(|cell| cell.code) {
        for words in OF_ONE_MACHINE {
            if cell.text.contains(words) {
                problems.push(format!(
                    "notebooks/{stem}.ipynb, cell {}: {words} is not on every machine",
                    cell.id
                ));
            }
        }
    }
}

/// What a chapter takes stands in its first cell, a list item each: lines alone would flow into one paragraph.
fn beginning(stem: &str, cells: &[Cell], problems: &mut Vec<String>) {
    let first = cells.first().map_or("", |cell| &cell.text);
    for begin in ["- **Time**: ", "- **Machine**: ", "- **Run** "] {
        if !first.lines().any(|line| line.starts_with(begin)) {
            problems.push(format!(
                "notebooks/{stem}.ipynb: no line of its first cell begins with {begin:?}"
            ));
        }
    }
}

/// The notebook has the section that the exercise names, and a row that leads to the exercise.
fn names(stem: &str, cells: &[Cell], exercise: &Exercise, problems: &mut Vec<String>) {
    let notebook = format!("notebooks/{stem}.ipynb");
    match exercise.notebook.split_once(".ipynb#") {
        Some((name, section)) if name == stem => {
            if !sections(cells).iter().any(|known| known == section) {
                problems.push(format!(
                    "{}: {notebook} has no section #{section}",
                    exercise.slug
                ));
            }
        }
        _ => problems.push(format!(
            "{}: its notebook is {notebook}, not {}",
            exercise.slug, exercise.notebook
        )),
    }
    let prose = cells.iter().filter(|cell| !cell.code);
    let prose: String = prose.map(|cell| cell.text.as_str()).collect();
    for words in [
        format!("](../{})", exercise.file()),
        format!("cargo xtask check {}", exercise.slug),
    ] {
        if !prose.contains(&words) {
            problems.push(format!("{notebook} does not name {words}"));
        }
    }
}

/// The anchors of a notebook's headings, as JupyterLab and GitHub make them.
fn sections(cells: &[Cell]) -> Vec<String> {
    let lines = cells
        .iter()
        .filter(|cell| !cell.code)
        .flat_map(|cell| cell.text.lines());
    lines.filter_map(heading).collect()
}

fn heading(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#');
    title.starts_with(' ').then(|| anchor(title.trim()))
}

fn anchor(title: &str) -> String {
    let letters = title.to_lowercase();
    letters
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// Every relative link of a notebook or a page leads to a file, and to a heading where it names one.
fn links(root: &Path, notebooks: &BTreeMap<String, Vec<Cell>>, problems: &mut Vec<String>) {
    for (stem, cells) in notebooks {
        let own = sections(cells);
        for cell in cells.iter().filter(|cell| !cell.code) {
            let path = format!("notebooks/{stem}.ipynb");
            follow(root, &path, &cell.text, &own, problems);
        }
    }
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap_or_default();
        let own: Vec<String> = text.lines().filter_map(heading).collect();
        follow(root, page, &text, &own, problems);
    }
}

fn follow(root: &Path, page: &str, text: &str, own: &[String], problems: &mut Vec<String>) {
    for target in targets(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, section) = target.split_once('#').unwrap_or((&target, ""));
        if file.is_empty() {
            if !own.iter().any(|known| known == section) {
                problems.push(format!("{page}: no section #{section}"));
            }
            continue;
        }
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        let path = plain(&folder.join(file));
        if !root.join(&path).exists() {
            problems.push(format!("{page}: {target} leads nowhere"));
        }
    }
}

/// What stands in `](…)`.
fn targets(text: &str) -> Vec<String> {
    let parts = text.split("](").skip(1);
    parts
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(id: &str, code: bool, text: &str) -> Cell {
        Cell {
            id: id.into(),
            code,
            text: text.into(),
        }
    }

    #[test]
    fn a_section_has_the_anchor_that_front_ends_give_it() {
        let cells = [
            cell("a", false, "## A shell runs `sh -c`, what?\ntext"),
            cell("b", true, "# no"),
        ];
        assert_eq!(sections(&cells), ["a-shell-runs-sh--c-what"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("notebooks")).unwrap();
        std::fs::write(root.path().join("README.md"), "").unwrap();
        let text = "[a](../README.md) [b](gone.ipynb) [c](#here) [d](#there) [e](https://x.org)";
        let mut problems = Vec::new();
        follow(
            root.path(),
            "notebooks/n.ipynb",
            text,
            &["here".into()],
            &mut problems,
        );
        assert_eq!(
            problems,
            [
                "notebooks/n.ipynb: gone.ipynb leads nowhere",
                "notebooks/n.ipynb: no section #there"
            ]
        );
    }

    #[test]
    fn what_a_chapter_takes_is_a_list() {
        let begins = |text: &str| {
            let mut problems = Vec::new();
            beginning("01", &[cell("a", false, text)], &mut problems);
            problems
        };
        let list = "# T\n- **Time**: 1 h.\n- **Machine**: any.\n- **Run** the cells.";
        assert_eq!(begins(list), [""; 0]);
        let flowing = list.replace("- **Machine**", "**Machine**");
        assert_eq!(
            begins(&flowing),
            ["notebooks/01.ipynb: no line of its first cell begins with \"- **Machine**: \""]
        );
    }

    #[test]
    fn a_cell_for_one_machine_is_named() {
        let mut problems = Vec::new();
        let cells = [
            cell("a", true, "File::open(\"/home/ada/x\")"),
            cell("b", false, "/home/"),
        ];
        machine_specific("01", &cells, &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
