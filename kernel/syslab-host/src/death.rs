//! What killed the cell process?
//!
//! Asked of the kernel while the process is held: the signal's `siginfo_t` at its delivery, and the exit status at its
//! end.

use std::io;

use libc::{c_int, c_void, siginfo_t};

/// A signal as it was delivered, and where.
pub(crate) struct Crash {
    info: siginfo_t,
    ip: u64,
    sp: u64,
}

/// `struct ptrace_syscall_info` up to where it differs (`ptrace(2)`).
#[repr(C)]
#[derive(Default)]
struct Place {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    ip: u64,
    sp: u64,
    rest: [u64; 8],
}

impl Crash {
    /// At a signal-delivery stop.
    pub(crate) fn of(tid: c_int) -> io::Result<Crash> {
        const GET_SYSCALL_INFO: u32 = 0x420e;
        // SAFETY: all zero is a value of siginfo_t.
        let mut info: siginfo_t = unsafe { std::mem::zeroed() };
        let mut place = Place::default();
        // SAFETY: the first request fills a siginfo_t, the second at most as many bytes as it is told.
        unsafe {
            if libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0, &raw mut info) == -1 {
                return Err(io::Error::last_os_error());
            }
            let room = size_of::<Place>();
            libc::ptrace(
                GET_SYSCALL_INFO,
                tid,
                room,
                (&raw mut place).cast::<c_void>(),
            );
        }
        Ok(Crash {
            info,
            ip: place.ip,
            sp: place.sp,
        })
    }

    pub(crate) fn signal(&self) -> c_int {
        self.info.si_signo
    }

    /// Where the fault was, if in the code of a cell: its library, and the address in it.
    pub(crate) fn place(&self, process: c_int) -> Option<(String, u64)> {
        let path = mapped_file(process, self.ip)?;
        let fault = self.info.si_code > 0 && is_cells(&path);
        let base = first_mapping(process, &path)?;
        fault.then(|| (path, self.ip - base))
    }

    /// What `siginfo_t` says, in words; `tid` took the signal in `process`.
    pub(crate) fn words(&self, tid: c_int, process: c_int) -> String {
        let signal = self.info.si_signo;
        let fault = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
        let thread = if tid == process {
            ""
        } else {
            " in another thread"
        };
        if fault.contains(&signal) && self.info.si_code > 0 {
            // SAFETY: the kernel sets the address for these signals and codes.
            let address = unsafe { self.info.si_addr() } as u64;
            if signal == libc::SIGSEGV && address.abs_diff(self.sp) < 1 << 16 {
                return format!("stack overflow at {address:#x}{thread}");
            }
            let what = meaning(signal, self.info.si_code);
            let place = whereabouts(process, self.ip);
            return match signal {
                libc::SIGSEGV | libc::SIGBUS => format!("{what} {address:#x}, {place}{thread}"),
                _ => format!("{what}, {place}{thread}"),
            };
        }
        // SAFETY: si_pid is set for signals that a process has sent; else it reads as some number, not used then.
        let sender = unsafe { self.info.si_pid() };
        match self.info.si_code {
            libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL if sender == process => {
                format!("sent by the process itself{thread}")
            }
            libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL => {
                format!("sent by process {sender}{thread}")
            }
            _ => format!("sent by the kernel{thread}"),
        }
    }
}

/// `si_code` of a fault, in words (`sigaction(2)`).
fn meaning(signal: c_int, code: c_int) -> &'static str {
    match (signal, code) {
        (libc::SIGSEGV, 1) => "SEGV_MAPERR: nothing is mapped at",
        (libc::SIGSEGV, 2) => "SEGV_ACCERR: the mapping does not allow it at",
        (libc::SIGBUS, 1) => "BUS_ADRALN: misaligned address",
        (libc::SIGBUS, 2) => "BUS_ADRERR: no such physical address at",
        (libc::SIGSEGV | libc::SIGBUS, _) => "a bad access at",
        (libc::SIGFPE, 1) => "FPE_INTDIV: integer division by zero",
        (libc::SIGFPE, 2) => "FPE_INTOVF: integer overflow",
        (libc::SIGFPE, _) => "an arithmetic fault",
        _ => "an illegal instruction",
    }
}

/// Which file's code is at this address.
fn whereabouts(pid: c_int, address: u64) -> String {
    match mapped_file(pid, address) {
        Some(path) if is_cells(&path) => "in the code of a cell".into(),
        Some(path) => format!("in {}", path.rsplit('/').next().unwrap_or_default()),
        None => format!("at the instruction {address:#x}"),
    }
}

/// Whether evcxr has named this library.
fn is_cells(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with("libcode_"))
}

/// `/proc/PID/maps`: ranges, and the path of the file that is mapped there.
fn mappings(pid: c_int) -> Vec<(std::ops::Range<u64>, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let parse = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((
            number(from)?..number(to)?,
            rest.split_whitespace().nth(4)?.to_owned(),
        ))
    };
    maps.lines().filter_map(parse).collect()
}

fn mapped_file(pid: c_int, address: u64) -> Option<String> {
    let found = mappings(pid)
        .into_iter()
        .find(|(range, _)| range.contains(&address));
    found.map(|(_, path)| path)
}

/// Where the file is mapped from its beginning: a library's addresses count from there.
fn first_mapping(pid: c_int, path: &str) -> Option<u64> {
    let found = mappings(pid).into_iter().find(|(_, mapped)| mapped == path);
    found.map(|(range, _)| range.start)
}

/// "SIGSEGV", or "Exited".
pub(crate) fn name(status: c_int) -> String {
    if libc::WIFSIGNALED(status) {
        tracer::signal_name(libc::WTERMSIG(status)).to_owned()
    } else {
        "Exited".to_owned()
    }
}
