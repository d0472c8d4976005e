//! What is shown in a notebook: JSON objects, MIME type → content, one a line on standard output.
//!
//! The notebook kernel runs `cargo xtask … --mime` and passes the bundles on; it knows nothing of
//! verdicts. Colours are readable in light and dark themes, and nothing is said by colour alone.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::course::Exercise;
use crate::feedback::Part;
use crate::paint;
use crate::verdict::{Graded, Outcome, Seen};
use crate::{feedback, hint, list};

pub(crate) const PASSED: &str = "#1a936f";
pub(crate) const BEGUN: &str = "#c9820a";
const FAILED: &str = "#d1495b";
const QUIET: &str = "#80868b";

/// Prints a bundle of HTML and of the same in plain text.
pub(crate) fn print(html: &str, text: &str) {
    print_bundle(&json!({ "text/html": html, "text/plain": text.trim_end() }));
}

fn print_bundle(bundle: &Value) {
    println!("{bundle}");
}

/// A verdict.
pub(crate) fn verdict(exercise: &Exercise, graded: &Graded, notices: &[String]) {
    let place = |file: &str, line: Option<u32>| match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    let mut text = format!(
        "{} {} {}/{} {}\n",
        exercise.slug,
        paint::bar(graded.passed, graded.total),
        graded.passed,
        graded.total,
        graded.outcome.word()
    );
    for line in feedback::lines(exercise, graded, 100, &place) {
        let _ = writeln!(text, "{line}");
    }
    let text = anstream::adapter::strip_str(&text).to_string();
    print(&verdict_html(exercise, graded, notices), &text);
}

fn verdict_html(exercise: &Exercise, graded: &Graded, notices: &[String]) -> String {
    let colour = colour(graded.outcome);
    let mut html = format!(
        "<div style=\"max-width: 60rem\"><p><b>{}</b> &ensp;<span style=\"color: {PASSED}\" \
         aria-hidden=\"true\">{}</span> {}/{} &ensp;<b style=\"color: {colour}\">{}</b></p>",
        escaped(&exercise.slug),
        paint::bar(graded.passed, graded.total),
        graded.passed,
        graded.total,
        graded.outcome.word(),
    );
    for notice in notices {
        let _ = write!(html, "<p style=\"color: {BEGUN}\">{}</p>", escaped(notice));
    }
    if let Some(message) = &graded.message {
        let plain = anstream::adapter::strip_str(message).to_string();
        let _ = write!(html, "<pre>{}</pre>", escaped(plain.trim_end()));
    }
    let mut open = graded.open();
    if let Some(test) = open.next() {
        let _ = write!(
            html,
            "<p><span style=\"color: {QUIET}\">{}</span><br><b>{}</b></p>",
            escaped(&test.name.replace('_', " ")),
            escaped(test.message.as_deref().unwrap_or_default()).replace('\n', "<br>"),
        );
        if let Some(seen) = &test.seen {
            html += &compared(seen);
        }
        if let Some(stderr) = &test.stderr {
            let _ = write!(
                html,
                "<p style=\"color: {QUIET}\">{}</p><pre>{}</pre>",
                feedback::PRINTED,
                escaped(stderr)
            );
        }
        if let Some(file) = &test.file {
            let line = test.line.map(|line| format!(":{line}")).unwrap_or_default();
            let _ = write!(html, "<p>at {}</p>", link(file, &format!("{file}{line}")));
        }
        if let Some(calls) = &test.calls {
            let _ = write!(
                html,
                "<details><summary>{} system calls of this stage</summary><pre>{}</pre></details>",
                calls.lines().count(),
                escaped(calls.trim_end())
            );
        }
    }
    let open: Vec<String> = open
        .map(|test| escaped(&test.name.replace('_', " ")))
        .collect();
    if !open.is_empty() {
        let _ = write!(
            html,
            "<p style=\"color: {QUIET}\">open, too: {}</p>",
            open.join(" · ")
        );
    }
    match graded.outcome {
        Outcome::Passed => {
            let stages: Vec<String> = graded
                .tests
                .iter()
                .map(|test| escaped(&test.name.replace('_', " ")))
                .collect();
            let _ = write!(html, "<p>✓ {}</p>", stages.join("<br>✓ "));
        }
        Outcome::Skipped => {}
        _ => {
            let _ = write!(
                html,
                "<p>{} &ensp;<code>:exercise {slug}</code> opens it, <code>:hint {slug}</code> helps</p>",
                link(&exercise.file(), &exercise.file()),
                slug = exercise.slug
            );
        }
    }
    html + "</div>"
}

/// Expected and Seen beside each other; what differs is marked.
fn compared(seen: &Seen) -> String {
    let mut rows = String::new();
    for Part { equal, left, right } in feedback::parts(seen) {
        for row in 0..left.len().max(right.len()) {
            let cell = |texts: &[String], colour: &str| {
                let style = if equal {
                    format!("color: {QUIET}")
                } else {
                    format!("border-left: 3px solid {colour}")
                };
                let text = escaped(texts.get(row).map_or("", String::as_str));
                format!(
                    "<td style=\"text-align: left; white-space: pre-wrap; font-family: monospace; \
                     vertical-align: top; {style}\">{text}</td>"
                )
            };
            let _ = write!(
                rows,
                "<tr>{}{}</tr>",
                cell(&left, PASSED),
                cell(&right, FAILED)
            );
        }
    }
    format!(
        "<table><thead><tr><th style=\"text-align: left\">Expected</th>\
         <th style=\"text-align: left\">Seen</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

/// The exercise's own words; opens its file beside the notebook, where the front end is JupyterLab.
pub(crate) fn exercise(exercise: &Exercise, text: &str) {
    let file = exercise.file();
    let slug = &exercise.slug;
    let about = format!(
        "[{file}](../{file}) · {} · {} min",
        list::stars(exercise.difficulty),
        exercise.minutes
    );
    // Links of rustdoc's lead nowhere here, and what is no test is code all the same.
    let body = text
        .replace("[`", "`")
        .replace("`]", "`")
        .replace("```ignore", "```rust")
        .replacen("# ", "### ", 1);
    let markdown =
        format!("{about}\n\n{body}\n\nThen `:check {slug}` in a cell; stuck? `:hint {slug}`\n");
    print_bundle(&json!({ "text/markdown": markdown, "text/plain": format!("{file}\n\n{text}") }));
    let path = serde_json::to_string(&file).expect("a string");
    let open = format!(
        "globalThis.jupyterapp?.commands.execute('docmanager:open', \
         {{path: {path}, options: {{mode: 'split-right'}}}});"
    );
    // No text beside it: what cannot run it shows nothing.
    print_bundle(&json!({ "application/javascript": open, "text/plain": "" }));
}

/// One hint.
pub(crate) fn hint(exercise: &Exercise, tier: u8, text: &str) {
    let title = format!(
        "{}, hint {tier} of 3: {}",
        exercise.slug,
        hint::TIERS[usize::from(tier - 1)]
    );
    let html = format!(
        "<p><b>{}</b></p><pre>{}</pre>",
        escaped(&title),
        escaped(text)
    );
    print(&html, &format!("{title}\n\n{text}"));
}

/// A file of the course, as seen from `notebooks/`.
fn link(file: &str, text: &str) -> String {
    format!("<a href=\"../{}\">{}</a>", escaped(file), escaped(text))
}

fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => PASSED,
        Outcome::Todo | Outcome::Skipped => QUIET,
        Outcome::Failed | Outcome::DoesNotCompile => FAILED,
        Outcome::TimedOut | Outcome::Crashed | Outcome::Leaked | Outcome::Tampered => BEGUN,
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Tested;

    #[test]
    fn what_a_program_printed_is_text_in_the_page() {
        let seen = Seen {
            snapshot: String::new(),
            expected: "0: /dev/null".into(),
            text: "0: <script>alert(1)</script>".into(),
        };
        let html = compared(&seen);
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }

    #[test]
    fn the_sentence_stands_in_html_and_text() {
        let exercise: crate::course::Course = crate::course::Course::parse(
            std::path::Path::new("/nowhere"),
            "[[exercise]]\nchapter = \"ch01_one\"\nslug = \"write\"\ntitle = \"t\"\n\
             difficulty = 1\nminutes = 1\nlimit_seconds = 1\n",
        )
        .unwrap();
        let test = Tested {
            name: "bytes_arrive".into(),
            outcome: Outcome::Failed,
            seconds: 0.1,
            message: Some("3 < 4 bytes arrived".into()),
            file: None,
            line: None,
            seen: None,
            stderr: None,
            calls: Some("write(1) = 3".into()),
        };
        let graded = Graded::of_tests("ch01_one", "write", vec![test]);
        let html = verdict_html(&exercise.exercises[0], &graded, &[]);
        for words in [
            "3 &lt; 4 bytes arrived",
            "bytes arrive",
            "1 system calls",
            "write(1) = 3",
        ] {
            assert!(html.contains(words), "{html}");
        }
    }
}
