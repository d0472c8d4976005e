//! How do bytes become text, when a character may be cut in two?

/// Bytes of one stream, between two reads.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    cut: Vec<u8>,
}

impl Decoder {
    /// The text of these bytes; what is no UTF-8 becomes U+FFFD, an incomplete end waits.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        let whole = all.len() - incomplete(&all);
        self.cut = all.split_off(whole);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What waited in vain.
    pub(crate) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned()
    }
}

/// How many bytes at the end begin a character that more bytes could complete.
fn incomplete(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_character_comes_together() {
        let text = "aé€𝄞z";
        for step in 1..text.len() {
            let mut decoder = Decoder::default();
            let parts = text.as_bytes().chunks(step);
            let said: String = parts.map(|part| decoder.decode(part)).collect();
            assert_eq!(said + &decoder.rest(), text);
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_such() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xffb\xe2\x82"), "a\u{fffd}b");
        assert_eq!(decoder.rest(), "\u{fffd}");
    }
}
