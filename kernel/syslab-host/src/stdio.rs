//! How does a cell get fresh standard descriptors, whatever the last one did to the old ones?
//!
//! First way: the host has the pipes, and the cell process opens them in `/proc/HOST/fd`; that works unless the cell
//! process has lost `/proc` or the right to look (chroot, another user). Second way: it makes pipes itself and the
//! host takes the other ends, by `pidfd_getfd(2)`; that works unless the cell process isn't dumpable. Where neither
//! does, the old descriptors stay.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libc::c_int;

use crate::page::{self, Page, stdio};

const MODES: [c_int; 3] = [libc::O_RDONLY, libc::O_WRONLY, libc::O_WRONLY];

/// In the cell process: descriptors 0, 1 and 2 are new from here on, and the page says how that went.
pub(crate) fn renew(page: &Page) {
    let state = if take(page) {
        stdio::TAKEN
    } else if offer(page) {
        stdio::ACCEPTED
    } else {
        stdio::KEPT
    };
    page.stdio.store(state, Ordering::SeqCst);
}

fn take(page: &Page) -> bool {
    let host = page.host.load(Ordering::SeqCst);
    (0..3).all(|number| {
        let theirs = page.descriptors[number].load(Ordering::SeqCst);
        let path = format!("/proc/{host}/fd/{theirs}\0");
        // SAFETY: the path ends with a zero byte.
        let opened = unsafe { libc::open(path.as_ptr().cast(), MODES[number] | libc::O_NOCTTY) };
        opened != -1 && put(opened, number as c_int)
    })
}

/// Makes `fd` number `number`.
fn put(fd: c_int, number: c_int) -> bool {
    if fd == number {
        return true;
    }
    // SAFETY: `fd` is ours; what `number` was is what the cell gives up.
    unsafe {
        let done = libc::dup2(fd, number) == number;
        libc::close(fd);
        done
    }
}

fn offer(page: &Page) -> bool {
    let mut ends = [[-1; 2]; 3];
    for pair in &mut ends {
        // SAFETY: the kernel writes two descriptors.
        if unsafe { libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC) } == -1 {
            close(&ends);
            return false;
        }
    }
    let theirs = [ends[0][1], ends[1][0], ends[2][0]];
    for (place, fd) in page.descriptors.iter().zip(theirs) {
        place.store(fd, Ordering::SeqCst);
    }
    let seen = page.answered.load(Ordering::SeqCst);
    page.stdio.store(stdio::OFFERED, Ordering::SeqCst);
    page.ring();
    let until = Instant::now() + Duration::from_secs(3);
    while page.stdio.load(Ordering::SeqCst) == stdio::OFFERED && Instant::now() < until {
        page::wait(&page.answered, seen, Some(Duration::from_millis(100)));
    }
    let accepted = page.stdio.load(Ordering::SeqCst) == stdio::ACCEPTED;
    if accepted {
        for (number, fd) in [ends[0][0], ends[1][1], ends[2][1]].into_iter().enumerate() {
            // SAFETY: a descriptor made above; a duplicate has no close-on-exec flag, as 0, 1 and 2 shall have none.
            unsafe { libc::dup2(fd, number as c_int) };
        }
    }
    close(&ends);
    accepted
}

/// Closes those that aren't 0, 1 or 2 themselves.
fn close(ends: &[[c_int; 2]; 3]) {
    for &fd in ends.iter().flatten().filter(|&&fd| fd > 2) {
        // SAFETY: made by `offer`.
        unsafe { libc::close(fd) };
    }
}
