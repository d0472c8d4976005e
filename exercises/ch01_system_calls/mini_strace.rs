//! # How does strace know?
//!
//! ptrace(2) lets a process see another one from inside: the *tracee* stops at the entry and at the exit of
//! each system call, the tracer learns of it by waitpid(2), looks at its registers and its memory, and
//! lets it go on to the next stop. Debuggers, strace, and the tests of this course live on that.
//!
//! All else stops it as well: a signal, fork, execve, and a new child before its first instruction. The
//! traps are in telling those apart. Whoever takes a signal for his own makes the program deaf, whoever
//! delivers one of his own kills it, and whoever counts "entry, exit, entry, exit" is wrong after the
//! first stop he didn't expect. PTRACE_O_TRACESYSGOOD and PTRACE_GET_SYSCALL_INFO leave no doubt.
//!
//! Build [`trace`], and what makes its calls readable: `strace -f` is then a loop around it, and
//! `strace -c` a [`Summary`]. Names and kinds of arguments are given, at the end of this file.
//!
//! ```ignore
//! let mut command = Command::new("ls");
//! let status = trace(&mut command, |call| eprintln!("[{}] {call}", call.pid))?;
//! ```
//!
//! Man pages: ptrace(2), waitpid(2), process_vm_readv(2), strace(1), syscalls(2).
//! Notebook: `01-system-calls.ipynb#computing-alone`.

use std::fmt;
use std::io;
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
        todo!("write the name and the arguments")
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
    // TODO: a map
}

impl Summary {
    /// Counts a call.
    pub fn add(&mut self, call: &Call) {
        todo!("count the call by its name")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!("sort by count, then by name")
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
pub fn trace(command: &mut Command, seen: impl FnMut(&Call)) -> io::Result<ExitStatus> {
    // TODO: 1. Spawn it, with PTRACE_TRACEME between fork and execve: it stops, with SIGTRAP, when the new
    //          program is loaded. Now the options can be set. Let it go on with PTRACE_SYSCALL.
    //       2. Wait for whoever stops next, until there is nobody left to wait for.
    //       3. A system call: entered? Remember what it is and its arguments. Left? That is a call for `seen`.
    //       4. fork, execve and the like: nothing to do. A new child's first stop is a SIGSTOP, and may
    //          come before its parent's stop that tells of it.
    //       5. A signal: hand it on when you let the tracee go on. Which signals does nix's enum not have?
    //       6. An end: is there a call that never returned? Is it the command itself?
    todo!("spawn the command with PTRACE_TRACEME")
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
