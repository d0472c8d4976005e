//! # How do many disks become one?
//!
//! By a table. LVM and the kernel's device mapper keep, for a logical volume, rows that say: these bytes
//! of the volume lie there, on that disk. A row is *linear* (as they come) or *striped* (dealt to several
//! disks in turn, so that all of them work at once). Space is given in *extents*, all of the same size.
//! Here the disks are files.
//!
//! Each read and write is cut where the answer to "where?" changes. That is arithmetic, and every
//! off-by-one destroys somebody's data. The other trap is growing: a volume that is grown is in use, and
//! a disk may take its time. Whoever locks the table while a disk works makes everybody wait for it.
//!
//! Man pages: pread(2), fstat(2), lvcreate(8), dmsetup(8) ("TABLE FORMAT").
//! Notebook: `04-file-systems.ipynb#one-disk-of-many`.

use std::fs::File;
use std::io;
use std::sync::Arc;

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
    // TODO: the size of an extent, and a table of rows. `grow` takes `&self`.
}

impl LogicalVolume {
    /// A volume without a byte, whose extents have `extent` bytes each (not 0).
    pub fn new(extent: u64) -> LogicalVolume {
        todo!("an empty table")
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
        // TODO: 1. One more row of the table. The checks can wait until the data is right.
        //       2. Later: a read that has begun goes on with the table that it has begun with.
        todo!("add a row to the table")
    }

    /// Bytes of the volume.
    pub fn size(&self) -> u64 {
        todo!("where does the last row end?")
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
        // TODO: 1. Which row holds the byte at `offset`, and where on which device is it?
        //       2. How many bytes from there on lie in a row? Read those; then the same for the next byte.
        todo!("find the row that holds `offset`")
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
        // TODO: the same search. Can the two share it?
        todo!("find the row that holds `offset`")
    }
}
