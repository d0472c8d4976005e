//! # How do many writers share one pipe without mixing their messages?
//!
//! By never writing a part of one: a write(2) of at most `PIPE_BUF` bytes goes into a pipe as a whole or not at
//! all (pipe(7)). That also settles what a killed writer leaves, which no lock would. The traps: a second call for
//! the length; one byte more than `PIPE_BUF`; a reader that takes one read(2) for one message, the end of the
//! file within a frame for the end, or that drops what it has when read(2) fails.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

/// The longest message: with its length it fills `PIPE_BUF` bytes.
pub const LONGEST: usize = libc::PIPE_BUF - LENGTH;

/// Bytes in front of a message.
const LENGTH: usize = 2;

/// A writing end of a pipe. Threads share it as `&Sender`, processes by inheriting the descriptor.
#[derive(Debug)]
pub struct Sender {
    pipe: File,
}

impl Sender {
    /// Sends through `pipe`, which is closed with this value.
    pub fn new(pipe: impl Into<OwnedFd>) -> Sender {
        Sender {
            pipe: File::from(pipe.into()),
        }
    }

    /// Sends one message, which may be empty, with one write(2) or writev(2).
    ///
    /// - Whoever else sends meanwhile, in this process or another, the reader gets each message whole. Also if
    ///   this process is killed at any moment: then the message was sent, or nothing of it.
    /// - Waits while the pipe is full. A call that ended with `EINTR` is made again: nothing was written.
    ///
    /// # Errors
    /// In every case nothing of the message is in the pipe.
    /// - `EMSGSIZE`: it is longer than [`LONGEST`]. No call is made.
    /// - `EPIPE`: nobody has the pipe open for reading. (Rust programs ignore the SIGPIPE that comes with it.)
    /// - `EAGAIN`: the pipe is non-blocking and has no room for the frame just now.
    /// - any other errno as the kernel gave it.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        if message.len() > LONGEST {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let length = (message.len() as u16).to_le_bytes();
        let frame = [&length, message].concat();
        // write_all would do the same: of so few bytes none are left over.
        loop {
            match (&self.pipe).write(&frame) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The reading end of a pipe.
#[derive(Debug)]
pub struct Receiver {
    pipe: File,
    /// What was read and belongs to no message that was given: less than a frame, or many.
    ahead: Vec<u8>,
}

impl Receiver {
    /// Receives from `pipe`, which is closed with this value.
    pub fn new(pipe: impl Into<OwnedFd>) -> Receiver {
        Receiver {
            pipe: File::from(pipe.into()),
            ahead: Vec::new(),
        }
    }

    /// The next message; `None` when the last writer has closed the pipe and everything was received.
    ///
    /// - Waits for the whole message, in however small pieces read(2) gives it. It may read ahead; messages
    ///   already read are given without waiting for more.
    /// - A read(2) that ended with `EINTR` is made again.
    /// - After an `EAGAIN`, or any other errno, no byte is lost: the next call goes on where this one stopped.
    ///
    /// # Errors
    /// - [`io::ErrorKind::UnexpectedEof`]: the pipe ended within a frame.
    /// - [`io::ErrorKind::InvalidData`]: a length above [`LONGEST`]: somebody else writes here. It is told as
    ///   soon as the length is read, without waiting for that many bytes.
    /// - `EAGAIN`: the pipe is non-blocking, and the message has not come, or not all of it.
    /// - any other errno as the kernel gave it.
    pub fn recv(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buf = [0; libc::PIPE_BUF];
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.pipe.read(&mut buf) {
                Ok(0) if self.ahead.is_empty() => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.ahead.extend_from_slice(&buf[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The first message of those read ahead, if it is whole.
    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((length, rest)) = self.ahead.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u16::from_le_bytes(*length) as usize;
        if length > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = rest[..length].to_vec();
        self.ahead.drain(..LENGTH + length);
        Ok(Some(message))
    }
}
