//! What a program is given for a request, what becomes of its answer, and where the connection stands afterwards.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/cgi.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/cgi.rs")]
mod cgi;

mod gateway;

use cgi::LARGEST_BODY;
use gateway::{
    Answer, Connection, Headers, NEXT, PRINT_ENVIRONMENT, Site, answered, at_next, parsed,
    parsed_by, stands_at_next,
};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{Child, Failure, Started, assert_seen, count};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

#[test]
fn answer_is_taken_apart() {
    let site = Site::new();
    let long = "x".repeat(200_000);
    let cases: [Case<'_>; 6] = [
        (
            "a plain answer",
            b"Content-Type: text/plain\n\nhello\n".into(),
            200,
            &[("Content-Type", "text/plain")],
            b"hello\n",
        ),
        (
            "an answer with Status",
            b"Content-Type: text/plain\nstatus: 404 Not Found\nX-One:  two: three \n\n".into(),
            404,
            &[("Content-Type", "text/plain"), ("X-One", "two: three")],
            b"",
        ),
        (
            "an answer with Location",
            b"Location: /elsewhere\n\n".into(),
            302,
            &[("Location", "/elsewhere")],
            b"",
        ),
        (
            "an answer with Status behind Location",
            b"Location: /new\nStatus: 201 Created\n\n".into(),
            201,
            &[("Location", "/new")],
            b"",
        ),
        (
            "an answer with \\r\\n, and a body that is no text",
            b"Content-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n\n\0\xff".into(),
            200,
            &[("Content-Type", "image/png")],
            b"\x89PNG\r\n\x1a\n\n\0\xff",
        ),
        (
            "an answer longer than a pipe holds",
            format!("Content-Type: text/plain\n\n{long}").into(),
            200,
            &[("Content-Type", "text/plain")],
            long.as_bytes(),
        ),
    ];
    site.script("print", "exec cat answer");
    for (name, printed, status, headers, body) in cases {
        site.scratch.write("answer", printed);
        let (given_status, given_headers, given_body) = site.answer("print", &[], b"");
        assert!(
            given_status == status,
            "{name} has status {given_status} instead of {status}"
        );
        let headers = owned(headers);
        assert!(
            given_headers == headers,
            "{name} has the headers {given_headers:?} instead of {headers:?}"
        );
        assert!(
            given_body == body,
            "{name} has a body of {}, not the {} that were printed",
            count(given_body.len(), "byte"),
            body.len()
        );
    }
}

#[test]
fn request_becomes_variables() {
    let mut site = Site::new();
    site.script("env", PRINT_ENVIRONMENT);
    let headers = [
        ("Host", "lab.example:8080"),
        ("Accept-Language", "en"),
        ("content-type", "text/plain"),
        ("Content-Length", "5"),
        ("X-2", "a=b c"),
        ("accept-language", "de;q=0.5"),
    ];
    let mut variables = site.variables("env", &headers, b"hello");
    // `PATH` is the server's own, which differs from machine to machine.
    let path = variables.insert("PATH".to_owned(), "that of the server".to_owned());
    assert!(
        path == std::env::var("PATH").ok(),
        "the program's PATH is {path:?}, not that of the server"
    );
    assert_seen!("ch02_cgi__variables", variables);
    site.behind = ("", "");
    let variables = site.variables("env", &[], b"");
    for name in ["PATH_INFO", "QUERY_STRING"] {
        let set = variables.get(name);
        assert!(
            set.is_some_and(String::is_empty),
            "the request has no {name}, which is {set:?} instead of set and empty"
        );
    }
    for name in ["CONTENT_LENGTH", "CONTENT_TYPE"] {
        let set = variables.get(name);
        assert!(
            set.is_none(),
            "the request has no body, and {name} is {set:?} instead of unset"
        );
    }
}

#[test]
fn headers_that_would_do_harm_are_left_out() {
    let site = Site::new();
    site.script("env", PRINT_ENVIRONMENT);
    let headers = [
        ("Proxy", "http://evil.example:3128"),
        ("PROXY", "http://evil.example:3128"),
        ("Authorization", "Basic c2VjcmV0"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("X-Real-IP", "192.0.2.1"),
        ("X_Real_IP", "203.0.113.66"),
        ("X Real IP", "203.0.113.66"),
        ("X-Réal-IP", "203.0.113.66"),
        ("LD=PRELOAD", "x"),
    ];
    let variables = site.variables("env", &headers, b"");
    if let Some(proxy) = variables.get("HTTP_PROXY") {
        panic!(
            "the client's header `Proxy` became HTTP_PROXY={proxy}: what the program fetches goes there"
        );
    }
    for name in ["HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"] {
        assert!(
            !variables.contains_key(name),
            "the client's password is in the environment as {name}"
        );
    }
    let http: Vec<_> = variables
        .iter()
        .filter(|(name, _)| name.starts_with("HTTP_"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let expected = ["HTTP_X_REAL_IP=192.0.2.1"];
    assert!(
        http == expected,
        "of headers of which only X-Real-IP may become a variable came {http:?} instead of {expected:?}"
    );
    let proxy: Vec<_> = variables
        .iter()
        .filter(|(_, value)| value.contains("evil.example"))
        .collect();
    assert!(proxy.is_empty(), "the header `Proxy` became {proxy:?}");
}

#[test]
fn program_gets_nothing_else_of_the_server() {
    let site = Site::new();
    let secret = "DATABASE_PASSWORD";
    site.script("env", PRINT_ENVIRONMENT);
    let run = Child::new().run(|| {
        // SAFETY: a child has one thread.
        unsafe { std::env::set_var(secret, "hunter2") };
        site.respond("env", &[], &mut Connection::new(b""))
    });
    let variables = parsed(&answered(run).2);
    assert!(
        !variables.contains_key(secret),
        "the server's own {secret} is in the program's environment"
    );

    site.script(
        "facts",
        "printf 'Content-Type: text/plain\n\narguments: %s\n' $#
        grep -E 'Sig(Ign|Blk)' /proc/$$/status
        echo directory: $(pwd -P)
        echo to the log >&2",
    );
    let run = Child::new().run(|| site.respond("facts", &[], &mut Connection::new(b"")));
    let log = run.stderr_text();
    let facts = parsed_by(&answered(run).2, ':');
    assert!(
        facts["arguments"] == "0",
        "the program has {} arguments: the query, as in CVE-2012-1823?",
        facts["arguments"]
    );
    let ignored = u64::from_str_radix(&facts["SigIgn"], 16).unwrap();
    assert!(
        ignored >> (libc::SIGPIPE - 1) & 1 == 0,
        "the program ignores SIGPIPE, as the server does"
    );
    let directory = &facts["directory"];
    assert!(
        Path::new(directory) == site.scratch.path(),
        "the program runs in {} instead of the directory it lies in",
        observe::redact(directory)
    );
    assert!(
        log.contains("to the log\n"),
        "the program wrote \"to the log\" to standard error, and the server's got {log:?}"
    );
}

#[test]
fn body_is_as_long_as_content_length_says() {
    let site = Site::new();
    site.script(
        "body",
        "printf 'Content-Type: text/plain\n\n%s ' $CONTENT_LENGTH; exec cat",
    );
    site.script("deaf", "printf 'Content-Type: text/plain\n\ndeaf'");
    for (program, sent, expected) in [
        ("body", "name=value", "10 name=value"),
        ("body", "", "0 "),
        ("deaf", "name=value", "deaf"),
    ] {
        let length = sent.len().to_string();
        let run = Child::new().run(|| {
            let mut connection = Connection::new(&[sent.as_bytes(), NEXT].concat());
            let answer = site.respond(program, &[("Content-Length", &length)], &mut connection);
            (answer, connection.rest())
        });
        stands_at_next(run, expected);
    }
    let run = Child::new().run(|| {
        let mut connection = Connection::new(&[b"body", NEXT].concat());
        let answer = site.respond("absent", &[("Content-Length", "4")], &mut connection);
        (answer.map(|(status, ..)| status), connection.rest())
    });
    let (answer, rest) = run.returned();
    assert!(
        answer == Ok(404),
        "a request for a program that does not exist {} instead of status 404",
        told(&answer)
    );
    at_next(&rest);
    // Without Content-Length there is no body.
    let run = Child::new().run(|| {
        let mut connection = Connection::new(NEXT);
        let answer = site.respond("body", &[], &mut connection);
        (answer, connection.rest())
    });
    stands_at_next(run, " ");

    site.script(
        "ran",
        "echo > started; printf 'Content-Type: text/plain\n\n'",
    );
    for (broken, expected) in [
        (None, "UnexpectedEof"),
        (Some(libc::ECONNRESET), "ECONNRESET"),
    ] {
        let run = Child::new().run(|| {
            let mut connection = Connection::new(b"name=v");
            connection.broken = broken;
            site.respond("ran", &[("Content-Length", "10")], &mut connection)
        });
        match run.returned() {
            Err(failure) if failure.to_string().starts_with(expected) => {}
            Err(failure) => panic!(
                "the client left within the body, and respond failed with {failure} instead of {expected}"
            ),
            Ok((status, ..)) => {
                panic!("the client left within the body, and respond returned status {status}")
            }
        }
    }
    assert!(
        !site.scratch.join("started").exists(),
        "the client left within the body, and the program was started all the same"
    );
}

#[test]
fn large_bodies_do_not_block() {
    let site = Site::new();
    // Answers while it reads; reads nothing; reads a little.
    site.script("echo", "printf 'Content-Type: text/plain\n\n'; exec cat");
    site.script("deaf", "printf 'Content-Type: text/plain\n\n'");
    site.script(
        "head",
        "printf 'Content-Type: text/plain\n\n'; exec head -c 3",
    );
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(LARGEST_BODY as usize).collect();
    let length = LARGEST_BODY.to_string();
    for (program, expected) in [("echo", &body[..]), ("deaf", b""), ("head", b"abc")] {
        let run = Child::new().limit(Duration::from_secs(10)).run(|| {
            let mut connection = Connection::new(&[&body, NEXT].concat());
            let answer = site.respond(program, &[("Content-Length", &length)], &mut connection);
            let right = answer.as_ref().is_ok_and(|(.., body)| body == expected);
            let answer = answer.map(|(status, ..)| status);
            (answer, right, connection.rest())
        });
        let (answer, right, rest) = run.returned();
        assert!(
            answer == Ok(200),
            "a request to {program} with a body of 1 MiB {} instead of status 200",
            told(&answer)
        );
        assert!(
            right,
            "{program} was given a body of 1 MiB, and its answer is not what it printed"
        );
        at_next(&rest);
    }
}

#[test]
fn what_cannot_be_a_request_is_refused() {
    let site = Site::new();
    site.script(
        "ran",
        "echo > started; printf 'Content-Type: text/plain\n\n'",
    );
    let above = (LARGEST_BODY + 1).to_string();
    let beyond = format!("{}0", u64::MAX);
    let cases: [(Headers<'_>, &[u8], u16); 9] = [
        (&[("Content-Length", &above)], b"", 413),
        (&[("content-length", &beyond)], b"", 413),
        (&[("Content-Length", "")], b"", 400),
        (&[("Content-Length", "-1")], b"", 400),
        (&[("Content-Length", "+5")], b"", 400),
        (&[("Content-Length", "5, 5")], b"", 400),
        (&[("Content-Length", "0x5")], b"", 400),
        (
            &[("Content-Length", "5"), ("content-length", "6")],
            b"",
            400,
        ),
        (&[("X-Nul", "a\0b"), ("Content-Length", "4")], b"body", 400),
    ];
    for (headers, body, status) in cases {
        let run = Child::new().run(|| {
            let mut connection = Connection::new(&[body, NEXT].concat());
            let answer = site.respond("ran", headers, &mut connection);
            (answer.map(|(status, ..)| status), connection.rest())
        });
        let (answer, rest) = run.returned();
        let request: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("`{name}: {}`", value.escape_debug()))
            .collect();
        let request = request.join(" and ");
        assert!(
            answer == Ok(status),
            "a request with {request} {} instead of status {status}",
            told(&answer)
        );
        at_next(&rest);
        assert!(
            !site.scratch.join("started").exists(),
            "a request with {request} was handed to the program"
        );
    }
}

#[test]
fn failure_of_the_program_is_a_status() {
    let site = Site::new();
    let whole = "printf 'Content-Type: text/plain\n\nconfidential'";
    site.script("segv", &format!("{whole}; kill -SEGV $$"));
    site.script("killed", &format!("{whole}; kill -KILL $$"));
    site.script("silent", "exit 0");
    site.script("unended", "printf 'Content-Type: text/plain\n'");
    site.script("no_header", "echo hello; echo; echo world");
    site.script("no_status", "printf 'Status: fine\n\n'");
    site.script("exits_3", &format!("{whole}; exit 3"));
    site.program("no_interpreter", "#!/usr/bin/no-such-interpreter\n");
    site.scratch.write("not_executable", "#!/bin/sh\n");
    fs::create_dir(site.scratch.join("directory")).unwrap();

    let mut seen = BTreeMap::new();
    for name in [
        "segv",
        "killed",
        "silent",
        "unended",
        "no_header",
        "no_status",
        "exits_3",
        "no_interpreter",
        "not_executable",
        "directory",
        "absent",
    ] {
        let (status, _, body) = site.answer(name, &[], b"");
        let leaks = status != 200 && String::from_utf8_lossy(&body).contains("confidential");
        assert!(
            !leaks,
            "the program was killed, and what it had printed went out with status {status}"
        );
        seen.insert(name, status);
    }
    assert_seen!("ch02_cgi__failures", seen);
}

#[test]
fn many_requests_run_side_by_side() {
    const REQUESTS: usize = 4;
    let site = Site::new();
    site.script("hold", "exec cat hold-$HTTP_TURN");
    let holds: Vec<PathBuf> = (0..REQUESTS)
        .map(|turn| site.scratch.join(format!("hold-{turn}")))
        .collect();
    for hold in &holds {
        mkfifo(hold, Mode::from_bits_truncate(0o600)).unwrap();
    }
    let started = Child::new().start(|| {
        thread::scope(|scope| {
            let requests: Vec<_> = (0..REQUESTS)
                .map(|turn| {
                    let site = &site;
                    scope.spawn(move || {
                        let turn = turn.to_string();
                        let headers = [("Turn", &*turn), ("Content-Length", "4")];
                        site.respond("hold", &headers, &mut Connection::new(b"body"))
                    })
                })
                .collect();
            let answers = requests.into_iter().map(|request| request.join().unwrap());
            answers.collect::<Vec<_>>()
        })
    });
    let holding = |started: &Started<Vec<Answer>>| {
        let others = started.others();
        others
            .into_iter()
            .filter(|other| other.name == "cat")
            .collect::<Vec<_>>()
    };
    let started = started.does("run four requests side by side", |started| {
        holding(started).len() == REQUESTS
    });
    // A program that has just started reads files of its own: its libraries, its language.
    let settled = |started: &Started<Vec<Answer>>| {
        let mut programs = holding(started).into_iter();
        programs.all(|program| program.descriptors.above_stderr().is_empty())
    };
    started.until(Duration::from_secs(5), settled);
    let programs = holding(&started);
    for program in &programs {
        let above = program.descriptors.above_stderr();
        assert!(
            above.is_empty(),
            "a program has {} of the server: {}",
            count(above.len(), "descriptor"),
            program.descriptors.get(above[0]).unwrap().link
        );
    }
    // The one that came last is the first to get its answer.
    for (turn, hold) in holds.iter().enumerate().rev() {
        fs::write(hold, format!("Content-Type: text/plain\n\n{turn}")).unwrap();
    }
    let bodies: Vec<String> = started
        .wait()
        .returned()
        .into_iter()
        .map(|answer| match answer {
            Ok((_, _, body)) => String::from_utf8_lossy(&body).into_owned(),
            Err(failure) => failure.to_string(),
        })
        .collect();
    assert!(
        bodies == ["0", "1", "2", "3"],
        "four clients were to get the bodies 0, 1, 2 and 3, and got {bodies:?}"
    );
}

/// A name, what is printed, and the status, headers and body that it is to become.
type Case<'a> = (&'a str, Vec<u8>, u16, Headers<'a>, &'a [u8]);

fn owned(headers: Headers<'_>) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// "got status 200", "failed with EINTR".
fn told(answer: &Result<u16, Failure>) -> String {
    match answer {
        Ok(status) => format!("got status {status}"),
        Err(failure) => format!("failed with {failure}"),
    }
}
