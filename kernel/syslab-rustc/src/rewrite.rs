//! What is changed in the text that evcxr generates for a cell?
//!
//! Every line keeps its number, because evcxr finds out by it whose code an error is in. Within a line columns move;
//! [`Rewritten::column`] moves them back.
//!
//! - evcxr's runtime, which it copies into every cell, becomes the library that all cells share;
//! - what evcxr would print on stdout, where the cell's own output is, becomes a call;
//! - names that stand for types become types, or `_` with a probe for the type that rustc finds ([`types`](crate::types));
//! - statics get a name ([`statics`](crate::statics));
//! - a value is shown in its own way, and by `Debug` if it has none.

use crate::statics;
use crate::types::{LOST, PREFIX, Types};

const RUNTIME: &str = "mod evcxr_internal_runtime {";
const PLAIN: &str = "evcxr_send_text_plain(&format!(\"{:?}\",&(";
/// What stands there instead …
pub const SHOW_AGAIN: &str = "::syslab_cell::show_again!((&(";
/// … or this.
pub const DEBUG_AGAIN: &str = "::syslab_cell::debug_again!((&(";
const PANIC: &str = "println!(\"EVCXR_PANIC_NOTIFICATION\");";
/// The lines after which evcxr generates it; a cell may print the same.
const PANIC_FOLLOWS: [&str; 2] = ["Err(_) => {", "}).is_err() {"];
const QUESTION_MARK: &str = "println!(\"{}\", evcxr_internal_runtime::USER_ERROR_OCCURRED);";

/// The text that is compiled, and the way back.
#[derive(Clone, Debug, Default)]
pub struct Rewritten {
    /// What rustc gets.
    pub text: String,
    /// Lines (from 1) that say the type of a name.
    pub probes: Vec<(usize, String)>,
    /// Lines (from 1) that load or check a variable by the type of this name.
    pub loads: Vec<(usize, String)>,
    /// Lines (from 1) on which a call begins that shows the value of the lines after it.
    shows: Vec<usize>,
    /// Line, character (from 0) from which on the line has moved, and by how much.
    moves: Vec<(usize, usize, isize)>,
}

impl Rewritten {
    /// Where a column of the compiled text (both from 1) was in the text before.
    pub fn column(&self, line: usize, column: usize) -> usize {
        let moved: isize = self
            .moves
            .iter()
            .filter(|&&(at, from, _)| at == line && from + 1 < column)
            .map(|&(.., by)| by)
            .sum();
        column.saturating_add_signed(-moved).max(1)
    }

    /// Where a place of the compiled text was in the text before. A call that shows a value is where the value is.
    pub fn place(&self, [(first, from), (last, to)]: Place) -> Place {
        if self.shows.contains(&first) && first + 1 < last {
            // evcxr ends each part with a line of its own.
            let end = self.text.lines().nth(last - 2).unwrap_or_default();
            return [(first + 1, 1), (last - 1, end.chars().count() + 1)];
        }
        [
            (first, self.column(first, from)),
            (last, self.column(last, to)),
        ]
    }
}

/// A place in a text: where it begins and where it ends, each a line and a column, from 1.
pub type Place = [(usize, usize); 2];

/// Changes the text of a cell.
pub fn rewrite(text: &str, types: &Types) -> Rewritten {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    share_runtime(&mut lines);
    let mut rewritten = Rewritten::default();
    speak_directly(&mut lines, &mut rewritten.shows);
    for (number, line) in lines.iter_mut().enumerate() {
        name_types(number + 1, line, types, &mut rewritten);
    }
    for insertion in statics::export_names(&lines.join("\n")).into_iter().rev() {
        let line = &mut lines[insertion.line - 1];
        let at = line
            .char_indices()
            .nth(insertion.column)
            .map_or(line.len(), |(at, _)| at);
        line.insert_str(at, &insertion.text);
        rewritten.moves.push((
            insertion.line,
            insertion.column,
            insertion.text.chars().count() as isize,
        ));
    }
    lines.push("use syslab_cell::{LacksDebug as _, ShowDebug as _};".to_owned());
    rewritten.text = lines.join("\n") + "\n";
    rewritten
}

/// Empties evcxr's module for a `use` of ours.
fn share_runtime(lines: &mut [String]) {
    let Some(first) = lines.iter().position(|line| line == RUNTIME) else {
        return;
    };
    let end = lines[first..]
        .iter()
        .position(|line| line == "#[unsafe(no_mangle)]");
    let end = end.map_or(lines.len(), |length| first + length);
    "use syslab_cell as evcxr_internal_runtime;".clone_into(&mut lines[first]);
    lines[first + 1..end].iter_mut().for_each(String::clear);
}

fn speak_directly(lines: &mut [String], shows: &mut Vec<usize>) {
    for number in 0..lines.len() {
        if lines[number].contains(PLAIN) {
            lines[number] = lines[number].replace(PLAIN, SHOW_AGAIN);
            shows.push(number + 1);
        }
        if lines[number].trim() == PANIC
            && number > 0
            && PANIC_FOLLOWS.contains(&lines[number - 1].trim())
        {
            "::syslab_cell::note::panicked();".clone_into(&mut lines[number]);
        } else if lines[number].trim() == QUESTION_MARK {
            lines[number].clear();
            // The line before prints the error; see `error_trait_code` in evcxr's `eval_context.rs`.
            if let Some(before) = number
                .checked_sub(1)
                .and_then(|before| lines.get_mut(before))
            {
                let format = before
                    .trim()
                    .strip_prefix("eprintln!(")
                    .and_then(|rest| rest.strip_suffix(");"));
                if let Some(format) = format {
                    *before = format!("::syslab_cell::note::question_mark(&format!({format}));");
                }
            }
        }
    }
}

/// Puts types in the place of their names, and probes where there is none yet.
fn name_types(number: usize, line: &mut String, types: &Types, rewritten: &mut Rewritten) {
    if !line.contains(PREFIX) {
        return;
    }
    if let Some((name, variable)) = stored(line)
        && types.0.get(name).is_none_or(|found| found == LOST)
    {
        if types.0.contains_key(name) {
            *line = line.replace(name, "_");
            return;
        }
        rewritten.probes.push((number, name.to_owned()));
        *line = format!(
            "evcxr_variable_store.put_variable::<_>(stringify!({variable}), {{ ::core::mem::drop(&{variable}); {variable} }});"
        );
        return;
    }
    if let Some((name, variable)) = loaded(line) {
        rewritten.loads.push((number, name.to_owned()));
        if types.0.get(name).is_some_and(|found| found == LOST) {
            *line = if line.contains("check_variable") {
                format!("vars_ok &= ::syslab_cell::note::variable_lost(stringify!({variable}));")
            } else {
                // Never reached: the check has said no.
                line.replace(name, "()")
            };
            return;
        }
    }
    let mut done = String::new();
    let mut rest = std::mem::take(line);
    while let Some(at) = rest.find(PREFIX) {
        let tail = rest.split_off(at);
        let digits = tail[PREFIX.len()..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let (name, after) = tail.split_at(PREFIX.len() + digits);
        done += &rest;
        let place = done.chars().count();
        let found = types.fill(name);
        rewritten.moves.push((
            number,
            place,
            found.chars().count() as isize - name.len() as isize,
        ));
        done += &found;
        rest = String::from(after);
    }
    *line = done + &rest;
}

/// Likewise, in evcxr's statements that look whether a variable is there, and take it out.
fn loaded(line: &str) -> Option<(&str, &str)> {
    let calls = [
        "evcxr_variable_store.check_variable::<",
        "evcxr_variable_store.take_variable::<",
    ];
    let rest = calls
        .into_iter()
        .find_map(|call| Some(line.split_once(call)?.1))?;
    let (name, rest) = rest.split_once(">(stringify!(")?;
    let (variable, _) = rest.split_once("))")?;
    name.starts_with(PREFIX).then_some((name, variable))
}

/// The name of the type, and the variable, in evcxr's statement that stores one.
fn stored(line: &str) -> Option<(&str, &str)> {
    let rest = line
        .trim()
        .strip_prefix("evcxr_variable_store.put_variable::<")?;
    let (name, rest) = rest.split_once(">(stringify!(")?;
    let (variable, _) = rest.split_once("), ")?;
    name.starts_with(PREFIX).then_some((name, variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATED: &str = "#![allow(unused_imports, unused_mut, dead_code)]
static A: u8 = 0;
mod evcxr_internal_runtime {
fn copied() {}
}
#[unsafe(no_mangle)]
pub extern \"C\" fn run_user_code_1() {
let a = vec![1]; let a: __SyslabT1 = a; let b: __SyslabT2 = b; f();
evcxr_variable_store.put_variable::<__SyslabT1>(stringify!(a), a);
evcxr_variable_store.put_variable::<__SyslabT2>(stringify!(b), b);
match x {
  Err(_) => {
    println!(\"EVCXR_PANIC_NOTIFICATION\");
    println!(\"EVCXR_PANIC_NOTIFICATION\");
                    eprintln!(\"{:?}\", error);
                    println!(\"{}\", evcxr_internal_runtime::USER_ERROR_OCCURRED);
}}}";

    #[test]
    fn lines_keep_their_numbers_and_say_the_same_another_way() {
        let types = Types([("__SyslabT2".into(), "u8".into())].into());
        let rewritten = rewrite(GENERATED, &types);
        let lines: Vec<&str> = rewritten.text.lines().collect();
        assert_eq!(lines.len(), GENERATED.lines().count() + 1);
        assert!(lines[1].starts_with("#[unsafe(export_name = \"syslab.A."));
        assert_eq!(
            lines[2..5],
            ["use syslab_cell as evcxr_internal_runtime;", "", ""]
        );
        assert_eq!(
            lines[7],
            "let a = vec![1]; let a: _ = a; let b: u8 = b; f();"
        );
        assert!(
            lines[8].contains("put_variable::<_>(stringify!(a), { ::core::mem::drop(&a); a })")
        );
        assert!(lines[9].contains("put_variable::<u8>(stringify!(b), b)"));
        assert_eq!(rewritten.probes, [(9, "__SyslabT1".to_owned())]);
        assert!(lines[12].contains("note::panicked()"));
        assert!(lines[13].contains("println!"));
        assert!(lines[14].contains("question_mark(&format!(\"{:?}\", error))"));
        assert_eq!(lines[15], "");
    }

    #[test]
    fn a_value_is_shown_in_its_own_way_and_its_error_is_where_it_is() {
        let text = "fn f() {\nevcxr_send_text_plain(&format!(\"{:?}\",&(\none(\n  two)\n)));\n}";
        let rewritten = rewrite(text, &Types::default());
        let call = rewritten.text.lines().nth(1).unwrap();
        assert_eq!(call, "::syslab_cell::show_again!((&(");
        let (begin, two, end) = ((2, 1), (4, 3), (5, 5));
        assert_eq!(rewritten.place([begin, end]), [(3, 1), (4, 7)]);
        assert_eq!(rewritten.place([two, end]), [two, end]);
    }

    #[test]
    fn a_lost_variable_is_given_up() {
        let text = "vars_ok &= evcxr_variable_store.check_variable::<__SyslabT1>(stringify!(h));\n\
                    let mut h = evcxr_variable_store.take_variable::<__SyslabT1>(stringify!(h));";
        let of = |found: &str| rewrite(text, &Types([("__SyslabT1".into(), found.into())].into()));
        assert_eq!(
            of("u8").loads,
            [(1, "__SyslabT1".to_owned()), (2, "__SyslabT1".to_owned())]
        );
        assert!(of("u8").text.contains("take_variable::<u8>(stringify!(h))"));
        assert!(
            of(LOST)
                .text
                .contains("vars_ok &= ::syslab_cell::note::variable_lost(stringify!(h));")
        );
        assert!(of(LOST).text.contains("take_variable::<()>(stringify!(h))"));
        let put = "evcxr_variable_store.put_variable::<__SyslabT1>(stringify!(h), h);";
        let lost = Types([("__SyslabT1".into(), LOST.into())].into());
        assert!(
            rewrite(put, &lost)
                .text
                .contains("put_variable::<_>(stringify!(h), h)")
        );
    }

    #[test]
    fn columns_find_their_way_back() {
        let types = Types([("__SyslabT2".into(), "u8".into())].into());
        let rewritten = rewrite(GENERATED, &types);
        let before = GENERATED.lines().nth(7).unwrap();
        let after = rewritten.text.lines().nth(7).unwrap();
        for word in ["vec!", "= a;", "= b;", "f()"] {
            let (was, is) = (
                before.find(word).unwrap() + 1,
                after.find(word).unwrap() + 1,
            );
            assert_eq!(rewritten.column(8, is), was, "{word}");
        }
        assert_eq!(rewritten.column(1, 5), 5);
    }
}
