//! What in a cell's stdout is more than text?
//!
//! evcxr's convention for rich output, which many crates follow: a line `EVCXR_BEGIN_CONTENT type/subtype`, the
//! content, a line `EVCXR_END_CONTENT`; and evcxr_input's request for a prompt. Nothing else that a cell prints means
//! anything but itself. Blocks that follow each other with different types are one thing to show.

use std::collections::BTreeMap;

const BEGIN: &[u8] = b"EVCXR_BEGIN_CONTENT ";
const END: &[u8] = b"EVCXR_END_CONTENT";
const ASK: &[u8] = b"EVCXR_INPUT_REQUEST:";
const ASK_PASSWORD: &[u8] = b"EVCXR_INPUT_REQUEST_PASSWORD:";

/// A piece of stdout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it was written.
    Text(Vec<u8>),
    /// MIME type to content.
    Content(BTreeMap<String, String>),
    /// The next read of stdin is to be asked for like this.
    Prompt { text: String, password: bool },
}

/// The state between two reads.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// A line that isn't complete and could become a mark.
    held: Vec<u8>,
    /// Whether the last text ended in the middle of a line.
    in_line: bool,
    /// The block that is open: its type and lines.
    open: Option<(String, Vec<u8>)>,
    /// Complete blocks that may get company.
    bundle: BTreeMap<String, String>,
}

impl Parser {
    /// Takes what was read, and gives what it is.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(bytes);
        let mut text = Vec::new();
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            let line_end = rest.iter().position(|&byte| byte == b'\n');
            let (line, tail) = rest.split_at(line_end.map_or(rest.len(), |end| end + 1));
            if self.open.is_none() && (self.in_line || !could_be_mark(line)) {
                if !self.bundle.is_empty() {
                    self.close_bundle(&mut pieces);
                }
                text.extend_from_slice(line);
                self.in_line = line_end.is_none();
            } else if line_end.is_none()
                && (self.open.is_none() || END.starts_with(line) || line == END)
            {
                self.held = line.to_vec();
            } else {
                self.mark(line, &mut text, &mut pieces);
            }
            rest = tail;
        }
        flush(&mut text, &mut pieces);
        pieces
    }

    /// Nothing more comes: what is incomplete is text.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.close_bundle(&mut pieces);
        let mut text = Vec::new();
        if let Some((mime, body)) = self.open.take() {
            text.extend_from_slice(BEGIN);
            text.extend_from_slice(mime.as_bytes());
            text.push(b'\n');
            text.extend_from_slice(&body);
        }
        text.append(&mut self.held);
        flush(&mut text, &mut pieces);
        self.in_line = false;
        pieces
    }

    /// A whole line that is a mark, could have been one, or belongs to an open block.
    fn mark(&mut self, line: &[u8], text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
        let word = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some((mime, mut body)) = self.open.take() {
            if word == END {
                if body.last() == Some(&b'\n') {
                    body.pop();
                }
                if self.bundle.contains_key(&mime) {
                    self.close_bundle(pieces);
                }
                self.bundle
                    .insert(mime, String::from_utf8_lossy(&body).into_owned());
            } else {
                body.extend_from_slice(line);
                self.open = Some((mime, body));
            }
            return;
        }
        flush(text, pieces);
        if let Some(mime) = word.strip_prefix(BEGIN) {
            self.open = Some((String::from_utf8_lossy(mime).into_owned(), Vec::new()));
        } else if let Some(prompt) = word.strip_prefix(ASK_PASSWORD) {
            pieces.push(prompted(prompt, true));
        } else if let Some(prompt) = word.strip_prefix(ASK) {
            pieces.push(prompted(prompt, false));
        } else {
            self.close_bundle(pieces);
            text.extend_from_slice(line);
        }
    }

    fn close_bundle(&mut self, pieces: &mut Vec<Piece>) {
        if !self.bundle.is_empty() {
            pieces.push(Piece::Content(std::mem::take(&mut self.bundle)));
        }
    }
}

fn prompted(prompt: &[u8], password: bool) -> Piece {
    Piece::Prompt {
        text: String::from_utf8_lossy(prompt).into_owned(),
        password,
    }
}

fn flush(text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

/// Whether the line, complete or not, begins as a mark does.
fn could_be_mark(line: &[u8]) -> bool {
    [BEGIN, ASK, ASK_PASSWORD]
        .into_iter()
        .any(|mark| line.starts_with(mark) || (!line.contains(&b'\n') && mark.starts_with(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.as_bytes().to_vec())
    }

    fn content(blocks: &[(&str, &str)]) -> Piece {
        let blocks = blocks
            .iter()
            .map(|&(mime, body)| (mime.to_owned(), body.to_owned()));
        Piece::Content(blocks.collect())
    }

    /// Fed in pieces of every size, it says the same.
    fn all(input: &str) -> Vec<Piece> {
        let whole = |step: usize| {
            let mut parser = Parser::default();
            let mut pieces: Vec<Piece> = Vec::new();
            let parts = input.as_bytes().chunks(step);
            let mut said: Vec<Piece> = parts.flat_map(|part| parser.push(part)).collect();
            said.extend(parser.finish());
            for piece in said {
                match (pieces.last_mut(), piece) {
                    (Some(Piece::Text(before)), Piece::Text(after)) => before.extend(after),
                    (_, piece) => pieces.push(piece),
                }
            }
            pieces
        };
        let at_once = whole(input.len().max(1));
        for step in 1..input.len() {
            assert_eq!(whole(step), at_once, "in steps of {step}");
        }
        at_once
    }

    #[test]
    fn text_goes_through_as_it_is() {
        assert_eq!(
            all("a\nEVCXR_EXECUTION_COMPLETE\nb"),
            [text("a\nEVCXR_EXECUTION_COMPLETE\nb")]
        );
        assert_eq!(all("EVCXR_BEGIN"), [text("EVCXR_BEGIN")]);
        assert_eq!(
            all("x EVCXR_BEGIN_CONTENT text/html\n"),
            [text("x EVCXR_BEGIN_CONTENT text/html\n")]
        );
    }

    #[test]
    fn a_block_is_content() {
        let input = "a\nEVCXR_BEGIN_CONTENT text/html\n<b>\nEVCXR_END_CONTENTS\n</b>\nEVCXR_END_CONTENT\nb\n";
        let body = "<b>\nEVCXR_END_CONTENTS\n</b>";
        assert_eq!(
            all(input),
            [text("a\n"), content(&[("text/html", body)]), text("b\n")]
        );
    }

    #[test]
    fn blocks_of_other_types_are_one_thing() {
        let block = |mime: &str, body: &str| {
            format!("EVCXR_BEGIN_CONTENT {mime}\n{body}\nEVCXR_END_CONTENT\n")
        };
        let two = block("text/html", "h") + &block("text/plain", "p");
        assert_eq!(
            all(&two),
            [content(&[("text/html", "h"), ("text/plain", "p")])]
        );
        let again = block("text/html", "1") + &block("text/html", "2");
        assert_eq!(
            all(&again),
            [
                content(&[("text/html", "1")]),
                content(&[("text/html", "2")])
            ]
        );
    }

    #[test]
    fn a_block_without_end_is_text() {
        let input = "EVCXR_BEGIN_CONTENT text/html\n<b>\n";
        assert_eq!(all(input), [text(input)]);
    }

    #[test]
    fn a_prompt_is_asked_for() {
        let asked = |text: &str, password| Piece::Prompt {
            text: text.into(),
            password,
        };
        assert_eq!(
            all("EVCXR_INPUT_REQUEST:name? \n"),
            [asked("name? ", false)]
        );
        assert_eq!(all("EVCXR_INPUT_REQUEST_PASSWORD:\n"), [asked("", true)]);
    }
}
