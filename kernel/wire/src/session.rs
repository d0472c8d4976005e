//! How does a message get its frames, and lose them?
//!
//! On the wire a message is: routing identities, a delimiter, the signature, and four JSON frames (header, parent
//! header, metadata, content), then buffers that nobody here reads. The parent's header goes back byte for byte:
//! a front end may find more in it than the fields of the specification, and [`Header`] would drop those.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{SubsecRound, Utc};
use jupyter_protocol::{Header, JupyterMessageContent, UnknownMessage};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::request::{Rejected, Request};
use crate::signature::{Seen, Signer};

/// The version that brought the last thing we do: 5.4 is `iopub_welcome`, 5.5 `supported_features`.
pub(crate) const PROTOCOL: &str = "5.5";

const DELIMITER: &[u8] = b"<IDS|MSG>";
const EMPTY: Bytes = Bytes::from_static(b"{}");

/// The header frame of the request that a message answers.
pub(crate) type Parent = Bytes;

/// A message's type and content.
pub(crate) type Content = JupyterMessageContent;

/// A content that [`jupyter_protocol`] has no type for, or one that loses something.
pub(crate) fn untyped(kind: &str, content: Value) -> Content {
    UnknownMessage {
        msg_type: kind.into(),
        content,
    }
    .into()
}

/// The kernel as a sender and receiver of messages.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    signer: Signer,
    sent: AtomicU64,
    seen: Mutex<Seen>,
}

impl Session {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            signer: Signer::new(key),
            sent: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Distinguishes this kernel's messages from those of the one before a restart.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// A message's frames, from the delimiter on.
    pub(crate) fn frames(&self, parent: Option<&Parent>, content: &Content) -> Vec<Bytes> {
        self.frames_as(self.next_id(), parent, content)
    }

    /// An identity for a message to come.
    pub(crate) fn next_id(&self) -> String {
        format!("{}_{}", self.id, self.sent.fetch_add(1, Ordering::Relaxed))
    }

    /// As [`Session::frames`], for a message whose identity its sender has to know.
    pub(crate) fn frames_as(
        &self,
        id: String,
        parent: Option<&Parent>,
        content: &Content,
    ) -> Vec<Bytes> {
        let signed = [
            json(&self.header(id, content.message_type())),
            parent.cloned().unwrap_or(EMPTY),
            EMPTY,
            json(content),
        ];
        let signature = self.signer.sign(&signed);
        let mut frames = vec![Bytes::from_static(DELIMITER), signature.into()];
        frames.extend(signed);
        frames
    }

    fn header(&self, msg_id: String, kind: &str) -> Header {
        Header {
            msg_id,
            username: "kernel".into(),
            session: self.id.clone(),
            // Python's ISO 8601 ends at microseconds; nine digits would reach the front end as an unparsed string.
            date: Utc::now().trunc_subsecs(6),
            msg_type: kind.into(),
            version: PROTOCOL.into(),
        }
    }

    /// The request in these frames, if its sender knows the key.
    pub(crate) fn read(&self, mut frames: Vec<Bytes>) -> Result<Request, Rejected> {
        let delimiter = frames.iter().position(|frame| &frame[..] == DELIMITER);
        let message = frames.split_off(delimiter.ok_or(Rejected::Incomplete)?);
        let [_, signature, signed @ ..] = &message[..] else {
            return Err(Rejected::Incomplete);
        };
        let signed = signed.get(..4).ok_or(Rejected::Incomplete)?;
        if !self.signer.verify(signature, signed) {
            return Err(Rejected::Signature);
        }
        if self.signer.is_keyed() && !self.seen.lock().unwrap().insert(signature) {
            return Err(Rejected::Replayed);
        }
        let header: Value = serde_json::from_slice(&signed[0]).map_err(|_| Rejected::NotJson)?;
        let content: Value = serde_json::from_slice(&signed[3]).map_err(|_| Rejected::NotJson)?;
        let kind = header["msg_type"].as_str().ok_or(Rejected::NotJson)?;
        if !content.is_object() {
            return Err(Rejected::NotJson);
        }
        Ok(Request {
            identities: frames,
            parent: signed[0].clone(),
            kind: kind.into(),
            sent: header["date"].as_str().and_then(|date| date.parse().ok()),
            content,
            answers: answered(&signed[1]),
        })
    }
}

fn answered(parent: &[u8]) -> Option<String> {
    let parent: Value = serde_json::from_slice(parent).ok()?;
    parent["msg_id"].as_str().map(String::from)
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("contents have string keys and no failing types")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(session: &Session) -> Vec<Bytes> {
        let mut frames = vec![Bytes::from_static(b"client")];
        frames.extend(session.frames(None, &untyped("execute_request", json!({"code": "1"}))));
        frames
    }

    #[test]
    fn message_is_read_back_with_identity_and_header() {
        let session = Session::new("key");
        let frames = request(&session);
        let header = frames[3].clone();
        let request = session.read(frames).unwrap();
        assert_eq!(request.identities, ["client"]);
        assert_eq!(request.kind, "execute_request");
        assert_eq!(request.text("code"), "1");
        assert!(request.flag("stop_on_error", true));
        assert_eq!(request.parent, header);
    }

    #[test]
    fn garbage_is_rejected_and_never_panics() {
        let session = Session::new("key");
        assert_eq!(session.read(vec![]).unwrap_err(), Rejected::Incomplete);
        for length in 0..6 {
            let mut frames = request(&session);
            frames.truncate(length);
            assert_eq!(session.read(frames).unwrap_err(), Rejected::Incomplete);
        }
        let mut frames = request(&session);
        frames[6] = Bytes::from_static(b"{}");
        assert_eq!(session.read(frames).unwrap_err(), Rejected::Signature);

        let unsigned = Session::new("");
        for content in ["[]", "{", "null", "\u{7f}"] {
            let mut frames = request(&unsigned);
            frames[6] = Bytes::from_static(content.as_bytes());
            assert_eq!(unsigned.read(frames).unwrap_err(), Rejected::NotJson);
        }
    }

    #[test]
    fn message_is_answered_once() {
        let session = Session::new("key");
        let frames = request(&session);
        assert!(session.read(frames.clone()).is_ok());
        assert_eq!(session.read(frames).unwrap_err(), Rejected::Replayed);
    }

    #[test]
    fn date_has_at_most_six_digits_below_the_second() {
        let header = serde_json::to_value(Session::new("").header("id".into(), "status")).unwrap();
        let date = header["date"].as_str().unwrap();
        let (_, below) = date.split_once('.').unwrap_or((date, "Z"));
        assert!(below.len() <= 7, "{date}");
    }
}
