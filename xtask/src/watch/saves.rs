//! Which exercise was saved just now?
//!
//! Editors write in place, or beside and rename; some write twice. What counts is that the text
//! differs from what was there before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};

use crate::course::Course;
use crate::source;

/// An editor that writes twice is done after this.
const SETTLED: Duration = Duration::from_millis(40);

/// How often files are looked at where the kernel tells nothing.
const POLL: Duration = Duration::from_millis(500);

/// Watches the learner's files.
pub(super) struct Saves {
    _watcher: Box<dyn Watcher>,
    changed: Receiver<PathBuf>,
    /// Number in the course, file, and text as it was seen last.
    files: Vec<(PathBuf, Vec<u8>)>,
    pending: HashMap<usize, Instant>,
    /// Why files are looked at every half second instead.
    pub(super) notice: Option<String>,
}

impl Saves {
    pub(super) fn watch(course: &Course) -> Result<Self, String> {
        let (send, changed) = channel();
        let tell = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if matches!(event.kind, EventKind::Access(_)) {
                return;
            }
            for path in event.paths {
                let _ = send.send(path);
            }
        };
        let folder = course.root.join("exercises");
        let by_kernel =
            RecommendedWatcher::new(tell.clone(), Config::default()).and_then(|mut watcher| {
                watcher.watch(&folder, RecursiveMode::Recursive)?;
                Ok(watcher)
            });
        let (watcher, notice): (Box<dyn Watcher>, _) = match by_kernel {
            Ok(watcher) => (Box::new(watcher), None),
            Err(error) => {
                let config = Config::default().with_poll_interval(POLL);
                let mut watcher =
                    PollWatcher::new(tell, config).map_err(|error| error.to_string())?;
                watcher
                    .watch(&folder, RecursiveMode::Recursive)
                    .map_err(|error| error.to_string())?;
                let why = format!("no inotify(7) ({error}): files are looked at twice a second");
                (Box::new(watcher), Some(why))
            }
        };
        let files = course.exercises.iter().map(|exercise| {
            let path = course.root.join(exercise.file());
            let text = text(&path);
            (path, text)
        });
        Ok(Self {
            _watcher: watcher,
            changed,
            files: files.collect(),
            pending: HashMap::new(),
            notice,
        })
    }

    /// The number of an exercise whose text has changed, once nothing more is written to it.
    pub(super) fn next(&mut self) -> Option<usize> {
        for path in self.changed.try_iter() {
            if let Some(at) = self.files.iter().position(|(file, _)| *file == path) {
                self.pending.insert(at, Instant::now());
            }
        }
        let settled = |since: &Instant| since.elapsed() >= SETTLED;
        let at = *self.pending.iter().find(|(_, since)| settled(since))?.0;
        self.pending.remove(&at);
        self.changed(at).then_some(at)
    }

    /// True when the text is another than it was when this was asked last.
    pub(super) fn changed(&mut self, at: usize) -> bool {
        let (path, before) = &mut self.files[at];
        let now = text(path);
        let changed = now != *before;
        *before = now;
        changed
    }
}

fn text(path: &Path) -> Vec<u8> {
    source::read(path).unwrap_or_default()
}
