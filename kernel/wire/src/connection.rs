//! Where do the sockets listen, and which key signs the messages?
//!
//! The front end writes the answer into a file and starts the kernel with its path. A restarted kernel gets the same
//! file: a tcp port must be taken over from a connection in TIME_WAIT (std's `TcpListener` sets `SO_REUSEADDR`), and
//! a socket file that a killed kernel left behind must go before `bind(2)`, which would be EADDRINUSE.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use jupyter_protocol::{ConnectionInfo, Transport};
use zeromq::Listener;

use crate::Error;

/// A connection file's content.
#[derive(Debug)]
pub(crate) struct Connection(ConnectionInfo);

/// A channel of the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Channel {
    Shell,
    Control,
    Stdin,
    Iopub,
    Heartbeat,
}

impl Connection {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|error| Error::Read(path.into(), error))?;
        Self::parse(&text)
            .map_err(|error| Error::Format(path.into(), error))?
            .checked()
    }

    fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self)
    }

    fn checked(self) -> Result<Self, Error> {
        if self.key().is_empty() || self.0.signature_scheme == "hmac-sha256" {
            Ok(self)
        } else {
            Err(Error::Scheme(self.0.signature_scheme))
        }
    }

    /// The key of the signatures; empty for none.
    pub(crate) fn key(&self) -> &str {
        &self.0.key
    }

    /// Takes the channel's address; front ends can connect from here on, though nobody answers yet.
    pub(crate) fn listen(&self, channel: Channel) -> Result<Listener, Error> {
        let listener = match self.0.transport {
            Transport::TCP => {
                let ip = if self.0.ip == "*" {
                    "0.0.0.0"
                } else {
                    &self.0.ip
                };
                TcpListener::bind((ip, self.port(channel))).map(Listener::from)
            }
            Transport::IPC => {
                let path = self.socket_file(channel);
                remove_socket(&path);
                UnixListener::bind(path).map(Listener::from)
            }
        };
        listener.map_err(|error| Error::Listen(self.address(channel), error))
    }

    /// Removes what `listen` left in the file system.
    pub(crate) fn clean_up(&self) {
        if self.0.transport == Transport::IPC {
            for channel in [
                Channel::Shell,
                Channel::Control,
                Channel::Stdin,
                Channel::Iopub,
                Channel::Heartbeat,
            ] {
                remove_socket(&self.socket_file(channel));
            }
        }
    }

    fn address(&self, channel: Channel) -> String {
        match self.0.transport {
            Transport::TCP => format!("{}:{}", self.0.ip, self.port(channel)),
            Transport::IPC => self.socket_file(channel).display().to_string(),
        }
    }

    fn socket_file(&self, channel: Channel) -> PathBuf {
        format!("{}-{}", self.0.ip, self.port(channel)).into()
    }

    fn port(&self, channel: Channel) -> u16 {
        match channel {
            Channel::Shell => self.0.shell_port,
            Channel::Control => self.0.control_port,
            Channel::Stdin => self.0.stdin_port,
            Channel::Iopub => self.0.iopub_port,
            Channel::Heartbeat => self.0.hb_port,
        }
    }
}

fn remove_socket(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        // Whatever goes wrong here, `bind` says it with the address.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "shell_port": 53794, "iopub_port": 53795, "stdin_port": 53796, "control_port": 53797, "hb_port": 53798,
        "ip": "127.0.0.1", "key": "a0436f6c", "transport": "tcp", "signature_scheme": "hmac-sha256",
        "kernel_name": "syslab", "jupyter_session": "/home/learner/first.ipynb"
    }"#;

    #[test]
    fn file_written_by_jupyter_is_understood() {
        let connection = Connection::parse(FILE).unwrap().checked().unwrap();
        assert_eq!(connection.key(), "a0436f6c");
        assert_eq!(connection.address(Channel::Heartbeat), "127.0.0.1:53798");
    }

    #[test]
    fn ipc_port_is_the_end_of_a_file_name() {
        let file = FILE
            .replace("127.0.0.1", "/run/kernel-ipc")
            .replace("tcp", "ipc");
        let connection = Connection::parse(&file).unwrap();
        assert_eq!(connection.address(Channel::Iopub), "/run/kernel-ipc-53795");
    }

    #[test]
    fn other_scheme_is_refused_unless_nothing_is_signed() {
        let file = FILE.replace("sha256", "md5");
        assert!(matches!(
            Connection::parse(&file).unwrap().checked(),
            Err(Error::Scheme(_))
        ));
        let file = file.replace("a0436f6c", "");
        assert!(Connection::parse(&file).unwrap().checked().is_ok());
    }

    #[test]
    fn socket_file_of_a_killed_kernel_is_replaced_and_any_other_file_kept() {
        let prefix = std::env::temp_dir().join(format!("wire-{}", uuid::Uuid::new_v4()));
        let file = FILE
            .replace("127.0.0.1", prefix.to_str().unwrap())
            .replace("tcp", "ipc");
        let connection = Connection::parse(&file).unwrap();
        drop(connection.listen(Channel::Shell).unwrap());
        assert!(connection.listen(Channel::Shell).is_ok());
        connection.clean_up();
        assert!(!connection.socket_file(Channel::Shell).exists());

        let precious = connection.socket_file(Channel::Control);
        fs::write(&precious, "text").unwrap();
        assert!(matches!(
            connection.listen(Channel::Control),
            Err(Error::Listen(..))
        ));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "text");
        fs::remove_file(precious).unwrap();
    }
}
