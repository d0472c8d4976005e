//! # How does strace know?
//!
//! From stops. The traps: a stop is of a system call, of an event, of a new child or of a signal, and only
//! the last one is the tracee's business; entry and exit look alike; strings of an execve are gone at its
//! exit; a real-time signal is none of nix's `WaitStatus`, which fails after it has taken the status; and
//! what the command leaves behind is traced too, so that the end of the command is not the end.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// One argument of a call, as its [`Shape`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// `d` and `l`.
    Int(i64),
    /// `x`; and `s`, where no string can be read at the address.
    Bits(u64),
    /// `s`: the bytes up to the 0, at most 4096 of them (`PATH_MAX`).
    Text(Vec<u8>),
}

/// A system call that has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The process, or thread, that made it.
    pub pid: i32,
    /// Its name; `syscall_451` for a number that [`shape`] doesn't know.
    pub name: String,
    /// As many as its shape has; without a shape all six registers, as bits.
    pub args: Vec<Arg>,
    /// What it returned, or the errno. None when it didn't: the process ended in it, or the kernel will make it
    /// again after a signal (-512 to -516, include/linux/errno.h: no program ever sees those).
    pub result: Option<Result<i64, i32>>,
}

/// As strace(1) has it: `openat(-100, "/etc/motd", 0x80000, 0x0) = ENOENT`.
///
/// Int in decimal, Bits in hexadecimal, Text in quotes by `escape_ascii`. The result in decimal, or in
/// hexadecimal if it is larger than `u32::MAX`: an address; the name of the errno (nix knows them); `?` for none.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args.iter().map(Arg::to_string).collect();
        write!(f, "{}({}) = ", self.name, args.join(", "))?;
        match self.result {
            None => f.write_str("?"),
            Some(Ok(address)) if address > u32::MAX.into() => write!(f, "{address:#x}"),
            Some(Ok(value)) => write!(f, "{value}"),
            Some(Err(errno)) => write!(f, "{:?}", Errno::from_raw(errno)),
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Int(value) => write!(f, "{value}"),
            Arg::Bits(value) => write!(f, "{value:#x}"),
            Arg::Text(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// How often each call was made, and how often it failed: `strace -c` without the time.
///
/// Shown as below, each column seven wide: the call made most often first, those made equally often by name.
/// What has no result has not failed. Without failures the column is blank. The last line ends with a newline, too.
///
/// ```text
///   calls  errors syscall
///       3       2 openat
///       1         exit_group
///       1         read
///       5       2 total
/// ```
#[derive(Debug, Default)]
pub struct Summary {
    /// Calls and errors, by name.
    counts: BTreeMap<String, (u64, u64)>,
}

impl Summary {
    /// Counts a call.
    pub fn add(&mut self, call: &Call) {
        let (calls, errors) = self.counts.entry(call.name.clone()).or_default();
        *calls += 1;
        *errors += u64::from(matches!(call.result, Some(Err(_))));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  calls  errors syscall")?;
        let mut line = |calls: u64, errors: u64, name: &str| {
            let errors = match errors {
                0 => String::new(),
                errors => errors.to_string(),
            };
            writeln!(f, "{calls:>7} {errors:>7} {name}")
        };
        let mut counts: Vec<(&String, &(u64, u64))> = self.counts.iter().collect();
        // A stable sort: what is equal stays in the order of the names.
        counts.sort_by_key(|(_, (calls, _))| std::cmp::Reverse(*calls));
        let calls = counts.iter().map(|(_, (calls, _))| calls).sum();
        let errors = counts.iter().map(|(_, (_, errors))| errors).sum();
        let text: fmt::Result = counts
            .into_iter()
            .try_for_each(|(name, (calls, errors))| line(*calls, *errors, name));
        text?;
        line(calls, errors, "total")
    }
}

/// Runs `command` and calls `seen` for each system call of it, and of all processes and threads that it makes
/// in turn, when that call has returned. The status is the command's own.
///
/// - The first call is the first of the new program, after its execve(2) has succeeded. Every later one is
///   seen, in the order in which each process made them; one that doesn't return (exit_group(2), or
///   killed in the middle) when its process has ended. Only execve(2) of a thread other than the first may be
///   missed: it goes on under the first one's id.
/// - Strings are read when the call is entered: execve(2) leaves nothing of them. One may lie in the last
///   bytes of the stack, and the address may be null.
/// - The command runs as it would untraced: it gets every signal that is sent to it or to its children, real-time
///   signals and SIGTRAP too, with its handlers or its death, and no other. (That SIGSTOP doesn't
///   stop it for long is forgiven.)
/// - Returns when the command *and* every process that it left behind have ended.
/// - Should the tracer be killed, none of them runs on unseen: they are killed too (PTRACE_O_EXITKILL).
///
/// The calling process has no other children, so `waitpid(-1, __WALL)` tells of tracees only.
///
/// # Errors
/// - those of [`Command::spawn`]: `ENOENT`, `EACCES` …
/// - `EPERM`: this process may not trace.
pub fn trace(command: &mut Command, mut seen: impl FnMut(&Call)) -> io::Result<ExitStatus> {
    // SAFETY: the closure only makes a system call.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn()?.id() as i32;
    let mut tracees = Tracees::default();
    let mut command_status = ExitStatus::default();
    while let Some((pid, status)) = wait()? {
        if !libc::WIFSTOPPED(status) {
            // In a call that will not return.
            if let Some(call) = tracees.open.remove(&pid) {
                seen(&call);
            }
            if pid == child {
                command_status = ExitStatus::from_raw(status);
            }
            continue;
        }
        let signal = match tracees.stopped(pid, status) {
            Stop::Call => {
                if let Some(call) = tracees.call(pid) {
                    seen(&call);
                }
                0
            }
            Stop::New => {
                // Children inherit the options.
                let _ = ptrace::setoptions(Pid::from_raw(pid), OPTIONS);
                0
            }
            Stop::Event => 0,
            Stop::Signal(signal) => signal,
        };
        go_on(pid, signal)?;
    }
    Ok(command_status)
}

const OPTIONS: Options = Options::PTRACE_O_TRACESYSGOOD
    .union(Options::PTRACE_O_TRACEFORK)
    .union(Options::PTRACE_O_TRACEVFORK)
    .union(Options::PTRACE_O_TRACECLONE)
    .union(Options::PTRACE_O_TRACEEXEC)
    .union(Options::PTRACE_O_EXITKILL);

/// What is known of all tracees between two stops.
#[derive(Default)]
struct Tracees {
    known: HashSet<i32>,
    /// Calls that were entered and not left.
    open: HashMap<i32, Call>,
}

enum Stop {
    /// The first one: the command after its execve(2), by SIGTRAP; a child before its first instruction, by SIGSTOP.
    New,
    /// The entry or the exit of a system call.
    Call,
    /// fork, execve …: an option asked for it.
    Event,
    /// On its way to the tracee, which gets it if the tracer hands it on.
    Signal(i32),
}

impl Tracees {
    fn stopped(&mut self, pid: i32, status: i32) -> Stop {
        if self.known.insert(pid) {
            return Stop::New;
        }
        match (status >> 16, libc::WSTOPSIG(status)) {
            (0, signal) if signal == libc::SIGTRAP | 0x80 => Stop::Call,
            (0, signal) => Stop::Signal(signal),
            _ => Stop::Event,
        }
    }

    /// At the entry of a call: keeps it. At its exit: returns it.
    fn call(&mut self, pid: i32) -> Option<Call> {
        // A tracee that was killed meanwhile has no registers; the next wait tells.
        let info = ptrace::syscall_info(Pid::from_raw(pid)).ok()?;
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: `op` says which part of the union the kernel has filled.
                let entry = unsafe { info.u.entry };
                let call = entered(pid, entry.nr, entry.args);
                self.open.insert(pid, call);
                None
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                // SAFETY: as above.
                let exit = unsafe { info.u.exit };
                let mut call = self.open.remove(&pid)?;
                call.result = match exit.sval {
                    -516..=-512 => None,
                    error @ -4095..=-1 => Some(Err(-error as i32)),
                    value => Some(Ok(value)),
                };
                Some(call)
            }
            _ => None,
        }
    }
}

fn entered(pid: i32, number: u64, registers: [u64; 6]) -> Call {
    let (name, args) = match shape(number) {
        Some(shape) => {
            let args = shape.args.chars().zip(registers);
            let arg = |(kind, value)| match kind {
                'd' => Arg::Int((value as i32).into()),
                'l' => Arg::Int(value as i64),
                's' => string(pid, value).map_or(Arg::Bits(value), Arg::Text),
                _ => Arg::Bits(value),
            };
            (shape.name.to_owned(), args.map(arg).collect())
        }
        None => (
            format!("syscall_{number}"),
            registers.map(Arg::Bits).to_vec(),
        ),
    };
    Call {
        pid,
        name,
        args,
        result: None,
    }
}

/// The C string at an address of the tracee's memory; none if it does not end before what can be read does.
fn string(pid: i32, address: u64) -> Option<Vec<u8>> {
    const MOST: usize = libc::PATH_MAX as usize;
    // No page is smaller, and none is half there: a read that stays in one fails as a whole, or not.
    const PAGE: u64 = 4096;
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < MOST {
        let at = address.checked_add(bytes.len() as u64)?;
        let mut part = [0; PAGE as usize];
        let part = &mut part[..(PAGE - at % PAGE) as usize];
        read_memory(pid, at, part)?;
        let end = part.iter().position(|byte| *byte == 0);
        bytes.extend(&part[..end.unwrap_or(part.len())]);
        if end.is_some() {
            break;
        }
    }
    bytes.truncate(MOST);
    Some(bytes)
}

fn read_memory(pid: i32, address: u64, buf: &mut [u8]) -> Option<()> {
    let local = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: buf.len(),
    };
    // SAFETY: the kernel writes at most `buf.len()` bytes at `buf`, which is borrowed exclusively until the
    // call returns; the other address is one of the tracee, and only looked up there.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    (read == buf.len() as isize).then_some(())
}

/// The next tracee that has stopped or ended; none when all have ended.
fn wait() -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes an integer of this stack.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        match Errno::result(pid) {
            Ok(pid) => return Ok(Some((pid, status))),
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// To the next stop, with that signal. By number: nix knows no real-time signals.
fn go_on(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: integers only, in the place of pointers.
    let result = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0_usize, signal as usize) };
    match Errno::result(result) {
        // Killed meanwhile: the next wait tells.
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// What is known of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// A letter for each argument: `d` an int, of which only the lower 32 bits of the register count;
    /// `l` a number of 64 bits; `x` bits or an address; `s` the address of a C string.
    pub args: &'static str,
}

/// The shape of a call by its number, for the calls of everyday programs. Given, and complete as it is.
pub fn shape(number: u64) -> Option<Shape> {
    macro_rules! shapes {
        ($($number:ident $args:literal)*) => {
            &[$((libc::$number, Shape {
                name: stringify!($number).split_at("SYS_".len()).1,
                args: $args,
            })),*]
        };
    }
    #[rustfmt::skip]
    const SHAPES: &[(libc::c_long, Shape)] = shapes! {
        SYS_brk "x" SYS_chdir "s" SYS_clock_nanosleep "dxxx" SYS_clone "xxxxx" SYS_clone3 "xl" SYS_close "d"
        SYS_connect "dxd" SYS_dup "d" SYS_dup3 "ddx" SYS_execve "sxx" SYS_exit "d" SYS_exit_group "d"
        SYS_faccessat "dsx" SYS_faccessat2 "dsxx" SYS_fcntl "ddx" SYS_fstat "dx"
        SYS_futex "xxdxxd" SYS_getcwd "xl" SYS_getdents64 "dxl" SYS_getegid "" SYS_geteuid "" SYS_getgid ""
        SYS_getpgid "d" SYS_getpid "" SYS_getppid "" SYS_getrandom "xlx" SYS_gettid "" SYS_getuid ""
        SYS_ioctl "dxx" SYS_kill "dd" SYS_lseek "dld" SYS_madvise "xld" SYS_mkdirat "dsx" SYS_mmap "xlxxdl"
        SYS_mprotect "xlx" SYS_mremap "xllxx" SYS_munmap "xl" SYS_nanosleep "xx" SYS_newfstatat "dsxx"
        SYS_openat "dsxx" SYS_pipe2 "xx" SYS_ppoll "xlxxl" SYS_prctl "dxxxx" SYS_pread64 "dxll"
        SYS_prlimit64 "ddxx" SYS_pwrite64 "dxll" SYS_read "dxl" SYS_readlinkat "dsxl" SYS_readv "dxd"
        SYS_renameat2 "dsdsx" SYS_restart_syscall "" SYS_rseq "xxxx" SYS_rt_sigaction "dxxl"
        SYS_rt_sigprocmask "dxxl" SYS_rt_sigreturn "" SYS_rt_sigsuspend "xl" SYS_set_robust_list "xl"
        SYS_set_tid_address "x" SYS_setpgid "dd" SYS_setsid "" SYS_sigaltstack "xx" SYS_socket "ddd"
        SYS_statfs "sx" SYS_statx "dsxxx" SYS_sysinfo "x" SYS_tgkill "ddd" SYS_umask "x" SYS_uname "x"
        SYS_unlinkat "dsx" SYS_utimensat "dsxx" SYS_wait4 "dxxx" SYS_waitid "ddxxx" SYS_write "dxl"
        SYS_writev "dxd"
    };
    // aarch64 was given none of those that have a younger form; and of fadvise64 libc has no number there.
    #[cfg(target_arch = "x86_64")]
    #[rustfmt::skip]
    const OLD: &[(libc::c_long, Shape)] = shapes! {
        SYS_access "sx" SYS_arch_prctl "dx" SYS_dup2 "dd" SYS_fadvise64 "dlld" SYS_fork "" SYS_getpgrp "" SYS_lstat "sx"
        SYS_mkdir "sx" SYS_open "sxx" SYS_pipe "x" SYS_poll "xld" SYS_readlink "sxl" SYS_rename "ss"
        SYS_rmdir "s" SYS_select "dxxxx" SYS_stat "sx" SYS_time "x" SYS_unlink "s" SYS_vfork ""
    };
    #[cfg(not(target_arch = "x86_64"))]
    const OLD: &[(libc::c_long, Shape)] = &[];
    let mut shapes = SHAPES.iter().chain(OLD);
    shapes
        .find(|(known, _)| *known as u64 == number)
        .map(|(_, shape)| *shape)
}
