//! # Can you read a file without read?
//!
//! mmap(2) gives the bytes of a file addresses. The first touch of a page is a page fault, and the
//! kernel puts the page of its cache there: no buffer, no copy, and a line of the file is a slice of
//! memory. That memory belongs to the file, though, and anybody may cut the file short (truncate(2)).
//! Then the pages behind its new end are gone: whoever touches one gets SIGBUS and is dead. Where the
//! new end lies inside a page nobody is told: the bytes behind it read as 0.
//!
//! Asking fstat(2) *before* touching is a race, since the cut comes right after. So touch first, and
//! survive it: a handler for SIGBUS can map a page of zeros over the address that siginfo_t names, note
//! that it did, and return; the instruction runs again and finds zeros. *Then* ask: did that
//! happen, is the file shorter? If so, what was read may never have been in the file.
//!
//! Man pages: mmap(2) (ERRORS, NOTES; MAP_FIXED), sigaction(2) (SA_SIGINFO, si_addr), signal-safety(7),
//! truncate(2).
//! Notebook: `04-file-systems.ipynb#the-page-cache`.

use std::io;
use std::path::Path;

/// A file as a part of memory. The mapping ends with this value.
#[derive(Debug)]
pub struct MappedFile {
    // TODO: what must be known to find lines, to ask the file for its length, and to unmap? Use libc, nix
    //       or memmap2 as you like. Does dropping it call munmap(2)?
}

impl MappedFile {
    /// Maps the whole file at `path` with one mmap(2), for reading only.
    ///
    /// An empty file can be opened too. Bytes appended later are not seen. At least 64 files may be
    /// mapped at the same time.
    ///
    /// # Safety
    /// Nobody writes into the file while one of its lines is borrowed: `&[u8]` says that its bytes don't
    /// change, and no call can make sure of that for a file. (It may be cut short: see [`Lines`].)
    ///
    /// # Errors
    /// Whatever the kernel says: `ENOENT`, `EACCES` … from open(2); `ENODEV` from mmap(2) for what
    /// cannot be mapped, such as a directory.
    pub unsafe fn open(path: &Path) -> io::Result<MappedFile> {
        // TODO: 1. Open the file, ask for its length, map it. What does mmap(2) say to length 0?
        //       2. Later, for the last stages: install a handler for SIGBUS, once, and let it know
        //          of this mapping. A handler may neither lock nor allocate: atomics in a static.
        todo!("map the file")
    }

    /// The lines from the first byte on, each without its `\n`.
    pub fn lines(&self) -> Lines<'_> {
        todo!("start at the first byte")
    }
}

/// The lines of a [`MappedFile`], as slices of the mapping itself: nothing is copied.
///
/// - A line ends at `\n`, or at the end of the file if bytes are left there. The `\n` is not part of
///   it. Every other byte is, as it is: `\r`, 0, what isn't UTF-8.
/// - The file may be cut short meanwhile. A line is given only if it was wholly in the file when it was
///   searched, and `None` only if the file is still as long as when it was mapped. Otherwise comes
///   one `Err`, and then `None`. (Lines before the cut may be given until then.)
/// - A line that was given stays readable after a cut: its bytes may turn into 0, which the next
///   `next` reports.
/// - No other reader notices: a `SIGBUS` that comes from elsewhere does what it did before.
///
/// # Errors
/// - [`io::ErrorKind::UnexpectedEof`]: the file has become shorter.
/// - `EIO`: a page could not be had though the file is as long as it was (a broken disk, a file cut and
///   grown again).
#[derive(Debug)]
pub struct Lines<'map> {
    map: &'map MappedFile,
    // TODO: where does the next line start?
}

impl<'map> Iterator for Lines<'map> {
    type Item = io::Result<&'map [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        // TODO: 1. Find the next `\n`, or the end of the mapping.
        //       2. Was the file cut short before you were done? Then this is no line.
        //       3. The end comes after the last byte: a `\n` there starts no further line.
        todo!("find the end of the line")
    }
}
