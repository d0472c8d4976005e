//! What does a reply say of a cell that has ended?
//!
//! Untyped throughout: `jupyter_protocol`'s `ExecuteReply` writes `user_expressions` as null where the specification
//! has an object, and its `Media` reorders a bundle and changes contents it has a type for.

use jupyter_protocol::ErrorOutput;
use serde_json::{Map, Value, json};

use crate::MimeBundle;
use crate::engine::Failure;
use crate::session::{Content, untyped};

/// The reply to a cell that ended well, and what is for the pager.
pub(crate) fn done(
    count: usize,
    expressions: &Map<String, Value>,
    page: Option<&MimeBundle>,
) -> Content {
    let pages = page
        .iter()
        .map(|data| json!({"source": "page", "data": data, "start": 0}));
    untyped(
        "execute_reply",
        json!({
            "status": "ok",
            "execution_count": count,
            "user_expressions": expressions,
            "payload": pages.collect::<Vec<_>>(),
        }),
    )
}

/// The reply to a cell that failed.
pub(crate) fn failed(count: usize, failure: &Failure) -> Content {
    let mut content = error(failure);
    content["execution_count"] = count.into();
    content["user_expressions"] = json!({});
    content["payload"] = json!([]);
    untyped("execute_reply", content)
}

/// The reply to a cell that did not run because one before it failed.
pub(crate) fn aborted() -> Content {
    untyped("execute_reply", json!({"status": "aborted"}))
}

/// What all front ends see of a failure.
pub(crate) fn shown(failure: &Failure) -> Content {
    ErrorOutput {
        ename: failure.name.clone(),
        evalue: failure.value.clone(),
        traceback: failure.traceback.clone(),
    }
    .into()
}

/// What all front ends see of a value.
pub(crate) fn result(count: usize, data: &MimeBundle) -> Content {
    untyped(
        "execute_result",
        json!({"execution_count": count, "data": data, "metadata": {}}),
    )
}

/// The value of a user expression, or why there is none.
pub(crate) fn expression(value: Result<MimeBundle, Failure>) -> Value {
    match value {
        Ok(data) => json!({"status": "ok", "data": data, "metadata": {}}),
        Err(failure) => error(&failure),
    }
}

/// The reply to a request that the engine could not answer.
pub(crate) fn unanswered(reply: &str, failure: &Failure) -> Content {
    untyped(reply, error(failure))
}

fn error(failure: &Failure) -> Value {
    json!({
        "status": "error",
        "ename": failure.name,
        "evalue": failure.value,
        "traceback": failure.traceback,
    })
}
