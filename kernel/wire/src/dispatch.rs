//! Who answers which request?
//!
//! What needs no engine is answered at once, on the thread that received it, so that a front end gets its
//! `kernel_info_reply` while the engine starts and a cell runs. Everything else is queued for a thread of its kind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jupyter_protocol::{CommClose, CommId, CommInfoReply, InterruptReply, ShutdownReply};
use serde_json::json;
use tokio::sync::Notify;

use crate::Error;
use crate::engine::SharedEngine;
use crate::execute::Executor;
use crate::guard::guarded;
use crate::history::History;
use crate::hub::Hub;
use crate::request::Request;
use crate::session::{Content, untyped};
use crate::sockets::Outlet;
use crate::{info, question};

/// Knows for each request type who answers it.
pub(crate) struct Dispatcher {
    engine: SharedEngine,
    hub: Arc<Hub>,
    shell: Outlet,
    control: Outlet,
    history: Arc<Mutex<History>>,
    cells: Sender<Request>,
    questions: HashMap<&'static str, Sender<Request>>,
    commands: Sender<(Outlet, Request)>,
}

impl Dispatcher {
    /// Starts the threads; `over` is told when the kernel has been shut down.
    pub(crate) fn new(
        engine: SharedEngine,
        hub: Arc<Hub>,
        shell: Outlet,
        control: Outlet,
        over: Arc<Notify>,
    ) -> Result<Self, Error> {
        let history = Arc::<Mutex<History>>::default();
        let closing = Arc::<AtomicBool>::default();
        let executor = Executor {
            engine: engine.clone(),
            hub: hub.clone(),
            shell: shell.clone(),
            history: history.clone(),
            closing: closing.clone(),
            next: 1,
        };
        let (cells, queue) = channel();
        thread("cells", move || executor.run(&queue))?;

        let mut questions = HashMap::new();
        for (kind, answer) in question::KINDS {
            let (engine, hub, shell) = (engine.clone(), hub.clone(), shell.clone());
            let (sender, queue) = channel();
            thread(kind, move || {
                for request in queue {
                    question::answer(&hub, &shell, &*engine, &request, answer);
                }
            })?;
            questions.insert(kind, sender);
        }

        let (commands, queue) = channel::<(Outlet, Request)>();
        let commander = Commander {
            engine: engine.clone(),
            hub: hub.clone(),
            closing,
            over,
        };
        thread("control", move || {
            for (outlet, request) in queue {
                commander.answer(&outlet, &request);
            }
        })?;
        Ok(Self {
            engine,
            hub,
            shell,
            control,
            history,
            cells,
            questions,
            commands,
        })
    }

    /// Takes a message from the shell socket.
    pub(crate) fn shell(&self, frames: Vec<Bytes>) {
        let Some(request) = self.read(frames) else {
            return;
        };
        // A thread that takes requests ends with the process.
        if request.kind == "execute_request" {
            let _ = self.cells.send(request);
        } else if let Some(thread) = self.questions.get(&*request.kind) {
            let _ = thread.send(request);
        } else {
            self.at_once(&self.shell, request);
        }
    }

    /// Takes a message from the control socket.
    pub(crate) fn control(&self, frames: Vec<Bytes>) {
        if let Some(request) = self.read(frames) {
            self.at_once(&self.control, request);
        }
    }

    /// Takes a message from the stdin socket.
    pub(crate) fn stdin(&self, frames: Vec<Bytes>) {
        if let Some(reply) = self.read(frames)
            && reply.kind == "input_reply"
        {
            let question = reply.answers.as_deref();
            self.hub
                .inputs
                .reply(question, &reply.identities, reply.text("value"));
        }
    }

    fn read(&self, frames: Vec<Bytes>) -> Option<Request> {
        let read = self.hub.session.read(frames);
        read.inspect_err(|reason| eprintln!("a message was ignored: {reason}"))
            .ok()
    }

    fn at_once(&self, outlet: &Outlet, request: Request) {
        let reply = match &*request.kind {
            "kernel_info_request" => info::reply(&self.engine.about()),
            "comm_info_request" => CommInfoReply::default().into(),
            "history_request" => {
                let history = self.history.lock().unwrap().answer(&request.content);
                // Untyped because `jupyter_protocol`'s `HistoryEntry` has no entry without output.
                untyped("history_reply", json!({"status": "ok", "history": history}))
            }
            "debug_request" => no_debugger(&request),
            "comm_open" => return self.refuse_comm(&request),
            "interrupt_request" | "shutdown_request" => {
                let _ = self.commands.send((outlet.clone(), request));
                return;
            }
            // A message of a protocol to come: the front end sees that nothing is done about it.
            _ => return self.hub.around(&request, || {}),
        };
        self.hub
            .around(&request, || self.hub.reply(outlet, &request, reply));
    }

    /// There are no targets, and an open comm without an end here would be waited for.
    fn refuse_comm(&self, request: &Request) {
        let comm_id = CommId(request.text("comm_id").into());
        let close = CommClose {
            comm_id,
            ..CommClose::default()
        };
        self.hub
            .around(request, || self.hub.publish(Some(&request.parent), close));
    }
}

/// As the Debug Adapter Protocol says no. Untyped because the protocol's type is any JSON too.
fn no_debugger(request: &Request) -> Content {
    let reply = json!({
        "type": "response",
        "request_seq": request.content["seq"],
        "success": false,
        "command": request.content["command"],
        "message": "this kernel has no debugger",
    });
    untyped("debug_reply", reply)
}

/// Interrupts and shuts down, while nobody else can.
struct Commander {
    engine: SharedEngine,
    hub: Arc<Hub>,
    closing: Arc<AtomicBool>,
    over: Arc<Notify>,
}

impl Commander {
    fn answer(&self, outlet: &Outlet, request: &Request) {
        self.hub.around(request, || match &*request.kind {
            "interrupt_request" => self.interrupt(outlet, request),
            _ => self.shut_down(outlet, request),
        });
        if request.kind == "shutdown_request" {
            self.over.notify_one();
        }
    }

    /// The engine first: a cell that learns of its cancelled input shall know why.
    fn interrupt(&self, outlet: &Outlet, request: &Request) {
        if !self.hub.meant_an_earlier_cell(request) {
            // Whatever went wrong: the front end waits for the reply.
            let _ = guarded(|| self.engine.interrupt());
            self.hub.inputs.cancel(None);
        }
        self.hub.reply(outlet, request, InterruptReply::new());
    }

    fn shut_down(&self, outlet: &Outlet, request: &Request) {
        let restart = request.flag("restart", false);
        self.closing.store(true, Ordering::Release);
        self.hub.inputs.cancel(None);
        let _ = guarded(|| self.engine.shutdown(restart));
        let reply = ShutdownReply {
            restart,
            ..ShutdownReply::default()
        };
        self.hub.publish(Some(&request.parent), reply.clone());
        self.hub.reply(outlet, request, reply);
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(run).map(drop).map_err(Error::Thread)
}
