//! What the protocol asks of a kernel, answered.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use syslab_rustc::template::Template;
use wire::{
    About, Cell, Completeness, Completion, Engine, Failure, MimeBundle, Outcome, Publisher,
};

use crate::analysis::Analysis;
use crate::hosting::{Hosting, lock};
use crate::place::Place;
use crate::session::Handle;
use crate::{failure, prepare, scanner};

struct Kernel {
    place: Place,
    hosting: Arc<Hosting>,
    session: Handle,
    analysis: Analysis,
    rustc: String,
    ended: AtomicBool,
}

/// Serves a front end until it says that it is enough.
///
/// # Errors
/// What is missing, and the next command.
pub(crate) fn start(template: &Path, connection_file: &Path) -> Result<(), String> {
    let has = Template::read(template)?;
    let place = Place::new()?;
    // SAFETY: no thread has been started.
    unsafe { place.set_environment(template, &has) };
    let ending = Ending::block();
    let hosting = Hosting::listen(&place.socket())?;
    let session = Handle::start(place.evcxr(), Arc::clone(&hosting));
    let analysis = Analysis::new(place.analysis(), template.join(prepare::SOURCES));
    let rustc = has.rustc;
    let kernel = Arc::new(Kernel {
        place,
        hosting,
        session,
        analysis,
        rustc,
        ended: AtomicBool::new(false),
    });
    ending.watch(Arc::clone(&kernel));
    let served = wire::serve(connection_file, Arc::<Kernel>::clone(&kernel));
    kernel.end();
    served.map_err(|why| why.to_string())
}

impl Kernel {
    /// Leaves no process and no file.
    fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        self.session.interrupt();
        self.analysis.end();
        self.hosting.kill(true);
        self.hosting.end_host();
        self.place.remove();
    }
}

impl Engine for Kernel {
    fn about(&self) -> About {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        About {
            implementation: "syslab".into(),
            banner: format!(
                "syslab {version}: Rust {} cells that may fork, crash and exec; :help",
                self.rustc
            ),
            version,
            language_version: self.rustc.clone(),
            help_links: [
                ("Rust standard library", "https://doc.rust-lang.org/std/"),
                ("nix", "https://docs.rs/nix"),
                ("Linux man pages", "https://man7.org/linux/man-pages/"),
            ]
            .map(|(text, address)| (text.to_owned(), address.to_owned()))
            .to_vec(),
        }
    }

    fn execute(&self, cell: Cell, publisher: &Publisher) -> Outcome {
        // By the analysis, not by evcxr's own, which would stay in this process.
        let code = cell.code.trim();
        let asked = code.strip_prefix('?').or(code.strip_prefix(":doc "));
        if let Some(name) = asked.filter(|name| !name.contains('\n')) {
            let name = name.trim_matches(['?', ' ']);
            let found = self.inspect(name, name.chars().count(), 0);
            let nothing = || {
                Outcome::Failed(failure::plain(
                    "Error",
                    format!("nothing is known about `{name}`"),
                ))
            };
            return found.map_or_else(nothing, Outcome::Paged);
        }
        self.session
            .run(&cell.code, cell.allow_stdin, Some(publisher))
    }

    fn evaluate(&self, expression: &str) -> Result<MimeBundle, Failure> {
        match self.session.run(expression, false, None) {
            Outcome::Done(value) => Ok(value.unwrap_or_default()),
            Outcome::Paged(page) => Ok(page),
            Outcome::Failed(failure) => Err(failure),
        }
    }

    fn interrupt(&self) {
        self.session.interrupt();
    }

    fn complete(&self, code: &str, cursor: usize) -> Completion {
        let known = lock(&self.session.shared().known).clone();
        self.analysis.complete(&known, code, cursor)
    }

    fn inspect(&self, code: &str, cursor: usize, _detail: u8) -> Option<MimeBundle> {
        let known = lock(&self.session.shared().known).clone();
        self.analysis.inspect(&known, code, cursor)
    }

    fn is_complete(&self, code: &str) -> Completeness {
        scanner::completeness(code)
    }

    fn shutdown(&self, _restart: bool) {
        self.end();
    }
}

/// Signals by which somebody ends the kernel, and the end of the front end's server.
struct Ending {
    signals: libc::sigset_t,
}

impl Ending {
    /// Before there is another thread: all of them block these signals. Ctrl-C in a terminal is for the front end,
    /// which then sends a message.
    fn block() -> Ending {
        // SAFETY: a set of ours; SIG_IGN is a valid disposition.
        unsafe {
            let mut signals: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut signals);
            for signal in [libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&raw mut signals, signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
            libc::signal(libc::SIGINT, libc::SIG_IGN);
            Ending { signals }
        }
    }

    fn watch(self, kernel: Arc<Kernel>) {
        // SAFETY: takes nothing.
        let parent = unsafe { libc::getppid() };
        let managed = std::env::var_os("JPY_PARENT_PID").is_some();
        std::thread::spawn(move || {
            loop {
                let time = libc::timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                // SAFETY: a set and a time of ours; no information is asked for.
                let signal = unsafe {
                    libc::sigtimedwait(
                        &raw const self.signals,
                        std::ptr::null_mut(),
                        &raw const time,
                    )
                };
                // SAFETY: takes nothing.
                let orphaned = managed && unsafe { libc::getppid() } != parent;
                if signal > 0 || orphaned {
                    kernel.end();
                    std::thread::sleep(Duration::from_millis(50));
                    std::process::exit(if signal > 0 { 128 + signal } else { 0 });
                }
            }
        });
    }
}
