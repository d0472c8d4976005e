//! How do all threads send, in one order?
//!
//! A message on iopub is queued for every subscriber by the thread that publishes it, so what a cell has published
//! precedes its `idle`. A front end takes the last status it saw for the kernel's: when a completion ends while a
//! cell runs, its `idle` is followed by the cell's `busy` once more.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use jupyter_protocol::{IoPubWelcome, Status};

use crate::input::Inputs;
use crate::iopub::Iopub;
use crate::request::Request;
use crate::session::{Content, Parent, Session};
use crate::sockets::Outlet;
use crate::subscriber::Weight;
use crate::zmtp;

/// The sending side of all sockets.
pub(crate) struct Hub {
    pub(crate) session: Arc<Session>,
    pub(crate) iopub: Arc<Iopub>,
    pub(crate) stdin: Outlet,
    pub(crate) inputs: Inputs,
    running: Mutex<Option<Parent>>,
    /// When the newest cell began.
    began: Mutex<Option<DateTime<Utc>>>,
}

impl Hub {
    pub(crate) fn new(session: Arc<Session>, stdin: Outlet) -> Self {
        let iopub = Iopub::new({
            let session = session.clone();
            move |topic| welcome(&session, topic)
        });
        Self {
            session,
            iopub: Arc::new(iopub),
            stdin,
            inputs: Inputs::default(),
            running: Mutex::default(),
            began: Mutex::default(),
        }
    }

    /// Sends a message to all front ends.
    pub(crate) fn publish(&self, parent: Option<&Parent>, content: impl Into<Content>) {
        let content = content.into();
        if weight(&content) == Weight::Output {
            self.iopub.keep_pace();
        }
        let topic = self.topic(&content);
        let mut frames = vec![topic.clone()];
        frames.extend(self.session.frames(parent, &content));
        self.iopub
            .send(&topic, &zmtp::encode(&frames), weight(&content));
    }

    fn topic(&self, content: &Content) -> Bytes {
        match content {
            Content::StreamContent(stream) => format!("stream.{}", name(&stream.name)),
            other => format!("kernel.{}.{}", self.session.id(), other.message_type()),
        }
        .into()
    }

    /// Sends a message to whom the request came from.
    pub(crate) fn reply(&self, outlet: &Outlet, request: &Request, content: impl Into<Content>) {
        let mut frames = request.identities.clone();
        frames.extend(self.session.frames(Some(&request.parent), &content.into()));
        outlet.send(frames);
    }

    /// Publishes `busy`, answers, publishes `idle`.
    pub(crate) fn around(&self, request: &Request, answer: impl FnOnce()) {
        self.publish(Some(&request.parent), Status::busy());
        answer();
        let running = self.running.lock().unwrap();
        self.publish(Some(&request.parent), Status::idle());
        if let Some(cell) = &*running {
            self.publish(Some(cell), Status::busy());
        }
    }

    /// As [`Hub::around`], for the request that is the kernel's work.
    pub(crate) fn around_cell(&self, request: &Request, run: impl FnOnce()) {
        let say = |status, running| {
            let mut cell = self.running.lock().unwrap();
            *cell = running;
            self.publish(Some(&request.parent), status);
        };
        *self.began.lock().unwrap() = Some(Utc::now());
        say(Status::busy(), Some(request.parent.clone()));
        run();
        say(Status::idle(), None);
    }

    /// Whether a request meant an earlier cell than the one that runs: it was sent before this one began, as the last of
    /// many clicks is. A clock that is far from ours tells nothing.
    pub(crate) fn meant_an_earlier_cell(&self, request: &Request) -> bool {
        const SAME_CLOCK: TimeDelta = TimeDelta::seconds(5);
        let (Some(sent), Some(began)) = (request.sent, *self.began.lock().unwrap()) else {
            return false;
        };
        sent < began && began - sent < SAME_CLOCK
    }
}

fn welcome(session: &Session, topic: &[u8]) -> Bytes {
    let subscription = String::from_utf8_lossy(topic).into_owned();
    let mut frames = vec![Bytes::copy_from_slice(topic)];
    frames.extend(session.frames(None, &IoPubWelcome::new(subscription).into()));
    zmtp::encode(&frames)
}

fn weight(content: &Content) -> Weight {
    match content.message_type() {
        "stream" | "display_data" | "update_display_data" | "execute_result" => Weight::Output,
        _ => Weight::State,
    }
}

fn name(stream: &jupyter_protocol::Stdio) -> &'static str {
    match stream {
        jupyter_protocol::Stdio::Stdout => "stdout",
        jupyter_protocol::Stdio::Stderr => "stderr",
    }
}
