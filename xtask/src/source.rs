//! What does a source file say before it is compiled?
//!
//! The tests of an exercise are counted in the specification's text, not asked of
//! the binary: a submission can take part in what a binary says of itself. And a
//! submission that reaches out of its module (a macro in the tests' place, a
//! symbol in libc's, code before `main`) would make every other check worthless.

use std::io;
use std::path::Path;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What a regular file holds. Nothing else is opened: a fifo would be waited for.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    std::fs::read(path)
}

/// Names of the `#[test]` functions, in the order of the text.
///
/// None when the text is not Rust.
pub(crate) fn tests(text: &str) -> Option<Vec<String>> {
    let tokens: Vec<TokenTree> = text.parse::<TokenStream>().ok()?.into_iter().collect();
    let mut names = Vec::new();
    let mut is_test = false;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                is_test |= after_hash(&tokens, index) && group.stream().to_string() == "test";
            }
            TokenTree::Ident(ident) if is_test && ident == "fn" => {
                names.extend(tokens.get(index + 1).map(ToString::to_string));
                is_test = false;
            }
            _ => {}
        }
    }
    Some(names)
}

/// Words by which a module changes what is outside it.
const REACHING_OUT: [(&str, &str); 10] = [
    (
        "macro_export",
        "its macros would take the place of the tests' own",
    ),
    (
        "macro_use",
        "its macros would take the place of the tests' own",
    ),
    ("no_mangle", "its symbol could take the place of libc's"),
    ("export_name", "its symbol could take the place of libc's"),
    ("link_section", "its code could run before the tests begin"),
    ("used", "its code could run before the tests begin"),
    ("global_allocator", "it would be the tests' allocator, too"),
    ("panic_handler", "it would be the tests' panic handler, too"),
    (
        "path",
        "its code would be in another file, which is not graded",
    ),
    ("long_running_const_eval", "rustc might never end"),
];

/// Ordinary names, which mean something only in an attribute.
const ALSO_ORDINARY: [&str; 3] = ["macro_use", "used", "path"];

/// As deep as brackets may be nested: looking into them takes stack.
const DEEPEST: u32 = 100;

/// What is known of a submission before it is compiled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Ordinary,
    /// It can't be graded, and why, in a sentence.
    ReachesOut(String),
    /// No tokens. Rust or not is rustc's to say; if it compiles, it hides something.
    Unreadable,
}

/// Looks through a submission. `allow` names what the exercise is about and what is
/// refused elsewhere: attributes, `global_asm`, `super::NAME`.
pub(crate) fn look(text: &str, allow: &[String]) -> Look {
    let text = text.trim_start_matches('\u{feff}');
    // rustc drops such a line; here it could begin a comment around all that follows.
    if text.starts_with("#!") && !text.starts_with("#![") {
        return Look::ReachesOut("a first line that begins with `#!` is refused here".into());
    }
    let Ok(tokens) = text.parse::<TokenStream>() else {
        return Look::Unreadable;
    };
    let tokens: Vec<_> = tokens.into_iter().collect();
    match (Looking { allow }).through(&tokens, Place::default()) {
        Some(reason) => Look::ReachesOut(reason),
        None => Look::Ordinary,
    }
}

/// Where in a file a row of tokens stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Brackets around it.
    depth: u32,
    /// Modules around it that are the file's own.
    modules: u32,
    /// Inside a macro's definition or call, where tokens may end up anywhere.
    in_macro: bool,
    /// The brackets of `pub(…)`.
    after_pub: bool,
}

struct Looking<'a> {
    allow: &'a [String],
}

impl Looking<'_> {
    fn through(&self, tokens: &[TokenTree], place: Place) -> Option<String> {
        if place.depth > DEEPEST {
            return Some(format!(
                "brackets more than {DEEPEST} deep are refused here"
            ));
        }
        tokens
            .iter()
            .enumerate()
            .find_map(|(index, token)| match token {
                TokenTree::Group(group) => self.group(group, tokens, index, place),
                TokenTree::Ident(ident) => self.ident(&ident.to_string(), tokens, index, place),
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let bracket = |at| is_bracket(tokens.get(index + at));
                    let attribute = bracket(1) || (is_punct(tokens, index + 1, '!') && bracket(2));
                    (!attribute).then(|| MADE_BY_A_MACRO.to_owned())
                }
                TokenTree::Literal(literal) if literal.to_string().contains("init_array") => self
                    .unless("link_section", || {
                        "`.init_array` is refused here: its code could run before the tests begin"
                            .to_owned()
                    }),
                TokenTree::Punct(_) | TokenTree::Literal(_) => None,
            })
    }

    fn group(
        &self,
        group: &Group,
        tokens: &[TokenTree],
        index: usize,
        place: Place,
    ) -> Option<String> {
        let inside: Vec<_> = group.stream().into_iter().collect();
        let mut place = Place {
            depth: place.depth + 1,
            after_pub: false,
            ..place
        };
        if group.delimiter() == Delimiter::Bracket && after_hash(tokens, index) {
            return self
                .attribute(&inside, 0)
                .or_else(|| self.through(&inside, place));
        }
        let back = |by: usize| index.checked_sub(by).and_then(|at| tokens.get(at));
        let word = |by: usize| match back(by) {
            Some(TokenTree::Ident(ident)) => ident.to_string(),
            _ => String::new(),
        };
        let call = index >= 2 && is_punct(tokens, index - 1, '!') && !word(2).is_empty();
        let definition = index >= 3 && is_punct(tokens, index - 2, '!') && word(3) == "macro_rules";
        if call || definition {
            place.in_macro = true;
            place.modules = 0;
        }
        place.after_pub = word(1) == "pub" && group.delimiter() == Delimiter::Parenthesis;
        if word(2) == "mod" && group.delimiter() == Delimiter::Brace && !place.in_macro {
            place.modules += 1;
        }
        if word(3) == "super" && is_punct(tokens, index - 1, ':') {
            place.modules = place.modules.saturating_sub(1);
        }
        let assembly = call && ["asm", "naked_asm"].contains(&&*word(2));
        let reason = assembly.then(|| directive(&inside)).flatten();
        reason.or_else(|| self.through(&inside, place))
    }

    fn ident(
        &self,
        name: &str,
        tokens: &[TokenTree],
        index: usize,
        place: Place,
    ) -> Option<String> {
        let next = |by: usize| match tokens.get(index + by) {
            Some(TokenTree::Ident(ident)) => ident.to_string(),
            _ => String::new(),
        };
        let called = is_punct(tokens, index + 1, '!')
            && matches!(tokens.get(index + 2), Some(TokenTree::Group(_)));
        let of_path =
            index > 1 && is_punct(tokens, index - 1, ':') && is_punct(tokens, index - 2, ':');
        match name {
            "include" if called || of_path || next(1) == "as" => Some(
                "`include!` is refused: its code would be in another file, which is not graded"
                    .into(),
            ),
            "mod" => {
                let inline = !next(1).is_empty()
                    && matches!(tokens.get(index + 2), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
                (!inline).then(|| {
                    "`mod name;` is refused here: its code would be in another file, which is not graded".into()
                })
            }
            "crate" if !place.after_pub => Some(
                "`crate` is refused here: that is the tests (`self::` leads to your own items)"
                    .into(),
            ),
            "super" if !place.after_pub => {
                let path = is_punct(tokens, index + 1, ':') && is_punct(tokens, index + 2, ':');
                let own = place.modules > 0
                    && !matches!(tokens.get(index + 3), Some(TokenTree::Punct(dollar)) if dollar.as_char() == '$');
                let allowed = self
                    .allow
                    .iter()
                    .any(|allowed| *allowed == format!("super::{}", next(3)));
                (!path || of_path || !(own || allowed)).then(|| {
                    "`super` is refused here: that is the tests (`self::` leads to your own items)".into()
                })
            }
            "global_asm" => self.unless("global_asm", || {
                format!("`global_asm!` is refused here: {ASSEMBLY}")
            }),
            "asm" | "naked_asm" if !called && (place.in_macro || next(1) == "as") => Some(format!(
                "assembly under another name is refused here: {ASSEMBLY}"
            )),
            // `pub(crate) use mine as write;` brings a *macro* `write`, too, where the
            // tests import a function of that name.
            "use" if place.modules == 0 && exported(tokens, index) => Some(
                "a re-export is refused here: it could take the place of the tests' own macros"
                    .into(),
            ),
            "observe" | "tracer" | "insta" => {
                let path = is_punct(tokens, index + 1, ':') && is_punct(tokens, index + 2, ':');
                let used = index > 0
                    && matches!(&tokens[index - 1], TokenTree::Ident(before) if before == "use");
                (path || used || of_path).then(|| {
                    format!("`{name}` is refused here: the tests see with it, and could be misled")
                })
            }
            // Also outside an attribute: a macro can put the name into one.
            name if !ALSO_ORDINARY.contains(&name) => self.refused(name),
            _ => None,
        }
    }

    /// Looks through an attribute, also inside `unsafe(…)` and `cfg_attr(…)`.
    fn attribute(&self, tokens: &[TokenTree], depth: u32) -> Option<String> {
        let doc = matches!(tokens.first(), Some(TokenTree::Ident(ident)) if ident == "doc");
        if doc || depth > DEEPEST {
            return None;
        }
        tokens.iter().find_map(|token| match token {
            TokenTree::Ident(ident) => self.refused(&ident.to_string()),
            TokenTree::Group(group) => {
                self.attribute(&group.stream().into_iter().collect::<Vec<_>>(), depth + 1)
            }
            TokenTree::Punct(punct) if punct.as_char() == '$' => Some(MADE_BY_A_MACRO.to_owned()),
            _ => None,
        })
    }

    fn refused(&self, name: &str) -> Option<String> {
        let name = name.trim_start_matches("r#");
        let (name, why) = REACHING_OUT.iter().find(|(refused, _)| *refused == name)?;
        self.unless(name, || format!("`{name}` is refused here: {why}"))
    }

    fn unless(&self, allowed: &str, reason: impl FnOnce() -> String) -> Option<String> {
        let allowed = self.allow.iter().any(|word| word == allowed);
        (!allowed).then(reason)
    }
}

const MADE_BY_A_MACRO: &str = "an attribute that a macro puts together is refused here";
const ASSEMBLY: &str = "it could take the place of libc's symbols, or run before the tests begin";

/// Why the arguments of `asm!` are more than instructions.
///
/// A directive begins with a dot where a statement may begin; `b.eq` and `v0.4s` are none.
fn directive(arguments: &[TokenTree]) -> Option<String> {
    let of_macro = arguments.windows(3).any(|three| {
        matches!(three, [TokenTree::Ident(_), TokenTree::Punct(punct), TokenTree::Group(_)] if punct.as_char() == '!')
    });
    let variable = arguments
        .iter()
        .any(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '$'));
    if of_macro || variable {
        return Some(format!(
            "assembly that a macro puts together is refused here: {ASSEMBLY}"
        ));
    }
    let is_directive = |text: &str| {
        let escaped = text.contains("\\x") || text.contains("\\u");
        let chars: Vec<char> = text.chars().collect();
        let dotted = chars.windows(3).any(|three| {
            let [before, dot, after] = [three[0], three[1], three[2]];
            let begins = !before.is_alphanumeric() && before != '_';
            dot == '.' && begins && (after.is_alphabetic() || "_{\\".contains(after))
        });
        escaped || dotted
    };
    let directives = arguments.iter().any(
        |token| matches!(token, TokenTree::Literal(literal) if is_directive(&literal.to_string())),
    );
    directives.then(|| {
        format!("assembly with directives (`.globl`, `.section`) is refused here: {ASSEMBLY}")
    })
}

/// True when something like `pub`, `pub(crate)` or a macro's `$vis` stands before `index`.
fn exported(tokens: &[TokenTree], index: usize) -> bool {
    match index.checked_sub(1).and_then(|before| tokens.get(before)) {
        Some(TokenTree::Ident(_)) => true,
        Some(TokenTree::Group(group)) => {
            let pub_before = index.checked_sub(2).and_then(|at| tokens.get(at));
            group.delimiter() == Delimiter::Parenthesis
                && matches!(pub_before, Some(TokenTree::Ident(word)) if word == "pub")
        }
        _ => false,
    }
}

fn is_punct(tokens: &[TokenTree], index: usize, wanted: char) -> bool {
    matches!(tokens.get(index), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_bracket(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket)
}

/// True for the group of `#[…]` and `#![…]`.
fn after_hash(tokens: &[TokenTree], index: usize) -> bool {
    let punct = |back: usize, wanted: char| {
        let at = index.checked_sub(back);
        at.is_some_and(|at| is_punct(tokens, at, wanted))
    };
    punct(1, '#') || (punct(1, '!') && punct(2, '#'))
}

#[cfg(test)]
mod tests {
    use super::{Look, look, tests};

    fn reaches_out(text: &str, allow: &[String]) -> Option<String> {
        match look(text, allow) {
            Look::Ordinary => None,
            Look::ReachesOut(reason) => Some(reason),
            Look::Unreadable => Some("unreadable".into()),
        }
    }

    #[test]
    fn tests_are_counted_in_order_and_not_in_comments_or_strings() {
        let text = r##"
            // #[test] fn commented() {}
            const S: &str = "#[test] fn quoted() {}";
            fn helper() {}
            #[test]
            fn zulu() { fn inner() {} }
            /// Docs.
            #[test] fn alpha() {}
        "##;
        assert_eq!(tests(text).unwrap(), ["zulu", "alpha"]);
    }

    #[test]
    fn a_submission_that_reaches_out_is_named() {
        for text in [
            "#[macro_export] macro_rules! assert_eq { () => {} }",
            "#[unsafe(no_mangle)] extern \"C\" fn write() {}",
            "#[cfg_attr(all(), unsafe(link_section = \".init_array\"))] static X: fn() = f;",
            "mod inner { #[path = \"/tmp/x.rs\"] mod other; }",
            "fn f() { include!(\"/tmp/x.rs\") }",
            "#[unsafe(r#export_name = \"write\")] fn f() {}",
            "macro_rules! m { ($a:ident) => { #[unsafe($a)] fn f() {} } } m!(no_mangle);",
            "core::arch::global_asm!(\".section .init_array\");",
            "mod other;",
            "macro_rules! m { ($a:tt $b:tt) => { $a $b; } } m!(mod other);",
            "macro_rules! m { ($a:ident) => { #[$a = \"x.rs\"] mod y {} } } m!(path);",
            "macro_rules! m { ($a:tt $b:tt) => { $a $b mod y {} } } m!(# [path = \"x.rs\"]);",
            "macro_rules! m { ($a:tt) => { # $a mod y {} } } m!([path = \"x.rs\"]);",
            "macro_rules! m { ($i:ident) => { $i!(\"x.rs\"); } } m!(include);  use std::include as i;",
            "impl Drop for super::Site { fn drop(&mut self) {} }",
            "impl Drop for crate::Site { fn drop(&mut self) {} }",
            "mod inner { impl Drop for super::super::Site { fn drop(&mut self) {} } }",
            "mod inner { use super::{super::Site}; }",
            "mod inner { use super as up; use up::super::Site; }",
            "macro_rules! m { (mod $n:ident { $($t:tt)* }) => { $($t)* } } m!(mod a { use super::Site; });",
            "extern crate self as tests;",
            "use std::arch::asm as x;",
            "macro_rules! m { ($i:ident, $t:tt) => { $i!($t) } } fn f() { m!(asm, \".globl f\") }",
            "macro_rules! m { ($t:tt) => { asm!($t) } }",
            "fn f() { unsafe { asm!(concat!(\".glo\", \"bl f\")) } }",
            "fn f() { unsafe { asm!(\"nop\", \"2:.globl f\") } }",
            "fn f() { unsafe { asm!(\"\\x2eglobl f\") } }",
            "fn f() { unsafe { asm!(\".{}\", sym pushsection) } }",
            "#!/*\n#[unsafe(no_mangle)] extern \"C\" fn write() {}\n//*/",
            "#[allow(long_running_const_eval)] const X: () = loop {};",
            "fn f() { observe::region::end(); }",
            "use observe as o;",
            "macro_rules! mine { () => {} } pub(crate) use mine as write;",
            "pub use std::todo as write;",
            "macro_rules! m { ($v:vis) => { $v use std::todo as write; } } m!(pub);",
        ] {
            assert!(reaches_out(text, &[]).is_some(), "{text}");
        }
    }

    #[test]
    fn ordinary_code_does_not_reach_out() {
        for text in [
            "/// Uses `#[no_mangle]` and a path.\nfn f(path: &str) { let used = path; }",
            "#[derive(Debug)] struct S; #[inline] fn f() { let include = 1; assert!(include != 2) }",
            "use std::path::Path; fn g() { include_str!(\"x\"); }",
            "pub(crate) fn f() {} mod inner { pub(super) fn g() {} use super::{self, f}; }",
            "mod inner { pub(in crate::other) fn g() {} }",
            "fn f(observe: u32, state: &S) -> u32 { state.observe + S { x: observe }.x }",
            "mod inner { pub fn g(x: super::S) {} pub use std::fs::File; }",
            "#[cfg(unix)] use std::fs; fn f() { use std::io; { } use std::net; }",
            "use std::arch::{asm, naked_asm}; fn f() { unsafe { asm!(\"syscall\", in(\"rdi\") !0, b = const 3) } }",
            "fn f() { unsafe { asm!(\"2: cmp x0, 1.5\", \"b.eq 2b\", \"mov v0.4s, v1.4s\") } }",
            "macro_rules! m { ($($x:expr),*) => { [$($x),*] } } fn f() { m!(1, 2); }",
        ] {
            assert_eq!(reaches_out(text, &[]), None, "{text}");
        }
    }

    #[test]
    fn an_exercise_may_be_about_it() {
        let text = "#[unsafe(no_mangle)] extern \"C\" fn _start() {} use super::atomic::AtomicU64;";
        let allow = ["no_mangle".into(), "super::atomic".into()];
        assert_eq!(reaches_out(text, &allow), None);
        assert!(reaches_out("use super::Site;", &allow).is_some());
    }

    #[test]
    fn what_has_no_tokens_is_left_to_rustc() {
        assert_eq!(look("fn f() { \"", &[]), Look::Unreadable);
        assert_eq!(look("\u{feff}fn f() {}", &[]), Look::Ordinary);
    }

    #[test]
    fn deep_brackets_do_not_overflow_the_stack() {
        let deep = format!(
            "fn f() {{ {}{} }}",
            "(".repeat(200_000),
            ")".repeat(200_000)
        );
        assert!(matches!(look(&deep, &[]), Look::ReachesOut(reason) if reason.contains("deep")));
    }
}
