//! Could the process load another cell, as this one has left it?
//!
//! A cell may lower its limits to nothing, or shut itself into a directory. What can be put right is put right, and
//! said; what can't is told to the host, which then goes back to before the cell.

use std::ffi::CString;
use std::io;
use std::sync::atomic::Ordering;

use crate::page::{NOTES, Page, note};

/// # Errors
/// Why not, in a sentence.
pub(crate) fn check(page: &Page) -> Result<(), String> {
    const LIMITS: [(u32, &str); 5] = [
        (libc::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
        (libc::RLIMIT_AS, "RLIMIT_AS"),
        (libc::RLIMIT_DATA, "RLIMIT_DATA"),
        (libc::RLIMIT_STACK, "RLIMIT_STACK"),
        (libc::RLIMIT_NPROC, "RLIMIT_NPROC"),
    ];
    let Err(first) = try_loading(page) else {
        return Ok(());
    };
    let raised: Vec<&str> = LIMITS
        .into_iter()
        .filter(|&(limit, _)| raise(limit))
        .map(|(_, name)| name)
        .collect();
    if !raised.is_empty() && try_loading(page).is_ok() {
        let said = format!(
            "{} raised again: under it no other cell could be loaded",
            raised.join(" and ")
        );
        if page.notes.load(Ordering::SeqCst) < NOTES as u64 {
            page.note(note::REMARK, said.as_bytes());
        }
        return Ok(());
    }
    Err(match first.raw_os_error() {
        Some(libc::ENOENT) => "inside another root directory, or without the session's folder, no other cell can be found".into(),
        Some(libc::EACCES) => "as this user it may not read the next cell".into(),
        _ => format!("it could not load another cell: {first}"),
    })
}

/// What loading a cell takes: a descriptor, the file, and room in the address space.
fn try_loading(page: &Page) -> io::Result<()> {
    const ROOM: usize = 4 << 20;
    let path = CString::new(page.library.get()).unwrap_or_default();
    // SAFETY: a C string; the descriptor is closed at once, the mapping is ours and removed at once.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        libc::close(fd);
        let room = libc::mmap(
            std::ptr::null_mut(),
            ROOM,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if room == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::munmap(room, ROOM);
    }
    Ok(())
}

/// The soft limit becomes the hard one; whether that changed anything.
fn raise(limit: u32) -> bool {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads and writes one struct of ours.
    unsafe {
        if libc::getrlimit(limit, &raw mut now) == -1 || now.rlim_cur == now.rlim_max {
            return false;
        }
        // A stack without a limit changes where everything else is mapped.
        if limit == libc::RLIMIT_STACK {
            return false;
        }
        now.rlim_cur = now.rlim_max;
        libc::setrlimit(limit, &raw const now) == 0
    }
}
