//! Where in a server's life did a signal come?

use std::fmt;

use libc::SIGTERM;
use observe::{Call, Calls};

use super::server::ASLEEP;

/// Where a signal came.
pub struct Place {
    pub call: String,
    /// Whether the handler was in place, and the server bound to take notice.
    pub ready: bool,
    /// Whether it came so late that the server must have slept before.
    pub slept: bool,
}

impl Place {
    /// `None`: the call was not reached.
    pub fn of(calls: &Calls) -> Option<Place> {
        let at = calls.iter().position(|call| call.injected)?;
        let catches = |call: &Call| {
            call.is("sigaction") && call.args[0] == SIGTERM as u64 && call.args[1] != 0
        };
        let ready = calls[..at]
            .iter()
            .any(|call| catches(call) || call.is("signalfd") || serves(call));
        let slept = calls[at].start - calls[0].start >= ASLEEP / 2;
        Some(Place {
            call: calls[at].to_string(),
            ready,
            slept,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "just before {}", self.call)
    }
}

/// Whether this call waits for clients or signals.
pub fn serves(call: &Call) -> bool {
    ["accept", "poll", "select", "epoll_wait", "sigwait"]
        .iter()
        .any(|name| call.is(name))
}
