//! Does a text match a pattern?
//!
//! The pattern is the one of history searches, SQLite's GLOB: `*` any characters, `?` one, `[a-z]` one of a set,
//! `[^a-z]` one outside; upper and lower case differ, and the whole text must match.

/// Whether all of `text` is described by `pattern`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // After a mismatch only the last `*` has to take one character more: linear in practice, never exponential.
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, read));
            at += 1;
        } else if let Some(width) = one(&pattern[at..], text[read]) {
            at += width;
            read += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (at, read) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

/// How many characters of the pattern describe this one character, if they do.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => set(pattern, character),
        literal => (literal == character).then_some(1),
    }
}

fn set(pattern: &[char], character: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let start = 1 + usize::from(negated);
    // A `]` that comes first is a member.
    let end = start
        + 1
        + pattern
            .get(start + 1..)?
            .iter()
            .position(|&end| end == ']')?;
    let mut members = &pattern[start..end];
    let mut found = false;
    while let [first, rest @ ..] = members {
        members = rest;
        if let ['-', last, rest @ ..] = rest {
            found |= (*first..=*last).contains(&character);
            members = rest;
        } else {
            found |= *first == character;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_sqlite_says() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("let*", "let x = 1;", true),
            ("let", "let x = 1;", false),
            ("*x*", "let x = 1;", true),
            ("*1;*", "let x = 1;\nlet y = 11;", true),
            ("l?t*", "let", true),
            ("?", "", false),
            ("?", "ü", true),
            ("LET*", "let", false),
            ("[a-c]*", "box", true),
            ("[^a-c]*", "box", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_are_not_exponential() {
        assert!(!matches(
            &"*a".repeat(50),
            &"a".repeat(49).repeat(20).replace("aaaa", "ab")[..40]
        ));
    }
}
