//! How is a message sent and received in a child, and how is it told to a person?

use std::io::{ErrorKind, PipeReader, PipeWriter};
use std::time::Duration;

use observe::{Child, Failure, errno};

use crate::message_pipe::{Receiver, Sender};

/// As the text has it; the exercise's own constant may be wrong.
pub const LONGEST: usize = libc::PIPE_BUF - 2;

/// Where a wrong loop has no end.
pub const LIMIT: Duration = Duration::from_secs(5);

/// What one `recv` gave, as it crosses from the child.
pub type Received = Result<Option<Vec<u8>>, Failure>;

/// The message of that number: who sends it, which one it is, and a filling that shows where it was torn.
pub fn message(writer: usize, number: usize) -> Vec<u8> {
    // From a few bytes to the longest there is.
    let length = [3, 40, LONGEST, 1000, LONGEST - 1][(writer + number) % 5];
    let mut message = vec![b'a' + writer as u8; length];
    message[..3].copy_from_slice(&[writer as u8, number as u8, (number >> 8) as u8]);
    message
}

/// A frame as the text has it.
pub fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_le_bytes(), message].concat()
}

/// In the child: the length of the message that could not be sent, and why.
pub fn send_all(sender: &Sender, messages: &[impl AsRef<[u8]>]) -> Result<(), (usize, Failure)> {
    messages.iter().map(AsRef::as_ref).try_for_each(|message| {
        errno(sender.send(message)).map_err(|failure| (message.len(), failure))
    })
}

#[track_caller]
pub fn assert_sent(sent: &Result<(), (usize, Failure)>) {
    if let Err((length, failure)) = sent {
        panic!("a message of {length} bytes could not be sent: {failure}");
    }
}

pub fn send(pipe: &PipeWriter, message: &[u8]) -> Result<(), Failure> {
    Child::new()
        .keep(pipe)
        .limit(LIMIT)
        .run(|| errno(Sender::new(pipe.try_clone().unwrap()).send(message)))
        .returned()
}

pub fn told(sent: &Result<(), Failure>) -> String {
    match sent {
        Ok(()) => "Ok".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

pub fn receive(pipe: &PipeReader, count: usize) -> Vec<Received> {
    Child::new()
        .keep(pipe)
        .limit(LIMIT)
        .run(|| next(pipe, count))
        .returned()
}

/// In the child: what the next calls of `recv` give.
pub fn next(pipe: &PipeReader, count: usize) -> Vec<Received> {
    let mut receiver = Receiver::new(pipe.try_clone().unwrap());
    (0..count).map(|_| errno(receiver.recv())).collect()
}

pub fn again(received: &Received) -> bool {
    received
        .as_ref()
        .is_err_and(|failure| failure.is(libc::EAGAIN))
}

pub fn is_kind(received: &Received, kind: ErrorKind) -> bool {
    received
        .as_ref()
        .is_err_and(|failure| failure.is_kind(kind))
}

#[track_caller]
pub fn assert_received(received: &Received, expected: &[u8], which: &str) {
    assert!(
        received
            .as_ref()
            .is_ok_and(|given| given.as_deref() == Some(expected)),
        "{which}: recv returned {} instead of {}",
        words(received),
        quoted(expected)
    );
}

pub fn words(received: &Received) -> String {
    match received {
        Ok(None) => "None".to_owned(),
        Ok(Some(message)) => quoted(message),
        Err(failure) => failure.to_string(),
    }
}

/// A message as a person can read it.
pub fn quoted(message: &[u8]) -> String {
    match message.len() {
        0 => "an empty message".to_owned(),
        1..=16 => format!("\"{}\"", message.escape_ascii()),
        length => format!("{length} bytes, \"{}…\"", message[..12].escape_ascii()),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match bytes.len() {
        0 => "nothing".to_owned(),
        1..=12 => shown.join(" "),
        length => format!("{} … ({length} bytes)", shown.join(" ")),
    }
}
