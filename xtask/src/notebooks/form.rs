//! Has a notebook the form in which git keeps it?
//!
//! Outputs stripped, so that a difference is one of text; ids unique, because they
//! name the cells in snapshots; the kernel by the name that the lab gives it.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::lab::kernel::{DISPLAY_NAME, NAME};

/// What a cell of a notebook is, for executing it and for comparing what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) first_line: String,
    pub(super) raises: bool,
    pub(super) volatile: bool,
}

/// The code cells; an error is what makes the text no notebook.
pub(super) fn cells(text: &str) -> Result<Vec<Cell>, String> {
    let notebook = parse(text)?;
    let cells = notebook["cells"].as_array().into_iter().flatten();
    let code = cells
        .enumerate()
        .filter(|(_, cell)| cell["cell_type"] == "code" && !source(cell).trim().is_empty());
    Ok(code
        .map(|(index, cell)| {
            let tagged = |tag: &str| {
                let tags = cell["metadata"]["tags"].as_array();
                tags.is_some_and(|tags| tags.iter().any(|of| of == tag))
            };
            let source = source(cell);
            Cell {
                index,
                id: cell["id"].as_str().unwrap_or_default().to_owned(),
                first_line: source.trim().lines().next().unwrap_or_default().to_owned(),
                raises: tagged("raises-exception"),
                volatile: tagged("volatile"),
            }
        })
        .collect())
}

fn parse(text: &str) -> Result<Value, String> {
    let notebook: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if notebook["cells"].as_array().is_none_or(Vec::is_empty) {
        return Err("it has no cells".into());
    }
    Ok(notebook)
}

/// A cell's text: a string, or a list of lines.
fn source(cell: &Value) -> String {
    match &cell["source"] {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        text => text.as_str().unwrap_or_default().to_owned(),
    }
}

/// What is wrong whoever looks, a sentence each.
pub(super) fn problems(text: &str) -> Vec<String> {
    let notebook = match parse(text) {
        Ok(notebook) => notebook,
        Err(reason) => return vec![format!("is no notebook: {reason}")],
    };
    let mut problems = Vec::new();
    if notebook["nbformat"] != 4 || notebook["nbformat_minor"].as_u64() < Some(5) {
        problems.push("is not of format 4.5 or later, whose cells have ids".into());
    }
    let spec = &notebook["metadata"]["kernelspec"];
    if spec["name"] != NAME || spec["display_name"] != DISPLAY_NAME {
        problems.push(format!("its kernel is not {NAME} ({DISPLAY_NAME:?})"));
    }
    let cells = notebook["cells"].as_array().expect("just looked at");
    if cells[0]["cell_type"] != "markdown" || !source(&cells[0]).starts_with("# ") {
        problems.push("does not begin with a title".into());
    }
    let mut ids = HashSet::new();
    for (index, cell) in cells.iter().enumerate() {
        let id = cell["id"].as_str().unwrap_or_default();
        let valid = (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !valid {
            problems.push(format!("cell {} has no valid id", index + 1));
        } else if !ids.insert(id) {
            problems.push(format!("two cells have the id {id}"));
        }
    }
    problems
}

/// Whether there is something in it that git does not keep.
pub(super) fn is_stripped(text: &str) -> bool {
    parse(text).is_ok_and(|notebook| {
        let mut stripped = notebook.clone();
        strip(&mut stripped);
        stripped == notebook
    })
}

/// The notebook as git keeps it, in Jupyter's own layout: sorted keys, one space.
pub(super) fn stripped(text: &str) -> Result<String, String> {
    let mut notebook = parse(text)?;
    strip(&mut notebook);
    let mut bytes = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, layout);
    serde::Serialize::serialize(&sorted(&notebook), &mut writer).expect("plain data");
    bytes.push(b'\n');
    Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
}

/// Takes out what running leaves: outputs, counts, times, the versions of the day.
fn strip(notebook: &mut Value) {
    if let Some(info) = notebook.pointer_mut("/metadata/language_info") {
        *info = json!({ "name": "rust" });
    }
    let cells = notebook["cells"].as_array_mut().into_iter().flatten();
    for cell in cells {
        if cell["cell_type"] == "code" {
            cell["outputs"] = json!([]);
            cell["execution_count"] = Value::Null;
        }
        if let Some(metadata) = cell["metadata"].as_object_mut() {
            for key in [
                "execution",
                "trusted",
                "collapsed",
                "scrolled",
                "ExecuteTime",
            ] {
                metadata.shift_remove(key);
            }
        }
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let entries = keys.into_iter().map(|key| (key.clone(), sorted(&map[key])));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn notebook() -> Value {
        json!({
            "cells": [
                { "cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A title" },
                { "cell_type": "code", "id": "one", "execution_count": null, "outputs": [],
                  "metadata": { "tags": ["raises-exception"] }, "source": ["let x = 1;\n", "x"] },
            ],
            "metadata": { "kernelspec": { "name": NAME, "display_name": DISPLAY_NAME, "language": "rust" } },
            "nbformat": 4, "nbformat_minor": 5,
        })
    }

    #[test]
    fn a_notebook_in_form_has_no_problems() {
        let text = notebook().to_string();
        assert_eq!(problems(&text), Vec::<String>::new());
        assert!(is_stripped(&text));
        assert_eq!(
            cells(&text).unwrap(),
            [Cell {
                index: 1,
                id: "one".into(),
                first_line: "let x = 1;".into(),
                raises: true,
                volatile: false,
            }]
        );
    }

    #[test]
    fn each_way_out_of_form_is_named() {
        type Break = fn(&mut Value);
        let broken: [(&str, Break); 6] = [
            ("is no notebook", |notebook| notebook["cells"] = json!([])),
            ("format 4.5", |notebook| {
                notebook["nbformat_minor"] = json!(4);
            }),
            ("its kernel is not syslab", |notebook| {
                notebook["metadata"]["kernelspec"]["name"] = json!("rust");
            }),
            ("a title", |notebook| {
                notebook["cells"][0]["source"] = json!("text");
            }),
            ("two cells have the id one", |notebook| {
                notebook["cells"][0]["id"] = json!("one");
            }),
            ("cell 2 has no valid id", |notebook| {
                notebook["cells"][1]["id"] = json!("a b");
            }),
        ];
        for (sentence, change) in broken {
            let mut notebook = notebook();
            change(&mut notebook);
            let found = problems(&notebook.to_string());
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(sentence), "{found:?}");
        }
        assert!(problems("{")[0].contains("is no notebook"));
    }

    #[test]
    fn what_running_leaves_is_stripped() {
        let mut ran = notebook();
        ran["cells"][1]["outputs"] = json!([{ "output_type": "stream" }]);
        ran["cells"][1]["execution_count"] = json!(7);
        ran["cells"][1]["metadata"]["execution"] = json!({ "iopub.status.busy": "now" });
        ran["metadata"]["language_info"] = json!({ "name": "rust", "version": "1.95.0" });
        assert!(!is_stripped(&ran.to_string()));
        let text = stripped(&ran.to_string()).unwrap();
        assert!(is_stripped(&text));
        assert!(
            text.starts_with("{\n \"cells\": [\n  {\n   \"cell_type\""),
            "{text}"
        );
        assert_eq!(stripped(&text).unwrap(), text);
    }
}
