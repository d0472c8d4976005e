//! Which signal is that, and which ones does a process block, ignore or catch?

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A signal(7): shown and serialised as `SIGTERM`; realtime signals as `SIGRTMIN+1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(pub i32);

impl Signal {
    /// The name, as `SIGTERM`.
    pub fn name(self) -> String {
        if let Ok(known) = nix::sys::signal::Signal::try_from(self.0) {
            return known.as_str().to_owned();
        }
        match self.0 - libc::SIGRTMIN() {
            0 => "SIGRTMIN".to_owned(),
            above if above > 0 => format!("SIGRTMIN+{above}"),
            _ => format!("signal {}", self.0),
        }
    }

    /// The signals of a mask as /proc/PID/status prints it: hexadecimal, bit n - 1 is signal n. Those from 32 to
    /// SIGRTMIN are left out: libc keeps them for its threads, and no program can ask for them.
    pub(crate) fn of_mask(mask: &str) -> Vec<Signal> {
        let bits = u64::from_str_radix(mask.trim(), 16).unwrap_or(0);
        (1..=64)
            .filter(|signal| {
                bits >> (signal - 1) & 1 == 1 && !(32..libc::SIGRTMIN()).contains(signal)
            })
            .map(Signal)
            .collect()
    }

    fn parse(name: &str) -> Option<Signal> {
        (1..=64).map(Signal).find(|signal| signal.name() == name)
    }
}

impl From<i32> for Signal {
    fn from(number: i32) -> Signal {
        Signal(number)
    }
}

impl From<nix::sys::signal::Signal> for Signal {
    fn from(signal: nix::sys::signal::Signal) -> Signal {
        Signal(signal as i32)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Signal, D::Error> {
        let name = String::deserialize(deserializer)?;
        Signal::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("no signal: {name}")))
    }
}
