//! What a whole run left behind, and its summary.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::{Call, Event, SignalEvent, Status};

/// What was recorded of a process tree.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// In time order.
    pub events: Vec<Event>,
    /// The first process.
    pub pid: i32,
    /// How it ended; `None` if it didn't under trace.
    pub status: Option<Status>,
    /// Events that were left out because there were too many ([`Tracer::limit`](crate::Tracer::limit)).
    pub dropped: u64,
    /// From the first stop to the end of the last process.
    pub duration: Duration,
}

impl Trace {
    /// The system calls, in the order of their start.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.events.iter().filter_map(|event| match event {
            Event::Call(call) => Some(call),
            _ => None,
        })
    }

    /// The signals, in the order of delivery.
    pub fn signals(&self) -> impl Iterator<Item = &SignalEvent> {
        self.events.iter().filter_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            _ => None,
        })
    }

    /// One line for each name of a call, the one that took most time first.
    pub fn summary(&self) -> Vec<Count> {
        let mut counts: HashMap<&'static str, Count> = HashMap::new();
        for call in self.calls() {
            let count = counts.entry(call.name).or_insert(Count {
                name: call.name,
                ..Count::default()
            });
            count.calls += 1;
            count.errors += u64::from(call.errno().is_some());
            count.time += call.duration;
        }
        let mut counts: Vec<Count> = counts.into_values().collect();
        counts.sort_by_key(|count| (std::cmp::Reverse(count.time), count.name));
        counts
    }
}

/// One line of a [`summary`](Trace::summary).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The call.
    pub name: &'static str,
    /// How often it was made.
    pub calls: u64,
    /// How often it failed.
    pub errors: u64,
    /// Spent in it, waiting included.
    pub time: Duration,
}
