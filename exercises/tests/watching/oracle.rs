//! What the events of a watch are held against: a list of paths, and what happens to a tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// An event as it crosses from the child: what, and of which paths. [`FAILED`], and why, is the last one.
pub type Told = (String, Vec<String>);

/// `events` returned an error.
pub const FAILED: &str = "failed";

/// A list of paths.
pub type Paths = BTreeSet<String>;

/// Does to a list of paths what events say, and says where one does not fit.
#[track_caller]
pub fn changed(what: &str, mut list: Paths, told: &[Told]) -> Paths {
    assert_no_failure(what, told);
    for event in told {
        let (kind, paths) = event;
        match (kind.as_str(), &paths[..]) {
            ("Created", [path]) => {
                let above = path.rsplit_once('/').map(|(above, _)| above);
                if above.is_some_and(|above| !list.contains(above)) {
                    misfit(what, event, "its directory was not there by then");
                }
                if !list.insert(path.clone()) {
                    misfit(what, event, "it was there already");
                }
            }
            ("Removed", [path]) => {
                if !list.contains(path) {
                    misfit(what, event, "it was not there by then");
                }
                list.retain(|other| !is_below(other, path));
            }
            ("Renamed", [from, to]) => {
                if !list.contains(from) {
                    misfit(what, event, "it was not there by then");
                }
                list.retain(|other| !is_below(other, to));
                list = list
                    .into_iter()
                    .map(|path| match is_below(&path, from) {
                        true => format!("{to}{}", &path[from.len()..]),
                        false => path,
                    })
                    .collect();
            }
            ("Written", [path]) if !list.contains(path) => {
                misfit(what, event, "it was not there by then");
            }
            _ => {}
        }
    }
    list
}

pub fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[track_caller]
fn misfit(what: &str, event: &Told, why: &str) -> ! {
    panic!("{what}: there came {}, and {why}", shown(event));
}

#[track_caller]
pub fn assert_no_failure(what: &str, told: &[Told]) {
    if let Some((_, why)) = told.iter().find(|(kind, _)| kind == FAILED) {
        panic!("{what}: `events` failed with {}", why.join(", "));
    }
}

#[track_caller]
pub fn assert_same(what: &str, list: &Paths, expected: &Paths) {
    let missing: Paths = expected.difference(list).cloned().collect();
    let extra: Paths = list.difference(expected).cloned().collect();
    assert!(
        missing.is_empty(),
        "{what}: the list has not {}, which is there",
        words(&missing)
    );
    assert!(
        extra.is_empty(),
        "{what}: the list has still {}, which is not there",
        words(&extra)
    );
}

#[track_caller]
pub fn assert_once(told: &[Told], kind: &str, path: &str) {
    let found = told
        .iter()
        .filter(|(what, paths)| what == kind && paths[0] == path);
    let found = found.count();
    assert!(
        found == 1,
        "{kind} of {path} was told {found} times instead of once"
    );
}

pub fn shown((kind, paths): &Told) -> String {
    format!("{kind} {}", paths.join(" to "))
}

pub fn words(paths: &Paths) -> String {
    match paths.len() {
        0 => "nothing".to_owned(),
        _ => paths.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What is below `root`, by looking.
pub fn list(root: &Path) -> Paths {
    let (mut list, mut todo) = (Paths::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            list.insert(text(entry.path().strip_prefix(root).unwrap()));
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    list
}

pub fn write(root: &Path, path: &str) {
    fs::write(root.join(path), b"").unwrap();
}

pub fn mkdir(root: &Path, path: &str) {
    fs::create_dir(root.join(path)).unwrap();
}

pub fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).unwrap();
}

pub fn remove(root: &Path, path: &str) {
    fs::remove_file(root.join(path)).unwrap();
}

/// The same numbers each time: a failure is one that can be seen again.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        // Knuth's MMIX generator; its upper bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// One to three names of three.
    fn path(&mut self) -> String {
        let names: Vec<&str> = (0..=self.below(3))
            .map(|_| ["a", "b", "c"][self.below(3) as usize])
            .collect();
        names.join("/")
    }

    /// Does something to the tree, if it can be done, and says what.
    pub fn change(&mut self, root: &Path, outside: &Path) -> Option<String> {
        let (path, other) = (self.path(), self.path());
        let (inside, stash) = (root.join(&path), outside.join("x"));
        let (done, what) = match self.below(9) {
            0..=2 => (fs::create_dir(&inside), format!("mkdir {path}")),
            3 => (fs::write(&inside, b""), format!("write {path}")),
            4 => (fs::remove_file(&inside), format!("rm {path}")),
            5 if self.below(2) == 0 => (fs::remove_dir_all(&inside), format!("rm -r {path}")),
            6 => (fs::rename(&inside, &stash), format!("mv {path} ../x")),
            7 => (fs::rename(&stash, &inside), format!("mv ../x {path}")),
            _ => (
                fs::rename(&inside, root.join(&other)),
                format!("mv {path} {other}"),
            ),
        };
        done.ok().map(|()| what)
    }
}
