//! Which bytes does ZeroMQ put around a message?
//!
//! As much of ZMTP 3.0 (<https://rfc.zeromq.org/spec/23/>) as a publisher speaks: the greeting, the NULL mechanism,
//! frames. Claiming 3.0 rather than 3.1 makes libzmq subscribe by messages instead of commands.

use std::io::{self, ErrorKind};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

const GREETING: usize = 64;

/// The longest frame a subscriber has reason to send: a handshake or a topic.
const LONGEST: u64 = 64 * 1024;

/// What a subscriber says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Command(Vec<u8>),
    Message(Vec<u8>),
}

/// Frames as they are written; the result is shared between subscribers.
pub(crate) fn encode(frames: &[Bytes]) -> Bytes {
    let length: usize = frames.iter().map(|frame| frame.len() + 9).sum();
    let mut bytes = BytesMut::with_capacity(length);
    for (index, frame) in frames.iter().enumerate() {
        let more = if index + 1 < frames.len() { MORE } else { 0 };
        if let Ok(length) = u8::try_from(frame.len()) {
            bytes.put_u8(more);
            bytes.put_u8(length);
        } else {
            bytes.put_u8(more | LONG);
            bytes.put_u64(frame.len() as u64);
        }
        bytes.put_slice(frame);
    }
    bytes.freeze()
}

/// Greets as an XPUB socket.
///
/// # Errors
/// `InvalidData` when the peer is no SUB or XSUB socket, or wants encryption.
pub(crate) async fn shake_hands<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&greeting()).await?;
    let mut theirs = [0; GREETING];
    stream.read_exact(&mut theirs).await?;
    if theirs[0] != 0xff || theirs[9] != 0x7f || theirs[10] < 3 || &theirs[12..17] != b"NULL\0" {
        return Err(invalid("not ZMTP 3 without encryption"));
    }
    stream.write_all(&ready()).await?;
    match read_frame(stream).await? {
        Frame::Command(body) if is_subscriber(&body) => Ok(()),
        _ => Err(invalid("not a subscriber")),
    }
}

/// The next frame; the parts of a message come one by one.
pub(crate) async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Frame> {
    let flags = stream.read_u8().await?;
    let length = if flags & LONG == 0 {
        u64::from(stream.read_u8().await?)
    } else {
        stream.read_u64().await?
    };
    if length > LONGEST {
        return Err(invalid("frame too long for a subscription"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok(if flags & COMMAND == 0 {
        Frame::Message(body)
    } else {
        Frame::Command(body)
    })
}

fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn ready() -> Vec<u8> {
    let body = b"\x05READY\x0bSocket-Type\0\0\0\x04XPUB";
    [&[COMMAND, body.len() as u8], &body[..]].concat()
}

fn is_subscriber(ready: &[u8]) -> bool {
    ready
        .strip_prefix(b"\x05READY")
        .and_then(socket_type)
        .is_some_and(|kind| kind == b"SUB" || kind == b"XSUB")
}

fn socket_type(mut properties: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = properties.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return Some(value);
        }
        properties = rest;
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_frames_but_the_last_announce_more_and_long_ones_their_length_in_eight_bytes() {
        let frames = [Bytes::from_static(b"topic"), Bytes::from(vec![7; 256])];
        let bytes = encode(&frames);
        assert_eq!(&bytes[..7], b"\x01\x05topic");
        assert_eq!(&bytes[7..16], b"\x02\0\0\0\0\0\0\x01\0");
        assert_eq!(bytes.len(), 16 + 256);
    }

    #[test]
    fn socket_type_is_found_behind_other_properties() {
        assert!(is_subscriber(
            b"\x05READY\x08Identity\0\0\0\0\x0bSocket-Type\0\0\0\x03SUB"
        ));
        assert!(!is_subscriber(b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER"));
        assert!(!is_subscriber(
            b"\x05READY\x0bSocket-Type\xff\xff\xff\xffSUB"
        ));
        assert!(!is_subscriber(b"\x05READY"));
    }
}
