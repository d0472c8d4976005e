//! Did every cell do what it is meant to, and show what is expected of it?
//!
//! What is expected is written here too, by `--bless`: of a notebook that has nothing wrong with it.

use std::path::PathBuf;

use anstream::adapter::strip_str;

use super::Answer;
use super::execute::Showed;
use super::form::Cell;
use super::snapshot;
use crate::fail::{About as _, Result};
use crate::lab::place::Place;
use crate::verdict::Seen;
use crate::{feedback, paint};

/// Compares what was shown with what is expected, or makes it what is expected.
pub(super) fn judge(
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
            error: Some(super::super::execute::Raised {
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
