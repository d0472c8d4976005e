//! What is told of a tree while it changes: by the watch, in a child, and held against the tree each time.

use super::oracle::{FAILED, Paths, Told, assert_same, changed, list, text, words, write};
use crate::watch_tree::{Event, WatchTree};
use observe::{Child, Failure, Scratch, errno};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Long enough for a late half of a rename.
pub const SHORT: Duration = Duration::from_millis(30);

/// A tree of empty files to watch, beside what is outside.
pub struct World {
    pub scratch: Scratch,
    pub root: PathBuf,
}

impl World {
    pub fn new(files: &[&str]) -> World {
        let scratch = Scratch::new();
        let root = scratch.join("root");
        fs::create_dir(&root).unwrap();
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            write(&root, file);
        }
        World { scratch, root }
    }

    /// What is told while `act` changes the tree in a child, held against the tree.
    #[track_caller]
    pub fn told(&self, what: &str, act: impl Fn(&mut WatchTree) -> Vec<Told>) -> Vec<Told> {
        self.told_to(Child::new(), what, || (), act)
    }

    #[track_caller]
    pub fn told_to(
        &self,
        child: Child,
        what: &str,
        begin: impl Fn(),
        act: impl Fn(&mut WatchTree) -> Vec<Told>,
    ) -> Vec<Told> {
        let start = list(&self.root);
        let (before, told, after) = child
            .run(|| {
                begin();
                let mut tree = errno(WatchTree::new(&self.root))?;
                let before = paths(&tree);
                let told = act(&mut tree);
                Ok::<_, Failure>((before, told, paths(&tree)))
            })
            .returned()
            .unwrap_or_else(|failure| panic!("{what}: WatchTree::new failed with {failure}"));
        let missed: Paths = start.difference(&before).cloned().collect();
        assert!(
            missed.is_empty(),
            "`paths` of a new watch has not {}, which was there before",
            words(&missed)
        );
        let there = list(&self.root);
        assert_same(what, &changed(what, before, &told), &there);
        assert_same(&format!("{what}, by `paths`"), &after, &there);
        told
    }
}

/// All that is told from now on, until nothing is.
pub fn rest(tree: &mut WatchTree) -> Vec<Told> {
    let mut all = Vec::new();
    loop {
        let some = next(tree, SHORT);
        let last = some.last().is_none_or(|(kind, _)| kind == FAILED);
        all.extend(some);
        if last {
            return all;
        }
        assert!(all.len() < 10_000_000, "events come without an end");
    }
}

pub fn next(tree: &mut WatchTree, timeout: Duration) -> Vec<Told> {
    match errno(tree.events(timeout)) {
        Ok(events) => events.iter().map(told).collect(),
        Err(failure) => vec![(FAILED.to_owned(), vec![failure.to_string()])],
    }
}

pub fn told(event: &Event) -> Told {
    let (kind, paths) = match event {
        Event::Created(path) => ("Created", vec![path]),
        Event::Removed(path) => ("Removed", vec![path]),
        Event::Renamed { from, to } => ("Renamed", vec![from, to]),
        Event::Written(path) => ("Written", vec![path]),
        Event::Lost => ("Lost", vec![]),
    };
    (
        kind.to_owned(),
        paths.into_iter().map(|path| text(path)).collect(),
    )
}

pub fn paths(tree: &WatchTree) -> Paths {
    tree.paths().iter().map(|path| text(path)).collect()
}
