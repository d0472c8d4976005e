//! What if the engine itself panics?
//!
//! Then one request fails, and the session goes on: the thread that called the engine is the only one of its kind. An
//! engine that has a thread of its own guards that with the same.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::Failure;

/// Calls the engine; a panic becomes a failure.
pub fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let value = format!("the kernel itself panicked: {}", text(&*panic));
        Failure {
            name: "KernelPanic".into(),
            traceback: vec![value.clone()],
            value,
        }
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "without a message",
    }
}
