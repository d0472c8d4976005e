//! What does a commit cost beside a database that people use, and beside the disk alone?
//!
//! `cargo bench -p solutions --bench kv_store [directory]` prints a Markdown table: the median of what an
//! operation took, and of its ratio to `kv_store`'s in the same round. All three promise the same: a commit returns
//! when it is on the disk, by one fdatasync(2). They take turns within each round, so that a busy moment of the
//! disk falls on all of them. On tmpfs a sync costs nothing and the commits say nothing: the directory
//! should be on a disk; without one it is cargo's, below `target`.
//!
//! The store and redb are not the same thing: the store has all of it in memory and reads the whole log when it is
//! opened, redb reads the pages that it needs. The rows `get` and `open` show what that is worth.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, TableDefinition};
use solutions::ch04_file_systems::kv_store::{Change, Store};

const ROUNDS: usize = 21;
const KEYS: usize = 20_000;
const VALUE: [u8; 100] = [b'v'; 100];
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("t");
/// Operations, and how many changes each commits: commits of a round take part of a second on a slow disk.
const COMMITS: [(&str, usize, usize); 2] = [
    ("commit of 1 change", 50, 1),
    ("commit of 100 changes", 10, 100),
];
const KINDS: [&str; 3] = ["kv_store", "redb", "write and fdatasync"];

fn main() {
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let place = directory.join(format!("kv_store-{}", std::process::id()));
    fs::create_dir_all(&place).expect("a directory of our own");
    let mut contenders = Contenders::new(&place);

    println!(
        "{KEYS} keys, values of {} bytes, {ROUNDS} rounds, in {}",
        VALUE.len(),
        directory.display()
    );
    println!(
        "\n| median, µs (ratio to kv_store) | {} |",
        KINDS.join(" | ")
    );
    println!("|--|--:|--:|--:|");
    for (name, commits, changes) in COMMITS {
        row(name, commits, |kind, round| {
            contenders.commit(kind, round * commits, commits, changes)
        });
    }
    row("get", KEYS, |kind, _| contenders.get(kind));
    row("open", 1, |kind, _| contenders.open(kind));
    drop(contenders);
    fs::remove_dir_all(&place).expect("our own directory");
}

/// Measures all kinds in turns; none where a kind has no such operation.
fn row(name: &str, operations: usize, mut run: impl FnMut(usize, usize) -> Option<Duration>) {
    let mut rounds = [const { Vec::new() }; KINDS.len()];
    for round in 0..ROUNDS {
        for turn in 0..KINDS.len() {
            // Each comes first as often as last: a sync leaves work behind for the next one.
            let kind = (round + turn) % KINDS.len();
            let took = run(kind, round);
            rounds[kind].extend(took.map(|took| took.as_secs_f64() * 1e6 / operations as f64));
        }
    }
    let cells = rounds.each_ref().map(|times| {
        if times.is_empty() {
            return "–".to_owned();
        }
        let ratios = times.iter().zip(&rounds[0]).map(|(time, ours)| time / ours);
        format!(
            "{:.2} ({:.2})",
            median(times.iter().copied()),
            median(ratios)
        )
    });
    println!("| {name} | {} |", cells.join(" | "));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The same contents in each.
struct Contenders {
    place: PathBuf,
    // None while it is opened anew.
    store: Option<Store>,
    redb: Option<Database>,
    file: File,
    end: u64,
}

impl Contenders {
    fn new(place: &Path) -> Contenders {
        let mut contenders = Contenders {
            place: place.to_owned(),
            store: Some(Store::open(place).expect("a new store")),
            redb: Some(Database::create(place.join("redb")).expect("a new database")),
            file: File::create(place.join("file")).expect("a new file"),
            end: 0,
        };
        for kind in 0..2 {
            contenders.commit(kind, 0, KEYS / 1000, 1000);
        }
        contenders
    }

    /// Commits, the first of them number `from`, of so many changes each.
    fn commit(
        &mut self,
        kind: usize,
        from: usize,
        commits: usize,
        changes: usize,
    ) -> Option<Duration> {
        let batches: Vec<Vec<[u8; 16]>> = (from..from + commits)
            .map(|commit| {
                (commit * changes..(commit + 1) * changes)
                    .map(key)
                    .collect()
            })
            .collect();
        let start = Instant::now();
        for batch in &batches {
            match kind {
                0 => {
                    let changes: Vec<_> =
                        batch.iter().map(|key| Change::Set(key, &VALUE)).collect();
                    self.store.as_mut()?.commit(&changes).expect("a commit");
                }
                1 => {
                    // Its durability is Immediate unless something else is asked for.
                    let transaction = self.redb.as_ref()?.begin_write().expect("a transaction");
                    let mut table = transaction.open_table(TABLE).expect("a table");
                    for key in batch {
                        table.insert(&key[..], &VALUE[..]).expect("an insertion");
                    }
                    drop(table);
                    transaction.commit().expect("a commit");
                }
                _ => {
                    let mut bytes = Vec::new();
                    for key in batch {
                        bytes.extend_from_slice(key);
                        bytes.extend_from_slice(&VALUE);
                    }
                    self.file.write_all_at(&bytes, self.end).expect("a write");
                    self.file.sync_data().expect("a sync");
                    self.end += bytes.len() as u64;
                }
            }
        }
        Some(start.elapsed())
    }

    /// Every key once, in an order without a pattern.
    fn get(&self, kind: usize) -> Option<Duration> {
        // Prime to the number of keys.
        let keys: Vec<[u8; 16]> = (0..KEYS).map(|at| key(at * 7919 % KEYS)).collect();
        let start = Instant::now();
        match kind {
            0 => {
                let store = self.store.as_ref()?;
                for key in &keys {
                    assert_eq!(black_box(store.get(key)), Some(&VALUE[..]));
                }
            }
            1 => {
                let transaction = self.redb.as_ref()?.begin_read().expect("a transaction");
                let table = transaction.open_table(TABLE).expect("the table");
                for key in &keys {
                    let value = table.get(&key[..]).expect("a lookup").expect("a value");
                    assert_eq!(black_box(value.value()), &VALUE[..]);
                }
            }
            _ => return None,
        }
        Some(start.elapsed())
    }

    /// Closes and opens again; what is measured is the opening.
    fn open(&mut self, kind: usize) -> Option<Duration> {
        match kind {
            0 => {
                self.store = None;
                let start = Instant::now();
                self.store = Some(Store::open(&self.place).expect("the store"));
                Some(start.elapsed())
            }
            1 => {
                self.redb = None;
                let start = Instant::now();
                self.redb = Some(Database::open(self.place.join("redb")).expect("the database"));
                Some(start.elapsed())
            }
            _ => None,
        }
    }
}

/// Sixteen bytes, in the order of the numbers.
fn key(number: usize) -> [u8; 16] {
    let digits = format!("{:016}", number % KEYS);
    digits.as_bytes().try_into().expect("sixteen digits")
}
