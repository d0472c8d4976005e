//! `cargo xtask report`: one page about where one is, from what the store remembers.
//!
//! For oneself, or for a class: HTML to look at, JSON and JUnit XML for programs. Nothing is
//! graded here.

use std::fmt::Write as _;
use std::path::Path;

use anstream::println;
use serde::Serialize;

use crate::course::{Course, Exercise};
use crate::fail::{Failure, Result, exit_code};
use crate::flags::Report;
use crate::mime::{self, BEGUN, PASSED, escaped};
use crate::paint::{GOOD, In};
use crate::store::{FOLDER, Store};
use crate::verdict::{Graded, Outcome};
use crate::{junit, list, paint};

/// All that is known, as `--json` prints it.
#[derive(Serialize)]
struct Page {
    version: u32,
    chapters: Vec<Chapter>,
    solved: usize,
    total: usize,
    /// Worked on exercises until they passed.
    seconds: u64,
}

#[derive(Serialize)]
struct Chapter {
    /// `ch02_processes`
    name: String,
    /// `ch02 · Processes`
    title: String,
    exercises: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    slug: String,
    title: String,
    difficulty: u8,
    minutes: u32,
    outcome: Option<Outcome>,
    solved: bool,
    passed: usize,
    stages: usize,
    attempts: u32,
    hints: u8,
    seconds: u64,
}

pub(crate) fn run(course: &Course, flags: &Report) -> Result<u8> {
    let (store, _) = Store::open(&course.root);
    if let Some(path) = &flags.junit {
        let last = |exercise: &Exercise| store.get(&exercise.target()).last;
        let graded: Vec<Graded> = course.exercises.iter().filter_map(last).collect();
        write(path, &junit::report(&graded)?)?;
        return Ok(exit_code::PASSED);
    }
    let page = page(course, &store);
    if flags.mime {
        let text = format!("{} of {} exercises solved", page.solved, page.total);
        mime::print(&picture(&page), &text);
        return Ok(exit_code::PASSED);
    }
    if flags.json {
        let text = serde_json::to_string_pretty(&page).expect("plain data");
        std::println!("{text}");
        return Ok(exit_code::PASSED);
    }
    // A name that was typed is of the folder it was typed in.
    let (folder, path) = match &flags.html {
        Some(path) => (std::env::current_dir().unwrap_or_default(), path.clone()),
        None => (course.root.clone(), format!("{FOLDER}/report.html").into()),
    };
    write(&folder.join(&path), &html(&page))?;
    let link = paint::link(&folder, &path.to_string_lossy(), None);
    println!("  {} {link}", In(GOOD, "✓"));
    Ok(exit_code::PASSED)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| {
            Failure::new(format!(
                "cannot write the report {}: {error}",
                path.display()
            ))
            .next("name a file in a folder that can be written")
        })
}

fn page(course: &Course, store: &Store) -> Page {
    let mut chapters: Vec<Chapter> = course
        .chapters
        .iter()
        .map(|(chapter, title)| Chapter {
            title: format!(
                "{} · {title}",
                chapter.split('_').next().unwrap_or_default()
            ),
            name: chapter.clone(),
            exercises: Vec::new(),
        })
        .collect();
    for exercise in &course.exercises {
        let record = store.get(&exercise.target());
        let last = record.last.as_ref();
        let row = Row {
            slug: exercise.slug.clone(),
            title: exercise.title.clone(),
            difficulty: exercise.difficulty,
            minutes: exercise.minutes,
            outcome: last.map(|last| last.outcome),
            solved: record.solved,
            passed: last.map_or(0, |last| last.passed),
            stages: last.map_or(0, |last| last.total),
            attempts: record.attempts,
            hints: record.hints,
            seconds: record.seconds,
        };
        if let Some(chapter) = chapters
            .iter_mut()
            .find(|chapter| chapter.name == exercise.chapter)
        {
            chapter.exercises.push(row);
        }
    }
    let rows = || chapters.iter().flat_map(|chapter| &chapter.exercises);
    Page {
        version: 1,
        solved: rows().filter(|row| row.solved).count(),
        total: rows().count(),
        seconds: rows().map(|row| row.seconds).sum(),
        chapters,
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #59636e; --line: #d1d9e0; --paper: #fff;
  }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --quiet: #9198a1; --line: #3d444d;
  --paper: #0d1117; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; } p.quiet, td.quiet { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; table-layout: fixed; } th { width: 4.8rem; } th:nth-child(2) { width: 6rem; }
th:first-child { width: auto; } td:first-child { overflow-wrap: anywhere; }
th { text-align: left; font-weight: normal; color: var(--quiet); }
td, th { padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
";

fn html(page: &Page) -> String {
    let mut text = String::new();
    let hours = time(page.seconds);
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>syslab: {solved} of {total} solved</title>\n<style>{STYLE}</style>\n\
         <h1>{solved} of {total} exercises solved</h1>\n\
         <p class=\"quiet\">Worked on exercises until they passed: {hours}. \
         Time without a check for a quarter of an hour is not counted.</p>\n{picture}\n",
        solved = page.solved,
        total = page.total,
        picture = picture(page),
    );
    for chapter in page
        .chapters
        .iter()
        .filter(|chapter| !chapter.exercises.is_empty())
    {
        let _ = write!(
            text,
            "<h2>{}</h2>\n<table>\n<tr><th>exercise<th>result<th class=\"number\">stages<th class=\"number\">attempts<th class=\"number\">hints<th class=\"number\">time\n",
            escaped(&chapter.title)
        );
        for row in &chapter.exercises {
            let result = match row.outcome {
                _ if row.solved => "✓ solved",
                Some(outcome) => outcome.word(),
                None => "not begun",
            };
            let _ = writeln!(
                text,
                "<tr><td><b>{}</b> <span title=\"difficulty {} of 5\">{}</span><br>{}\
                 <td>{result}<td class=\"number\">{}<td class=\"number\">{}\
                 <td class=\"number\">{}<td class=\"number\">{}",
                escaped(&row.slug),
                row.difficulty,
                list::stars(row.difficulty),
                with_code(&row.title),
                // How many there are is known once it was graded.
                match row.stages {
                    0 => "–".to_owned(),
                    stages => format!("{}/{stages}", row.passed),
                },
                row.attempts,
                row.hints,
                time(row.seconds),
            );
        }
        text.push_str("</table>\n");
    }
    text.push_str("</html>\n");
    text
}

/// What stands in backquotes is code.
fn with_code(title: &str) -> String {
    let parts = title.split('`').enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => escaped(part),
            _ => format!("<code>{}</code>", escaped(part)),
        })
        .collect()
}

/// The chapters as rows, the exercises as squares: filled by the stages that are done.
fn picture(page: &Page) -> String {
    const SIDE: usize = 22;
    const GAP: usize = 6;
    const LEFT: usize = 360;
    let most = page.chapters.iter().map(|chapter| chapter.exercises.len());
    let width = LEFT + most.max().unwrap_or(0).max(4) * (SIDE + GAP);
    let height = page.chapters.len() * (SIDE + GAP) + GAP;
    let mut text = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         style=\"max-width: 100%; height: auto; font: 14px system-ui, sans-serif; color: var(--jp-content-font-color1, currentColor)\" fill=\"currentColor\">\n<title>The chapters: {} of {} exercises solved</title>\n",
        page.solved, page.total
    );
    for (row, chapter) in page.chapters.iter().enumerate() {
        let y = GAP + row * (SIDE + GAP);
        let _ = writeln!(
            text,
            "<text x=\"0\" y=\"{}\">{}</text>",
            y + SIDE - 6,
            escaped(&chapter.title)
        );
        if chapter.exercises.is_empty() {
            let _ = writeln!(
                text,
                "<text x=\"{LEFT}\" y=\"{}\" fill-opacity=\".6\">not written yet</text>",
                y + SIDE - 6
            );
        }
        for (column, exercise) in chapter.exercises.iter().enumerate() {
            let x = LEFT + column * (SIDE + GAP);
            let (colour, done) = if exercise.solved {
                (PASSED, 1.0)
            } else {
                let of = exercise.stages.max(1) as f64;
                (BEGUN, exercise.passed as f64 / of)
            };
            let filled = SIDE as f64 * done;
            let top = y as f64 + SIDE as f64 - filled;
            let _ = writeln!(
                text,
                "<g><title>{}: {} of {} stages{}</title>\
                 <rect x=\"{x}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" rx=\"3\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>\
                 <rect x=\"{x}\" y=\"{top:.1}\" width=\"{SIDE}\" height=\"{filled:.1}\" rx=\"3\" fill=\"{colour}\"/></g>",
                escaped(&exercise.slug),
                exercise.passed,
                exercise.stages,
                if exercise.solved { ", solved" } else { "" },
                if exercise.attempts > 0 || exercise.solved {
                    colour
                } else {
                    "#8c959f"
                },
            );
        }
    }
    text.push_str("</svg>");
    text
}

/// `1 h 20 min`
pub(crate) fn time(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) if seconds == 0 => "–".to_owned(),
        (0, 0) => "1 min".to_owned(),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Tested;

    const LIST: &str = "[chapters]\nch01_one = \"One & <two>\"\nch02_two = \"Two\"\n\
        [[exercise]]\nchapter = \"ch01_one\"\nslug = \"write\"\ntitle = \"Who `writes` \\\"<\\\"?\"\n\
        difficulty = 2\nminutes = 5\nlimit_seconds = 5\n";

    #[test]
    fn the_page_has_every_chapter_and_what_was_done() {
        let root = tempfile::tempdir().unwrap();
        let course = Course::parse(root.path(), LIST).unwrap();
        let mut store = Store::open(root.path()).0;
        let tested = Tested::new("a", Outcome::Passed, 0.1);
        let open = Tested::new("a", Outcome::Failed, 0.1);
        let graded = Graded::of_tests("ch01_one", "write", vec![tested, open]);
        store.keep("ch01_write", &graded, "key").unwrap();
        let page = page(&course, &store);
        assert_eq!((page.solved, page.total, page.chapters.len()), (0, 1, 2));
        let text = html(&page);
        assert!(text.contains("stroke=\"#c9820a\"") && text.contains("fill=\"#c9820a\""));
        for words in [
            "ch01 · One &amp; &lt;two&gt;",
            "ch02 · Two",
            "write: 1 of 2 stages",
            "Who <code>writes</code> &quot;&lt;&quot;?",
            "not written yet",
            "<td>failed<td class=\"number\">1/2<td class=\"number\">1",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
    }

    #[test]
    fn times_are_in_words() {
        let said = [0, 30, 600, 4800].map(time);
        assert_eq!(said, ["–", "1 min", "10 min", "1 h 20 min"]);
    }
}
