//! A store in a directory of its own, and what it shows in words.

use super::{Files, Line};
use crate::kv_store::{Change, Store};
use observe::{Failure, Scratch, errno};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a store shows: keys and values in words.
pub type Contents = BTreeMap<String, String>;

/// A place for a store.
pub struct World {
    _scratch: Scratch,
    pub store: PathBuf,
}

impl World {
    pub fn new(log: Option<Vec<u8>>) -> World {
        let scratch = Scratch::new();
        let store = scratch.join("store");
        fs::create_dir(&store).unwrap();
        if let Some(log) = log {
            fs::write(store.join("log"), log).unwrap();
        }
        World {
            _scratch: scratch,
            store,
        }
    }

    pub fn log(&self) -> Vec<u8> {
        fs::read(self.store.join("log")).unwrap_or_default()
    }

    pub fn others(&self) -> Vec<String> {
        others(&self.store)
    }

    pub fn files(&self) -> Files {
        let names = names(&self.store).into_iter();
        names
            .map(|name| (name.clone(), fs::read(self.store.join(name)).unwrap()))
            .collect()
    }
}

/// What lies beside the log and is no `lock`.
pub fn others(store: &Path) -> Vec<String> {
    let mut names = names(store);
    names.retain(|name| name != "log" && name != "lock");
    names
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A directory with nothing but a log.
pub fn files(log: &[u8]) -> Files {
    Files::from([("log".to_owned(), log.to_vec())])
}

pub fn open(directory: &Path) -> Result<Store, Failure> {
    errno(Store::open(directory))
}

pub fn commit(store: &mut Store, lines: &[Line]) -> Result<(), Failure> {
    let changes: Vec<Change<'_>> = lines
        .iter()
        .map(|(key, value)| match value {
            Some(value) => Change::Set(key, value),
            None => Change::Remove(key),
        })
        .collect();
    errno(store.commit(&changes))
}

pub fn contents(store: &Store) -> Contents {
    let entries = store.entries().iter();
    entries
        .map(|(key, value)| (shown(key), shown(value)))
        .collect()
}

/// Bytes in words, never two different ones in the same.
pub fn shown(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if rest.len() > 40 && rest.iter().all(|byte| byte == first) => {
            format!("{} times {}", bytes.len(), [*first].escape_ascii())
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

pub fn words(contents: &Contents) -> String {
    let lines: Vec<String> = contents
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    match lines.len() {
        0 => "nothing".to_owned(),
        _ => lines.join(", "),
    }
}

pub fn set(key: &str, value: &str) -> Line {
    (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

pub fn remove(key: &str) -> Line {
    (key.as_bytes().to_vec(), None)
}

/// What a store shows after these commits.
pub fn applied(commits: &[Vec<Line>]) -> Contents {
    let begin = Contents::new();
    commits
        .iter()
        .fold(begin, |contents, lines| with(contents, lines))
}

pub fn with(mut contents: Contents, lines: &[Line]) -> Contents {
    for (key, value) in lines {
        match value {
            Some(value) => contents.insert(shown(key), shown(value)),
            None => contents.remove(&shown(key)),
        };
    }
    contents
}
