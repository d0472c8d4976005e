//! The other end of the host's line: what it sends goes to the cells it belongs to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use link::{Death, End, FromHost, ToHost};
use serde_json::Value;
use wire::{MimeBundle, Publisher, StreamName};

use crate::output::Decoder;

/// A block of this type names what is shown with it: the same name again replaces it (`update_display_data`).
const DISPLAY_ID: &str = "syslab/display_id";
/// A block of this type takes away what the cell has shown so far; its text may be "wait".
const CLEAR_OUTPUT: &str = "syslab/clear_output";

/// How long the host may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The line to the host, whichever process that is by now.
pub(crate) struct Hosting {
    state: Mutex<State>,
    changed: Condvar,
    writer: Mutex<Option<UnixStream>>,
}

#[derive(Default)]
struct State {
    publishers: HashMap<u64, Publisher>,
    decoders: HashMap<(u64, bool), Decoder>,
    /// The newest cell.
    newest: u64,
    ends: Vec<End>,
    idle_deaths: Vec<Death>,
    /// How often the host has said that it is done with what was asked.
    synced: u64,
    hosts: u64,
    /// The newest one's pid; 0: none has come.
    host: i32,
    /// How many have hung up.
    gone: u64,
    /// What has been shown under a name that later cells can use.
    displayed: HashSet<String>,
    limits: Vec<String>,
    who: Option<(i32, i32, Option<i32>)>,
    killed: Option<usize>,
}

impl Hosting {
    /// Listens for hosts at this path.
    ///
    /// # Errors
    /// Those of `bind(2)`, in a sentence.
    pub(crate) fn listen(path: &Path) -> Result<Arc<Hosting>, String> {
        let listener = UnixListener::bind(path)
            .map_err(|why| format!("cannot listen at {}: {why}", path.display()))?;
        let hosting = Arc::new(Hosting {
            state: Mutex::default(),
            changed: Condvar::new(),
            writer: Mutex::default(),
        });
        let heard = Arc::clone(&hosting);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(writer) = stream.try_clone() else {
                    continue;
                };
                *lock(&heard.writer) = Some(writer);
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || heard.hear(stream));
            }
        });
        Ok(hosting)
    }

    fn hear(self: Arc<Self>, mut stream: UnixStream) {
        while let Ok((said, bytes)) = link::receive::<FromHost>(&mut stream) {
            self.heard(said, &bytes);
            self.changed.notify_all();
        }
        lock(&self.state).gone += 1;
        self.changed.notify_all();
    }

    fn heard(self: &Arc<Self>, said: FromHost, bytes: &[u8]) {
        match said {
            FromHost::Hello { pid, limits } => {
                let mut state = lock(&self.state);
                state.hosts += 1;
                state.host = pid;
                state.limits = limits;
            }
            FromHost::Output { cell, stderr } => {
                let text = lock(&self.state)
                    .decoders
                    .entry((cell, stderr))
                    .or_default()
                    .decode(bytes);
                self.show(cell, stderr, &text);
            }
            FromHost::Show { cell, content } => self.display(cell, content),
            FromHost::InputRequest {
                cell,
                prompt,
                password,
            } => {
                if let Some(publisher) = self.publisher(cell) {
                    let hosting = Arc::clone(self);
                    std::thread::spawn(move || match publisher.input(&prompt, password) {
                        Ok(line) => hosting.say(&ToHost::Input, format!("{line}\n").as_bytes()),
                        Err(_) => hosting.say(&ToHost::InputEnd, b""),
                    });
                }
            }
            FromHost::Ended { cell, end } => {
                for stderr in [false, true] {
                    let rest = lock(&self.state)
                        .decoders
                        .get_mut(&(cell, stderr))
                        .map(Decoder::rest);
                    self.show(cell, stderr, &rest.unwrap_or_default());
                }
                if let End::Finished { remarks, .. } = &end {
                    for remark in remarks {
                        self.show(cell, true, &format!("[{remark}]\n"));
                    }
                }
                lock(&self.state).ends.push(end);
            }
            FromHost::DiedIdle(death) => {
                let newest = lock(&self.state).newest;
                let losses: String = death
                    .losses
                    .iter()
                    .map(|loss| format!("; {loss}"))
                    .collect();
                self.show(
                    newest,
                    true,
                    &format!("[between cells {}{losses}]\n", death.what),
                );
                lock(&self.state).idle_deaths.push(death);
            }
            FromHost::Continued { cell, signal } => {
                self.show(
                    cell,
                    true,
                    &format!("[the process was stopped by {signal}, and is continued]\n"),
                );
            }
            FromHost::Synced => lock(&self.state).synced += 1,
            FromHost::Killed(count) => lock(&self.state).killed = Some(count),
            FromHost::Who {
                host,
                cell,
                checkpoint,
            } => lock(&self.state).who = Some((host, cell, checkpoint)),
        }
    }

    fn publisher(&self, cell: u64) -> Option<Publisher> {
        lock(&self.state).publishers.get(&cell).cloned()
    }

    /// Shows rich content: in a new place, or in the place of what had its `DISPLAY_ID` before.
    fn display(&self, cell: u64, mut content: BTreeMap<String, String>) {
        let Some(publisher) = self.publisher(cell) else {
            return;
        };
        if let Some(how) = content.remove(CLEAR_OUTPUT) {
            publisher.clear_output(how.trim() == "wait");
        }
        let id = content.remove(DISPLAY_ID).map(|id| id.trim().to_owned());
        if content.is_empty() {
            return;
        }
        let (data, metadata) = (bundle(content), serde_json::Map::new());
        match id {
            Some(id) if !lock(&self.state).displayed.insert(id.clone()) => {
                publisher.update_display(&id, data, metadata);
            }
            id => publisher.display(data, metadata, id.as_deref()),
        }
    }

    /// Shows text; waits for a front end that doesn't keep up, and so holds no lock.
    fn show(&self, cell: u64, stderr: bool, text: &str) {
        if let Some(publisher) = self.publisher(cell)
            && !text.is_empty()
        {
            publisher.stream(
                if stderr {
                    StreamName::Stderr
                } else {
                    StreamName::Stdout
                },
                text,
            );
        }
    }

    /// Says something to the host. One that is gone has nothing to do any more.
    pub(crate) fn say(&self, what: &ToHost, bytes: &[u8]) {
        if let Some(stream) = &mut *lock(&self.writer) {
            let _ = link::send(stream, what, bytes);
        }
    }

    /// A cell may have stopped the host, which is its parent.
    pub(crate) fn wake(&self) {
        let host = lock(&self.state).host;
        if host > 0 {
            // SAFETY: two integers. Whoever else had this pid by now would not mind SIGCONT.
            unsafe { libc::kill(host, libc::SIGCONT) };
        }
    }

    /// Says something and waits until everything that the host has said before its answer is heard.
    pub(crate) fn sync(&self, what: &ToHost) {
        let seen = lock(&self.state).synced;
        self.say(what, b"");
        self.wait_for(|state| (state.synced > seen).then_some(()));
    }

    /// What is shown by a cell from now on, and later, goes there.
    pub(crate) fn show_at(&self, cell: u64, publisher: &Publisher) {
        let mut state = lock(&self.state);
        state.publishers.insert(cell, publisher.clone());
        state.newest = cell;
        state.ends.clear();
        // Late output of very old cells has lost its place.
        state.publishers.retain(|&of, _| of + 10_000 > cell);
        state.decoders.retain(|&(of, _), _| of + 10_000 > cell);
    }

    pub(crate) fn cancel_input(&self) {
        let newest = lock(&self.state).newest;
        if let Some(publisher) = self.publisher(newest) {
            publisher.cancel_input();
        }
    }

    /// How the runs of the newest cell have ended, so far.
    pub(crate) fn take_ends(&self) -> Vec<End> {
        std::mem::take(&mut lock(&self.state).ends)
    }

    /// Deaths between cells since the last look.
    pub(crate) fn take_idle_deaths(&self) -> Vec<Death> {
        std::mem::take(&mut lock(&self.state).idle_deaths)
    }

    /// What this machine denies; said once.
    pub(crate) fn take_limits(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).limits)
    }

    /// The host, the process in which cells run, and its checkpoint.
    pub(crate) fn who(&self) -> Option<(i32, i32, Option<i32>)> {
        lock(&self.state).who = None;
        self.say(&ToHost::Who, b"");
        self.wait_for(|state| state.who)
    }

    /// Ends processes of the session: the others, or all; how many.
    pub(crate) fn kill(&self, all: bool) -> Option<usize> {
        if self.hosts() == 0 {
            // It has not come yet: nobody is there to be ended.
            return None;
        }
        lock(&self.state).killed = None;
        self.wake();
        self.say(
            if all {
                &ToHost::KillAll
            } else {
                &ToHost::KillOthers
            },
            b"",
        );
        self.wait_for(|state| state.killed)
    }

    /// Hangs up: the host ends.
    pub(crate) fn end_host(&self) {
        if let Some(stream) = lock(&self.writer).take() {
            // It may have hung up itself.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// How many hosts have come so far.
    pub(crate) fn hosts(&self) -> u64 {
        lock(&self.state).hosts
    }

    /// Waits for one more.
    pub(crate) fn wait_for_host(&self, before: u64) {
        let until = Instant::now() + PATIENCE;
        while self.hosts() <= before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn wait_for<T>(&self, found: impl Fn(&State) -> Option<T>) -> Option<T> {
        let until = Instant::now() + PATIENCE;
        let mut state = lock(&self.state);
        loop {
            if let Some(found) = found(&state) {
                return Some(found);
            }
            // Nobody is there who could answer. (At the very start somebody will be.)
            if state.hosts > 0 && state.hosts <= state.gone {
                return None;
            }
            let left = until.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// As the protocol has it: JSON types as JSON, all others as text.
pub(crate) fn bundle(content: BTreeMap<String, String>) -> MimeBundle {
    let value = |mime: &str, text: String| {
        let json = mime == "application/json" || mime.ends_with("+json");
        json.then(|| serde_json::from_str(&text).ok())
            .flatten()
            .unwrap_or(Value::String(text))
    };
    content
        .into_iter()
        .map(|(mime, text)| (mime.clone(), value(&mime, text)))
        .collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
