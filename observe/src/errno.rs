//! How does an error cross from the child to the test, and how is it told to a person?
//!
//! As the errno's name. Only the number crosses; the words are made where they are read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;

/// An errno(3): shown as `EPIPE (Broken pipe)`, serialised as `EPIPE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

/// Why an `io::Result` failed: the kernel's errno, or a kind that the standard library made up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Failure {
    /// A system call failed.
    Errno(Errno),
    /// An error without an errno, as `ErrorKind::UnexpectedEof`.
    Kind {
        /// The name of the [`io::ErrorKind`].
        kind: String,
        /// What it says.
        message: String,
    },
}

/// Makes an `io::Result` ready to cross from the child to the test.
pub fn errno<T>(result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(Failure::from)
}

/// Asserts that what `case` names failed with this errno, as `libc::EPIPE`.
///
/// # Panics
/// In a sentence, when it succeeded or failed with another.
#[track_caller]
pub fn assert_failed<T>(case: &str, result: Result<T, Failure>, expected: i32) {
    let expected = Errno(expected);
    match result {
        Ok(_) => panic!("{case}: it succeeded instead of failing with {expected}"),
        Err(failure) => assert!(
            failure.is(expected.0),
            "{case}: it failed with {failure} instead of {expected}"
        ),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(number) => Failure::Errno(Errno(number)),
            None => Failure::Kind {
                kind: format!("{:?}", error.kind()),
                message: error.to_string(),
            },
        }
    }
}

impl Failure {
    /// The errno, when there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Failure::Errno(errno) => Some(errno.0),
            Failure::Kind { .. } => None,
        }
    }

    /// Whether this is the errno `number`, as `libc::EPIPE`.
    pub fn is(&self, number: i32) -> bool {
        self.errno() == Some(number)
    }

    /// Whether this is an error of `kind`, be it by errno or made up by the standard library.
    pub fn is_kind(&self, kind: io::ErrorKind) -> bool {
        match self {
            Failure::Errno(errno) => io::Error::from_raw_os_error(errno.0).kind() == kind,
            Failure::Kind { kind: name, .. } => *name == format!("{kind:?}"),
        }
    }
}

impl Errno {
    /// The name, as `EPIPE`.
    pub fn name(self) -> String {
        match nix::errno::Errno::from_raw(self.0) {
            nix::errno::Errno::UnknownErrno => format!("errno {}", self.0),
            known => format!("{known:?}"),
        }
    }

    fn parse(name: &str) -> Option<Errno> {
        if let Some(number) = name.strip_prefix("errno ") {
            return Some(Errno(number.parse().ok()?));
        }
        // errno is at most MAX_ERRNO = 4095 (include/linux/err.h); named ones are below 200.
        (1..200).map(Errno).find(|errno| errno.name() == name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = io::Error::from_raw_os_error(self.0).to_string();
        let words = words.split(" (os error").next().unwrap_or_default();
        write!(f, "{} ({words})", self.name())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Errno(errno) => errno.fmt(f),
            Failure::Kind { kind, message } => write!(f, "{kind} ({message})"),
        }
    }
}

impl Serialize for Errno {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Errno {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Errno, D::Error> {
        let name = String::deserialize(deserializer)?;
        Errno::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("no errno: {name}")))
    }
}
