//! What is still running, and what has been written?

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Processes with one of `marks` in their arguments or environment, zombies aside: "sleep 86399 (pid 7)".
///
/// What is about to end is given a moment.
pub(crate) fn running(marks: &[String]) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(3);
    loop {
        let found = now(marks);
        if found.is_empty() || Instant::now() > until {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process has `mark` in its arguments.
pub(crate) fn runs(mark: &str) -> bool {
    let marks = [mark.to_owned()];
    now(&marks).iter().any(|process| process.contains(mark))
}

/// The same as [`running`], at this moment.
pub(crate) fn now(marks: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else {
            continue;
        };
        let text = |file: &str| {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let stat = text("stat");
        let zombie = stat
            .rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']));
        let (arguments, environment) = (text("cmdline"), text("environ"));
        let marked = marks
            .iter()
            .any(|mark| arguments.contains(mark) || environment.contains(mark));
        if marked && !zombie && pid != std::process::id() {
            found.push(format!("{} (pid {pid})", arguments.trim()));
        }
    }
    found
}

/// Path → kind, mode, owner, length, time of the last change, and text of small files.
pub(crate) type Tree = BTreeMap<PathBuf, String>;

/// All that is below `root`, without `except` (names directly below it).
pub(crate) fn tree(root: &Path, except: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        if !except.iter().any(|name| entry.file_name() == *name) {
            add(&entry.path(), &mut tree);
        }
    }
    tree
}

fn add(path: &Path, tree: &mut Tree) {
    let Ok(data) = path.symlink_metadata() else {
        return;
    };
    let text = if data.is_file() {
        std::fs::read(path).unwrap_or_default()
    } else {
        Vec::new()
    };
    let facts = format!(
        "mode {:o}, owner {}, {} bytes, changed {}.{}: {:x}",
        data.mode(),
        data.uid(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
        text.iter().fold(0_u64, |sum, byte| sum
            .wrapping_mul(31)
            .wrapping_add((*byte).into()))
    );
    // A folder's own size and time say nothing that its entries don't.
    let facts = if data.is_dir() {
        format!("mode {:o}, owner {}", data.mode(), data.uid())
    } else {
        facts
    };
    tree.insert(path.to_owned(), facts);
    if data.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            add(&entry.path(), tree);
        }
    }
}

/// What differs between two looks, a path each.
pub(crate) fn difference(before: &Tree, after: &Tree) -> Vec<String> {
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let changed = paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path));
    changed
        .map(|path| match (before.get(path), after.get(path)) {
            (Some(_), None) => format!("{} is gone", path.display()),
            (None, Some(_)) => format!("{} is new", path.display()),
            (was, is) => format!("{} was {was:?}, is {is:?}", path.display()),
        })
        .collect()
}

/// Places where a program usually may write.
pub(crate) fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = [
        "/tmp",
        "/var/tmp",
        "/dev/shm",
        "/dev",
        "/run",
        "/var/lock",
        "/",
        "/etc",
    ]
    .map(PathBuf::from)
    .to_vec();
    places.extend(std::env::var_os("HOME").map(PathBuf::from));
    places
}

/// What hostile submissions leave, by its name, in `places`.
pub(crate) fn litter(places: &[PathBuf]) -> Vec<PathBuf> {
    let entries = places
        .iter()
        .flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten());
    let named = entries.filter(|entry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b"syslab-hostile")
    });
    named.map(|entry| entry.path()).collect()
}

/// System V objects there are now: they outlive every process.
pub(crate) fn system_v() -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["shm", "sem", "msg"] {
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            // key and id only: counts and times change.
            let fields: Vec<&str> = line.split_whitespace().take(2).collect();
            found.push(format!("{kind} {}", fields.join(" ")));
        }
    }
    found
}
