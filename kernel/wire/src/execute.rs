//! In which order do cells run, which are counted, which aborted?
//!
//! One thread runs them as they came, whoever sent them. When one fails, whatever waits at that moment is aborted:
//! "run all" has sent the whole notebook, and the cells after a failed one were written for its success. Aborting
//! what comes later too would swallow the user's next try.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use jupyter_protocol::ExecuteInput;
use serde_json::{Map, Value};

use crate::engine::{Cell, Failure, Outcome, SharedEngine};
use crate::guard::guarded;
use crate::history::History;
use crate::hub::Hub;
use crate::outcome;
use crate::publisher::Publisher;
use crate::request::Request;
use crate::session::Content;
use crate::sockets::Outlet;

/// What runs the cells.
pub(crate) struct Executor {
    pub(crate) engine: SharedEngine,
    pub(crate) hub: Arc<Hub>,
    pub(crate) shell: Outlet,
    pub(crate) history: Arc<Mutex<History>>,
    /// Once it is set no cell is begun.
    pub(crate) closing: Arc<AtomicBool>,
    /// The number of the next cell that counts.
    pub(crate) next: usize,
}

impl Executor {
    /// Runs what is queued until nobody can queue more.
    pub(crate) fn run(mut self, queue: &Receiver<Request>) {
        while let Ok(request) = queue.recv() {
            if self.closing.load(Ordering::Acquire) {
                self.abort(&request);
            } else {
                for given_up in self.answer(&request, queue) {
                    self.abort(&given_up);
                }
            }
        }
    }

    /// Runs a cell; those that shall not run after it are taken from the queue before its reply is sent, because
    /// what is sent in answer to the reply shall run.
    fn answer(&mut self, request: &Request, queue: &Receiver<Request>) -> Vec<Request> {
        let hub = self.hub.clone();
        let mut given_up = Vec::new();
        hub.around_cell(request, || {
            let reply = match self.execute(request) {
                Ok(reply) => reply,
                Err((count, failure)) => {
                    if request.flag("stop_on_error", true) && !request.flag("silent", false) {
                        given_up.extend(queue.try_iter());
                    }
                    outcome::failed(count, &failure)
                }
            };
            hub.reply(&self.shell, request, reply);
        });
        given_up
    }

    fn abort(&self, request: &Request) {
        self.hub.around(request, || {
            self.hub.reply(&self.shell, request, outcome::aborted());
        });
    }

    fn execute(&mut self, request: &Request) -> Result<Content, (usize, Failure)> {
        let silent = request.flag("silent", false);
        let stored = request.flag("store_history", true) && !silent;
        let publisher = Publisher::new(
            self.hub.clone(),
            request,
            silent,
            request.flag("allow_stdin", false),
        );
        let cell = Cell {
            code: request.text("code").into(),
            count: self.next,
            silent,
            allow_stdin: publisher.stdin_allowed(),
        };
        let count = cell.count;
        publisher.publish(ExecuteInput {
            code: cell.code.clone(),
            execution_count: count.into(),
        });
        // A front end asks for user expressions alone with an empty cell; it counts as little as an empty line.
        let outcome = if cell.code.trim().is_empty() {
            Outcome::Done(None)
        } else {
            if stored {
                self.next += 1;
                self.history.lock().unwrap().add(count, &cell.code);
            }
            guarded(|| self.engine.execute(cell, &publisher)).unwrap_or_else(Outcome::Failed)
        };
        publisher.end_input();
        match outcome {
            Outcome::Failed(failure) => {
                publisher.publish(outcome::shown(&failure));
                Err((count, failure))
            }
            Outcome::Done(value) => {
                if let Some(data) = value {
                    publisher.publish(outcome::result(count, &data));
                    if stored && let Some(text) = data.get("text/plain").and_then(Value::as_str) {
                        self.history.lock().unwrap().set_output(text);
                    }
                }
                Ok(outcome::done(count, &self.expressions(request), None))
            }
            Outcome::Paged(page) => Ok(outcome::done(
                count,
                &self.expressions(request),
                Some(&page),
            )),
        }
    }

    fn expressions(&self, request: &Request) -> Map<String, Value> {
        let wanted = request.content["user_expressions"]
            .as_object()
            .into_iter()
            .flatten();
        wanted
            .map(|(name, expression)| {
                let code = expression.as_str().unwrap_or_default();
                let value = guarded(|| self.engine.evaluate(code)).and_then(|value| value);
                (name.clone(), outcome::expression(value))
            })
            .collect()
    }
}
