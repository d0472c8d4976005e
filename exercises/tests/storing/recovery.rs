//! What does a store make of a directory?

use super::Files;
use super::world::{Contents, commit, contents, open, others, set, with};
use observe::{Child, Failure, Scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub type Shown = Result<Contents, Failure>;

/// What a store made of a directory.
pub struct Found {
    pub shown: Shown,
    /// After it was opened.
    pub log: Vec<u8>,
    others: Vec<String>,
    /// When something was committed, and it was opened again.
    again: Shown,
}

impl Found {
    #[track_caller]
    pub fn shown(&self, case: &str) -> &Contents {
        match &self.shown {
            Ok(shown) => shown,
            Err(failure) => panic!("{case}: the store can't be opened: {failure}"),
        }
    }

    #[track_caller]
    pub fn assert_usable(&self, case: &str, shown: &Contents) {
        assert!(
            self.others.is_empty(),
            "{case}: the store was opened, and {} still lies beside the log",
            self.others.join(", ")
        );
        let expected = with(shown.clone(), &[set("probe", "1")]);
        match &self.again {
            Ok(again) => assert_eq!(
                *again, expected,
                "{case}; then a commit, and it was opened again"
            ),
            Err(failure) => {
                panic!("{case}; then a commit, or opening it again, failed with {failure}")
            }
        }
    }
}

/// Opens a store in each of these directories; then again, to commit something; then again.
#[track_caller]
pub fn recover(directories: impl IntoIterator<Item = Files>) -> Vec<Found> {
    let scratch = Scratch::new();
    let mut places: Vec<PathBuf> = Vec::new();
    for files in directories {
        let place = scratch.join(places.len().to_string());
        fs::create_dir(&place).unwrap();
        for (name, bytes) in files {
            fs::write(place.join(name), bytes).unwrap();
        }
        places.push(place);
    }
    let each = |look: fn(&Path) -> Shown| {
        let look = || {
            places
                .iter()
                .map(|place| look(place))
                .collect::<Vec<Shown>>()
        };
        Child::new()
            .limit(Duration::from_secs(100))
            .run(look)
            .returned()
    };
    let shown = each(|place| open(place).map(|store| contents(&store)));
    let left: Vec<(Vec<u8>, Vec<String>)> = places
        .iter()
        .map(|place| {
            (
                fs::read(place.join("log")).unwrap_or_default(),
                others(place),
            )
        })
        .collect();
    let again = each(|place| {
        commit(&mut open(place)?, &[set("probe", "1")])?;
        open(place).map(|store| contents(&store))
    });
    let found = shown.into_iter().zip(left).zip(again);
    let found = found.map(|((shown, (log, others)), again)| Found {
        shown,
        log,
        others,
        again,
    });
    found.collect()
}
