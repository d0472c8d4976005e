//! # How do many writers share one pipe without mixing their messages?
//!
//! A pipe carries bytes. It knows nothing of messages: two written one after the other may be read at once,
//! and one written at once may be read in pieces. So each message is sent as a *frame*, with its length in front.
//! With one writer that is all. With several, a frame written by two calls (first the length, then the text) is torn
//! as soon as somebody else writes between them, and from there on the reader takes text for lengths.
//! A lock would help among threads, not among processes, and one that is killed while it holds the lock
//! has written half a frame. But the kernel makes a promise: a write(2) to a pipe of at most
//! `PIPE_BUF` bytes (4096 on Linux) goes in as a whole or not at all. One byte more, and it may be mixed.
//!
//! Build both ends. On the wire a frame is the length of the message in two bytes, the lower one first, and then
//! the message. Nothing else is shared: no lock, no file, no memory.
//!
//! Man pages: pipe(7) (PIPE_BUF, I/O on pipes and FIFOs), write(2), read(2).
//! Notebook: `03-signals-ipc.ipynb#five-ways-to-talk`.

use std::io;
use std::os::fd::OwnedFd;

/// The longest message: with its length it fills `PIPE_BUF` bytes.
pub const LONGEST: usize = libc::PIPE_BUF - 2;

/// A writing end of a pipe. Threads share it as `&Sender`, processes by inheriting the descriptor.
#[derive(Debug)]
pub struct Sender {
    // TODO: what does write(2) need?
}

impl Sender {
    /// Sends through `pipe`, which is closed with this value.
    pub fn new(pipe: impl Into<OwnedFd>) -> Sender {
        todo!("keep the descriptor")
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
        // TODO: 1. Refuse what is too long: `io::Error::from_raw_os_error`.
        //       2. Put length and message together, and write them at once.
        todo!("write length and message, at once")
    }
}

/// The reading end of a pipe.
#[derive(Debug)]
pub struct Receiver {
    // TODO: the descriptor, and the bytes of a message that has come only in part.
}

impl Receiver {
    /// Receives from `pipe`, which is closed with this value.
    pub fn new(pipe: impl Into<OwnedFd>) -> Receiver {
        todo!("keep the descriptor, with no bytes so far")
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
        // TODO: 1. Is a whole frame there already? Take it out, and leave what is behind it.
        //       2. If not, read(2) more. 0 bytes: is that the end of the pipe, or the middle of a frame?
        todo!("look whether the length is there")
    }
}
