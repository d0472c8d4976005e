//! # What does a database promise when it says "done"?
//!
//! That it is on the disk. A commit is one record at the end of the log and one fdatasync(2); the map in memory
//! follows. The traps: a bad record with a whole one behind it is damage, not a torn end; what is read after
//! a crash of the program alone may be in the page cache only, so `open` syncs the log, and the
//! directory, before it shows anything; a compaction whose name is not on the disk would lose the commits that
//! follow it; and after a failed write or fsync nobody knows what the log holds, so nothing is appended to
//! it any more.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One line of a commit. Keys and values are any bytes, also none.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The key has this value from now on.
    Set(&'a [u8], &'a [u8]),
    /// The key has no value any more. It need not have had one.
    Remove(&'a [u8]),
}

/// What a log begins with: a file of something else is not cut off as if it were torn.
const MAGIC: &[u8; 8] = b"kvlog 1\n";
const LOG: &str = "log";
/// The log that will be, until it is whole. Whoever has the directory has this name.
const NEW: &str = "log.new";
/// Bytes of a record before its body, and of these the ones before the checksum.
const HEADER: usize = 16;
const CHECKED: usize = 12;
/// The length of a value that isn't there.
const REMOVED: u32 = u32::MAX;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

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
#[derive(Debug)]
pub struct Store {
    map: Map,
    log: File,
    end: u64,
    path: PathBuf,
    /// Synced when a name changes, and locked: the log would not do, for it is replaced.
    directory: File,
    /// Nobody knows what is on the disk.
    broken: bool,
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
        // The working directory may be another one by the time of `compact`.
        let path = std::path::absolute(directory)?;
        let directory = File::open(&path)?;
        directory.try_lock()?;
        remove_if_there(&path.join(NEW))?;

        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path.join(LOG));
        let (map, log, end) = match log {
            Ok(log) => recover(log)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (log, end) = replace_log(&path, &Map::new())?;
                (Map::new(), log, end)
            }
            Err(error) => return Err(error),
        };
        // Also of a log that was there: the process that renamed it may have been killed right after.
        directory.sync_all()?;
        Ok(Store {
            map,
            log,
            end,
            path,
            directory,
            broken: false,
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(Vec::as_slice)
    }

    /// All keys with their values.
    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.map
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
        self.still_whole()?;
        let record = record(self.end, changes)?;
        self.broken = true;
        self.log.write_all_at(&record, self.end)?;
        self.log.sync_data()?;
        self.broken = false;
        self.end += record.len() as u64;
        for change in changes {
            apply(&mut self.map, *change);
        }
        Ok(())
    }

    /// Replaces the log by one that holds every key once, and nothing removed. Later commits go there.
    ///
    /// # Errors
    /// - Up to and with rename(2): whatever the kernel says. The store is as it was, and goes on.
    /// - Of the sync of the directory: as of a failed commit. Which log has the name after a power cut?
    pub fn compact(&mut self) -> io::Result<()> {
        self.still_whole()?;
        let (log, end) = replace_log(&self.path, &self.map)?;
        self.broken = true;
        self.log = log;
        self.end = end;
        self.directory.sync_all()?;
        self.broken = false;
        Ok(())
    }

    fn still_whole(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }
}

/// The map that a log holds, and where it ends. All of it is on the disk when this returns.
fn recover(mut log: File) -> io::Result<(Map, File, u64)> {
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    if !bytes.starts_with(MAGIC) {
        return Err(damaged("not a log"));
    }
    let mut map = Map::new();
    let (mut last, mut at) = (0, MAGIC.len());
    while let Some(body) = body_at(&bytes, at) {
        last = at;
        at += HEADER + body.len();
        let mut rest = body;
        while !rest.is_empty() {
            let (change, after) =
                split_change(rest).ok_or_else(|| damaged("a record of something else"))?;
            apply(&mut map, change);
            rest = after;
        }
    }
    // The next commit begins only when the one before is synced: behind a torn one there can be none.
    if (at + 1..bytes.len()).any(|later| body_at(&bytes, later).is_some()) {
        return Err(damaged("a record in the middle of the log is damaged"));
    }
    log.set_len(at as u64)?;
    // The last record may have been written and never synced. After an fsync that failed its pages count as
    // written, and only who writes them again has them written.
    log.write_all_at(&bytes[last..at], last as u64)?;
    log.sync_all()?;
    Ok((map, log, at as u64))
}

/// Writes a log of this map to a new file, down to the disk, and gives it the name. The name is not synced.
fn replace_log(directory: &Path, map: &Map) -> io::Result<(File, u64)> {
    let new = directory.join(NEW);
    let written = write_log(&new, map).and_then(|done| {
        fs::rename(&new, directory.join(LOG))?;
        Ok(done)
    });
    if written.is_err() {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_log(path: &Path, map: &Map) -> io::Result<(File, u64)> {
    let mut log = BufWriter::new(File::create(path)?);
    log.write_all(MAGIC)?;
    let mut end = MAGIC.len() as u64;
    for (key, value) in map {
        let record = record(end, &[Change::Set(key, value)])?;
        log.write_all(&record)?;
        end += record.len() as u64;
    }
    let log = log.into_inner().map_err(io::IntoInnerError::into_error)?;
    log.sync_all()?;
    Ok((log, end))
}

/// The bytes of a record for the offset `at`.
fn record(at: u64, changes: &[Change<'_>]) -> io::Result<Vec<u8>> {
    let too_large = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let mut bytes = vec![0; HEADER];
    for change in changes {
        let (key, value) = match *change {
            Change::Set(key, value) => (key, Some(value)),
            Change::Remove(key) => (key, None),
        };
        let key_length = u32::try_from(key.len()).map_err(too_large)?;
        let value_length = match value {
            // Of one that has the length `REMOVED` the record would be too large anyway.
            Some(value) => u32::try_from(value.len()).map_err(too_large)?,
            None => REMOVED,
        };
        bytes.extend(key_length.to_le_bytes());
        bytes.extend(value_length.to_le_bytes());
        bytes.extend(key);
        bytes.extend(value.unwrap_or_default());
    }
    let length = u32::try_from(bytes.len() - HEADER).map_err(too_large)?;
    bytes[..8].copy_from_slice(&at.to_le_bytes());
    bytes[8..CHECKED].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&[&bytes[..CHECKED], &bytes[HEADER..]]);
    bytes[CHECKED..HEADER].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// The body of the record at an offset, if there is a whole one.
fn body_at(log: &[u8], at: usize) -> Option<&[u8]> {
    let (header, rest) = log.get(at..)?.split_at_checked(HEADER)?;
    // First what costs nothing: damage is looked for at every offset.
    if header[..8] != (at as u64).to_le_bytes() {
        return None;
    }
    let body = rest.get(..number(&header[8..CHECKED])? as usize)?;
    let sum = number(&header[CHECKED..])?;
    (checksum(&[&header[..CHECKED], body]) == sum).then_some(body)
}

/// The first change of a body, and what comes behind it.
fn split_change(body: &[u8]) -> Option<(Change<'_>, &[u8])> {
    let (lengths, rest) = body.split_at_checked(8)?;
    let (key, rest) = rest.split_at_checked(number(&lengths[..4])? as usize)?;
    match number(&lengths[4..])? {
        REMOVED => Some((Change::Remove(key), rest)),
        length => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            Some((Change::Set(key, value), rest))
        }
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn apply(map: &mut Map, change: Change<'_>) {
    match change {
        Change::Set(key, value) => {
            map.insert(key.to_vec(), value.to_vec());
        }
        Change::Remove(key) => {
            map.remove(key);
        }
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The checksum of a record: CRC-32, as in Ethernet, gzip and PNG, of all `parts` one after the other.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u32 {
    /// What eight steps make of each byte: the polynomial, lowest bit first.
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 2048 {
            let before = if at % 8 == 0 {
                at as u32 / 8
            } else {
                table[at / 8]
            };
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
