//! What stands around a program that answers requests: its directory, the client's connection, what it printed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::process::Command;

use observe::{Child, Failure, Run, Scratch, errno};

use crate::cgi::{Request, Response, respond};

/// What follows on the connection.
pub const NEXT: &[u8] = b"GET /next HTTP/1.1\r\n\r\n";

/// Its own variables, as they were when it started: a shell adds some.
pub const PRINT_ENVIRONMENT: &str = "printf 'Content-Type: text/plain\n\n'
tr '\\0' '\\n' </proc/$$/environ";

/// A response as it crosses to the test: status, headers, body.
pub type Seen = (u16, Vec<(String, String)>, Vec<u8>);
pub type Answer = Result<Seen, Failure>;
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// The directory with the programs.
pub struct Site {
    pub scratch: Scratch,
    /// What stands in the URL behind the program's name: PATH_INFO, QUERY_STRING.
    pub behind: (&'static str, &'static str),
}

impl Site {
    pub fn new() -> Site {
        Site {
            scratch: Scratch::new(),
            behind: ("/a path/with=equals", "-s+a%20b&c=%00"),
        }
    }

    pub fn script(&self, name: &str, text: &str) {
        self.program(name, &format!("#!/bin/sh\n{text}\n"));
    }

    /// Written by another process: a test beside this one may fork just now, and while its copy has the file open
    /// for writing, execve(2) fails with ETXTBSY.
    pub fn program(&self, name: &str, text: &str) {
        let write = Command::new("/bin/sh")
            .args(["-c", r#"printf %s "$1" >"$0" && chmod 755 "$0""#])
            .args([self.scratch.join(name).as_os_str(), text.as_ref()])
            .status();
        assert!(write.is_ok_and(|status| status.success()));
    }

    /// Calls the exercise; in a child.
    pub fn respond(
        &self,
        program: &str,
        headers: Headers<'_>,
        connection: &mut Connection,
    ) -> Answer {
        let request = Request {
            method: "POST",
            script_name: "/cgi-bin/script",
            path_info: self.behind.0,
            query: self.behind.1,
            headers,
            server: ("lab.example", 8080),
            client: [192, 0, 2, 33].into(),
        };
        let response = respond(&self.scratch.join(program), &request, connection);
        errno(response.map(
            |Response {
                 status,
                 headers,
                 body,
             }| (status, headers, body),
        ))
    }

    #[track_caller]
    pub fn answer(&self, program: &str, headers: Headers<'_>, body: &[u8]) -> Seen {
        answered(Child::new().run(|| self.respond(program, headers, &mut Connection::new(body))))
    }

    #[track_caller]
    pub fn variables(
        &self,
        program: &str,
        headers: Headers<'_>,
        body: &[u8],
    ) -> BTreeMap<String, String> {
        parsed(&self.answer(program, headers, body).2)
    }
}

#[track_caller]
pub fn answered(run: Run<Answer>) -> Seen {
    run.returned()
        .unwrap_or_else(|failure| panic!("respond failed with {failure}"))
}

/// A client whose bytes come in pieces, and a signal between the first two.
pub struct Connection {
    bytes: Vec<u8>,
    at: usize,
    interrupted: bool,
    /// With this errno it ends, not with end of file.
    pub broken: Option<i32>,
}

impl Connection {
    pub fn new(bytes: &[u8]) -> Connection {
        Connection {
            bytes: bytes.to_vec(),
            at: 0,
            interrupted: false,
            broken: None,
        }
    }

    /// What nobody has read so far.
    pub fn rest(&self) -> String {
        String::from_utf8_lossy(&self.bytes[self.at..]).into_owned()
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at > 0 && !self.interrupted {
            self.interrupted = true;
            return Err(io::Error::from_raw_os_error(libc::EINTR));
        }
        let left = &self.bytes[self.at..];
        if let (true, Some(errno)) = (left.is_empty(), self.broken) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        // Few at first, so that the pieces of a short body are several.
        let most = if self.at < 16 { 3 } else { 10_000 };
        let count = left.len().min(buffer.len()).min(most);
        buffer[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}

#[track_caller]
pub fn stands_at_next(run: Run<(Answer, String)>, expected: &str) {
    let (answer, rest) = run.returned();
    let answer = answer.unwrap_or_else(|failure| panic!("respond failed with {failure}"));
    let body = String::from_utf8_lossy(&answer.2);
    assert!(
        body == expected,
        "the program said of its body {body:?} instead of {expected:?}"
    );
    at_next(&rest);
}

#[track_caller]
pub fn at_next(rest: &str) {
    let whole = String::from_utf8_lossy(NEXT);
    assert!(
        rest == whole,
        "behind the body came {whole:?}, and the connection stands at {:?}",
        &rest[..rest.len().min(80)]
    );
}

pub fn parsed(body: &[u8]) -> BTreeMap<String, String> {
    parsed_by(body, '=')
}

pub fn parsed_by(body: &[u8], separator: char) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let lines = text.lines().filter_map(|line| line.split_once(separator));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}
