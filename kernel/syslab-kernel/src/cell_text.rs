//! What is changed in a cell before evcxr sees it?
//!
//! evcxr wants to know the type of each variable. Behind a `let` without one it gets a second, whose type is a name
//! that stands for what rustc will find ([`types`](syslab_rustc::types)): `let x = f();` becomes
//! `let x = f(); let x: __SyslabT7 = x;`. Nothing before it moves, and no line.

use proc_macro2::{LineColumn, Span};
use quote::ToTokens as _;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::visit::Visit;
use syn::{Block, Item, Local, Pat, PatIdent, Stmt};
use syslab_rustc::types::PREFIX;

/// A cell as evcxr gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) code: String,
    /// Its items (functions, types, `use`), as they were written.
    pub(crate) items: Vec<String>,
}

/// Prepares a cell. `count` numbers the names. What can't be parsed stays as it is: evcxr says what is wrong.
pub(crate) fn prepare(code: &str, count: &mut u64) -> Prepared {
    let rust = only_rust(code);
    let Ok(statements) = Block::parse_within.parse_str(&rust) else {
        return Prepared {
            code: code.to_owned(),
            items: Vec::new(),
        };
    };
    let offset = |at: LineColumn| byte_offset(code, at.line, at.column);
    let mut insertions: Vec<(usize, String)> = Vec::new();
    let mut items = Vec::new();
    for statement in &statements {
        match statement {
            Stmt::Local(local) => insertions.extend(
                typed(local, count)
                    .into_iter()
                    .map(|(at, text)| (offset(at), text)),
            ),
            Stmt::Item(item) if !matches!(item, Item::Macro(call) if call.ident.is_none()) => {
                let span = item.span();
                items.push(code[offset(span.start())..offset(span.end())].to_owned());
            }
            _ => {}
        }
    }
    let mut code = code.to_owned();
    insertions.sort_by_key(|&(at, _)| at);
    for (at, text) in insertions.into_iter().rev() {
        code.insert_str(at, &text);
    }
    Prepared { code, items }
}

/// The text with commands and inner attributes blanked out.
fn only_rust(code: &str) -> String {
    let blank = |line: &str| {
        if line.starts_with([':', '!']) || line.trim_start().starts_with("#![") {
            String::new()
        } else {
            line.to_owned()
        }
    };
    code.split('\n').map(blank).collect::<Vec<_>>().join("\n")
}

/// Where to put what, so that every variable of the `let` has a type.
fn typed(local: &Local, count: &mut u64) -> Vec<(LineColumn, String)> {
    let (pattern, explicit) = match &local.pat {
        Pat::Type(typed) => (&*typed.pat, Some(&typed.ty)),
        pattern => (pattern, None),
    };
    let known = explicit.is_some_and(|explicit| !says_infer(explicit.to_token_stream()));
    if known && matches!(pattern, Pat::Ident(_)) {
        return Vec::new();
    }
    let mut names = Names::default();
    names.visit_pat(pattern);
    let end = local.semi_token.span.end();
    let later = local.init.is_none();
    let place = |span: Span| if later { span.end() } else { end };
    names
        .found
        .into_iter()
        .map(|(name, mutable, span)| {
            *count += 1;
            let text = if later {
                format!(": {PREFIX}{count}")
            } else {
                let mutable = if mutable { "mut " } else { "" };
                format!(" let {mutable}{name}: {PREFIX}{count} = {name};")
            };
            (place(span), text)
        })
        .collect()
}

fn says_infer(tokens: proc_macro2::TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(name) => name == "_",
        proc_macro2::TokenTree::Punct(_) | proc_macro2::TokenTree::Literal(_) => false,
        proc_macro2::TokenTree::Group(group) => says_infer(group.stream()),
    })
}

/// The variables that a pattern binds.
#[derive(Default)]
struct Names {
    found: Vec<(String, bool, Span)>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        let name = pattern.ident.to_string();
        // `None` and other constants look like variables.
        if !name.starts_with(char::is_uppercase) {
            let mutable = pattern.mutability.is_some() && pattern.by_ref.is_none();
            self.found.push((name, mutable, pattern.ident.span()));
        }
        syn::visit::visit_pat_ident(self, pattern);
    }
}

/// The byte at a line (from 1) and character (from 0), as far as the line goes.
pub(crate) fn byte_offset(text: &str, line: usize, character: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line - 1);
    let start: usize = lines.map(str::len).sum();
    let rest = text[start..].split('\n').next().unwrap_or_default();
    let mut places = rest.char_indices().map(|(at, _)| at);
    start + places.nth(character).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(code: &str) -> String {
        prepare(code, &mut 0).code
    }

    #[test]
    fn a_let_without_a_type_gets_a_second() {
        assert_eq!(prepared("let x = 1;"), "let x = 1; let x: __SyslabT1 = x;");
        assert_eq!(
            prepared("let mut é = \"ü\"; é"),
            "let mut é = \"ü\"; let mut é: __SyslabT1 = é; é"
        );
        assert_eq!(
            prepared("let v: Vec<_> = f();"),
            "let v: Vec<_> = f(); let v: __SyslabT1 = v;"
        );
        assert_eq!(prepared("let x;\nx = 1;"), "let x: __SyslabT1;\nx = 1;");
    }

    #[test]
    fn patterns_bind_several() {
        let all = "let (a, mut b) = f(); let a: __SyslabT1 = a; let mut b: __SyslabT2 = b;";
        assert_eq!(prepared("let (a, mut b) = f();"), all);
        let some = "let P { x, y: Some(z), .. } = p else { panic!() }; let x: __SyslabT1 = x; let z: __SyslabT2 = z;";
        assert_eq!(
            prepared("let P { x, y: Some(z), .. } = p else { panic!() };"),
            some
        );
        assert_eq!(
            prepared("let None = x else { return };"),
            "let None = x else { return };"
        );
    }

    #[test]
    fn what_has_a_type_or_is_inside_stays() {
        for code in [
            "let x: u8 = 1;",
            "{ let x = 1; }",
            "fn f() { let x = 1; }",
            "let _ = f();",
            ":dep x\n1 + 1",
            "let x = (;",
        ] {
            assert_eq!(prepared(code), code);
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        let code = ":dep a\nlet x = [\n  1,\n];\nlet y = 2; y + x[0]";
        let same = prepared(code);
        assert_eq!(same.lines().count(), code.lines().count());
        assert!(same.starts_with(":dep a\nlet x = [\n  1,\n]; let x: __SyslabT1 = x;\nlet y = 2; let y: __SyslabT2 = y; y + x[0]"));
    }

    #[test]
    fn items_are_found() {
        let code = "use std::fs;\nlet a = 1;\n#[derive(Debug)]\nstruct S;\nprintln!(\"x\");\nfn f() -> u8 { 1 }";
        let items = prepare(code, &mut 0).items;
        assert_eq!(
            items,
            [
                "use std::fs;",
                "#[derive(Debug)]\nstruct S;",
                "fn f() -> u8 { 1 }"
            ]
        );
    }

    #[test]
    fn places_beyond_the_line_are_its_end() {
        assert_eq!(byte_offset("ab\ncd", 1, 98), 2);
        assert_eq!(byte_offset("ab\ncé", 2, 1), 4);
        assert_eq!(byte_offset("ab\ncé", 9, 0), 6);
    }
}
