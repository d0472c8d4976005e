//! `cargo xtask notebooks`: does every notebook still show what it says?
//!
//! # Layout
//! - [`form`]: how git keeps a notebook; [`execute`]: what it shows when a client runs it
//! - [`redact`]: what differs every time; [`snapshot`]: what is expected
//!
//! A cell with the tag `raises-exception` must fail, every other must not. One with the
//! tag `volatile` must show something. One that prints a line `skipped: …` asks for
//! something this machine lacks: that is counted, and is no failure.

mod execute;
mod form;
mod redact;
mod snapshot;

use std::path::PathBuf;

use anstream::adapter::strip_str;
use anstream::println;

use crate::fail::{About as _, Failure, Result, exit_code};
use crate::feedback;
use crate::flags::Notebooks;
use crate::lab;
use crate::lab::place::Place;
use crate::paint::{self, BAD, BOLD, CALM, DIM, GOOD, In, WARN};
use crate::progress::Spinner;
use crate::verdict::Seen;
use crate::{interrupt, sandbox};
use execute::Showed;
use form::Cell;

pub(crate) fn run(root: &std::path::Path, flags: &Notebooks) -> Result<u8> {
    interrupt::watch().about("cannot watch for Ctrl-C")?;
    let notebooks = select(root, &flags.wanted)?;
    let place = match lab::prepare(root) {
        Err(_) if interrupt::requested() => return Ok(exit_code::INTERRUPTED),
        other => other?,
    };
    let summary = all(&place, &notebooks, flags.bless)?;
    if interrupt::requested() {
        return Ok(exit_code::INTERRUPTED);
    }
    println!();
    println!("  {}", summary.line());
    Ok(if summary.broken == 0 {
        exit_code::PASSED
    } else {
        exit_code::NOT_PASSED
    })
}

/// What became of all notebooks.
#[derive(Default)]
pub(crate) struct Summary {
    notebooks: usize,
    cells: usize,
    skipped: usize,
    pub(crate) broken: usize,
}

impl Summary {
    pub(crate) fn line(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped on this machine"),
        };
        let (notebooks, cells) = (self.notebooks, self.cells);
        match self.broken {
            0 => format!("{notebooks} notebooks with {cells} cells show what they say{skipped}"),
            broken => {
                format!("{broken} of {notebooks} notebooks fail or show something else{skipped}")
            }
        }
    }
}

/// Executes `notebooks` and prints a line of each as it is done.
pub(crate) fn all(place: &Place, notebooks: &[String], bless: bool) -> Result<Summary> {
    // Orphans of kernels come to us, and are ended with the rest.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let mut summary = Summary::default();
    for name in notebooks {
        let started = std::time::Instant::now();
        let answer = one(place, name, bless);
        sandbox::end_adopted(&interrupt::wardens());
        if interrupt::requested() {
            break;
        }
        let Answer {
            cells,
            run,
            skipped,
            complaints,
            notes,
        } = answer?;
        summary.notebooks += 1;
        summary.cells += run;
        summary.skipped += skipped.len();
        summary.broken += usize::from(!complaints.is_empty());
        let mark = if complaints.is_empty() {
            In(GOOD, "✓")
        } else {
            In(BAD.bold(), "✗")
        };
        let run = if run == cells {
            format!("{run} cells")
        } else {
            format!("{run} of {cells} cells")
        };
        println!(
            "  {mark} {} {run} {}",
            In(BOLD, format_args!("{:24}", name.trim_end_matches(".ipynb"))),
            In(
                DIM,
                format_args!("{:.1} s", started.elapsed().as_secs_f64())
            )
        );
        for reason in skipped {
            println!("      {} {reason}", In(CALM, "skipped:"));
        }
        for note in notes {
            println!("      {} {note}", In(WARN, "note:"));
        }
        for complaint in complaints {
            for line in complaint.lines() {
                println!("      {line}");
            }
        }
    }
    Ok(summary)
}

/// The notebooks called `wanted`, by number, name or file; none means all.
pub(crate) fn select(root: &std::path::Path, wanted: &[String]) -> Result<Vec<String>> {
    let folder = root.join("notebooks");
    let entries =
        std::fs::read_dir(&folder).about(format_args!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_notebook(name))
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(Failure::new(format!(
            "there is no notebook (NN-topic.ipynb) in {}",
            folder.display()
        ))
        .next("git checkout -- notebooks"));
    }
    if wanted.is_empty() {
        return Ok(names);
    }
    let mut selected = Vec::new();
    for want in wanted {
        let want = want.rsplit('/').next().unwrap_or(want);
        let found = names.iter().find(|name| {
            let stem = name.trim_end_matches(".ipynb");
            [stem, name, &stem[..2], &stem[3..]].contains(&want)
        });
        let name = found.ok_or_else(|| {
            let known: Vec<&str> = names
                .iter()
                .map(|name| name.trim_end_matches(".ipynb"))
                .collect();
            Failure::new(format!("there is no notebook {want:?}"))
                .next(format!("one of: {}", known.join(", ")))
        })?;
        if !selected.contains(name) {
            selected.push(name.clone());
        }
    }
    Ok(selected)
}

fn is_notebook(name: &str) -> bool {
    name.strip_suffix(".ipynb").is_some_and(|stem| {
        let (number, rest) = stem.as_bytes().split_at(stem.len().min(2));
        number.len() == 2
            && number.iter().all(u8::is_ascii_digit)
            && rest.len() > 1
            && rest[0] == b'-'
    })
}

/// What is to be said of one notebook.
struct Answer {
    cells: usize,
    run: usize,
    skipped: Vec<String>,
    complaints: Vec<String>,
    notes: Vec<String>,
}

fn one(place: &Place, name: &str, bless: bool) -> Result<Answer> {
    let path = place.notebooks().join(name);
    let about = || format!("cannot read {}", path.display());
    let mut text = std::fs::read_to_string(&path).about(about())?;
    let mut answer = Answer {
        cells: 0,
        run: 0,
        skipped: Vec::new(),
        complaints: form::problems(&text),
        notes: Vec::new(),
    };
    if !answer.complaints.is_empty() {
        return Ok(answer);
    }
    if bless {
        let stripped = form::stripped(&text).map_err(Failure::new)?;
        if stripped != text {
            std::fs::write(&path, &stripped)
                .about(format_args!("cannot write {}", path.display()))?;
            answer.notes.push("outputs are stripped now".into());
            text = stripped;
        }
    } else if !form::is_stripped(&text) {
        let what = format!(
            "holds outputs, which git does not keep (authors: cargo xtask notebooks --bless {name})"
        );
        // Whoever opens a notebook and runs it has outputs in it; that is what it is for.
        if std::env::var_os("CI").is_some() {
            answer.complaints.push(what);
        } else {
            answer.notes.push(what);
        }
    }
    let cells = form::cells(&text).map_err(Failure::new)?;
    answer.cells = cells.len();
    let stem = name.trim_end_matches(".ipynb");
    let spinner = Spinner::new(&format!("{stem}: starting the kernel"));
    let showed = execute::execute(place, name, &cells, |done| {
        spinner.say(&format!("{stem}: {done} of {} cells", cells.len()));
    })?;
    drop(spinner);
    answer.run = showed.len();
    judge(place, stem, &cells, &showed, bless, &mut answer)?;
    Ok(answer)
}

/// Compares what was shown with what is expected, or makes it what is expected.
fn judge(
    place: &Place,
    stem: &str,
    cells: &[Cell],
    showed: &[Showed],
    bless: bool,
    answer: &mut Answer,
) -> Result<()> {
    let path = snapshot_path(place, stem);
    let expected = std::fs::read_to_string(&path)
        .ok()
        .map(|text| snapshot::parse(&text));
    if expected.is_none() && !bless {
        answer.complaints.push(format!(
            "has no snapshot (authors: cargo xtask notebooks --bless {stem})"
        ));
    }
    let root = place.root.display().to_string();
    let mut texts = snapshot::Texts::new();
    let mut differences = Vec::new();
    for showed in showed {
        let cell = cells
            .iter()
            .find(|cell| cell.index == showed.index)
            .expect("only known cells are told of");
        let old = expected.as_ref().and_then(|texts| texts.get(&cell.id));
        if let Some(reason) = showed.skipped() {
            answer.skipped.push(format!("{} ({reason})", cell.id));
            texts.extend(old.map(|text| (cell.id.clone(), text.clone())));
            continue;
        }
        if let Some(complaint) = conduct(cell, showed) {
            answer.complaints.push(complaint);
            continue;
        }
        let text = snapshot::text_of(cell, showed, &root);
        if expected.is_some() && text.as_ref() != old {
            let seen = Seen {
                snapshot: String::new(),
                expected: old.cloned().unwrap_or_default(),
                text: text.clone().unwrap_or_default(),
            };
            let lines = feedback::compare(&seen, paint::width().saturating_sub(8));
            differences.push(format!(
                "{} shows something else:\n  {}",
                named(cell),
                changed(&lines).join("\n  ")
            ));
        }
        texts.extend(text.map(|text| (cell.id.clone(), text)));
    }
    if showed.len() < cells.len() && answer.complaints.is_empty() {
        answer.complaints.push("not every cell was run".into());
    }
    if answer.complaints.is_empty()
        && let Some(expected) = &expected
    {
        let stale = expected.keys().filter(|id| !texts.contains_key(*id));
        let stale = stale.filter(|id| !cells.iter().any(|cell| cell.id == **id));
        differences.extend(stale.map(|id| format!("the snapshot has {id}, which is no cell")));
    }
    if !bless {
        answer.complaints.extend(differences);
        return Ok(());
    }
    if answer.complaints.is_empty() && (expected.is_none() || !differences.is_empty()) {
        let folder = path.parent().expect("a file in a folder");
        let text = snapshot::write(cells, &texts);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .about(format_args!("cannot write {}", path.display()))?;
        answer
            .notes
            .push(format!("written: notebooks/snapshots/{stem}.snap"));
    }
    Ok(())
}

fn snapshot_path(place: &Place, stem: &str) -> PathBuf {
    place
        .notebooks()
        .join("snapshots")
        .join(format!("{stem}.snap"))
}

/// What is wrong with how the cell ended; the text is compared elsewhere.
fn conduct(cell: &Cell, showed: &Showed) -> Option<String> {
    if let Some(ended) = &showed.ended {
        return Some(format!("{}: {ended}", named(cell)));
    }
    match &showed.error {
        Some(error) if !cell.raises => {
            let traceback = strip_str(&error.traceback.join("\n")).to_string();
            let traceback: Vec<String> =
                traceback.lines().map(|line| format!("  {line}")).collect();
            Some(format!(
                "{} fails: {}: {}\n{}",
                named(cell),
                error.ename,
                strip_str(&error.evalue),
                traceback.join("\n")
            ))
        }
        None if cell.raises => Some(format!("{} is meant to fail, and does not", named(cell))),
        None if cell.volatile && showed.outputs == 0 => {
            Some(format!("{} is volatile, and shows nothing", named(cell)))
        }
        _ => None,
    }
}

/// The first of a comparison's lines that differ, below its heading.
fn changed(lines: &[String]) -> Vec<String> {
    const SHOWN: usize = 12;
    let differs = |line: &&String| {
        let plain = strip_str(line).to_string();
        plain.starts_with(['-', '+']) || plain.contains('│')
    };
    let all = lines.iter().skip(1).filter(differs);
    let count = all.clone().count();
    let mut shown: Vec<String> = lines
        .iter()
        .take(1)
        .chain(all.take(SHOWN))
        .cloned()
        .collect();
    if count > SHOWN {
        shown.push(format!("… and {} lines more", count - SHOWN));
    }
    shown
}

fn named(cell: &Cell) -> String {
    format!("{} `{}`", cell.id, cell.first_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notebooks_are_found_by_number_name_or_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("notebooks");
        std::fs::create_dir(&folder).unwrap();
        let none = select(root.path(), &[]).unwrap_err().to_string();
        assert!(none.contains("there is no notebook"), "{none}");
        for name in [
            "02-processes.ipynb",
            "00-welcome.ipynb",
            "notes.ipynb",
            "é-a.ipynb",
            "run.py",
        ] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let select = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
            select(root.path(), &wanted)
        };
        assert_eq!(
            select(&[]).unwrap(),
            ["00-welcome.ipynb", "02-processes.ipynb"]
        );
        for wanted in [
            "02",
            "processes",
            "02-processes",
            "notebooks/02-processes.ipynb",
        ] {
            assert_eq!(select(&[wanted, "02"]).unwrap(), ["02-processes.ipynb"]);
        }
        let unknown = select(&["03"]).unwrap_err().to_string();
        assert!(
            unknown.contains("one of: 00-welcome, 02-processes"),
            "{unknown}"
        );
    }

    fn cell(raises: bool, volatile: bool) -> Cell {
        Cell {
            index: 1,
            id: "a".into(),
            first_line: "f()".into(),
            raises,
            volatile,
        }
    }

    fn raised() -> Showed {
        Showed {
            outputs: 1,
            error: Some(execute::Raised {
                ename: "panic".into(),
                evalue: "boom".into(),
                traceback: vec!["\u{1b}[31mat line 1\u{1b}[0m".into()],
            }),
            ..Showed::default()
        }
    }

    #[test]
    fn a_cell_fails_exactly_where_it_is_meant_to() {
        let said = |cell: Cell, showed: &Showed| conduct(&cell, showed).unwrap_or_default();
        assert_eq!(
            said(cell(false, false), &raised()),
            "a `f()` fails: panic: boom\n  at line 1"
        );
        assert_eq!(said(cell(true, false), &raised()), "");
        assert!(said(cell(true, false), &Showed::default()).contains("meant to fail"));
        assert!(said(cell(false, true), &Showed::default()).contains("shows nothing"));
        assert_eq!(said(cell(false, false), &Showed::default()), "");
        let dead = Showed {
            ended: Some("the kernel died".into()),
            ..raised()
        };
        assert!(said(cell(true, false), &dead).contains("the kernel died"));
    }

    fn judged(place: &Place, cells: &[Cell], showed: &[Showed], bless: bool) -> Answer {
        let mut answer = Answer {
            cells: 1,
            run: 1,
            skipped: vec![],
            complaints: vec![],
            notes: vec![],
        };
        judge(place, "01-a", cells, showed, bless, &mut answer).unwrap();
        answer
    }

    #[test]
    fn snapshots_are_written_by_bless_only_and_only_of_what_is_right() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path());
        let cells = [cell(false, false)];
        let prints = |text: &str| {
            [Showed {
                index: 1,
                outputs: 1,
                stdout: text.into(),
                ..Showed::default()
            }]
        };
        let path = snapshot_path(&place, "01-a");

        let first = judged(&place, &cells, &prints("one"), false);
        assert!(first.complaints[0].contains("has no snapshot") && !path.exists());
        judged(
            &place,
            &cells,
            &[Showed {
                index: 1,
                ..raised()
            }],
            true,
        );
        assert!(!path.exists());
        assert!(
            judged(&place, &cells, &prints("one"), true)
                .complaints
                .is_empty()
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "=== a\none\n");

        assert!(
            judged(&place, &cells, &prints("one"), false)
                .complaints
                .is_empty()
        );
        let other = judged(&place, &cells, &prints("two"), false);
        assert!(
            other.complaints[0].contains("shows something else"),
            "{:?}",
            other.complaints
        );
        let skipped = judged(&place, &cells, &prints("skipped: no kvm"), false);
        assert_eq!((skipped.skipped.len(), skipped.complaints.len()), (1, 0));
        // What could not be seen here stays expected.
        judged(&place, &cells, &prints("skipped: no kvm"), true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "=== a\none\n");
        assert!(!judged(&place, &cells, &[], false).complaints.is_empty());
    }
}
