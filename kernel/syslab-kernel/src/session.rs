//! evcxr, and how a cell goes through it.
//!
//! One thread owns evcxr; cells come to it one after the other. What evcxr believes (which variables there are) and
//! what the process of the cells has must be the same at all times: a cell that dies is not committed, and the process
//! goes back to before it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evcxr::{CommandContext, EvalContext};
use link::{End, ToHost, TraceRequest};
use syslab_rustc::types::Types;
use wire::{Failure, MimeBundle, Outcome, Publisher, StreamName};

use crate::cell_text::{self, Prepared};
use crate::commands::{self, Done};
use crate::failure;
use crate::hosting::{Hosting, bundle, lock};
use crate::scanner;

/// Deeply nested code makes parsers recurse, by some ten kilobytes a level …
const STACK: usize = 256 << 20;
/// … and none that a person has written is as deep as this.
const DEEPEST: usize = 1000;

/// A cell, or an expression that is asked for beside one.
struct Job {
    code: String,
    stdin: bool,
    publisher: Option<Publisher>,
    answer: Sender<Outcome>,
}

/// The session, from any thread.
pub(crate) struct Handle {
    jobs: Mutex<Sender<Job>>,
    shared: Arc<Shared>,
}

/// What the thread of the session and those that interrupt it look at.
pub(crate) struct Shared {
    pub(crate) hosting: Arc<Hosting>,
    /// Whether a cell runs, or is compiled.
    busy: AtomicBool,
    pub(crate) interrupted: AtomicBool,
    /// The process group of a shell command that runs; 0: none.
    pub(crate) shell: AtomicI32,
    /// What completion has to know: items, and variables with their types.
    pub(crate) known: Mutex<Known>,
}

/// What earlier cells have defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// As they were written, in order; a later one may define the same anew.
    pub(crate) items: Vec<String>,
    /// Name and type.
    pub(crate) variables: Vec<(String, String)>,
}

impl Handle {
    /// Starts evcxr; the first cells wait for it.
    pub(crate) fn start(evcxr: PathBuf, hosting: Arc<Hosting>) -> Handle {
        let (jobs, received) = mpsc::channel();
        let shared = Arc::new(Shared {
            hosting,
            busy: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            shell: AtomicI32::new(0),
            known: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("session".into())
            .stack_size(STACK);
        // Without a thread every cell says so.
        let _ = thread.spawn(move || serve(&received, &evcxr, theirs));
        Handle {
            jobs: Mutex::new(jobs),
            shared,
        }
    }

    /// Runs code to its end.
    pub(crate) fn run(&self, code: &str, stdin: bool, publisher: Option<&Publisher>) -> Outcome {
        let (answer, answered) = mpsc::channel();
        let job = Job {
            // A byte order mark is an editor's.
            code: code.trim_start_matches('\u{feff}').to_owned(),
            stdin,
            publisher: publisher.cloned(),
            answer,
        };
        self.shared.interrupted.store(false, Ordering::SeqCst);
        self.shared.busy.store(true, Ordering::SeqCst);
        let sent = lock(&self.jobs).send(job);
        let outcome = sent.ok().and_then(|()| answered.recv().ok());
        self.shared.busy.store(false, Ordering::SeqCst);
        outcome.unwrap_or_else(|| {
            Outcome::Failed(failure::plain(
                "KernelError",
                "the kernel's session has ended; restart the kernel",
            ))
        })
    }

    /// Ends what runs now, wherever it is.
    pub(crate) fn interrupt(&self) {
        let shared = Arc::clone(&self.shared);
        if !shared.busy.load(Ordering::SeqCst) {
            return;
        }
        shared.hosting.wake();
        shared.hosting.say(&ToHost::Interrupt, b"");
        if shared.interrupted.swap(true, Ordering::SeqCst) {
            return;
        }
        shared.hosting.cancel_input();
        std::thread::spawn(move || {
            // What is between two programs now will have started one in a moment.
            while shared.busy.load(Ordering::SeqCst) && shared.interrupted.load(Ordering::SeqCst) {
                end_programs(shared.shell.load(Ordering::SeqCst));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Kills compilers, and the shell command of this process group.
fn end_programs(shell: i32) {
    if shell > 0 {
        // SAFETY: two integers.
        unsafe { libc::kill(-shell, libc::SIGKILL) };
    }
    let own = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    for thread in own {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if matches!(name.trim(), "cargo" | "rustc" | "syslab-rustc")
                && let Ok(pid) = child.parse()
            {
                // SAFETY: two integers; the pid is our child's.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }
}

fn serve(jobs: &Receiver<Job>, evcxr: &Path, shared: Arc<Shared>) {
    let mut session = Session::new(evcxr, shared);
    for job in jobs {
        let outcome = match &mut session {
            // What evcxr trips over costs a cell, not the session.
            Ok(session) => wire::guarded(|| session.execute(&job)).unwrap_or_else(Outcome::Failed),
            Err(why) => Outcome::Failed(failure::plain("KernelError", why.clone())),
        };
        // Who asked may be gone.
        let _ = job.answer.send(outcome);
    }
}

/// What the thread owns.
pub(crate) struct Session {
    context: CommandContext,
    pub(crate) shared: Arc<Shared>,
    folder: PathBuf,
    /// The number of the last cell, for the host.
    cell: u64,
    /// Numbers the names that stand for types.
    names: u64,
    limits_said: bool,
}

impl Session {
    fn new(folder: &Path, shared: Arc<Shared>) -> Result<Session, String> {
        let host = std::env::current_exe()
            .map_err(|why| format!("the kernel doesn't find itself: {why}"))?
            .with_file_name("syslab-host");
        let (context, outputs) = EvalContext::with_subprocess_command(Command::new(host))
            .map_err(|why| format!("evcxr did not start: {why}"))?;
        let mut context = CommandContext::with_eval_context(context);
        // Already so, unless there is another configuration in the working directory.
        context.set_opt_level("0").map_err(|why| why.to_string())?;
        // Cells are heard by the host; what comes here is the host's own trouble.
        for lines in [outputs.stdout, outputs.stderr] {
            std::thread::spawn(move || {
                lines.into_iter().for_each(|line| eprintln!("host: {line}"));
            });
        }
        Ok(Session {
            context,
            shared,
            folder: folder.to_owned(),
            cell: 0,
            names: 0,
            limits_said: false,
        })
    }

    fn execute(&mut self, job: &Job) -> Outcome {
        self.cell += 1;
        let publisher = job.publisher.as_ref();
        if let Some(publisher) = publisher {
            self.shared.hosting.show_at(self.cell, publisher);
        }
        self.say_limits(publisher);
        self.after_idle_death();
        if scanner::nesting(&job.code) > DEEPEST {
            let said = format!(
                "nested more than {DEEPEST} levels deep, which the compiler would not survive; put parts of it into variables"
            );
            return Outcome::Failed(failure::plain("TooDeep", said));
        }
        let mut trace = None;
        let mut tty = false;
        let mut shown = None;
        let mut rest = String::new();
        let mut leading = true;
        for line in job.code.split_inclusive('\n') {
            leading = leading && (line.trim().is_empty() || line.starts_with([':', '!']));
            if !leading || line.trim().is_empty() {
                rest += line;
                continue;
            }
            match commands::run(self, line.trim(), publisher) {
                Done::Shown(content) => shown = content.or(shown),
                Done::Trace(request) => trace = Some(request),
                Done::Terminal => tty = true,
                Done::NotOurs => {
                    rest += line;
                    continue;
                }
                Done::Failed(failure) => return Outcome::Failed(failure),
            }
            // Lines keep their numbers.
            rest.push('\n');
        }
        if rest.trim().is_empty() {
            return Outcome::Done(shown);
        }
        match self.run(&rest, job, trace, tty) {
            Ok(value) => Outcome::Done(value.or(shown)),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// Through evcxr.
    fn run(
        &mut self,
        code: &str,
        job: &Job,
        trace: Option<TraceRequest>,
        tty: bool,
    ) -> Result<Option<MimeBundle>, Failure> {
        let shared = Arc::clone(&self.shared);
        let begin = ToHost::Begin {
            cell: self.cell,
            stdin: job.stdin,
            trace,
            tty,
        };
        shared.hosting.sync(&begin);
        let hosts = shared.hosting.hosts();
        let Prepared {
            code: prepared,
            items,
        } = cell_text::prepare(code, &mut self.names);
        let result = self.context.execute(&prepared);
        shared.hosting.sync(&ToHost::Sync);
        let end = shared.hosting.take_ends().pop();
        let interrupted = shared.interrupted.load(Ordering::SeqCst);
        let types = Types::read(&self.folder);
        let outcome = match (result, end) {
            (_, Some(End::Died(death))) => {
                if !death.restored {
                    self.begin_anew(true);
                }
                Err(failure::death(&death, code, &self.generated()))
            }
            (Err(evcxr::Error::SubprocessTerminated(why)), _) => {
                // evcxr has started another one, and forgotten its variables.
                shared.hosting.wait_for_host(hosts);
                let said = format!(
                    "the host of the cells is gone ({why}); variables are lost, functions and types are still there"
                );
                Err(failure::plain("HostLost", said))
            }
            (_, Some(End::NotLoaded(why))) => Err(failure::plain(
                "LoadError",
                format!("the cell could not be loaded: {why}"),
            )),
            (Ok(outputs), end) => {
                let mut value = bundle(outputs.content_by_mime_type.into_iter().collect());
                let (mut panic, mut question_mark) = (None, None);
                if let Some(End::Finished {
                    value: own,
                    panic: p,
                    question_mark: q,
                    ..
                }) = end
                {
                    value.extend(bundle(own));
                    (panic, question_mark) = (p, q);
                }
                match (panic, question_mark) {
                    (Some(panic), _) => Err(failure::panic(&panic, code, &self.generated())),
                    (None, Some(error)) => Err(failure::plain("QuestionMark", error)),
                    (None, None) => Ok((!value.is_empty()).then_some(value)),
                }
            }
            (Err(_), _) if interrupted => Err(failure::interrupted(&[])),
            (Err(evcxr::Error::CompilationErrors(errors)), _) => {
                Err(failure::compilation(&errors, code, &types))
            }
            (Err(other), _) => Err(failure::plain("Error", types.tell(&other.to_string()))),
        };
        self.learn(if outcome.is_ok() { items } else { Vec::new() }, &types);
        outcome
    }

    /// The text that was compiled last.
    fn generated(&self) -> String {
        std::fs::read_to_string(self.folder.join("cell/lib.rs")).unwrap_or_default()
    }

    fn learn(&mut self, items: Vec<String>, types: &Types) {
        let variables = self.context.variables_and_types();
        let mut variables: Vec<(String, String)> = variables
            .map(|(name, found)| (name.to_owned(), types.tell(found)))
            .collect();
        variables.sort();
        let mut known = lock(&self.shared.known);
        known.items.extend(items);
        known.variables = variables;
    }

    fn say_limits(&mut self, publisher: Option<&Publisher>) {
        if let Some(publisher) = publisher
            && !std::mem::replace(&mut self.limits_said, true)
        {
            for limit in self.shared.hosting.take_limits() {
                publisher.stream(StreamName::Stderr, &format!("[{limit}]\n"));
            }
        }
    }

    /// The process died since the last cell, and there was no copy of it.
    fn after_idle_death(&mut self) {
        if self
            .shared
            .hosting
            .take_idle_deaths()
            .iter()
            .any(|death| !death.restored)
        {
            self.begin_anew(true);
        }
    }

    /// Makes evcxr forget its variables, as the process of the cells has; items stay, if they shall.
    pub(crate) fn begin_anew(&mut self, keep_items: bool) {
        let items = std::mem::take(&mut lock(&self.shared.known).items);
        self.shared.hosting.kill(true);
        let hosts = self.shared.hosting.hosts();
        if let Err(why) = self.context.execute(":clear") {
            eprintln!("evcxr did not clear its state: {why}");
        }
        self.shared.hosting.wait_for_host(hosts);
        if keep_items && !items.is_empty() {
            self.shared.hosting.sync(&ToHost::Begin {
                cell: self.cell,
                stdin: false,
                trace: None,
                tty: false,
            });
            // They compiled before.
            let _ = self.context.execute(&items.join("\n"));
            self.shared.hosting.sync(&ToHost::Sync);
            self.shared.hosting.take_ends();
        }
        let kept = if keep_items { items } else { Vec::new() };
        self.learn(kept, &Types::read(&self.folder));
    }
}
