//! What can keep a kernel from starting?

use std::path::PathBuf;
use std::{fmt, io};

/// Why [`serve`](crate::serve) gave up.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection file can't be read.
    Read(PathBuf, io::Error),
    /// The connection file isn't one.
    Format(PathBuf, serde_json::Error),
    /// The front end wants signatures other than hmac-sha256.
    Scheme(String),
    /// A socket can't listen at its address.
    Listen(String, io::Error),
    /// A listening socket can't be given to ZeroMQ.
    Transport(zeromq::ZmqError),
    /// A thread can't be started.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "connection file {}: {error}", path.display()),
            Self::Format(path, error) => {
                write!(f, "connection file {}: {error}", path.display())
            }
            Self::Scheme(scheme) => {
                write!(f, "signature scheme {scheme:?}: only hmac-sha256 is known")
            }
            Self::Listen(address, error) => write!(f, "listening at {address}: {error}"),
            Self::Transport(error) => write!(f, "ZeroMQ: {error}"),
            Self::Thread(error) => write!(f, "starting a thread: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) | Self::Listen(_, error) | Self::Thread(error) => Some(error),
            Self::Format(_, error) => Some(error),
            Self::Transport(error) => Some(error),
            Self::Scheme(_) => None,
        }
    }
}
