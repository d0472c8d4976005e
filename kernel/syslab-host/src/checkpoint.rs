//! The sleeping copy of the cell process, and how it takes over.
//!
//! The copy must not be seen by the cell: it is no child of the cell process (`wait(2)` doesn't find it, SIGCHLD
//! doesn't tell of it), has closed every descriptor (a pipe's end comes when it should), and sits in a process group
//! of its own. So a helper that shares the memory (`CLONE_VM | CLONE_VFORK`, no exit signal) calls `fork(3)` and
//! ends; the copy is adopted by the host.
//!
//! When the cell process dies, the host holds it at its very end, while the copy takes its descriptors.

use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{c_int, c_void};

use crate::page::{self, Page};
use crate::{cell, sys};

/// Leaves a copy behind. False at once in the cell process, true in the copy when it has taken over.
pub(crate) fn leave(page: &'static Page) -> bool {
    page.checkpoint.store(0, Ordering::SeqCst);
    if let Err(why) = possible() {
        page.message.set(&why);
        return false;
    }
    page.timers.store(timers(), Ordering::SeqCst);
    // The copy would be adopted by a cell process that has made itself a subreaper, and fork(2) takes that from it.
    let subreaper = sys::is_subreaper();
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 0);
    let copied = fork_aside(page);
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, subreaper.into());
    if !copied {
        return false;
    }
    sleep_until_promoted(page);
    take_over(page);
    true
}

/// The first process of a new pid namespace would be its init, and its end the end of all: no copy then. As long as
/// there is none, the link can't be read (`namespaces(7)`).
fn possible() -> Result<(), String> {
    let Ok(own) = std::fs::read_link("/proc/self/ns/pid") else {
        return Ok(());
    };
    match std::fs::read_link("/proc/self/ns/pid_for_children") {
        Ok(children) if own == children => Ok(()),
        _ => Err("its children are in another pid namespace".into()),
    }
}

/// How many timers are set, of `setitimer(2)` and of `timer_create(2)`.
fn timers() -> u32 {
    let set = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF]
        .into_iter()
        .filter(|&which| {
            // SAFETY: all zero is a value of itimerval, which the kernel fills.
            let now = unsafe {
                let mut now: libc::itimerval = std::mem::zeroed();
                libc::getitimer(which, &raw mut now);
                now
            };
            now.it_value.tv_sec != 0 || now.it_value.tv_usec != 0
        });
    let made = std::fs::read_to_string("/proc/self/timers").unwrap_or_default();
    let made = made.lines().filter(|line| line.starts_with("ID:"));
    (set.count() + made.count()) as u32
}

/// True in the copy, false in the cell process, which has written the copy's pid to the page.
#[inline(never)]
fn fork_aside(page: &Page) -> bool {
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK) as usize;
    // SAFETY: the helper runs on this stack while we are suspended until it is gone; it makes two system calls and
    // writes to the page. fork(3) rather than fork(2), so that malloc's locks and the thread's tid are right in the
    // copy.
    unsafe {
        let helper = raw_clone(flags);
        if helper == 0 {
            let copy = libc::fork();
            if copy == 0 {
                return true;
            }
            page.checkpoint.store(copy.max(0), Ordering::SeqCst);
            libc::syscall(libc::SYS_exit, 0);
        }
        if helper < 0 || page.checkpoint.load(Ordering::SeqCst) == 0 {
            page.message.set("fork(2) failed");
        }
        if helper > 0 {
            while libc::waitpid(helper as i32, std::ptr::null_mut(), libc::__WALL) == -1
                && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {
            }
        }
    }
    false
}

/// `clone(2)` on the same stack, without anything that libc does around it.
#[cfg(target_arch = "x86_64")]
// A call would leave a return address on the stack that both share.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn raw_clone(flags: usize) -> isize {
    let result: isize;
    // SAFETY: as the caller says; the kernel clobbers rcx and r11.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") libc::SYS_clone as isize => result, in("rdi") flags,
            in("rsi") 0, in("rdx") 0, in("r10") 0, in("r8") 0, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// `clone(2)` on the same stack, without anything that libc does around it.
#[cfg(target_arch = "aarch64")]
// A call would leave a return address on the stack that both share.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn raw_clone(flags: usize) -> isize {
    let result: isize;
    // SAFETY: as the caller says.
    unsafe {
        std::arch::asm!("svc 0", in("x8") libc::SYS_clone, inlateout("x0") flags as isize => result,
            in("x1") 0, in("x2") 0, in("x3") 0, in("x4") 0);
    }
    result
}

/// A descriptor that the cell process had when the copy was made.
struct Had {
    fd: c_int,
    identity: (u64, u64),
    close_on_exec: bool,
}

/// What the copy remembers while it sleeps.
static HAD: std::sync::Mutex<(Vec<Had>, Option<libc::sigset_t>)> =
    std::sync::Mutex::new((Vec::new(), None));

fn sleep_until_promoted(page: &Page) {
    let mut before = empty_set();
    // SAFETY: both sets are ours; the range of descriptors is everything.
    unsafe {
        let mut all = empty_set();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        libc::setpgid(0, 0);
    }
    sys::set_name(c"syslab-check");
    let had = open_descriptors();
    // SAFETY: closes what the cell process keeps open for itself.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    if let Ok(mut memory) = HAD.lock() {
        *memory = (had, Some(before));
    }
    wait_for_adoption(page.host.load(Ordering::SeqCst));
    // SAFETY: takes nothing.
    let me = unsafe { libc::getpid() };
    loop {
        let seen = page.promotions.load(Ordering::SeqCst);
        if page.promoted.load(Ordering::SeqCst) == me {
            return;
        }
        page::wait(&page.promotions, seen, None);
    }
}

/// The helper is gone in a moment, and the host is the parent then.
fn wait_for_adoption(host: i32) {
    for _ in 0..2000 {
        // SAFETY: takes nothing.
        if unsafe { libc::getppid() } == host {
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    cell::end_with(host);
}

fn open_descriptors() -> Vec<Had> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let numbers: Vec<c_int> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers
        .into_iter()
        .filter_map(|fd| {
            // The descriptor that listed them is gone again.
            let identity = sys::identity(fd)?;
            // SAFETY: reads the flags of an open descriptor.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            Some(Had {
                fd,
                identity,
                close_on_exec: flags & libc::FD_CLOEXEC != 0,
            })
        })
        .collect()
}

fn take_over(page: &Page) {
    let (had, mask) = HAD.lock().map_or((Vec::new(), None), |mut memory| {
        std::mem::take(&mut *memory)
    });
    let victim = page.victim.load(Ordering::SeqCst);
    let lost = take_descriptors(&had, victim);
    page.lost.store(lost, Ordering::SeqCst);
    // SAFETY: integers; where the group is gone, our own stays.
    unsafe { libc::setpgid(0, page.group.load(Ordering::SeqCst)) };
    register_rseq();
    cell::set_mark();
    sys::set_name(c"syslab-cell");
    discard_signals();
    if let Some(mask) = mask {
        // SAFETY: a set that sigprocmask(2) has filled.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) };
    }
    page.took_over.store(1, Ordering::SeqCst);
    page::wake(&page.took_over);
    page.ring();
}

/// Gets back what the dying process still has; how many not (0 to 2 aside: they are new for each cell). What is lost
/// is replaced by something that can't be read or written, so that its number means nothing else.
fn take_descriptors(had: &[Had], victim: i32) -> u32 {
    let highest = had.iter().map(|had| had.fd).max().unwrap_or(2);
    let from = (victim != 0).then(|| sys::pidfd(victim).ok()).flatten();
    // Out of the way of the numbers that are wanted.
    let from = from.map(|from| {
        // SAFETY: duplicates a descriptor of ours.
        let moved = unsafe { libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, highest + 1) };
        if moved == -1 {
            from.into_raw_fd()
        } else {
            moved
        }
    });
    let mut lost = 0;
    for had in had.iter().filter(|had| Some(had.fd) != from) {
        let copy = from.and_then(|from| sys::getfd(from, had.fd).ok());
        let same = copy.filter(|&copy| sys::identity(copy) == Some(had.identity));
        if let (Some(copy), None) = (copy, same) {
            // SAFETY: our copy of something else, which has that number by now.
            unsafe { libc::close(copy) };
        }
        if let Some(copy) = same {
            place(copy, had.fd, had.close_on_exec);
        } else {
            lost += u32::from(had.fd > 2);
            // SAFETY: a C string.
            let dead = unsafe { libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
            place(dead, had.fd, had.fd > 2);
        }
    }
    if let Some(from) = from {
        // SAFETY: opened above.
        unsafe { libc::close(from) };
    }
    lost
}

fn place(fd: c_int, number: c_int, close_on_exec: bool) {
    let flag = if close_on_exec { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: `fd` is ours, and `number` is free or one of 0 to 2.
    unsafe {
        if fd != number && fd != -1 {
            libc::dup2(fd, number);
            libc::close(fd);
        }
        libc::fcntl(number, libc::F_SETFD, flag);
    }
}

/// What came while it slept was not for it.
fn discard_signals() {
    // SAFETY: the set and the zero time are ours; no information is asked for.
    unsafe {
        let mut all = empty_set();
        libc::sigfillset(&raw mut all);
        let at_once: libc::timespec = std::mem::zeroed();
        while libc::sigtimedwait(&raw const all, std::ptr::null_mut(), &raw const at_once) > 0 {}
    }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: all zero is the empty set.
    unsafe { std::mem::zeroed() }
}

/// Sharing memory has ended the registration of this thread's `rseq(2)` area; glibc expects it.
fn register_rseq() {
    const SIGNATURE: usize = if cfg!(target_arch = "aarch64") {
        0xd428_bc00
    } else {
        0x5305_3053
    };
    // SAFETY: the two variables are glibc's (2.35 and later), with these types; the area lies at that offset from the
    // thread pointer and is ours to register.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
        if offset.is_null() || size.is_null() || *size == 0 {
            return;
        }
        let area = thread_pointer().wrapping_offset(*offset);
        libc::syscall(libc::SYS_rseq, area, 32, 0, SIGNATURE);
    }
}

/// The thread pointer, which glibc counts offsets from.
fn thread_pointer() -> *mut c_void {
    let pointer: *mut c_void;
    // SAFETY: reads a register or the word that it points to, as the ABI has it.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("mov {}, fs:0", out(reg) pointer);
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer);
    }
    pointer
}
