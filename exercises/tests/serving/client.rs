//! What does a client see of a server that ends?

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use observe::Failure;

/// What anything may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// A socket that listens under a name of its own: no file to remove, no path too long.
pub fn listen() -> (UnixListener, String, SocketAddr) {
    let name = format!("graceful-shutdown-{:016x}", RandomState::new().hash_one(0));
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    (UnixListener::bind_addr(&address).unwrap(), name, address)
}

pub fn connect(address: &SocketAddr, sent: &str) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect_addr(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    send(&mut stream, sent);
    Ok(stream)
}

/// To a server that may have closed the connection: that its answer is missing says so.
pub fn send(client: &mut UnixStream, text: &str) {
    let _ = client.write_all(text.as_bytes());
}

/// The answer without its newline, or in words why there is none.
pub fn read_answer(client: &mut UnixStream) -> Result<String, String> {
    let mut line = String::new();
    match client.read_to_string(&mut line) {
        Ok(0) => Err("got no answer: its connection was closed".to_owned()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
            Err("got no answer: its connection was reset".to_owned())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock && line.is_empty() => {
            Err(format!("had no answer after {PATIENCE:?}"))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(format!(
            "got {line:?}, and {PATIENCE:?} later its connection was still open"
        )),
        Err(error) => Err(format!(
            "could not read its answer: {}",
            Failure::from(error)
        )),
        Ok(_) => match line.strip_suffix('\n') {
            Some(answer) => Ok(answer.to_owned()),
            None => Err(format!("got {line:?} without a newline")),
        },
    }
}

/// Clients one after the other until connect(2) is refused: how many were answered, or why one was not.
pub fn visit(address: &SocketAddr) -> Result<u64, String> {
    let until = Instant::now() + PATIENCE;
    let mut answers = 0;
    loop {
        match connect(address, "visit\n") {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(answers),
            Err(error) => return Err(format!("could not connect: {}", Failure::from(error))),
            Ok(_) if Instant::now() > until => {
                return Err(format!("could still connect after {PATIENCE:?}"));
            }
            Ok(mut client) => read_answer(&mut client)?,
        };
        answers += 1;
    }
}
