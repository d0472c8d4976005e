//! Does somebody wait for input?
//!
//! A process that is blocked in a read of the cell's stdin shows it in `/proc/PID/task/TID/syscall`; that is so for
//! programs that a cell has started, too.

use libc::{c_long, pid_t};

/// Whether the process or a descendant of it is blocked reading what `/proc/PID/fd` calls `file`: "pipe:[7]", or
/// "/dev/pts/7".
pub(crate) fn somebody_reads(process: pid_t, file: &str) -> bool {
    let mut all = vec![process];
    all.extend(crate::tree::descendants(process));
    all.into_iter().any(|pid| reads(pid, file))
}

fn reads(pid: pid_t, file: &str) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().any(|thread| {
        let call = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        let mut words = call.split_whitespace();
        let number = words.next().and_then(|word| word.parse::<c_long>().ok());
        if !matches!(number, Some(libc::SYS_read | libc::SYS_readv)) {
            return false;
        }
        let fd = words.next().map(|word| word.trim_start_matches("0x"));
        let Some(fd) = fd.and_then(|fd| u32::from_str_radix(fd, 16).ok()) else {
            return false;
        };
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        target.is_ok_and(|target| target.to_str() == Some(file))
    })
}
