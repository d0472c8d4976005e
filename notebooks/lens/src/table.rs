//! How is a table written, as HTML and as text?

use std::fmt::Write;

use crate::svg::{COLOUR, escape, width};

/// How the cells of a column look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Words.
    Words(&'static str),
    /// What a program or the kernel wrote.
    Code(&'static str),
    /// The same, and short enough for one line.
    Name(&'static str),
    /// What a system call gave, as strace writes it. Where there is HTML, the text of an errno waits behind its name:
    /// beside each `-1 ENOENT` it would take the room of the arguments.
    Result(&'static str),
    /// Numbers, aligned on the right.
    Number(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Column::Words(head)
            | Column::Code(head)
            | Column::Name(head)
            | Column::Result(head)
            | Column::Number(head) => head,
        }
    }
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    /// The same, and something went wrong in it.
    Failed(Vec<String>),
    /// A sentence across all columns.
    Note(String),
}

/// Rows below a head.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Table {
        Table {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    /// Without the columns in which no row has anything.
    pub(crate) fn without_empty(mut self) -> Table {
        let filled: Vec<bool> = (0..self.columns.len())
            .map(|index| {
                self.rows.iter().any(|row| match row {
                    Row::Cells(cells) | Row::Failed(cells) => !cells[index].is_empty(),
                    Row::Note(_) => false,
                })
            })
            .collect();
        if filled.contains(&true) {
            let mut keep = filled.iter();
            self.columns.retain(|_| *keep.next().unwrap_or(&true));
            for row in &mut self.rows {
                if let Row::Cells(cells) | Row::Failed(cells) = row {
                    let mut keep = filled.iter();
                    cells.retain(|_| *keep.next().unwrap_or(&true));
                }
            }
        }
        self
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(Row::Cells(cells.into()));
    }

    pub(crate) fn failed(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(Row::Failed(cells.into()));
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.rows.push(Row::Note(note.into()));
    }

    /// With the head in capitals and one line a row; nothing if there are no rows.
    pub(crate) fn text(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| width(c.head())).collect();
        for row in &self.rows {
            if let Row::Cells(cells) | Row::Failed(cells) = row {
                for (widest, cell) in widths.iter_mut().zip(cells) {
                    *widest = (*widest).max(width(cell));
                }
            }
        }
        let line = |cells: &[String]| {
            let mut line = String::new();
            for ((cell, column), widest) in cells.iter().zip(&self.columns).zip(&widths) {
                let space = " ".repeat(widest - width(cell));
                let _ = match column {
                    Column::Number(_) => write!(line, "{space}{cell}  "),
                    _ => write!(line, "{cell}{space}  "),
                };
            }
            line.trim_end().to_owned() + "\n"
        };
        if self.rows.is_empty() {
            return String::new();
        }
        let head: Vec<String> = self
            .columns
            .iter()
            .map(|c| c.head().to_uppercase())
            .collect();
        let mut text = line(&head);
        for row in &self.rows {
            match row {
                Row::Cells(cells) | Row::Failed(cells) => text.push_str(&line(&clean(cells))),
                Row::Note(note) => {
                    text.push_str("  ");
                    text.push_str(&clean(std::slice::from_ref(note))[0]);
                    text.push('\n');
                }
            }
        }
        text
    }

    /// A `<table>` with `title` as its caption.
    pub(crate) fn html(&self, title: &str) -> String {
        let mut html = format!(
            "{SHEET}<table class=\"lens\"><caption>{}</caption>",
            escape(title)
        );
        if self.rows.is_empty() {
            html.push_str("</table>");
            return html;
        }
        html.push_str("<thead><tr>");
        for column in &self.columns {
            let _ = write!(
                html,
                "<th scope=\"col\"{}>{}</th>",
                if matches!(column, Column::Number(_)) {
                    class(*column)
                } else {
                    ""
                },
                escape(column.head())
            );
        }
        html.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            match row {
                Row::Cells(cells) => self.html_row(&mut html, "<tr>", cells),
                Row::Failed(cells) => self.html_row(&mut html, "<tr class=\"failed\">", cells),
                Row::Note(note) => {
                    let _ = write!(
                        html,
                        "<tr><td colspan=\"{}\" class=\"note\">{}</td></tr>",
                        self.columns.len(),
                        escape(note)
                    );
                }
            }
        }
        html.push_str("</tbody></table>");
        html
    }

    fn html_row(&self, html: &mut String, open: &str, cells: &[String]) {
        html.push_str(open);
        for (cell, column) in cells.iter().zip(&self.columns) {
            let mut cell = escape(cell);
            if matches!(column, Column::Code(_)) {
                // A line may be broken between two flags, and between two names of a path.
                cell = cell.replace('/', "/<wbr/>").replace('|', "|<wbr/>");
            }
            if matches!(column, Column::Result(_)) {
                cell = with_text_behind(&cell).unwrap_or(cell);
            }
            let _ = write!(html, "<td{}>{cell}</td>", class(*column));
        }
        html.push_str("</tr>");
    }
}

/// Of "-1 EPIPE (Broken pipe)"; `None`: it is no errno.
fn with_text_behind(result: &str) -> Option<String> {
    let (name, rest) = result.strip_prefix("-1 E")?.split_once(" (")?;
    let (text, behind) = rest.split_once(')')?;
    Some(format!("<abbr title=\"{text}\">-1 E{name}</abbr>{behind}"))
}

/// Without control characters, which would end a line or colour a terminal.
fn clean(cells: &[String]) -> Vec<String> {
    cells
        .iter()
        .map(|cell| cell.replace(char::is_control, "\u{fffd}"))
        .collect()
}

fn class(column: Column) -> &'static str {
    match column {
        Column::Words(_) => "",
        Column::Code(_) => " class=\"code\"",
        Column::Name(_) | Column::Result(_) => " class=\"code name\"",
        Column::Number(_) => " class=\"number\"",
    }
}

/// What stands between the tags of a cell's output.
pub(crate) fn page(inside: &str) -> String {
    format!("<div style=\"max-width:100%;overflow-x:auto;{COLOUR}\">{inside}</div>")
}

/// A table that waits to be opened.
pub(crate) fn folded(table: &str) -> String {
    format!("<details><summary>as a table</summary>{table}</details>")
}

/// JupyterLab aligns cells on the right and colours every other row: the first is no good for words.
///
/// The class is named twice to outweigh the front end's own rules.
const SHEET: &str = "<style>\
    table.lens{color:inherit;font-size:inherit;border-collapse:collapse;margin:.3em 0}\
    table.lens caption{text-align:left;font-weight:bold;padding:.2em .4em;caption-side:top;white-space:nowrap;color:inherit}\
    table.lens.lens th,table.lens.lens td{text-align:left;padding:.1em .7em .1em .4em;vertical-align:top;\
    white-space:pre-wrap;max-width:46em;overflow-wrap:break-word}\
    table.lens.lens .number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
    table.lens.lens .code{font-family:var(--jp-code-font-family,monospace);font-size:92%}\
    table.lens.lens .name{white-space:pre}\
    table.lens tr.failed td:first-child{box-shadow:inset 3px 0 #D55E00}\
    table.lens tr.failed .name{font-weight:bold}\
    table.lens .note{font-style:italic;opacity:.8}\
    </style>";

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::Code("call"), Column::Number("ns")]);
        table.row(["read(<3>)".into(), "7".into()]);
        table.failed(["w\x1b[1m\n".into(), "12345".into()]);
        table.note("2 of 2");
        table
    }

    #[test]
    fn columns_line_up_and_control_characters_do_nothing() {
        insta::assert_snapshot!(table().text(), @r"
        CALL          NS
        read(<3>)      7
        w�[1m�     12345
          2 of 2
        ");
    }

    #[test]
    fn html_is_well_formed() {
        let html = page(&table().html("a & b"));
        let parsed = roxmltree::Document::parse(&html).unwrap();
        let rows = parsed.descendants().filter(|node| node.has_tag_name("tr"));
        assert_eq!(rows.count(), 4);
    }
}
