//! # How do many disks become one?
//!
//! By a table. Each row says which bytes of the volume lie where, and every read and write is cut where
//! the answer changes: at the end of a row and, in a striped one, at the end of every chunk. The traps:
//! a call of the kernel may do less than it was asked, and then the rest still belongs to the same piece;
//! an error behind the first byte must not hide what was done before it; and who grows the volume waits
//! for no disk. So the table is never locked while a device works: whoever reads or writes takes a
//! reference to the table as it is, and growing puts a longer copy in its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Extents in a row on one device, from the one with the number `first`.
#[derive(Clone, Debug)]
pub struct Area {
    /// A regular file, open for reading and writing. Its first byte begins extent 0.
    pub device: Arc<File>,
    /// Number of the first extent.
    pub first: u64,
}

/// How extents of the volume lie on devices.
#[derive(Clone, Debug)]
pub enum Layout {
    /// In a row, as they come.
    Linear(Area),
    /// In chunks of so many bytes, dealt to the areas in turn: the first chunk to the first area, the
    /// second to the second, and behind the last area the first again. Each area holds the same number
    /// of extents.
    Striped {
        /// Bytes of a chunk.
        chunk: u64,
        /// Where the stripes lie, in their order.
        areas: Vec<Area>,
    },
}

/// A block device made of pieces of others. Threads share it by reference.
#[derive(Debug)]
pub struct LogicalVolume {
    /// Bytes of an extent.
    extent: u64,
    /// Held while the table is looked up or replaced, never while a device reads or writes.
    table: Mutex<Arc<Vec<Row>>>,
}

/// Bytes `start..end` of the volume.
#[derive(Clone, Debug)]
struct Row {
    start: u64,
    end: u64,
    layout: Layout,
}

/// Bytes of the volume that lie in a row on one device.
struct Piece<'a> {
    device: &'a File,
    at: u64,
    len: u64,
}

impl LogicalVolume {
    /// A volume without a byte, whose extents have `extent` bytes each (not 0).
    pub fn new(extent: u64) -> LogicalVolume {
        let table = Mutex::default();
        LogicalVolume { extent, table }
    }

    /// Puts `extents` more extents at the volume's end.
    ///
    /// What was there stays where it is, and may be read and written meanwhile: this waits for no read and
    /// for no write, and none waits for it. When it has returned, every thread can use the new bytes. Two
    /// threads that grow it at the same time both get theirs.
    ///
    /// # Errors
    /// The volume is as it was.
    /// - `EINVAL`: `extents` is 0. Of a striped layout: there is no area, `extents` is no multiple of
    ///   their number, or an extent is no multiple of `chunk` (or `chunk` is 0).
    /// - `ENOSPC`: a device ends before its area does.
    /// - `EBUSY`: an extent is in the volume already, or twice in `layout`. Two descriptors may lead to one
    ///   device: `st_dev` and `st_ino` tell.
    pub fn grow(&self, layout: Layout, extents: u64) -> io::Result<()> {
        let each = self.extents_of_an_area(&layout, extents)?;
        for (at, area) in layout.areas().iter().enumerate() {
            let bytes = (area.first.checked_add(each)).and_then(|end| end.checked_mul(self.extent));
            if bytes.is_none_or(|bytes| bytes > area.device.metadata().map_or(0, |data| data.len()))
            {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            for other in &layout.areas()[..at] {
                not_shared((area, each), (other, each))?;
            }
        }
        // Held until the new table is in its place: two who grow at the same time must not get the same bytes.
        let mut table = self.table();
        for row in table.iter() {
            let size = (row.end - row.start) / self.extent / row.layout.areas().len() as u64;
            for other in row.layout.areas() {
                for area in layout.areas() {
                    not_shared((area, each), (other, size))?;
                }
            }
        }
        let start = table.last().map_or(0, |row| row.end);
        let bytes = extents.checked_mul(self.extent);
        let end = bytes
            .and_then(|bytes| bytes.checked_add(start))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
        let mut longer = Vec::clone(&table);
        longer.push(Row { start, end, layout });
        *table = Arc::new(longer);
        Ok(())
    }

    /// Bytes of the volume.
    pub fn size(&self) -> u64 {
        self.table().last().map_or(0, |row| row.end)
    }

    /// Reads from the volume at `offset`, as pread(2): the bytes read, fewer than asked for where the
    /// volume ends, and 0 behind its end.
    ///
    /// For each piece that lies in a row on one device there is one pread(2) (or preadv(2)), no more: a
    /// linear row is one piece, of a striped one each chunk is. A short count is continued, `EINTR`
    /// means "again".
    ///
    /// # Errors
    /// Whatever the kernel says; `EIO` where a device has become too short. Where bytes were read already,
    /// of this piece or an earlier one, their count is returned instead: who goes on there will meet the
    /// error.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.transfer(buf.len(), offset, |piece, done, from| {
            let rest = &mut buf[done..done + (piece.len - from) as usize];
            piece.device.read_at(rest, piece.at + from)
        })
    }

    /// Writes to the volume at `offset`, as pwrite(2): the bytes written, fewer than given where the
    /// volume ends.
    ///
    /// Calls are as those of [`read_at`](LogicalVolume::read_at), in the order of the volume's bytes, and
    /// nothing is written outside of the volume's extents.
    ///
    /// # Errors
    /// As for `read_at` (a device that has become too short grows again, though), and `ENOSPC`: `buf` isn't
    /// empty, and `offset` is at or behind the volume's end.
    pub fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if !buf.is_empty() && offset >= self.size() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.transfer(buf.len(), offset, |piece, done, from| {
            let rest = &buf[done..done + (piece.len - from) as usize];
            piece.device.write_at(rest, piece.at + from)
        })
    }

    /// Calls `call` for one piece after the other, and again for what a short count has left of one. It
    /// gets the piece, the bytes done in all, and the bytes done of this piece.
    fn transfer(
        &self,
        len: usize,
        offset: u64,
        mut call: impl FnMut(&Piece<'_>, usize, u64) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let table = Arc::clone(&self.table());
        let mut done = 0;
        loop {
            let (at, left) = (offset.saturating_add(done as u64), (len - done) as u64);
            let Some(piece) = piece(&table, self.extent, at, left) else {
                return Ok(done);
            };
            let mut from = 0;
            while from < piece.len {
                match call(&piece, done, from) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if done == 0 => return Err(error),
                    Ok(0) if done == 0 => return Err(io::Error::from_raw_os_error(libc::EIO)),
                    Err(_) | Ok(0) => return Ok(done),
                    Ok(count) => {
                        from += count as u64;
                        done += count;
                    }
                }
            }
        }
    }

    /// Extents in each area, if the layout is one.
    fn extents_of_an_area(&self, layout: &Layout, extents: u64) -> io::Result<u64> {
        let number = layout.areas().len() as u64;
        let chunked = match layout {
            Layout::Linear(_) => true,
            Layout::Striped { chunk, .. } => *chunk > 0 && self.extent.is_multiple_of(*chunk),
        };
        if extents == 0 || number == 0 || !extents.is_multiple_of(number) || !chunked {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(extents / number)
    }

    fn table(&self) -> MutexGuard<'_, Arc<Vec<Row>>> {
        // The table is replaced in one step, so a panic cannot have left half of one.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layout {
    fn areas(&self) -> &[Area] {
        match self {
            Layout::Linear(area) => std::slice::from_ref(area),
            Layout::Striped { areas, .. } => areas,
        }
    }
}

/// Two areas with their numbers of extents: `EBUSY` where they share one.
fn not_shared((one, size): (&Area, u64), (other, others): (&Area, u64)) -> io::Result<()> {
    let overlap = one.first < other.first + others && other.first < one.first + size;
    if overlap {
        let (one, other) = (one.device.metadata()?, other.device.metadata()?);
        if (one.dev(), one.ino()) == (other.dev(), other.ino()) {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
    }
    Ok(())
}

/// The piece of at most `len` bytes that begins at `offset`; none at the end, and none of 0 bytes.
fn piece(table: &[Row], extent: u64, offset: u64, len: u64) -> Option<Piece<'_>> {
    let row = &table.get(table.partition_point(|row| row.end <= offset))?;
    let inside = offset - row.start;
    let (area, at, left) = match &row.layout {
        Layout::Linear(area) => (area, inside, row.end - offset),
        Layout::Striped { chunk, areas } => {
            let (number, within) = (inside / chunk, inside % chunk);
            let (turn, stripe) = (number / areas.len() as u64, number % areas.len() as u64);
            (
                &areas[stripe as usize],
                turn * chunk + within,
                chunk - within,
            )
        }
    };
    (len > 0).then(|| Piece {
        device: &area.device,
        at: area.first * extent + at,
        len: left.min(len),
    })
}
