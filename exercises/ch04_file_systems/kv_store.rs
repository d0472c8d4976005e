//! # What does a database promise when it says "done"?
//!
//! That it is still done after the power was cut in the next instant. A disk gets what was written in its own
//! order, in pieces, or never; only what was synced is there for certain. So a database appends what it
//! is told to a *log*, syncs, and only then says "done"; when it is opened again, it reads the log from the
//! beginning. If the power was cut while it wrote, the piece lies at the end, and nobody was told "done".
//!
//! Three traps. The end of a log may be *torn*, and that is no error; damage before the end is one, and whoever
//! cuts the log off there throws away what he has promised. A log only grows, so sometimes a short
//! one must take its place: a second file, renamed, and two things to sync. And who reads a log after a
//! crash reads the page cache: what he shows to others may not be on the disk yet.
//!
//! Man pages: fsync(2), rename(2), pwrite(2), ftruncate(2), flock(2).
//! Notebook: `04-file-systems.ipynb#when-is-a-write-done`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// One line of a commit. Keys and values are any bytes, also none.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The key has this value from now on.
    Set(&'a [u8], &'a [u8]),
    /// The key has no value any more. It need not have had one.
    Remove(&'a [u8]),
}

/// Keys and values, all of them in memory, and in the file `log` of a directory:
///
/// ```text
/// log    = "kvlog 1\n" record record …
/// record = at (8 bytes) length (4) checksum (4) body (length)      one commit
/// body   = change change …
/// change = key_length (4) value_length (4) key value               value_length 0xffff_ffff: removed
/// ```
///
/// Numbers are little-endian. `at` is the record's own offset in the file, so that a piece of a log that lies
/// somewhere in a value is no record. The checksum is [`checksum`] of the first 12 bytes of the record and
/// the body. A record is *whole* at an offset if all of this holds there.
///
/// - What `commit` or `compact` said `Ok` to survives a power cut at any later moment, and so does
///   everything that an opened store has shown. A commit is there as a whole or not at all, and so
///   are all before it.
/// - A directory belongs to one store at a time. Beside `log` nothing is left in it but, if you like,
///   a file `lock`.
/// - Files change by open(2), write(2) and its kin, ftruncate(2), rename(2) and unlink(2), not through a mapping:
///   the tests follow these calls, and cut the power after each of them in every way that a disk knows.
#[derive(Debug)]
pub struct Store {
    // TODO: the map, the log and where it ends, the directory. What else must outlive `compact`?
}

impl Store {
    /// Opens the store in `directory`, which exists. Where there is no `log` yet, one without a record is made, all
    /// at once as by `compact`. `directory` may be relative, and whoever has the store may call chdir(2) later.
    ///
    /// - The whole records from the beginning on are the store. If no whole record lies anywhere behind
    ///   them, what does lie there is a torn end: it is cut off.
    /// - If one does, something in the middle is damaged, and the log is left as it is.
    /// - What a crash in the middle of `compact` or of the first `open` has left is removed.
    /// - All that it shows is on the disk when it returns. Whoever wrote it may have been killed before he came
    ///   to fsync(2); or that failed: then the kernel counts the pages as written all the same, a later
    ///   fsync says `Ok` to them, and only writing the bytes again gets them to the disk.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidData`]: `log` is damaged in the middle, or does not begin with its first 8 bytes.
    /// - [`io::ErrorKind::WouldBlock`]: it is open already, in this process or another.
    /// - `ENOENT` …: whatever the kernel says.
    pub fn open(directory: &Path) -> io::Result<Store> {
        // TODO: 1. An empty log, made as `compact` makes a short one: never is there a half of it.
        //       2. Read the whole records into the map. A length may be any number: look before you slice.
        //       3. Torn or damaged? Which record that you have read may not be on the disk? A name, too?
        //       4. Nobody else may have it open; and `compact` will put another file in the log's place.
        todo!("read the log, or make an empty one")
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        todo!("look into the map")
    }

    /// All keys with their values.
    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        todo!("show the map")
    }

    /// Makes all these changes, in their order, or none: one record, and one fsync(2) or fdatasync(2).
    ///
    /// A short count of write(2) is continued; `EINTR` of write and fsync means "again".
    ///
    /// # Errors
    /// Whatever write(2) or fsync(2) says. Then nobody knows what is in the log: the store shows nothing of the
    /// commit, and every later `commit` and `compact` fails with `EIO` and touches nothing, until the store
    /// is opened again. (The commit may be there then, or not.)
    pub fn commit(&mut self, changes: &[Change<'_>]) -> io::Result<()> {
        // TODO: one record, at the end of the log; sync; only then the map.
        todo!("make a record of the changes")
    }

    /// Replaces the log by one that holds every key once, and nothing removed. Later commits go there.
    ///
    /// # Errors
    /// - Up to and with rename(2): whatever the kernel says. The store is as it was, and goes on.
    /// - Of the sync of the directory: as of a failed commit. Which log has the name after a power cut?
    pub fn compact(&mut self) -> io::Result<()> {
        // TODO: a new file beside the log, written and synced; its name; the directory.
        todo!("write what is in the map to a new file")
    }
}

/// The checksum of a record: CRC-32, as in Ethernet, gzip and PNG, of all `parts` one after the other. This one
/// is given.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u32 {
    /// What eight steps make of each byte: the polynomial, lowest bit first.
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 2048 {
            let before = if at % 8 == 0 { at as u32 / 8 } else { table[at / 8] };
            table[at / 8] = before >> 1 ^ if before & 1 == 1 { 0xedb8_8320 } else { 0 };
            at += 1;
        }
        table
    };
    let mut crc = !0;
    for byte in parts.iter().copied().flatten() {
        crc = crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize];
    }
    !crc
}
