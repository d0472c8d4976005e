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

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

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
    let variables = variables(request);
    let body = match content_length(&variables) {
        Ok(length) => read_body(connection, length)?,
        Err(status) => return Ok(Response::of(status)),
    };
    if variables.values().any(|value| value.contains('\0')) {
        return Ok(Response::of(400));
    }
    Ok(run(program, variables, &body).unwrap_or_else(|error| {
        Response::of(match error.raw_os_error() {
            // ENOENT is also what execve(2) says of an interpreter that is missing.
            Some(libc::ENOENT) if !program.exists() => 404,
            Some(libc::EACCES) => 403,
            _ => 500,
        })
    }))
}

impl Response {
    /// One that no program gave.
    fn of(status: u16) -> Response {
        Response {
            status,
            headers: vec![("Content-Type".into(), "text/plain".into())],
            body: format!("{status}\n").into_bytes(),
        }
    }
}

/// How long the body is; or the status of the refusal.
fn content_length(variables: &BTreeMap<String, String>) -> Result<u64, u16> {
    // Of two headers it is "5, 6": who takes one of them and the proxy in front the other, sees the
    // next request where the proxy sees a body.
    let Some(digits) = variables.get("CONTENT_LENGTH") else {
        return Ok(0);
    };
    // Not only parse: it takes "+5".
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(400);
    }
    match digits.parse() {
        Ok(length) if length <= LARGEST_BODY => Ok(length),
        // All digits: what does not fit into a u64 is too large, too.
        _ => Err(413),
    }
}

/// Exactly `length` bytes. Unbuffered: a buffer would take what belongs to the next request.
fn read_body(connection: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    connection.take(length).read_to_end(&mut body)?;
    if body.len() as u64 == length {
        Ok(body)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The request as an environment, without PATH.
fn variables(request: &Request<'_>) -> BTreeMap<String, String> {
    let (host, port) = request.server;
    let mut variables: BTreeMap<String, String> = [
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_SOFTWARE", "syslab/1".to_owned()),
        ("SERVER_PROTOCOL", "HTTP/1.1".to_owned()),
        ("SERVER_NAME", host.to_owned()),
        ("SERVER_PORT", port.to_string()),
        ("REMOTE_ADDR", request.client.to_string()),
        ("REQUEST_METHOD", request.method.to_owned()),
        ("SCRIPT_NAME", request.script_name.to_owned()),
        ("PATH_INFO", request.path_info.to_owned()),
        ("QUERY_STRING", request.query.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for (name, value) in request.headers {
        let Some(variable) = variable(name) else {
            continue;
        };
        variables
            .entry(variable)
            .and_modify(|before| *before += &format!(", {value}"))
            .or_insert_with(|| (*value).to_owned());
    }
    variables
}

/// The variable that a header becomes; none for one that is left out.
fn variable(header: &str) -> Option<String> {
    // `_` too would be mapped to itself, and a client could pretend to be the proxy that adds `-`.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !header.bytes().all(plain) {
        return None;
    }
    let name = header.to_ascii_uppercase().replace('-', "_");
    match name.as_str() {
        "CONTENT_LENGTH" | "CONTENT_TYPE" => Some(name),
        "PROXY" | "AUTHORIZATION" | "PROXY_AUTHORIZATION" => None,
        _ => Some(format!("HTTP_{name}")),
    }
}

/// Starts the program and waits for its end. An error says that it could not be started.
fn run(program: &Path, variables: BTreeMap<String, String>, body: &[u8]) -> io::Result<Response> {
    let mut command = Command::new(program);
    command.env_clear().envs(variables);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    if let Some(directory) = program.parent() {
        command.current_dir(directory);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    // A file holds the whole body at once: nobody has to write while the answer is read, and a program
    // that does not read leaves nobody waiting. SIGPIPE is reset by Command.
    let child = command.stdin(memory_file(body)?).spawn()?;
    let output = child.wait_with_output()?;
    if output.status.signal().is_some() {
        return Ok(Response::of(500));
    }
    Ok(parse(&output.stdout).unwrap_or_else(|| Response::of(500)))
}

/// A nameless file with these contents, to be read from its beginning.
fn memory_file(contents: &[u8]) -> io::Result<File> {
    // SAFETY: the kernel reads a C string during the call.
    let fd = unsafe { libc::memfd_create(c"body".as_ptr(), libc::MFD_CLOEXEC) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(contents)?;
    file.rewind()?;
    Ok(file)
}

/// Takes a program's output apart; none if it isn't as the interface wants it.
fn parse(output: &[u8]) -> Option<Response> {
    let mut rest = output;
    let mut response = Response {
        status: 200,
        headers: Vec::new(),
        body: Vec::new(),
    };
    let mut status = None;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("Status") {
            let code = value.split(' ').next()?;
            status = Some(
                code.parse()
                    .ok()
                    .filter(|code| (100..1000).contains(code))?,
            );
            continue;
        }
        if name.eq_ignore_ascii_case("Location") {
            response.status = 302;
        }
        response.headers.push((name.to_owned(), value.to_owned()));
    }
    response.status = status.unwrap_or(response.status);
    response.body = rest.to_vec();
    Some(response)
}
