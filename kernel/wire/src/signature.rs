//! Is this message from somebody who knows the key, and is it new?
//!
//! Whoever may connect to the shell port runs code as the user; the key in the connection file (mode 0600) is what
//! keeps the machine's other users out. A message that was overheard is signed too: each signature counts once.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How many signatures are remembered; as many as ipykernel does.
const REMEMBERED: usize = 1 << 16;

/// Signs and verifies with HMAC-SHA256, or not at all when the key is empty.
#[derive(Debug)]
pub(crate) struct Signer(Option<Hmac<Sha256>>);

impl Signer {
    pub(crate) fn new(key: &str) -> Self {
        Self(
            (!key.is_empty()).then(|| {
                Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length")
            }),
        )
    }

    /// Whether messages are signed at all.
    pub(crate) fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// The signature in hexadecimal digits; empty without a key.
    pub(crate) fn sign(&self, frames: &[Bytes]) -> String {
        self.digest(frames).map_or_else(String::new, |mac| {
            mac.finalize()
                .into_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        })
    }

    /// Whether `signature` is this message's; compared in constant time.
    pub(crate) fn verify(&self, signature: &[u8], frames: &[Bytes]) -> bool {
        self.digest(frames).is_none_or(|mac| {
            unhex(signature).is_some_and(|signature| mac.verify_slice(&signature).is_ok())
        })
    }

    fn digest(&self, frames: &[Bytes]) -> Option<Hmac<Sha256>> {
        self.0.clone().map(|mac| {
            frames.iter().fold(mac, |mut mac, frame| {
                mac.update(frame);
                mac
            })
        })
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    digits
        .chunks(2)
        .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?))
        .collect()
}

/// The signatures that have been used up.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    all: HashSet<Bytes>,
    by_age: VecDeque<Bytes>,
}

impl Seen {
    /// Remembers a signature; false if it was there already.
    pub(crate) fn insert(&mut self, signature: &Bytes) -> bool {
        // A frame is a slice of what one read(2) brought: a copy doesn't keep the rest alive.
        let signature = Bytes::copy_from_slice(signature);
        if !self.all.insert(signature.clone()) {
            return false;
        }
        self.by_age.push_back(signature);
        if self.by_age.len() > REMEMBERED
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: [&'static str; 4]) -> [Bytes; 4] {
        texts.map(|text| Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn signature_is_the_one_of_rfc_4231_case_2() {
        let frames = frames(["what do", " ya want ", "for no", "thing?"]);
        assert_eq!(
            Signer::new("Jefe").sign(&frames),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn changed_frame_key_or_signature_is_rejected() {
        let signer = Signer::new("key");
        let message = frames(["{}", "{}", "{}", "{\"code\":\"1\"}"]);
        let signature = signer.sign(&message);
        assert!(signer.verify(signature.as_bytes(), &message));
        assert!(signer.verify(signature.to_uppercase().as_bytes(), &message));

        let changed = frames(["{}", "{}", "{}", "{\"code\":\"2\"}"]);
        assert!(!signer.verify(signature.as_bytes(), &changed));
        assert!(!Signer::new("other").verify(signature.as_bytes(), &message));
        for garbage in [&b""[..], b"0", b"zz", &signature.as_bytes()[2..]] {
            assert!(!signer.verify(garbage, &message));
        }
    }

    #[test]
    fn empty_key_signs_nothing_and_accepts_anything() {
        let signer = Signer::new("");
        let message = frames(["{}", "{}", "{}", "{}"]);
        assert_eq!(signer.sign(&message), "");
        assert!(signer.verify(b"", &message));
    }

    #[test]
    fn signature_counts_once_and_the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        let first = Bytes::from_static(b"first");
        assert!(seen.insert(&first));
        assert!(!seen.insert(&first));
        for number in 0..REMEMBERED {
            assert!(seen.insert(&Bytes::from(number.to_string())));
        }
        assert!(seen.insert(&first));
        assert_eq!(seen.all.len(), REMEMBERED);
    }
}
