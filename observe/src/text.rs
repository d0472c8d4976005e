//! How does data read as text, so that a difference is one line in a snapshot?
//!
//! As `key: value` lines, two blanks a level: YAML's look without its surprises. Strings stand bare where they
//! cannot be taken for anything else, texts of several lines as blocks, short lists in brackets.

use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// Lists up to this many characters stand on one line.
const WIDTH: usize = 90;

/// Renders anything serialisable; keys keep the order in which they were written.
///
/// ```
/// let seen = std::collections::BTreeMap::from([("cwd", "/"), ("umask", "027")]);
/// assert_eq!(observe::text(&seen), "cwd: /\numask: 027");
/// ```
///
/// # Panics
/// When the value's `Serialize` fails, as of a map whose keys are no strings or numbers.
pub fn text(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("what a test shows can be serialised");
    let mut out = String::new();
    match &value {
        Value::String(whole) => out.push_str(whole),
        Value::Object(_) | Value::Array(_) if inline(&value).is_none() => {
            block(&mut out, &value, 0);
        }
        value => out.push_str(&inline(value).unwrap_or_default()),
    }
    out.trim_end_matches('\n').to_owned()
}

/// "1 call", "2 calls".
pub fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// A map or list, each entry on lines of its own.
fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let _ = write!(
                    out,
                    "{:depth$}{}:",
                    "",
                    scalar(key, true),
                    depth = depth * 2
                );
                entry(out, value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{:depth$}-", "", depth = depth * 2);
                entry(out, item, depth);
            }
        }
        _ => {}
    }
}

/// What follows `key:` or `-`.
fn entry(out: &mut String, value: &Value, depth: usize) {
    if let Some(line) = inline(value) {
        let _ = writeln!(out, " {line}");
        return;
    }
    match value {
        Value::String(lines) => {
            // `|` ends with a newline, `|-` does not.
            let body = lines.strip_suffix('\n');
            out.push_str(if body.is_some() { " |\n" } else { " |-\n" });
            for line in body.unwrap_or(lines).split('\n') {
                let _ = writeln!(
                    out,
                    "{:depth$}{line}",
                    "",
                    depth = if line.is_empty() { 0 } else { depth * 2 + 2 }
                );
            }
        }
        value => {
            out.push('\n');
            block(out, value, depth + 1);
        }
    }
}

/// The value on one line, where that is readable.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("none".to_owned()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(string) if is_block(string) => None,
        Value::String(string) => Some(scalar(string, false)),
        Value::Array(items) => {
            let simple = |item: &Value| match item {
                Value::Object(_) | Value::Array(_) => false,
                Value::String(string) => !string.contains([',', '[', ']']),
                _ => true,
            };
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| inline(item).filter(|_| simple(item)))
                .collect();
            let line = format!("[{}]", items?.join(", "));
            (line.chars().count() <= WIDTH).then_some(line)
        }
        Value::Object(entries) => entries.is_empty().then(|| "{}".to_owned()),
    }
}

/// Several lines, all of them printable as they are.
fn is_block(string: &str) -> bool {
    string.trim_end_matches('\n').contains('\n')
        && !string.starts_with([' ', '\n'])
        && !string
            .chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// Bare, or quoted where it might be taken for a number, a list or a key, or where its ends cannot be seen.
fn scalar(string: &str, key: bool) -> String {
    // "022" is no JSON number and stays bare.
    let number = !key && serde_json::from_str::<serde_json::Number>(string).is_ok();
    let looks_else = string.is_empty()
        || matches!(string, "|" | "|-" | "-")
        || string.starts_with(['"', '[', '{', ' ', '\t'])
        || string.starts_with("- ")
        || string.ends_with([' ', '\t', ':'])
        || string.contains(|c: char| c.is_control())
        || key && string.contains(": ");
    if number || looks_else {
        format!("{string:?}")
    } else {
        string.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::json;

    #[test]
    fn a_map_is_a_line_each() {
        assert_eq!(
            text(&json!({"cwd": "/", "umask": "027", "threads": 1})),
            "cwd: /\numask: 027\nthreads: 1"
        );
    }

    #[test]
    fn keys_keep_their_order() {
        assert_eq!(text(&json!({"b": 1, "a": 2})), "b: 1\na: 2");
    }

    #[test]
    fn depth_is_indentation() {
        let value =
            json!({"outer": {"inner": {"deep": true}}, "list": [{"a": 1, "b": []}, ["x, y"]]});
        let wanted =
            "outer:\n  inner:\n    deep: yes\nlist:\n  -\n    a: 1\n    b: []\n  -\n    - x, y";
        assert_eq!(text(&value), wanted);
    }

    #[test]
    fn short_lists_stand_on_one_line_and_long_ones_do_not() {
        assert_eq!(
            text(&json!(["SIGINT", 3, null, 0.5])),
            "[SIGINT, 3, none, 0.5]"
        );
        let long = vec!["twenty characters ok"; 10];
        assert_eq!(text(&long), ["- twenty characters ok"; 10].join("\n"));
    }

    #[test]
    fn several_lines_are_a_block_that_says_how_it_ends() {
        assert_eq!(text(&json!({"out": "a\n\n b\n"})), "out: |\n  a\n\n   b");
        assert_eq!(
            text(&json!({"out": "a\nb", "next": 1})),
            "out: |-\n  a\n  b\nnext: 1"
        );
        assert_eq!(
            text(&json!({"out": "a\n"})),
            "out: \"a\\n\"",
            "one line is no block"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_quoted() {
        for (string, shown) in [
            ("", "\"\""),
            ("12", "\"12\""),
            ("-1.5e3", "\"-1.5e3\""),
            ("022", "022"),
            ("a ", "\"a \""),
            ("a\tb\u{1b}", "\"a\\tb\\u{1b}\""),
            ("[a]", "\"[a]\""),
            ("a: b", "a: b"),
            ("none", "none"),
        ] {
            assert_eq!(text(&json!({"key": string})), format!("key: {shown}"));
        }
    }

    #[test]
    fn a_bare_string_stays_as_it_is() {
        assert_eq!(text(&"12\n  x\n"), "12\n  x");
    }
}
