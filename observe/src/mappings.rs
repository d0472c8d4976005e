//! What does a process have in its address space?

use crate::inside::unseen;
use crate::scratch::redact;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;

/// One mapping, a line of /proc/PID/maps, proc(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// `r-xp`; `s` at the end for a shared one.
    pub permissions: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The file's path, or `[heap]`, `[stack]`, `[vdso]`; empty for anonymous memory.
    pub name: String,
}

impl Mapping {
    /// The mappings of a process, by address.
    ///
    /// # Errors
    /// ENOENT: no such process. EACCES: it is another user's or not dumpable.
    pub fn of(pid: i32) -> io::Result<Vec<Mapping>> {
        let text = unseen(|| fs::read(format!("/proc/{pid}/maps")))?;
        Ok(String::from_utf8_lossy(&text)
            .lines()
            .filter_map(Mapping::parse)
            .collect())
    }

    /// `start-end perms offset device inode name`; the name may hold blanks.
    fn parse(line: &str) -> Option<Mapping> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let permissions = fields.next()?.to_owned();
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let (_device, _inode) = (fields.next()?, fields.next()?);
        Some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            permissions,
            offset,
            name: fields.next().unwrap_or("").trim_start().to_owned(),
        })
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it is shared with other processes that map the same, `MAP_SHARED`.
    pub fn shared(&self) -> bool {
        self.permissions.ends_with('s')
    }

    /// Whether it holds this address.
    pub fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// In words, without its address: `r--s 3 pages of $TMPDIR/data`.
    pub fn words(&self) -> String {
        let page = page_size();
        let name = if self.name.is_empty() {
            "anonymous memory".to_owned()
        } else {
            redact(&self.name)
        };
        let pages = match self.size() / page {
            1 => "1 page".to_owned(),
            pages => format!("{pages} pages"),
        };
        format!("{} {pages} of {name}", self.permissions)
    }
}

fn page_size() -> u64 {
    // SAFETY: sysconf takes an integer.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}
