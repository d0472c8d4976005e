//! How do errors read?

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use evcxr::CompilationError;
use link::{Death, Panic};
use syslab_rustc::types::Types;
use wire::Failure;

use crate::cell_text::byte_offset;

/// A failure of one line.
pub(crate) fn plain(name: &str, value: impl Into<String>) -> Failure {
    let value = value.into();
    let traceback = vec![format!("{}: {value}", bold_red(name))];
    Failure {
        name: name.to_owned(),
        value,
        traceback,
    }
}

pub(crate) fn interrupted(losses: &[String]) -> Failure {
    let mut failure = plain(
        "Interrupted",
        "the cell was interrupted; variables are as they were before it",
    );
    failure.traceback.extend(losses.iter().cloned());
    failure
}

/// `generated`: the text that was compiled, to find the line of the cell in.
pub(crate) fn death(death: &Death, cell: &str, generated: &str) -> Failure {
    if death.interrupted && death.restored {
        return interrupted(&death.losses);
    }
    let name = if death.interrupted {
        "Interrupted"
    } else {
        &death.name
    };
    let line = death
        .place
        .as_ref()
        .and_then(|(library, address)| line_of_library(library, *address));
    let place = line.and_then(|line| line_of_cell("cell/lib.rs", line, cell, generated));
    let value = match place {
        Some((number, _)) => format!("{} (line {number} of the cell)", death.what),
        None => death.what.clone(),
    };
    let mut failure = plain(name, value);
    if let Some((number, line)) = place {
        failure
            .traceback
            .push(format!("{number:>4} | {}", line.trim_end()));
    }
    if death.restored {
        failure
            .traceback
            .push("Variables are as they were before the cell.".into());
    }
    failure.traceback.extend(death.losses.iter().cloned());
    failure
}

/// `generated`: the text that was compiled, to find the line of the cell in.
pub(crate) fn panic(panic: &Panic, cell: &str, generated: &str) -> Failure {
    let place = line_of_cell(&panic.file, panic.line, cell, generated);
    let value = match &place {
        Some((number, _)) => format!("{} (line {number} of the cell)", panic.message),
        None if panic.file.is_empty() || panic.file.ends_with("cell/lib.rs") => {
            panic.message.clone()
        }
        None => format!("{} ({}:{})", panic.message, panic.file, panic.line),
    };
    let mut failure = plain("Panic", value);
    if let Some((number, line)) = place {
        failure
            .traceback
            .push(format!("{number:>4} | {}", line.trim_end()));
    }
    failure
}

/// The line of the generated text that the code at this address of a cell's library was compiled from.
fn line_of_library(library: &str, address: u64) -> Option<u32> {
    let loader = addr2line::Loader::new(library).ok()?;
    let mut frames = loader.find_frames(address).ok()?;
    // What was inlined is not the cell's: the first frame that is.
    while let Ok(Some(frame)) = frames.next() {
        if let Some(place) = frame.location
            && place.file.is_some_and(|file| file.ends_with("cell/lib.rs"))
        {
            return place.line;
        }
    }
    None
}

/// The line of the cell that is at this line of the generated text.
fn line_of_cell<'a>(
    file: &str,
    line: u32,
    cell: &'a str,
    generated: &str,
) -> Option<(usize, &'a str)> {
    if !file.ends_with("cell/lib.rs") {
        return None;
    }
    let made = generated.lines().nth(line.checked_sub(1)? as usize)?.trim();
    let fits = |line: &str| {
        let line = line.trim();
        !line.is_empty() && (made == line || made.starts_with(line))
    };
    let mut lines = cell.lines().enumerate().filter(|(_, line)| fits(line));
    let (number, line) = lines.next()?;
    Some((number + 1, line))
}

/// Compile errors, drawn as rustc draws them, with the cell's own lines.
pub(crate) fn compilation(errors: &[CompilationError], cell: &str, types: &Types) -> Failure {
    let mut shown: Vec<&CompilationError> = Vec::new();
    for error in errors {
        let same = |other: &&CompilationError| {
            other.message() == error.message() && place(other) == place(error)
        };
        if !shown.iter().any(same) {
            shown.push(error);
        }
    }
    let first = shown.first();
    let code = first
        .and_then(|error| error.code())
        .unwrap_or("CompileError");
    let message = first.map_or_else(
        || "the cell could not be compiled".into(),
        |error| types.tell(&error.message()),
    );
    let line = first
        .and_then(|error| place(error))
        .map(|(line, _)| format!(" (line {line} of the cell)"));
    Failure {
        name: code.to_owned(),
        value: format!("{message}{}", line.unwrap_or_default()),
        traceback: if shown.is_empty() {
            vec![message]
        } else {
            shown
                .iter()
                .map(|error| drawn(error, cell, types))
                .collect()
        },
    }
}

/// Line and column of the main span.
fn place(error: &CompilationError) -> Option<(usize, usize)> {
    let span = error.primary_spanned_message()?.span?;
    Some((span.start_line, span.start_column))
}

fn drawn(error: &CompilationError, cell: &str, types: &Types) -> String {
    let message = types.tell(&error.message());
    let mut snippet = Snippet::source(cell).path("cell").line_start(1);
    let mut marks = 0;
    let mut seen = Vec::new();
    for spanned in error.spanned_messages() {
        let Some(span) = spanned.span else {
            continue;
        };
        let start = byte_offset(cell, span.start_line, span.start_column - 1);
        let end = byte_offset(cell, span.end_line, span.end_column - 1).max(start);
        if seen.contains(&(start, end)) {
            continue;
        }
        seen.push((start, end));
        let kind = if spanned.is_primary {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        let label = types.tell(&spanned.label);
        let label = if label.starts_with("error: ") {
            String::new()
        } else {
            label
        };
        let mark = kind.span(start..end);
        snippet = snippet.annotation(if label.is_empty() {
            mark
        } else {
            mark.label(label)
        });
        marks += 1;
    }
    let mut title = Level::ERROR.primary_title(&message);
    if let Some(code) = error.code() {
        title = title.id(code.to_owned());
    }
    let mut group = if marks > 0 {
        title.element(snippet)
    } else {
        Group::with_title(title)
    };
    for help in error.help() {
        group = group.element(Level::HELP.message(types.tell(&help)));
    }
    if let Some(hint) = error.evcxr_extra_hint() {
        group = group.element(Level::NOTE.message(hint));
    }
    if matches!(error.code(), Some("E0384" | "E0596")) {
        group = group.element(
            Level::HELP
                .message("a variable of an earlier cell becomes mutable by `let mut x = x;`"),
        );
    }
    Renderer::styled().render(&[group]).clone()
}

fn bold_red(text: &str) -> String {
    format!("\x1b[1;31m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_names_its_line_of_the_cell() {
        let cell = "let v: Vec<u8> = vec![];\nv[3];";
        let generated = "mod x {}\nfn run() {\nlet v: Vec<u8> = vec![];\nv[3];\n}";
        let said = Panic {
            message: "out of bounds".into(),
            file: "cell/lib.rs".into(),
            line: 4,
        };
        assert_eq!(
            panic(&said, cell, generated).value,
            "out of bounds (line 2 of the cell)"
        );
        let elsewhere = Panic {
            file: "src/vec.rs".into(),
            ..said
        };
        assert_eq!(
            panic(&elsewhere, cell, generated).value,
            "out of bounds (src/vec.rs:4)"
        );
    }

    #[test]
    fn an_interrupt_says_that_variables_are_there() {
        let interrupt = Death {
            name: "SIGINT".into(),
            interrupted: true,
            restored: true,
            ..Death::default()
        };
        assert_eq!(death(&interrupt, "", "").name, "Interrupted");
        let crash = Death {
            name: "SIGSEGV".into(),
            restored: true,
            losses: vec!["threads lost: 1".into()],
            ..Death::default()
        };
        let crash = death(&crash, "", "");
        assert_eq!(crash.name, "SIGSEGV");
        assert!(crash.traceback.iter().any(|line| line == "threads lost: 1"));
    }
}
