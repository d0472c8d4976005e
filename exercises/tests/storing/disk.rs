//! What may be on the disk when the power goes?
//!
//! Follows the system calls of a program in one directory. What it wrote is in the page cache; what it synced is on
//! the disk. In between any part of it may be there: nothing, all, the first changes without the last, the last
//! without an earlier one, a write as far as a sector or with zeros where a sector is missing. Names reach the disk
//! in the order in which they were made, as on every file system with a journal, but when they like. What was to be
//! synced when that failed counts as written from then on, so no later sync writes it.

use crate::replacing::{WRITES, place};
use observe::{Arg, Call};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The directory's files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// A directory, as the program sees it and as the disk may have it.
#[derive(Clone)]
pub struct Disk {
    home: PathBuf,
    files: Vec<File>,
    /// The names on the disk, then what each later change made of them; the last are what the program sees.
    names: Vec<BTreeMap<String, usize>>,
    descriptors: HashMap<i32, usize>,
    descriptions: Vec<Description>,
}

#[derive(Clone)]
struct File {
    synced: Vec<u8>,
    pending: Vec<Change>,
    /// So many of them were to be synced, and that failed: their pages count as written.
    given_up: usize,
}

#[derive(Clone)]
enum Change {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    Length(usize),
    /// What a write beyond the end does first: what comes there reads as 0 until the data is on the disk too.
    AtLeast(usize),
}

/// What open(2) made.
#[derive(Clone)]
struct Description {
    /// None is the directory.
    file: Option<usize>,
    at: usize,
    append: bool,
    sync: bool,
}

/// One of the states in which the power may leave the disk.
pub struct Cut {
    pub files: Files,
    /// What of it got there, and what did not.
    pub how: String,
}

impl Disk {
    /// A directory called `home` in the trace, with these files, synced.
    pub fn new(home: &str, files: &Files) -> Disk {
        let mut disk = Disk {
            home: PathBuf::from(home),
            files: Vec::new(),
            names: vec![BTreeMap::new()],
            descriptors: HashMap::new(),
            descriptions: Vec::new(),
        };
        for (name, bytes) in files {
            let file = disk.add(bytes.clone());
            disk.names[0].insert(name.clone(), file);
        }
        disk
    }

    /// Appends to a file without syncing it.
    pub fn append(&mut self, name: &str, bytes: &[u8]) {
        let file = self.named(name).expect("a file of that name");
        let at = self.files[file].cached().len();
        let bytes = bytes.to_vec();
        self.files[file].pending.push(Change::Write { at, bytes });
    }

    /// Gives the name to another file, which is synced; the name is not.
    pub fn replace(&mut self, name: &str, bytes: &[u8]) {
        let file = self.add(bytes.to_vec());
        self.names_become(|names| {
            names.insert(name.to_owned(), file);
        });
    }

    /// What the program sees.
    pub fn cached(&self) -> Files {
        let names = self.names.last().expect("the names of now");
        let file = |(name, file): (&String, &usize)| (name.clone(), self.files[*file].cached());
        names.iter().map(file).collect()
    }

    /// Follows one call. Whether it changed what the disk has, or may have.
    pub fn follow(&mut self, call: &Call) -> bool {
        let fd = call.args[0] as i32;
        let description = self.descriptors.get(&fd).copied();
        let file = description.and_then(|it| self.descriptions[it].file);
        let Some(Ok(result)) = call.result else {
            if let (true, Some(libc::EIO), Some(file)) = (call.is("fsync"), call.errno(), file) {
                self.files[file].given_up = self.files[file].pending.len();
            }
            return false;
        };
        let result = result as usize;
        let offset = call.args[3] as usize;
        match call.family {
            "open" => return self.open(call, result as i32),
            "close" => {
                self.descriptors.remove(&fd);
            }
            "dup" => self.duplicate(fd, result as i32),
            "fcntl" if [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&(call.args[1] as i32)) => {
                self.duplicate(fd, result as i32);
            }
            "lseek" | "read" | "readv" => {
                if let Some(description) = description {
                    let description = &mut self.descriptions[description];
                    let from = if call.is("lseek") { 0 } else { description.at };
                    description.at = from + result;
                }
            }
            "truncate" => {
                let file = match call.path() {
                    Some(_) => self.name(&place(call)).and_then(|name| self.named(&name)),
                    None => file,
                };
                if let Some(file) = file {
                    self.files[file]
                        .pending
                        .push(Change::Length(call.args[1] as usize));
                    return true;
                }
            }
            "fsync" => match description.map(|it| self.descriptions[it].file) {
                Some(Some(file)) => self.files[file].sync(),
                Some(None) => self.sync_names(),
                None => return false,
            },
            "sync" => {
                self.files.iter_mut().for_each(File::sync);
                self.sync_names();
            }
            "rename" | "link" => {
                let from = self.name(&place(call));
                let to = self.second_name(call);
                let file = from.as_ref().and_then(|from| self.named(from));
                let moved = call.is("rename");
                self.names_become(|names| {
                    names.retain(|name, _| !moved || from.as_ref() != Some(name));
                    names.extend(to.zip(file));
                });
            }
            "unlink" => {
                let gone = self.name(&place(call));
                self.names_become(|names| names.retain(|name, _| gone.as_ref() != Some(name)));
            }
            family if WRITES.contains(&family) => {
                let at = family.starts_with('p').then_some(offset);
                return description.is_some_and(|it| self.write(it, at, written(call)));
            }
            _ => return false,
        }
        ["fsync", "sync", "rename", "link", "unlink"].contains(&call.family)
    }

    /// Every state that the disk may have when the power is cut now.
    pub fn cuts(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for (nth, names) in self.names.iter().enumerate() {
            let how = match self.names.len() - 1 - nth {
                0 => String::new(),
                1 => "the last change of a name is lost".to_owned(),
                lost => format!("the last {lost} changes of names are lost"),
            };
            let mut states = vec![(Files::new(), how)];
            for (name, file) in names {
                let file = self.files[*file].states();
                states = states
                    .iter()
                    .flat_map(|(files, how)| {
                        file.iter().map(move |(bytes, part)| {
                            let mut files = files.clone();
                            files.insert(name.clone(), bytes.clone());
                            let mut how = how.clone();
                            if !part.is_empty() {
                                how += if how.is_empty() { "" } else { ", " };
                                how += &format!("of what was written to {name}: {part}");
                            }
                            (files, how)
                        })
                    })
                    .collect();
            }
            cuts.extend(states.into_iter().map(|(files, how)| {
                let how = if how.is_empty() {
                    "all of it on the disk".to_owned()
                } else {
                    how
                };
                Cut { files, how }
            }));
        }
        cuts
    }

    fn open(&mut self, call: &Call, fd: i32) -> bool {
        let path = place(call);
        let flags: String = call.decoded.iter().map(|arg| format!("{arg}|")).collect();
        let has = |flag: &str| flags.contains(flag);
        let mut changed = false;
        let file = if path == self.home {
            None
        } else {
            let Some(name) = self.name(&path) else {
                return false;
            };
            let file = self.named(&name).unwrap_or_else(|| {
                changed = true;
                let file = self.add(Vec::new());
                self.names_become(|names| {
                    names.insert(name, file);
                });
                file
            });
            if (has("O_TRUNC") || call.is("creat")) && !self.files[file].cached().is_empty() {
                changed = true;
                self.files[file].pending.push(Change::Length(0));
            }
            Some(file)
        };
        self.descriptions.push(Description {
            file,
            at: 0,
            append: has("O_APPEND"),
            sync: has("O_SYNC") || has("O_DSYNC"),
        });
        self.descriptors.insert(fd, self.descriptions.len() - 1);
        changed
    }

    fn write(&mut self, description: usize, at: Option<usize>, bytes: Vec<u8>) -> bool {
        let description = &mut self.descriptions[description];
        let Some(file) = description.file else {
            return false;
        };
        let file = &mut self.files[file];
        let start = match at {
            _ if description.append => file.cached().len(),
            Some(at) => at,
            None => description.at,
        };
        if at.is_none() {
            description.at = start + bytes.len();
        }
        file.pending.push(Change::Write { at: start, bytes });
        if description.sync {
            file.sync();
        }
        true
    }

    fn duplicate(&mut self, fd: i32, copy: i32) {
        if let Some(description) = self.descriptors.get(&fd) {
            self.descriptors.insert(copy, *description);
        }
    }

    fn add(&mut self, synced: Vec<u8>) -> usize {
        self.files.push(File {
            synced,
            pending: Vec::new(),
            given_up: 0,
        });
        self.files.len() - 1
    }

    /// The name of a path in this directory.
    fn name(&self, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_str()?.to_owned();
        (path.parent() == Some(&self.home)).then_some(name)
    }

    /// Where a call moves something to.
    fn second_name(&self, call: &Call) -> Option<String> {
        let mut paths = call.decoded.iter().filter_map(|arg| match arg {
            Arg::Path(path) => Some(observe::redact(path)),
            _ => None,
        });
        let path = paths.nth(1)?;
        if path.starts_with(['/', '$']) {
            self.name(Path::new(&path))
        } else {
            self.name(&self.home.join(path))
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.names.last()?.get(name).copied()
    }

    fn names_become(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>)) {
        let mut names = self.names.last().cloned().unwrap_or_default();
        change(&mut names);
        self.names.push(names);
    }

    fn sync_names(&mut self) {
        self.names.drain(..self.names.len() - 1);
    }
}

impl File {
    fn cached(&self) -> Vec<u8> {
        self.with(&self.pending)
    }

    fn with<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in changes {
            change.apply(&mut bytes);
        }
        bytes
    }

    /// Of what was given up only what has been written again gets to the disk.
    fn sync(&mut self) {
        let written = self.pending.split_off(self.given_up);
        self.synced = self.with(&written);
        self.pending.retain(|lost| !lost.covered(&written));
        self.given_up = self.pending.len();
    }

    /// What the disk may have of it, and in words what is missing.
    fn states(&self) -> Vec<(Vec<u8>, String)> {
        let count = self.pending.len();
        let mut states = vec![(self.cached(), String::new())];
        for kept in (0..count).rev() {
            let earlier = self.with(&self.pending[..kept]);
            let (lost, and) = match kept {
                0 => ("nothing".to_owned(), String::new()),
                _ => (
                    format!("{kept} of {count} changes"),
                    format!("{kept} of {count} changes, and "),
                ),
            };
            let torn = self.pending[kept].parts().into_iter().map(|(part, how)| {
                let mut torn = earlier.clone();
                part.iter().for_each(|change| change.apply(&mut torn));
                (torn, format!("{and}{how}"))
            });
            let torn: Vec<_> = torn.collect();
            states.push((earlier, lost));
            states.extend(torn);
        }
        for left_out in 0..count.saturating_sub(1) {
            let others = self.pending[..left_out].iter();
            let bytes = self.with(others.chain(&self.pending[left_out + 1..]));
            let how = format!("all but change {} of {count}", left_out + 1);
            states.push((bytes, how));
        }
        let mut seen = BTreeSet::new();
        states.retain(|(bytes, _)| seen.insert(bytes.clone()));
        states
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Length(length) => file.resize(*length, 0),
            Change::AtLeast(length) => file.resize(file.len().max(*length), 0),
            Change::Write { at, bytes } => {
                let end = at + bytes.len();
                Change::AtLeast(end).apply(file);
                file[*at..end].copy_from_slice(bytes);
            }
        }
    }

    /// Whether these changes, later ones, leave nothing of it.
    fn covered(&self, later: &[Change]) -> bool {
        let Change::Write { at, bytes } = self else {
            return false;
        };
        (*at..at + bytes.len()).all(|byte| {
            later.iter().any(|change| match change {
                Change::Write { at, bytes } => (*at..at + bytes.len()).contains(&byte),
                Change::Length(length) => byte >= *length,
                Change::AtLeast(_) => false,
            })
        })
    }

    /// What may be there of it.
    fn parts(&self) -> Vec<(Vec<Change>, String)> {
        let Change::Write { at, bytes } = self else {
            return Vec::new();
        };
        let write = |from: usize, to: usize| Change::Write {
            at: at + from,
            bytes: bytes[from..to].to_vec(),
        };
        let all = bytes.len();
        let sectors = (1..all).filter(|cut| (at + cut) % SECTOR == 0);
        let mut ends: BTreeSet<usize> = sectors.chain([1, 8, 12, 16, 17, all / 2]).collect();
        ends.insert(all.saturating_sub(1));
        let length = || Change::AtLeast(at + all);
        let mut parts = vec![(
            vec![length()],
            format!("the length without its {all} bytes"),
        )];
        for end in ends.into_iter().filter(|end| (1..all).contains(end)) {
            let first = || write(0, end);
            parts.push((vec![first()], format!("{end} bytes of {all}")));
            parts.push((
                vec![length(), first()],
                format!("the length with {end} bytes of {all}"),
            ));
            parts.push((
                vec![length(), write(end, all)],
                format!("all but the first {end} bytes of {all}"),
            ));
        }
        parts
    }
}

/// The bytes that a call has written.
fn written(call: &Call) -> Vec<u8> {
    let count = call.result.and_then(Result::ok).unwrap_or(0) as usize;
    let bytes = call.decoded.iter().find_map(|arg| match arg {
        Arg::Bytes { start, .. } => Some(start.clone()),
        _ => None,
    });
    let mut bytes = bytes.unwrap_or_default();
    bytes.truncate(count);
    bytes
}
