//! How is the exercise run as a server, and how does it end?

use std::cell::RefCell;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use observe::{Child, Failure, Process, Run, Started, errno};

use super::client::{PATIENCE, connect, listen, read_answer};
use super::handler::handle;
use crate::graceful_shutdown::serve;

/// A grace that no test waits for: a server that does is one that never ends.
pub const LONG: Duration = Duration::from_secs(3600);
/// How long a server that has nothing to do sleeps at least before it is said to: `Started::falls_asleep`.
pub const ASLEEP: Duration = Duration::from_millis(100);

/// Answered and cut.
pub type Ended = Result<(u64, u64), Failure>;

/// `serve` in a child, with [`handle`] to make the answers.
pub struct Server {
    address: SocketAddr,
    /// Taken when it has ended.
    started: RefCell<Option<Started<Ended>>>,
}

impl Server {
    pub fn start(child: Child, grace: Duration) -> Server {
        Server::start_with(child, grace, 0).0
    }

    /// So many clients are in the queue before it starts.
    pub fn start_with(child: Child, grace: Duration, early: usize) -> (Server, Vec<UnixStream>) {
        let (listener, _, address) = listen();
        let early = (0..early)
            .map(|_| connect(&address, "early\n").unwrap())
            .collect();
        // The closure takes the listener along: the test itself keeps no copy open.
        let started = child.keep(&listener).start(move || {
            let served = serve(listener, grace, handle);
            errno(served.map(|served| (served.answered, served.cut)))
        });
        (
            Server {
                address,
                started: RefCell::new(Some(started)),
            },
            early,
        )
    }

    pub fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// A client that has sent this much.
    #[track_caller]
    pub fn client(&self, sent: &str) -> UnixStream {
        match connect(&self.address, sent) {
            Ok(stream) => stream,
            Err(error) => self.fail(&format!(
                "a client could not connect: {}",
                Failure::from(error)
            )),
        }
    }

    /// A client that sends its line and has its answer.
    #[track_caller]
    pub fn asks(&self, line: &str) {
        let who = format!("a client that sent {line:?}");
        self.answered(
            &mut self.client(&format!("{line}\n")),
            &line.to_uppercase(),
            &who,
        );
    }

    /// That this client, told by `who`, has this answer; returns it.
    #[track_caller]
    pub fn answered(&self, client: &mut UnixStream, answer: &str, who: &str) -> String {
        match read_answer(client) {
            Ok(line) if line == answer => line,
            Ok(line) => self.fail(&format!("{who} got {line:?} instead of {answer:?}")),
            Err(missing) => self.fail(&format!("{who} {missing}")),
        }
    }

    /// kill(2).
    pub fn signal(&self, signal: i32) {
        if let Some(started) = &*self.started.borrow() {
            // It may have ended already; its clients and `end` say how.
            let _ = started.signal(signal);
        }
    }

    /// Waits until connect(2) fails; returns those it let in until then, their line sent, and its errno.
    #[track_caller]
    pub fn refuses(&self) -> (Vec<UnixStream>, Failure) {
        let until = Instant::now() + PATIENCE;
        let mut late = Vec::new();
        loop {
            match connect(&self.address, "late\n") {
                Err(error) => return (late, Failure::from(error)),
                Ok(_) if Instant::now() > until => self.fail(&format!(
                    "{PATIENCE:?} after SIGTERM, connect(2) still succeeds"
                )),
                Ok(stream) => late.push(stream),
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the process is as wanted, or gone.
    #[track_caller]
    pub fn until(&self, condition: impl Fn(&Process) -> bool, what: &str) {
        let started = self.started.borrow();
        // One that has ended fails at what comes next.
        let holds =
            |server: &Started<Ended>| server.process().map_or(true, |process| condition(&process));
        let held = started
            .as_ref()
            .is_some_and(|started| started.until(PATIENCE, holds));
        drop(started);
        if !held {
            self.fail(&format!("after {PATIENCE:?} the server was not {what}"));
        }
    }

    /// Waits until it has ended, or all its threads sleep: then true.
    pub fn falls_asleep(&self) -> bool {
        let started = self.started.borrow();
        let Some(started) = &*started else {
            return false;
        };
        started.falls_asleep(PATIENCE)
    }

    /// Waits for its end, whichever that is.
    pub fn wait(&self) -> Run<Ended> {
        self.started
            .take()
            .expect("a server is waited for once")
            .wait()
    }

    /// What `serve` returned, asked to end by a SIGTERM before.
    #[track_caller]
    pub fn end(&self, when: &str) -> (u64, u64) {
        let run = self.wait();
        let sentence = run.sentence();
        assert!(
            !sentence.contains("still running") && !sentence.contains("killed by SIGTERM"),
            "after SIGTERM, a server {when} {sentence}"
        );
        served(run)
    }

    /// Fails with this sentence, or with that of the server, if it has failed itself.
    #[track_caller]
    pub fn fail(&self, sentence: &str) -> ! {
        if let Some(started) = self.started.take()
            && started.until(Duration::from_secs(1), |server| {
                server.process().map_or(true, |process| process.zombie())
            })
        {
            served(started.wait());
        }
        panic!("{sentence}");
    }
}

/// What `serve` returned; any other end is the test's failure.
#[track_caller]
pub fn served(run: Run<Ended>) -> (u64, u64) {
    match run.returned() {
        Ok(served) => served,
        Err(failure) => panic!("serve failed with {failure}"),
    }
}
