//! What is a notebook expected to show? Its text, cell by cell, in a file one can read.
//!
//! ```text
//! === fork-returns-twice
//! parent of 〈pid A〉
//! --- value
//! 42
//! ```

use std::collections::BTreeMap;

use super::execute::Showed;
use super::form::Cell;
use super::redact::redact;

const CELL: &str = "=== ";
const PART: &str = "--- ";
/// In place of what a volatile cell shows.
pub(super) const VOLATILE: &str = "〈something〉";

/// The text of each cell that shows something, by its id.
pub(super) type Texts = BTreeMap<String, String>;

/// Reads a snapshot.
pub(super) fn parse(text: &str) -> Texts {
    let mut texts = Texts::new();
    let mut id = None;
    for line in text.lines() {
        if let Some(next) = line.strip_prefix(CELL) {
            id = Some(next.to_owned());
            texts.entry(next.to_owned()).or_default();
        } else if let Some(id) = &id {
            let text = texts.get_mut(id).expect("just made");
            text.push_str(unquote(line));
            text.push('\n');
        }
    }
    for text in texts.values_mut() {
        text.truncate(text.trim_end_matches('\n').len());
    }
    texts
}

/// Writes one, in the notebook's order.
pub(super) fn write(cells: &[Cell], texts: &Texts) -> String {
    let mut written = String::new();
    for cell in cells {
        if let Some(text) = texts.get(&cell.id) {
            written.push_str(&format!("{CELL}{}\n", cell.id));
            for line in text.lines() {
                written.push_str(&format!("{}\n", quote(line)));
            }
        }
    }
    written
}

/// A line that looks like a heading of ours is moved out of the way.
fn quote(line: &str) -> String {
    if line.starts_with(CELL) || line.starts_with('\\') {
        format!("\\{line}")
    } else {
        line.to_owned()
    }
}

fn unquote(line: &str) -> &str {
    line.strip_prefix('\\').unwrap_or(line)
}

/// What is compared of a cell; none where it shows nothing.
pub(super) fn text_of(cell: &Cell, showed: &Showed, root: &str) -> Option<String> {
    if showed.outputs == 0 {
        return None;
    }
    if cell.volatile {
        return Some(VOLATILE.into());
    }
    let mut parts = Vec::new();
    let stdout = redact(&showed.stdout, root);
    if !stdout.is_empty() {
        parts.push(stdout);
    }
    for value in &showed.values {
        parts.push(format!("{PART}value\n{}", redact(value, root)));
    }
    if let Some(error) = &showed.error {
        parts.push(format!("{PART}error {}", redact(&error.ename, root)));
    }
    (!parts.is_empty()).then(|| parts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(id: &str, volatile: bool) -> Cell {
        Cell {
            index: 0,
            id: id.into(),
            first_line: String::new(),
            raises: false,
            volatile,
        }
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was_written() {
        let texts = Texts::from([
            ("a".to_owned(), "one\n\ntwo".to_owned()),
            ("b".to_owned(), "=== not a heading\n\\ nor this".to_owned()),
        ]);
        let cells = [cell("b", false), cell("c", false), cell("a", false)];
        let text = write(&cells, &texts);
        assert!(text.starts_with("=== b\n"), "{text}");
        assert_eq!(parse(&text), texts);
    }

    #[test]
    fn values_and_errors_stand_apart_from_what_was_printed() {
        let showed = Showed {
            outputs: 3,
            stdout: "pid 4242\n".into(),
            values: vec!["42".into()],
            error: Some(super::super::execute::Raised {
                ename: "SIGSEGV".into(),
                evalue: "at 0x0".into(),
                traceback: vec![],
            }),
            ..Showed::default()
        };
        assert_eq!(
            text_of(&cell("a", false), &showed, "").unwrap(),
            "pid 〈pid A〉\n--- value\n42\n--- error SIGSEGV"
        );
        assert_eq!(text_of(&cell("a", true), &showed, "").unwrap(), VOLATILE);
        assert_eq!(text_of(&cell("a", false), &Showed::default(), ""), None);
    }
}
