//! The short way: from the text that evcxr generates to a library, with one run of rustc.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::recipe::{Recipe, Want};
use crate::rewrite::{DEBUG_AGAIN, Rewritten, SHOW_AGAIN, rewrite};
use crate::types::{self, LOST, PREFIX, Types};

/// Where evcxr looks for the path of the library (`evcxr/src/module.rs`).
const RESULT: &str = "EVCXR_EXECUTION_SO_PATH";

/// The library, in evcxr's folder.
pub const LIBRARY: &str = "out/libctx.so";

/// Compiles the cell in evcxr's folder; rustc's messages go to stdout, where evcxr reads them. The exit status.
///
/// # Errors
/// What went wrong around the compiler.
pub fn compile(folder: &Path, recipe: &Recipe, opt_level: &str, want: Want) -> Result<i32, String> {
    attempt(folder, recipe, opt_level, want, Show::InItsOwnWay)
}

/// How a value is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    /// By the method that its type has.
    InItsOwnWay,
    /// By `Debug`, which needs no type: that of a value that never comes (`!`) is known too late for a method.
    ByDebug,
}

fn attempt(
    folder: &Path,
    recipe: &Recipe,
    opt_level: &str,
    want: Want,
    show: Show,
) -> Result<i32, String> {
    let about = |what: &str, why: std::io::Error| format!("{what} in {}: {why}", folder.display());
    let source = std::fs::read_to_string(folder.join("src/lib.rs"))
        .map_err(|why| about("cannot read the cell", why))?;
    let mut known = Types::read(folder);
    let mut rewritten = rewrite(&source, &known);
    let again = rewritten.text.contains(SHOW_AGAIN);
    if show == Show::ByDebug {
        rewritten.text = rewritten.text.replace(SHOW_AGAIN, DEBUG_AGAIN);
    }
    std::fs::create_dir_all(folder.join("cell"))
        .and_then(|()| std::fs::write(folder.join("cell/lib.rs"), &rewritten.text))
        .map_err(|why| about("cannot write the cell", why))?;
    let arguments = recipe.for_cell(folder, &rewritten.text, opt_level, want);
    let mut command = Command::new(&arguments[0]);
    command
        .args(&arguments[1..])
        .args(["--verbose", "--force-warn=dropping_references"])
        .current_dir(folder)
        .env_remove(RESULT)
        .envs(recipe.environment.iter().map(|(name, value)| (name, value)));
    if !source.contains("#![feature") {
        // Full paths in messages are an unstable option of a stable compiler.
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .arg("-Ztrim-diagnostic-paths=no");
    }
    // SAFETY: one system call on numbers. Who interrupts us interrupts rustc.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let output = command
        .output()
        .map_err(|why| format!("cannot run {}: {why}", arguments[0]))?;
    let mut found = Types::default();
    let mut messages = Vec::new();
    let mut unwritable = Vec::new();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let Ok(mut message) = serde_json::from_str::<Value>(line) else {
            messages.push(line.to_owned());
            continue;
        };
        if message["level"] == "warning" {
            read_types(&message, &rewritten, &mut found);
        } else {
            defer_advice(&mut message);
            unwritable.extend(loads_at_fault(&message, &rewritten));
            messages.push(move_back(message, &rewritten).to_string());
        }
    }
    let mut status = output.status.code().unwrap_or(101);
    if status != 0 && give_up(&unwritable, &mut known) {
        known
            .write(folder)
            .map_err(|why| about("cannot write", why))?;
        return attempt(folder, recipe, opt_level, want, show);
    }
    let unknown = |message: &String| message.contains("E0282");
    if status != 0 && again && show == Show::InItsOwnWay && messages.iter().any(unknown) {
        return attempt(folder, recipe, opt_level, want, Show::ByDebug);
    }
    if status == 0 && want == Want::Library {
        let refused = refused(&source, &rewritten, &found);
        if refused.is_empty() {
            known.0.extend(found.0);
            known
                .write(folder)
                .map_err(|why| about("cannot write", why))?;
            tell(&folder.join(LIBRARY))?;
        } else {
            messages.extend(refused.into_iter().map(|message| message.to_string()));
            status = 101;
        }
    }
    let mut stdout = std::io::stdout().lock();
    for message in messages {
        // evcxr that is gone needs no messages.
        let _ = writeln!(stdout, "{message}");
    }
    Ok(status)
}

/// Tells evcxr where the library is.
///
/// # Errors
/// That evcxr's file could not be written.
pub fn tell(library: &Path) -> Result<(), String> {
    let Some(result) = std::env::var_os(RESULT) else {
        return Ok(());
    };
    std::fs::write(&result, library.as_os_str().as_encoded_bytes())
        .map_err(|why| format!("cannot write {}: {why}", Path::new(&result).display()))
}

fn read_types(message: &Value, rewritten: &Rewritten, found: &mut Types) {
    if message["code"]["code"] != "dropping_references" {
        return;
    }
    for span in message["spans"].as_array().into_iter().flatten() {
        let line = span["line_start"].as_u64().unwrap_or_default() as usize;
        let name = rewritten.probes.iter().find(|&&(at, _)| at == line);
        let label = span["label"].as_str().and_then(types::in_label);
        if let (Some((_, name)), Some(label)) = (name, label) {
            found.0.insert(name.clone(), label.to_owned());
        }
    }
}

/// The names whose types an error is about, in statements that load a variable.
fn loads_at_fault(message: &Value, rewritten: &Rewritten) -> Vec<String> {
    let spans = message["spans"].as_array().into_iter().flatten();
    let lines: Vec<usize> = spans
        .filter(|span| span["is_primary"] == true && message["level"] == "error")
        .filter_map(|span| Some(span["line_start"].as_u64()? as usize))
        .collect();
    rewritten
        .loads
        .iter()
        .filter(|(line, _)| lines.contains(line))
        .map(|(_, name)| name.clone())
        .collect()
}

/// A variable whose type can't be written would make every later cell fail. Whether there was one.
fn give_up(names: &[String], known: &mut Types) -> bool {
    let mut any = false;
    for name in names {
        any |= known
            .0
            .insert(name.clone(), LOST.to_owned())
            .is_some_and(|before| before != LOST);
    }
    any
}

/// A message for every variable that can't outlive its cell.
fn refused(source: &str, rewritten: &Rewritten, found: &Types) -> Vec<Value> {
    let unknown = "!".to_owned();
    let all = rewritten.probes.iter().filter_map(|(_, name)| {
        let found = found.0.get(name).unwrap_or(&unknown);
        let why = types::nameless(found)?;
        let (number, line) = source.lines().enumerate().find(|(_, line)| line.contains(&format!(": {name} =")))?;
        let before = line.split(&format!(": {name} =")).next()?;
        let variable = before.rsplit(' ').next()?;
        let first = word(&before[..before.len() - variable.len()], variable).or_else(|| line.find(variable))? + 1;
        Some(json!({
            "message": format!("the variable `{variable}` can't outlive its cell: its type is {why}, or keep it inside a block `{{ … }}`"),
            "code": null,
            "level": "error",
            "spans": [{
                "file_name": "cell/lib.rs", "line_start": number + 1, "line_end": number + 1,
                "column_start": first, "column_end": first + variable.chars().count(),
                "is_primary": true, "label": format!("has type `{found}`"), "text": [], "expansion": null,
            }],
            "children": [],
            "rendered": null,
        }))
    });
    all.collect()
}

/// Where a word stands, and not only a part of one.
fn word(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|&at| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Advice on a value that can't be shown is kept for the second run, in which evcxr knows where the value is: it would
/// take the advice for the error, and not try again.
fn defer_advice(message: &mut Value) {
    let shown = |span: &Value| span["text"][0]["text"] == ").evcxr_display();";
    let mut spans = message["spans"].as_array().into_iter().flatten();
    if spans.any(shown) {
        message["children"] = json!([]);
    }
}

/// Places as they were before the cell was rewritten.
fn move_back(mut message: Value, rewritten: &Rewritten) -> Value {
    match &mut message {
        Value::Object(fields) => {
            let number = |fields: &serde_json::Map<String, Value>, name| {
                fields.get(name).and_then(Value::as_u64)
            };
            let ours = fields
                .get("file_name")
                .and_then(Value::as_str)
                .is_some_and(|name| name.ends_with("cell/lib.rs"));
            let edge = |fields: &serde_json::Map<String, Value>, line, column| {
                Some((
                    number(fields, line)? as usize,
                    number(fields, column)? as usize,
                ))
            };
            if ours
                && let Some(start) = edge(fields, "line_start", "column_start")
                && let Some(end) = edge(fields, "line_end", "column_end")
            {
                let [start, end] = rewritten.place([start, end]);
                fields.insert("line_start".to_owned(), start.0.into());
                fields.insert("column_start".to_owned(), start.1.into());
                fields.insert("line_end".to_owned(), end.0.into());
                fields.insert("column_end".to_owned(), end.1.into());
            }
            for field in fields.values_mut() {
                *field = move_back(field.take(), rewritten);
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = move_back(item.take(), rewritten);
            }
        }
        Value::String(text) if text.contains(PREFIX) => *text = Types::default().tell(text),
        _ => {}
    }
    message
}
