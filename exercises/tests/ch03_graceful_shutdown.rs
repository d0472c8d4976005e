//! A server that is asked to end, seen by its clients and by its parent: ch03 graceful_shutdown.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/graceful_shutdown.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/graceful_shutdown.rs")]
mod graceful_shutdown;

mod handlers;
mod serving;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::thread;
use std::time::Duration;

use handlers::{SAFE, in_handler, prints};
use libc::{SIGCONT, SIGSTOP, SIGTERM};
use observe::{Action, Child, End, Fault, Matches, Process, assert_seen, needs};
use serving::{
    BIG, Gate, LONG, Place, Server, read_answer, send, served, serves, took_sigterm, visit,
};

#[test]
fn every_client_gets_its_answer() {
    let server = Server::start(Child::new(), LONG);
    server.asks("one");
    let mut slow = server.client("tw");
    server.asks("while another has sent half a line");
    drop(server.client("gone before the end of the li"));
    drop(server.client("gone before the answer\n"));
    let mut deaf = server.client("big\n");
    // Its answer has begun.
    let _ = deaf.read(&mut [0]);
    server.asks("while another reads no answer");
    drop(deaf);
    server.asks("after another has gone in the middle of its answer");
    send(&mut slow, "o\n");
    server.answered(&mut slow, "TWO", "a client that sent its line in two parts");
}

#[test]
fn whoever_is_connected_when_sigterm_comes_is_answered() {
    let server = Server::start(Child::new(), LONG);
    let mut half = server.client("ha");
    server.asks("first");
    // Stopped while it waits, the server accepts nobody: the kernel alone puts them in the queue.
    server.falls_asleep();
    server.signal(SIGSTOP);
    server.until(Process::stopped, "stopped by SIGSTOP");
    let mut queue: Vec<_> = (0..5).map(|_| server.client("queued\n")).collect();
    server.signal(SIGTERM);
    server.signal(SIGCONT);
    let who = "a client that was in the queue when SIGTERM came";
    let queued: Vec<_> = queue
        .iter_mut()
        .map(|client| server.answered(client, "QUEUED", who))
        .collect();
    let (mut late, refusal) = server.refuses();
    let who = "a client whose connect(2) succeeded after SIGTERM";
    for client in &mut late {
        server.answered(client, "LATE", who);
    }
    send(&mut half, "lf\n");
    let who = "a client that had sent half its line when SIGTERM came";
    let half = server.answered(&mut half, "HALF", who);

    let (answered, cut) = server.end("whose last client was answered");
    let answered = answered.saturating_sub(late.len() as u64);
    let answers: BTreeSet<_> = queued.iter().collect();
    assert_seen!(
        "ch03_graceful_shutdown__connected",
        format!(
            "after SIGTERM\n\
             {} clients that were in the queue got {answers:?}\n\
             one that sent the second half of its line got {half:?}\n\
             connect(2) failed with {refusal}\n\
             serve returned: answered {answered}, cut {cut}\n",
            queued.len(),
        )
    );
}

#[test]
fn stalled_clients_are_cut_when_the_grace_is_over() {
    let grace = Duration::from_millis(300);
    let server = Server::start(Child::new(), grace);
    server.asks("first");
    let stalled = [
        ("sends nothing", server.client("")),
        ("sends half a line", server.client("ha")),
        ("reads no answer", server.client("big\n")),
    ];
    drop(server.client("gone before the end of the li"));
    server.signal(SIGTERM);
    let (answered, cut) = server.end("with stalled clients and a grace of 300 ms");
    let mut seen = format!("{grace:?} after SIGTERM\n");
    for (who, mut client) in stalled {
        let mut got = Vec::new();
        let how = match client.read_to_end(&mut got) {
            _ if got.len() > BIG => "answered",
            Ok(_) => "cut",
            Err(error) if error.kind() == ErrorKind::ConnectionReset => "cut",
            Err(_) => "still connected",
        };
        seen += &format!("a client that {who} was {how}\n");
    }
    seen += &format!("serve returned: answered {answered}, cut {cut}\n");
    assert_seen!("ch03_graceful_shutdown__stalled", seen);
}

#[test]
fn second_sigterm_kills_even_a_server_that_hangs() {
    let server = Server::start(Child::new(), LONG);
    let gate = Gate::new();
    let mut client = server.client("wai");
    server.asks("first");
    server.signal(SIGTERM);
    server.refuses();
    send(&mut client, &format!("t {}\n", gate.name));
    let _inside = gate.enter(&server);
    server.signal(SIGTERM);
    let run = server.wait();
    assert!(
        run.sentence() == "was killed by SIGTERM",
        "at the second SIGTERM, while `handle` hung, the server {} instead of being killed by SIGTERM",
        run.sentence()
    );
}

#[test]
fn handler_does_only_what_a_handler_may() {
    plain_server_answers();
    if !needs("ptrace") {
        return;
    }
    // What it does while `handle` runs.
    let sigterm = Fault::new("getppid", Action::Signal(SIGTERM));
    let server = Server::start(Child::new().fault(sigterm.clone()), LONG);
    let mut client = server.client("interrupt\n");
    let run = server.wait();
    let calls = in_handler(&run.calls);
    for call in &calls {
        assert!(!prints(call), "the handler printed: {call}");
    }
    for call in &calls {
        assert!(
            SAFE.iter().any(|safe| call.is(safe)),
            "the handler called {call}, which signal-safety(7) does not list"
        );
    }
    assert!(
        run.sentence() == "returned",
        "SIGTERM came while `handle` ran, and the server {}",
        run.sentence()
    );
    let answer = read_answer(&mut client);
    let answer = answer.unwrap_or_else(|missing| {
        panic!("SIGTERM came while `handle` ran, and the client {missing}")
    });
    assert!(!answer.starts_with("allocated"), "the handler {answer}");

    // What errno is afterwards when a call of its own fails: a full pipe, say.
    if let Some(first) = calls.first() {
        let earlier = run.calls.iter().take_while(|call| call.start < first.start);
        let nth = 1 + earlier.filter(|call| call.is(first.family)).count() as u32;
        let fail = Fault::new(first.family, Action::Fail(libc::EAGAIN)).nth(nth);
        let server = Server::start(Child::new().fault(sigterm).fault(fail), LONG);
        let answer =
            read_answer(&mut server.client("interrupt\n")).unwrap_or_else(|missing| missing);
        assert!(
            answer == "nothing",
            "{}(2) failed in the handler, and the client whose `handle` it interrupted got: {answer}",
            first.family
        );
    }

    // What a call that sleeps in `handle` notices.
    let server = Server::start(Child::new(), LONG);
    let gate = Gate::new();
    let mut client = server.client(&format!("wait {}\n", gate.name));
    let mut inside = gate.enter(&server);
    server.signal(SIGTERM);
    server.until(took_sigterm, "interrupted by SIGTERM");
    send(&mut inside, "!");
    let who = "when SIGTERM came during a read(2) in `handle`, its client";
    server.answered(&mut client, "went on", who);
}

/// More system calls than a server needs to start.
const PLACES: u32 = 100;

#[test]
fn sigterm_wakes_an_idle_server_whenever_it_comes() {
    plain_server_answers();
    if !needs("ptrace") {
        return;
    }
    let mut places = 0;
    for nth in 1..=PLACES {
        let fault = Fault::new(Matches::every(), Action::SignalBefore(SIGTERM)).nth(nth);
        let server = Server::start(Child::new().fault(fault), LONG);
        let sleeps = server.falls_asleep();
        // Wakes it if it sleeps before its `nth` call: then the places are through. Else it is the second one.
        server.signal(SIGTERM);
        let run = server.wait();
        let place = match Place::of(&run.calls) {
            None => break,
            Some(place) if sleeps && place.slept => break,
            Some(place) if !place.ready => continue,
            Some(place) => place,
        };
        assert!(!sleeps, "SIGTERM came {place}, and the server slept on");
        assert!(
            run.sentence() == "returned",
            "SIGTERM came {place}, and the server {}",
            run.sentence()
        );
        served(run);
        places += 1;
        assert!(
            nth < PLACES,
            "an idle server made {PLACES} system calls and did not go to sleep"
        );
    }
    assert!(
        places > 0,
        "the server made no system call after it had installed its handler"
    );
}

#[test]
fn no_request_is_lost_under_200_signals() {
    plain_server_answers();
    if !needs("ptrace") {
        return;
    }
    // Whoever closes the listener and thinks that its queue is empty: between the two is time.
    let slow = Fault::new("close", Action::Delay(Duration::from_millis(100))).always();
    let server = Server::start(Child::new().fault(slow), LONG);
    server.asks("first");
    server.signal(SIGTERM);
    let who = "a client that connected just before the listener was closed";
    for client in &mut server.refuses().0 {
        server.answered(client, "LATE", who);
    }
    server.end("with a slow close(2)");

    let server = Server::start(Child::new().traced(), LONG);
    server.asks("first");
    server.signal(SIGTERM);
    let run = server.wait();
    let first = run.calls.iter().position(serves).unwrap_or_default() as u32;
    served(run);
    // Four servers at a time; calls are counted from 1.
    let round = |n| round(n, first + n + 1);
    let lost = thread::scope(|scope| {
        let workers = [0, 1, 2, 3]
            .map(|worker| scope.spawn(move || (worker..200).step_by(4).try_for_each(round)));
        workers.map(|worker| worker.join().unwrap())
    });
    if let Some(lost) = lost.into_iter().find_map(Result::err) {
        panic!("{lost}");
    }
}

/// A server to which SIGTERM number `n` comes, before its `nth` call, while clients come and come: what was lost.
fn round(n: u32, nth: u32) -> Result<(), String> {
    let fault = Fault::new(Matches::every(), Action::SignalBefore(SIGTERM)).nth(nth);
    let (server, mut early) = Server::start_with(Child::new().fault(fault), LONG, 3);
    let address = server.address();
    let visits = thread::scope(|scope| {
        let visitors = [(); 2].map(|()| scope.spawn(|| visit(address)));
        visitors.map(|visitor| visitor.join().unwrap())
    });
    let run = server.wait();
    let place = Place::of(&run.calls).map_or_else(String::new, |place| place.to_string());
    let told = |lost: String| format!("signal {} of 200 came {place}: {lost}", n + 1);

    let early = early
        .iter_mut()
        .map(|client| read_answer(client).map(|_| 1));
    let answers: Result<Vec<u64>, String> = early.chain(visits).collect();
    let answers: u64 = answers
        .map_err(|lost| told(format!("a client {lost}")))?
        .iter()
        .sum();
    match run.end {
        End::Returned(Ok(served)) if served == (answers, 0) => Ok(()),
        End::Returned(Ok((answered, cut))) => Err(told(format!(
            "{answers} clients were answered, and serve returned answered {answered}, cut {cut}"
        ))),
        End::Returned(Err(failure)) => Err(told(format!("serve failed with {failure}"))),
        _ => Err(told(format!("the server {}", run.sentence()))),
    }
}

/// Before anything is traced: an exercise that was not begun says so itself.
fn plain_server_answers() {
    Server::start(Child::new(), LONG).asks("first");
}
