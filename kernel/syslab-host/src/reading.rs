//! Does somebody wait for input?
//!
//! A process that is blocked in a read of the cell's stdin, or until there is something to read, shows it in
//! `/proc/PID/task/TID/syscall`; that is so for programs that a cell has started, too.

use libc::{c_int, c_long, pid_t};

/// Whether the process or a descendant of it waits for what `/proc/PID/fd` calls `file`: "pipe:[7]", or "/dev/pts/7".
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
        let waits_for = Call::parse(&call).map_or_else(Vec::new, |call| call.waits_for(pid));
        waits_for.into_iter().any(|fd| {
            let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
            target.is_ok_and(|target| target.to_str() == Some(file))
        })
    })
}

/// A system call that a thread is in: its number and its first arguments.
struct Call {
    number: c_long,
    arguments: [u64; 2],
}

impl Call {
    /// "0 0x0 0x7ffd5c 0x10 …"; "running" is none.
    fn parse(text: &str) -> Option<Call> {
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut argument = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
        Some(Call {
            number,
            arguments: [argument()?, argument()?],
        })
    }

    /// The descriptors that it waits to read from.
    fn waits_for(&self, pid: pid_t) -> Vec<c_int> {
        let [first, second] = self.arguments;
        match self.number {
            libc::SYS_read | libc::SYS_readv | libc::SYS_splice => vec![first as c_int],
            libc::SYS_ppoll => polled(pid, first, second),
            libc::SYS_pselect6 => selected(pid, first, second),
            libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => registered(pid, first),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_poll => polled(pid, first, second),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_select => selected(pid, first, second),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_wait => registered(pid, first),
            _ => Vec::new(),
        }
    }
}

/// Of an array of `struct pollfd`: a descriptor, then in two bytes what is wanted.
fn polled(pid: pid_t, array: u64, count: u64) -> Vec<c_int> {
    let bytes = memory(
        pid,
        array,
        count.min(1024) as usize * size_of::<libc::pollfd>(),
    );
    let wanted = bytes
        .chunks_exact(size_of::<libc::pollfd>())
        .filter_map(|one| {
            let events = i16::from_ne_bytes([one[4], one[5]]);
            (events & libc::POLLIN != 0)
                .then(|| c_int::from_ne_bytes([one[0], one[1], one[2], one[3]]))
        });
    wanted.collect()
}

/// Of an `fd_set`: a bit a descriptor.
fn selected(pid: pid_t, count: u64, set: u64) -> Vec<c_int> {
    let count = count.min(1024) as usize;
    let bytes = memory(pid, set, count.div_ceil(8));
    let is_set = |&fd: &usize| {
        bytes
            .get(fd / 8)
            .is_some_and(|byte| byte >> (fd % 8) & 1 == 1)
    };
    (0..count).filter(is_set).map(|fd| fd as c_int).collect()
}

/// Of an epoll instance: "tfd:        0 events:       19 data: …", the events in hexadecimal.
fn registered(pid: pid_t, epoll: u64) -> Vec<c_int> {
    let path = format!("/proc/{pid}/fdinfo/{}", epoll as c_int);
    let info = std::fs::read_to_string(path).unwrap_or_default();
    let wanted = info.lines().filter_map(|line| {
        let mut words = line.strip_prefix("tfd:")?.split_whitespace();
        let fd = words.next()?.parse().ok()?;
        let events = u32::from_str_radix(words.nth(1)?, 16).ok()?;
        (events & libc::EPOLLIN as u32 != 0).then_some(fd)
    });
    wanted.collect()
}

/// What another process has at an address; less, or nothing, where it can't be read.
fn memory(pid: pid_t, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; length];
    let ours = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: length,
    };
    let theirs = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    // SAFETY: the kernel writes at most `length` bytes into the vector; the other address is only its to check.
    let count = unsafe { libc::process_vm_readv(pid, &raw const ours, 1, &raw const theirs, 1, 0) };
    bytes.truncate(count.max(0) as usize);
    bytes
}
