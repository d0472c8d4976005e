//! What came in, or why is it not answered?

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::session::Parent;

/// A message that came in and may be trusted.
#[derive(Debug)]
pub(crate) struct Request {
    /// Whom a reply is for.
    pub(crate) identities: Vec<Bytes>,
    /// What a reply calls its parent.
    pub(crate) parent: Parent,
    pub(crate) kind: String,
    /// When it was sent, by the clock of whoever sent it.
    pub(crate) sent: Option<DateTime<Utc>>,
    pub(crate) content: Value,
    /// The identity of the message of ours that this one answers, if it says so.
    pub(crate) answers: Option<String>,
}

impl Request {
    /// A flag of the content, which old front ends leave out.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.content[name].as_bool().unwrap_or(default)
    }

    /// A text of the content, or nothing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.content[name].as_str().unwrap_or_default()
    }
}

/// Why a message is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    Incomplete,
    Signature,
    Replayed,
    NotJson,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "its frames are not those of a message",
            Self::Signature => "its signature is not made with our key",
            Self::Replayed => "it has been received before",
            Self::NotJson => "its header or content is not JSON as specified",
        })
    }
}
