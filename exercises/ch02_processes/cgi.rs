//! # How does a web server hand a request to a program?
//!
//! A program gets two things from whoever starts it: arguments and an environment, both of them C
//! strings. The Common Gateway Interface, RFC 3875, is built on nothing else. The server starts one
//! process a request; the request line and the headers become variables, the body is standard
//! input, and what the program prints is the answer. Any language can do it, even `sh`.
//!
//! What a client writes into a header becomes a variable of *its* choice: that is what `HTTP_` in
//! front is for. It was not enough. Programs look for their proxy in `HTTP_PROXY`, so a client that
//! sends a header `Proxy:` could redirect what the program fetches (the hole is called httpoxy, and
//! sat there for 15 years). The other trap is the body: on a connection that stays open it does not
//! end with end of file. It is as long as `Content-Length` says, and behind it comes the next
//! request.
//!
//! Build [`respond`]. Parsing HTTP is another chapter's: here the headers have been read already.
//!
//! Man pages: execve(2), environ(7), pipe(7), signal(7), waitpid(2), memfd_create(2), proc(5).
//! Notebook: `02-processes.ipynb#arguments-and-environment`.

use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

/// A request whose headers were read and whose path was split and decoded.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The part of the path that named the program: `/cgi-bin/hello`.
    pub script_name: &'a str,
    /// The rest of the path, which may be empty: `/a/b`.
    pub path_info: &'a str,
    /// What stands behind the `?`, still encoded; empty if nothing does.
    pub query: &'a str,
    /// Names and values, in the order in which they came.
    pub headers: &'a [(&'a str, &'a str)],
    /// The host and port that the client connected to.
    pub server: (&'a str, u16),
    /// Where the client is.
    pub client: IpAddr,
}

/// What is to be sent to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `200`, `404`, …
    pub status: u16,
    /// Names and values as the program wrote them, in its order, without blanks around the value;
    /// `Status` is not among them.
    pub headers: Vec<(String, String)>,
    /// All that follows.
    pub body: Vec<u8>,
}

/// Bytes of the largest body that is taken.
pub const LARGEST_BODY: u64 = 1 << 20;

/// Runs `program`, an absolute path, for one request and gives its answer. May be called by many
/// threads at the same time.
///
/// The body is what comes next on `connection`: as many bytes as the header `Content-Length` says,
/// or none without that header. Not a byte more is read. Whether the program reads its body or not,
/// or does not even exist, `connection` stands at the next request afterwards.
///
/// The program is started without arguments, in the directory that it lies in. It has
/// - the body, and then end of file, as standard input; the server's standard error; and no other
///   descriptor that `respond` has made, for this request or another;
/// - SIGPIPE at its default: Rust programs ignore it, and execve(2) would hand that on;
/// - these variables, and nothing else of the server's environment than `PATH`:
///
/// | variable | value |
/// |---|---|
/// | `GATEWAY_INTERFACE` | `CGI/1.1` |
/// | `SERVER_SOFTWARE`, `SERVER_PROTOCOL` | `syslab/1`, `HTTP/1.1` |
/// | `SERVER_NAME`, `SERVER_PORT`, `REMOTE_ADDR` | `server` and `client` |
/// | `REQUEST_METHOD`, `SCRIPT_NAME`, `PATH_INFO`, `QUERY_STRING` | as in the request, set even if empty |
/// | `CONTENT_LENGTH`, `CONTENT_TYPE` | these headers; unset if the request has none |
/// | `HTTP_ACCEPT_LANGUAGE` … | every other header: `HTTP_`, and its name in capitals with `_` for `-` |
///
/// Upper and lower case are the same in a header's name, the program's too. Values of headers with
/// the same name are joined by `, `. Left out are `Proxy` (see above); `Authorization` and `Proxy-Authorization`,
/// since an environment is inherited and can be read in /proc; and every name with another
/// character than ASCII letters, digits and `-`: `X_Real_IP` would become the variable of `X-Real-IP`.
///
/// The program prints lines `Name: value`, ended by `\n` or `\r\n`, an empty line, and the body.
/// The status is that of a line `Status: 404 Not Found`; without one, 302 if there is a `Location`,
/// else 200. `respond` waits for the program's end, however much was read and written until then.
///
/// Responses of the server's own (headers and body are yours):
/// - 400: `Content-Length`, joined if there are several, is empty or not all digits; nothing is read.
///   Or a variable would contain a NUL; the body is read all the same.
/// - 413: the body is longer than [`LARGEST_BODY`]. Nothing is read.
/// - 404: there is no such program. 403: it may not be executed (`EACCES`).
/// - 500: it could not be started for another reason, such as a `#!` line whose interpreter does not
///   exist; it was killed by a signal, whatever it had printed before; or it printed something
///   else than described. Its exit status means nothing.
///
/// # Errors
/// Those of reading `connection`, after EINTR was retried; [`io::ErrorKind::UnexpectedEof`] if it
/// ends within the body. No program is started then: nobody would read its answer.
pub fn respond<R: Read + Send>(
    program: &Path,
    request: &Request<'_>,
    connection: &mut R,
) -> io::Result<Response> {
    // TODO: 1. Begin without a body: start the program, read its output to the end, wait for it,
    //          take the output apart. `std::process::Command` does the first three.
    // TODO: 2. The variables, in an environment that is empty but for PATH.
    // TODO: 3. The body: read exactly Content-Length bytes. If you write them all into a pipe before
    //          you read the answer, a program that answers while it reads waits for you, and you
    //          for it.
    // TODO: 4. How did the program end, and why could it not be started?
    todo!("start the program with stdout on a pipe, and read what it prints")
}
