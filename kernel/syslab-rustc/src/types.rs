//! Which types did rustc find for the variables of a cell?
//!
//! evcxr must know the type of every variable that outlives its cell, and asks rust-analyzer, which needs the sources
//! of the standard library and can be wrong. rustc knows. So the kernel gives each `let` without a type a name that
//! stands for one (`__SyslabT7`), here it becomes `_`, and what rustc has inferred is read off a lint: "calls to `drop`
//! with a reference … argument has type `&std::vec::Vec<i32>`". The next cells have that type in the name's place.

use std::collections::BTreeMap;
use std::path::Path;

/// How a name that stands for a type begins; a number follows.
pub const PREFIX: &str = "__SyslabT";

/// The type of a variable whose type turned out to have no name that a cell can write: it is given up.
pub const LOST: &str = "?";

/// The file in the session's folder.
const FILE: &str = "types.json";

/// Name to type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types(pub BTreeMap<String, String>);

impl Types {
    /// Those that are known; none, if there is no file.
    pub fn read(folder: &Path) -> Types {
        let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        Types(serde_json::from_str(&text).unwrap_or_default())
    }

    /// # Errors
    /// Those of `write(2)`.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join(FILE), serde_json::to_vec(&self.0)?)
    }

    /// Puts types, or `_`, in the place of their names.
    pub fn fill(&self, text: &str) -> String {
        self.replace(text, |_| "_".into())
    }

    /// Puts types in the place of their names, for people.
    pub fn tell(&self, text: &str) -> String {
        self.replace(text, |_| "an unknown type".into())
            .replace("`?`", "a type without a name")
    }

    fn replace(&self, text: &str, unknown: impl Fn(&str) -> String) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(PREFIX) {
            let (before, from) = rest.split_at(at);
            filled += before;
            let digits = from[PREFIX.len()..]
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            let (name, after) = from.split_at(PREFIX.len() + digits);
            filled += &self.0.get(name).cloned().unwrap_or_else(|| unknown(name));
            rest = after;
        }
        filled + rest
    }
}

/// The type in the label of the lint `dropping_references`.
pub fn in_label(label: &str) -> Option<&str> {
    label
        .strip_prefix("argument has type `&")?
        .strip_suffix('`')
}

/// Why a variable of this type can't outlive its cell, if it can't: it has no name that another cell could write.
pub fn nameless(found: &str) -> Option<&'static str> {
    if found.contains("{closure@") {
        Some("a closure; box it: `let f: Box<dyn Fn()> = Box::new(|| …);`")
    } else if found.contains("run_user_code_") {
        Some("a type that is defined inside a block; define it at the top of a cell")
    } else if found.contains("{async")
        || found.contains("{coroutine")
        || found.contains("impl ")
        || found.contains('{')
    {
        Some("a type without a name; box it: `Box<dyn Trait>`, or `Box::pin(…)` for a future")
    } else if found
        .split(|c: char| c.is_alphanumeric() || "_: ".contains(c))
        .any(|word| word.contains('!'))
    {
        Some(
            "never a value (`!`), which stable Rust can't name; say a type, as in `let h: JoinHandle<()> = spawn(…);`",
        )
    } else if found
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == "_")
    {
        Some("a type that is not known; write it: `let x: T = …;`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let types = Types(
            [
                ("__SyslabT1".into(), "Vec<u8>".into()),
                ("__SyslabT12".into(), "()".into()),
            ]
            .into(),
        );
        assert_eq!(
            types.fill("a: __SyslabT1, b: __SyslabT12, c: __SyslabT3"),
            "a: Vec<u8>, b: (), c: _"
        );
        assert_eq!(types.fill("nothing"), "nothing");
    }

    #[test]
    fn a_label_says_the_type() {
        assert_eq!(
            in_label("argument has type `&std::vec::Vec<&str>`"),
            Some("std::vec::Vec<&str>")
        );
        assert_eq!(in_label("argument has type `i32`"), None);
    }

    #[test]
    fn what_has_no_name_is_said() {
        for name in [
            "std::vec::Vec<i32>",
            "&str",
            "[f64; 3]",
            "(u8, my_type)",
            "std::boxed::Box<dyn std::ops::Fn(i32) -> i32>",
        ] {
            assert_eq!(nameless(name), None, "{name}");
        }
        for nothing in [
            "{closure@cell/lib.rs:1:2: 1:5}",
            "std::iter::Map<A, {closure@x}>",
            "impl Iterator",
            "run_user_code_1::A",
            "!",
            "std::thread::JoinHandle<!>",
            "Vec<_>",
            "fn(i32) -> i32 {f}",
        ] {
            assert!(nameless(nothing).is_some(), "{nothing}");
        }
    }
}
