//! Through what does a cell speak while it runs, and later?
//!
//! Each message names the request that caused it, and a front end puts it under that cell: so a publisher belongs to
//! one request, and output that a thread makes after its cell's end still finds its place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use jupyter_protocol::{ClearOutput, InputRequest, Stdio, StreamContent};
use serde_json::{Map, Value, json};

use crate::MimeBundle;
use crate::hub::Hub;
use crate::input::InputError;
use crate::pieces::pieces;
use crate::request::Request;
use crate::session::{Content, Parent, untyped};

/// Which stream a text was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What one cell shows and asks. Clones are the same publisher; any thread may use it, in the cell's time and after.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    sink: Sink,
    silent: bool,
    stdin: AtomicBool,
    cell: u64,
}

enum Sink {
    FrontEnd {
        hub: Arc<Hub>,
        identities: Vec<Bytes>,
        parent: Parent,
    },
    Recording {
        published: Mutex<mpsc::Sender<Published>>,
        lines: Mutex<VecDeque<String>>,
    },
}

/// What a recording publisher was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// "stream", "display_data", "update_display_data", "clear_output" or "input_request".
    pub kind: String,
    /// As in the messaging specification.
    pub content: Value,
}

impl Publisher {
    pub(crate) fn new(hub: Arc<Hub>, request: &Request, silent: bool, stdin: bool) -> Self {
        static CELLS: AtomicU64 = AtomicU64::new(0);
        let sink = Sink::FrontEnd {
            hub,
            identities: request.identities.clone(),
            parent: request.parent.clone(),
        };
        let cell = CELLS.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner {
            sink,
            silent,
            stdin: stdin.into(),
            cell,
        }))
    }

    /// A publisher for an engine's tests: what is published can be received, and `input` gets these lines.
    pub fn recording(lines: impl IntoIterator<Item = String>) -> (Self, mpsc::Receiver<Published>) {
        let (sender, receiver) = mpsc::channel();
        let lines = lines.into_iter().collect();
        let sink = Sink::Recording {
            published: sender.into(),
            lines: Mutex::new(lines),
        };
        let inner = Inner {
            sink,
            silent: false,
            stdin: true.into(),
            cell: 0,
        };
        (Self(Arc::new(inner)), receiver)
    }

    /// Shows text, after all that was published before. Waits, as a write to a terminal does, while every front end
    /// that reads is some MiB behind; at most 2 s if none does.
    pub fn stream(&self, name: StreamName, text: &str) {
        for text in pieces(text) {
            self.publish(match name {
                StreamName::Stdout => StreamContent {
                    name: Stdio::Stdout,
                    text: text.into(),
                },
                StreamName::Stderr => StreamContent {
                    name: Stdio::Stderr,
                    text: text.into(),
                },
            });
        }
    }

    /// Shows a picture, a table, a text with markup. With an identity it can be changed later.
    pub fn display(
        &self,
        data: MimeBundle,
        metadata: Map<String, Value>,
        display_id: Option<&str>,
    ) {
        self.publish(display("display_data", data, metadata, display_id));
    }

    /// Changes everything that was displayed with this identity.
    pub fn update_display(&self, display_id: &str, data: MimeBundle, metadata: Map<String, Value>) {
        self.publish(display(
            "update_display_data",
            data,
            metadata,
            Some(display_id),
        ));
    }

    /// Removes the cell's output; with `wait` only when the next one comes.
    pub fn clear_output(&self, wait: bool) {
        self.publish(ClearOutput { wait });
    }

    /// Asks who ran the cell for a line (without its newline), and waits for it.
    ///
    /// # Errors
    /// `StdinNotAllowed` when the front end takes no input or the cell is over, `Cancelled` after an interrupt, at
    /// the cell's end or by [`Publisher::cancel_input`], `NotConnected` when nobody is there to ask.
    pub fn input(&self, prompt: &str, password: bool) -> Result<String, InputError> {
        if !self.stdin_allowed() {
            return Err(InputError::StdinNotAllowed);
        }
        let question = InputRequest {
            prompt: prompt.into(),
            password,
        };
        match &self.0.sink {
            Sink::FrontEnd {
                hub,
                identities,
                parent,
            } => {
                let id = hub.session.next_id();
                let mut frames = identities.clone();
                frames.extend(
                    hub.session
                        .frames_as(id.clone(), Some(parent), &question.into()),
                );
                hub.inputs
                    .ask(self.0.cell, &id, identities, || hub.stdin.deliver(&frames))
            }
            Sink::Recording { lines, .. } => {
                self.publish(question);
                lines
                    .lock()
                    .unwrap()
                    .pop_front()
                    .ok_or(InputError::Cancelled)
            }
        }
    }

    /// Makes every [`Publisher::input`] of this cell that waits return `Cancelled`.
    pub fn cancel_input(&self) {
        if let Sink::FrontEnd { hub, .. } = &self.0.sink {
            hub.inputs.cancel(Some(self.0.cell));
        }
    }

    /// Whether [`Publisher::input`] may be called.
    pub fn stdin_allowed(&self) -> bool {
        self.0.stdin.load(Ordering::Acquire)
    }

    /// The front end shows no prompt for a cell that has ended.
    pub(crate) fn end_input(&self) {
        self.0.stdin.store(false, Ordering::Release);
        self.cancel_input();
    }

    /// Sends whatever belongs to the cell; nothing if the cell is silent.
    pub(crate) fn publish(&self, content: impl Into<Content>) {
        if self.0.silent {
            return;
        }
        match &self.0.sink {
            Sink::FrontEnd { hub, parent, .. } => hub.publish(Some(parent), content),
            Sink::Recording { published, .. } => {
                let content = content.into();
                let kind = content.message_type().into();
                let content = serde_json::to_value(content).unwrap_or_default();
                // Nobody listens any more: as with a front end that went away.
                let _ = published.lock().unwrap().send(Published { kind, content });
            }
        }
    }
}

/// Untyped because `jupyter_protocol`'s `Media` reorders a bundle and changes contents it has a type for.
fn display(
    kind: &str,
    data: MimeBundle,
    metadata: Map<String, Value>,
    id: Option<&str>,
) -> Content {
    let transient = id.map_or_else(|| json!({}), |id| json!({"display_id": id}));
    let mut content = Map::new();
    content.insert("data".into(), data.into());
    content.insert("metadata".into(), metadata.into());
    content.insert("transient".into(), transient);
    untyped(kind, content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_tells_kinds_and_contents_in_order() {
        let (publisher, published) = Publisher::recording(["line".into()]);
        publisher.stream(StreamName::Stdout, "out");
        assert_eq!(publisher.input("? ", true), Ok("line".into()));
        assert_eq!(publisher.input("? ", false), Err(InputError::Cancelled));
        let kinds: Vec<String> = published.try_iter().map(|one| one.kind).collect();
        assert_eq!(kinds, ["stream", "input_request", "input_request"]);
    }
}
