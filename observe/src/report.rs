//! What does the grader learn beside "ok" and "FAILED"?
//!
//! One JSON object a line on the descriptor named by `SYSLAB_REPORT_FD`. Without that variable (plain
//! `cargo test`) nothing is written and only the panics speak.

use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// One thing a test has to say to the grader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// An assertion of the test did not hold.
    Failed {
        /// One sentence: what the world saw.
        message: String,
        /// File of the assertion, or of the exercise's panic, relative to the workspace.
        file: String,
        /// Its line, from 1.
        line: u32,
    },
    /// The exercise stopped at `todo!()`.
    Todo {
        /// What the `todo!` says.
        message: String,
        /// File of the `todo!`.
        file: String,
        /// Its line, from 1.
        line: u32,
    },
    /// What a snapshot is compared with.
    Seen {
        /// Name of the snapshot.
        snapshot: String,
        /// The text that was seen.
        text: String,
        /// File of the assertion, relative to the workspace.
        #[serde(default)]
        file: String,
        /// Its line, from 1.
        #[serde(default)]
        line: u32,
    },
    /// The exercise had not ended within its limit.
    TimedOut {
        /// The limit, in seconds.
        seconds: u64,
        /// One sentence.
        #[serde(default)]
        message: String,
    },
    /// The exercise was killed by a signal.
    Crashed {
        /// Its name, as `SIGSEGV`.
        signal: String,
        /// One sentence.
        message: String,
    },
    /// The exercise ended, and processes it had started did not.
    Leaked {
        /// One sentence that names them.
        message: String,
    },
    /// The machine lacks what the test needs.
    Skipped {
        /// The capability.
        needs: String,
    },
    /// What the exercise has written to its stderr: the end of it.
    Stderr {
        /// The last lines.
        text: String,
    },
    /// The system calls that were seen.
    Calls {
        /// One call a line.
        text: String,
    },
}

/// Sends a note to the grader; without a grader it does nothing.
pub fn emit(note: &Note) {
    let Some(fd) = descriptor() else { return };
    let Ok(mut line) = serde_json::to_vec(note) else {
        return;
    };
    line.push(b'\n');
    // One write(2) a line, so that lines of two threads do not mix. EINTR and a lost grader are not worth
    // a test's failure: the note is lost, the verdict is not.
    // SAFETY: `line` is valid for reading `line.len()` bytes during the call.
    unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
}

/// Reads the environment and installs the panic hook, once.
pub(crate) fn begin() {
    descriptor();
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let printed = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if crate::inside::panicked(info) {
                return;
            }
            if !TOLD.with(Cell::get) {
                let (file, line) = location(info);
                emit(&Note::Failed {
                    message: message(info),
                    file,
                    line,
                });
            }
            printed(info);
        }));
    });
}

/// Sends `note` and panics with `message`; the hook then does not report the panic a second time.
#[track_caller]
pub(crate) fn fail(note: &Note, message: &str) -> ! {
    begin();
    emit(note);
    TOLD.with(|told| told.set(true));
    let forget = Forget;
    // Unwinds through `forget`, so that a later panic of this thread is reported again.
    let _forget = forget;
    panic!("{message}")
}

thread_local! {
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        TOLD.with(|told| told.set(false));
    }
}

/// The panic's message.
pub(crate) fn message(info: &PanicHookInfo<'_>) -> String {
    shortened(info.payload_as_str().unwrap_or("a panic without a message"))
}

/// As much as a person reads. The grader keeps only the end of what it is told, and half a note is none.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 2000;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The panic's place, with `tests/..` taken out of the path.
pub(crate) fn location(info: &PanicHookInfo<'_>) -> (String, u32) {
    info.location()
        .map_or((String::new(), 0), |at| (tidy_path(at.file()), at.line()))
}

/// `exercises/tests/../ch01/x.rs` → `exercises/ch01/x.rs`.
pub(crate) fn tidy_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." if parts
                .last()
                .is_some_and(|last| !last.is_empty() && *last != "..") =>
            {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The grader's descriptor: read once, made close-on-exec, so that no program started by a test has it.
fn descriptor() -> Option<i32> {
    if !crate::inside::ARENA.load(Ordering::Relaxed).is_null() {
        return None; // a child: its descriptor of that number is another
    }
    static FD: OnceLock<Option<i32>> = OnceLock::new();
    *FD.get_or_init(|| {
        let fd: i32 = std::env::var("SYSLAB_REPORT_FD").ok()?.parse().ok()?;
        // SAFETY: fcntl with integers only; a number that is no descriptor gives EBADF.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags < 0 {
            return None;
        }
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) };
        Some(fd)
    })
}
