//! Is a text complete, as far as brackets, strings and comments tell?

use std::iter::Peekable;
use std::str::Chars;

use syn::parse::Parser;
use wire::Completeness;

/// How deep a parser may recurse on the stack of a thread that answers questions.
const PARSED: usize = 50;

/// For `is_complete_request`: a console's Enter runs a complete text and continues an incomplete one.
pub(crate) fn completeness(code: &str) -> Completeness {
    let rust: String = code
        .lines()
        .map(|line| {
            if line.starts_with([':', '!']) {
                "\n".into()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    match depth(&rust) {
        Depth::Mismatched => Completeness::Invalid,
        Depth::Open(open) => Completeness::Incomplete("    ".repeat(open.len())),
        Depth::InText => Completeness::Incomplete(String::new()),
        Depth::Closed if nesting(&rust) > PARSED => Completeness::Complete,
        Depth::Closed => match syn::Block::parse_within.parse_str(&rust) {
            Err(why) if why.to_string().contains("unexpected end of input") => {
                Completeness::Incomplete("    ".into())
            }
            // The compiler says better what is wrong.
            _ => Completeness::Complete,
        },
    }
}

/// The brackets that would close what is open.
pub(crate) fn closers(code: &str) -> String {
    let Depth::Open(open) = depth(code) else {
        return String::new();
    };
    let close = |bracket| match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    };
    open.into_iter().rev().map(close).collect()
}

enum Depth {
    Closed,
    /// These brackets are open.
    Open(Vec<char>),
    /// In a string or a comment.
    InText,
    Mismatched,
}

fn depth(code: &str) -> Depth {
    let mut open = Vec::new();
    let mut mismatched = false;
    let whole = code_only(code, |now| match now {
        '(' | '[' | '{' => open.push(now),
        ')' | ']' | '}' => {
            mismatched |= !matches!(
                (open.pop(), now),
                (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')
            );
        }
        _ => {}
    });
    if mismatched {
        Depth::Mismatched
    } else if !whole {
        Depth::InText
    } else if open.is_empty() {
        Depth::Closed
    } else {
        Depth::Open(open)
    }
}

/// How deep a parser recurses, at most: a level for each open bracket, and one for each operator and each call since the
/// last separator, because `a + b + c` is `(a + b) + c`.
pub(crate) fn nesting(code: &str) -> usize {
    let mut levels = vec![0];
    let (mut now, mut deepest) = (0, 0);
    code_only(code, |c| {
        let last = levels.len() - 1;
        match c {
            '(' | '[' | '{' => {
                now += 1;
                levels[last] += 1;
                levels.push(0);
            }
            ')' | ']' | '}' if last > 0 => now -= levels.pop().unwrap_or_default(),
            '+' | '-' | '*' | '/' | '%' | '!' | '&' | '|' | '^' | '<' | '>' | '=' | '.' | '?' => {
                now += 1;
                levels[last] += 1;
            }
            _ => {}
        }
        if let ',' | ';' | '}' = c
            && let Some(level) = levels.last_mut()
        {
            now -= std::mem::take(level);
        }
        deepest = deepest.max(now);
    });
    deepest
}

/// Every character outside of strings and comments, one after the other; whether the last of these ends.
fn code_only(code: &str, mut see: impl FnMut(char)) -> bool {
    let mut rest = code.chars().peekable();
    let mut before = ' ';
    while let Some(now) = rest.next() {
        let ends = match now {
            '/' if rest.peek() == Some(&'/') => {
                while rest.next_if(|&c| c != '\n').is_some() {}
                true
            }
            '/' if rest.peek() == Some(&'*') => block_comment(&mut rest),
            '"' => string(&mut rest),
            'r' if !before.is_alphanumeric() && before != '_' || before == 'b' => {
                raw_string(&mut rest)
            }
            '\'' => {
                character(&mut rest);
                true
            }
            _ => {
                see(now);
                true
            }
        };
        if !ends {
            return false;
        }
        before = now;
    }
    true
}

/// After `/`: whether the comment ends; it may hold others.
fn block_comment(rest: &mut Peekable<Chars<'_>>) -> bool {
    rest.next();
    let mut level = 1;
    while let Some(now) = rest.next() {
        match (now, rest.peek()) {
            ('*', Some('/')) => {
                rest.next();
                level -= 1;
                if level == 0 {
                    return true;
                }
            }
            ('/', Some('*')) => {
                rest.next();
                level += 1;
            }
            _ => {}
        }
    }
    false
}

/// After `"`: whether the string ends.
fn string(rest: &mut Peekable<Chars<'_>>) -> bool {
    while let Some(now) = rest.next() {
        match now {
            '\\' => {
                rest.next();
            }
            '"' => return true,
            _ => {}
        }
    }
    false
}

/// After `r`: whether it ends, if it is a raw string at all.
fn raw_string(rest: &mut Peekable<Chars<'_>>) -> bool {
    let mut ahead = rest.clone();
    let mut hashes = 0;
    while ahead.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    if ahead.next() != Some('"') {
        return true;
    }
    *rest = ahead;
    while let Some(now) = rest.next() {
        if now == '"' {
            let mut closing = 0;
            while closing < hashes && rest.next_if_eq(&'#').is_some() {
                closing += 1;
            }
            if closing == hashes {
                return true;
            }
        }
    }
    false
}

/// After `'`: a character, or a lifetime.
fn character(rest: &mut Peekable<Chars<'_>>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('\\') => {
            ahead.next();
            while ahead.next_if(|&c| c != '\'' && c != '\n').is_some() {}
            if ahead.next() == Some('\'') {
                *rest = ahead;
            }
        }
        Some(_) if ahead.next() == Some('\'') => *rest = ahead,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete() {
        for code in [
            "1 + 1",
            "let x = 5;",
            "fn f() {}",
            "'a'",
            "\"{\"",
            "'{'",
            "// (",
            "r#\"(\"#",
            "let c: &'static str = \"\";",
            ":vars",
            "!ls (",
            "/* { */ 1",
            "b'\\n'",
            "",
        ] {
            assert_eq!(completeness(code), Completeness::Complete, "{code}");
        }
    }

    #[test]
    fn incomplete() {
        for code in [
            "fn f() {",
            "f(1,",
            "let x =",
            "\"abc",
            "r#\"abc\"",
            "/* /* */",
            "vec![",
            "fn f()",
        ] {
            assert!(
                matches!(completeness(code), Completeness::Incomplete(_)),
                "{code}"
            );
        }
        assert_eq!(
            completeness("fn f() { if a {"),
            Completeness::Incomplete("        ".into())
        );
    }

    #[test]
    fn what_is_open_can_be_closed() {
        assert_eq!(closers("fn f() { g([1, \"{\""), "])}");
        assert_eq!(closers("f()"), "");
    }

    #[test]
    fn levels_are_brackets_and_operators_without_a_separator() {
        for (code, deep) in [
            ("f(g(1))", 2),
            ("1 + 1 + 1;", 2),
            ("[1.5, 2.5, 3.5, -1.0]", 3),
            ("a.b(c).d(e)", 4),
            ("f(); g(); h();", 1),
            ("fn f() {}\nfn g() {}", 2),
            ("\"((((\" // ((((", 0),
        ] {
            assert_eq!(nesting(code), deep, "{code}");
        }
        assert_eq!(nesting(&"(".repeat(3000)), 3000);
        let deep = format!("{}1{}", "(".repeat(3000), ")".repeat(3000));
        assert_eq!(completeness(&deep), Completeness::Complete);
    }

    #[test]
    fn invalid() {
        for code in [")", "f(]", "}{"] {
            assert_eq!(completeness(code), Completeness::Invalid, "{code}");
        }
    }
}
