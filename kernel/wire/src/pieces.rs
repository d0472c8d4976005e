//! How long may one stream message be?

/// A longer text becomes several messages: a front end draws nothing of a message before it has all of it.
const LONGEST: usize = 1 << 20;

/// The text in parts of at most 1 MiB that end between characters; none if it is empty.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(LONGEST));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_split_between_characters() {
        let text = "a".repeat(LONGEST - 1) + "ü" + &"b".repeat(LONGEST);
        let lengths: Vec<usize> = pieces(&text).map(str::len).collect();
        assert_eq!(lengths, [LONGEST - 1, LONGEST, 2]);
        assert_eq!(pieces(&text).collect::<String>(), text);
    }

    #[test]
    fn empty_text_is_no_message() {
        assert_eq!(pieces("").count(), 0);
    }
}
