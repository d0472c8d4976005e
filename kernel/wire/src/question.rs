//! How do completion, inspection and their like get answered while a cell runs?
//!
//! Each kind has a thread: the front end's short question whether a line is complete must not wait until a long
//! completion is done.

use std::sync::Arc;

use jupyter_protocol::{CompleteReply, IsCompleteReply};
use serde_json::{Value, json};

use crate::engine::{Completeness, Completion, Engine, MimeBundle};
use crate::guard::guarded;
use crate::hub::Hub;
use crate::outcome;
use crate::request::Request;
use crate::session::{Content, untyped};
use crate::sockets::Outlet;

/// The kinds of questions, by request type.
pub(crate) const KINDS: [(&str, Answer); 3] = [
    ("complete_request", complete),
    ("inspect_request", inspect),
    ("is_complete_request", is_complete),
];

/// Makes a reply.
pub(crate) type Answer = fn(&dyn Engine, &Request) -> Content;

/// Answers on the calling thread.
pub(crate) fn answer(
    hub: &Arc<Hub>,
    shell: &Outlet,
    engine: &dyn Engine,
    request: &Request,
    answer: Answer,
) {
    hub.around(request, || {
        let reply = guarded(|| answer(engine, request)).unwrap_or_else(|failure| {
            outcome::unanswered(&request.kind.replace("_request", "_reply"), &failure)
        });
        hub.reply(shell, request, reply);
    });
}

fn complete(engine: &dyn Engine, request: &Request) -> Content {
    let code = request.text("code");
    let completion = engine.complete(code, cursor(request, code));
    CompleteReply {
        metadata: [("_jupyter_types_experimental".into(), types(&completion))]
            .into_iter()
            .collect(),
        cursor_start: completion.start,
        cursor_end: completion.end,
        matches: completion.matches.into_iter().map(|one| one.text).collect(),
        ..CompleteReply::default()
    }
    .into()
}

/// What JupyterLab shows beside each completion.
fn types(completion: &Completion) -> Value {
    let (start, end) = (completion.start, completion.end);
    completion
        .matches
        .iter()
        .map(|one| json!({"text": one.text, "type": one.kind, "start": start, "end": end}))
        .collect()
}

fn inspect(engine: &dyn Engine, request: &Request) -> Content {
    let code = request.text("code");
    let detail = u8::from(request.content["detail_level"].as_u64().unwrap_or(0) > 0);
    let found = engine.inspect(code, cursor(request, code), detail);
    inspection(found)
}

/// Untyped because `jupyter_protocol`'s `Media` reorders a bundle.
fn inspection(found: Option<MimeBundle>) -> Content {
    let content = json!({
        "status": "ok",
        "found": found.is_some(),
        "data": found.unwrap_or_default(),
        "metadata": {},
    });
    untyped("inspect_reply", content)
}

fn is_complete(engine: &dyn Engine, request: &Request) -> Content {
    match engine.is_complete(request.text("code")) {
        Completeness::Complete => IsCompleteReply::complete(),
        Completeness::Incomplete(indent) => IsCompleteReply::incomplete(indent),
        Completeness::Invalid => IsCompleteReply::invalid(),
    }
    .into()
}

/// The cursor, in characters; at the end if the front end doesn't say or says too much.
fn cursor(request: &Request, code: &str) -> usize {
    let length = code.chars().count();
    request.content["cursor_pos"]
        .as_u64()
        .map_or(length, |cursor| length.min(cursor as usize))
}
