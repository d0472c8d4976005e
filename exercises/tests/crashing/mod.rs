//! How is a crash made, and what is seen of it from outside?

use std::hint::black_box;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::ptr;

use libc::{SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use observe::{Calls, Child, End, Failure, Run, errno};

use crate::crash_report::install;

/// A child that crashed, and what its handler wrote.
pub struct Crash {
    pub run: Run<()>,
    pub calls: Calls,
    pub report: String,
}

impl Crash {
    pub fn of(crash: impl FnOnce()) -> Crash {
        Crash::in_child(Child::new(), crash)
    }

    pub fn in_child(child: Child, crash: impl FnOnce()) -> Crash {
        let (reader, writer) = io::pipe().unwrap();
        let run = child.keep(&writer).run(move || {
            prepare(writer.into());
            crash();
        });
        Crash::new(run, reader)
    }

    pub fn new(run: Run<()>, mut reader: impl Read) -> Crash {
        let mut report = String::new();
        reader.read_to_string(&mut report).unwrap();
        Crash {
            calls: run.calls.clone(),
            run,
            report,
        }
    }

    /// What the child told before it crashed, in hexadecimal.
    pub fn told(&self) -> String {
        self.run.stdout_text()
    }

    pub fn told_number(&self) -> usize {
        usize::from_str_radix(self.told().trim_start_matches("0x"), 16).unwrap_or_default()
    }

    /// That `what` killed by this signal, and left this line.
    #[track_caller]
    pub fn is(&self, signal: i32, what: &str, line: &str) {
        died(&self.run, signal, what);
        let report = &self.report;
        assert!(!report.is_empty(), "{what} was not reported");
        assert!(
            *report == format!("{line}\n"),
            "{what} was reported as {report:?} instead of {:?}",
            format!("{line}\n")
        );
    }

    /// That the stack of `whose` had no more room, where the child told how far it had come.
    #[track_caller]
    pub fn is_overflow(&self, whose: &str) {
        let what = format!("an overflow of the stack of {whose}");
        died(&self.run, SIGSEGV, &what);
        let report = &self.report;
        assert!(!report.is_empty(), "{what} was not reported");
        // A guard page, or nothing at all below the stack.
        let mut words = report.trim_end().rsplit(" at 0x");
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let address = words.next().and_then(number);
        let name = words.next().unwrap_or_default();
        let start = self.told_number();
        let on_stack = address.is_some_and(|address| address < start && start - address < 64 << 20);
        assert!(
            on_stack && ["SIGSEGV SEGV_MAPERR", "SIGSEGV SEGV_ACCERR"].contains(&name),
            "{what} was reported as {report:?}"
        );
    }

    /// The report, without what differs each time, and how the process ended.
    pub fn in_words(&self) -> String {
        let mut report = self.report.trim_end().to_owned();
        if !self.told().is_empty() {
            report = report.replace(&self.told(), "the address");
        }
        match &self.run.end {
            End::Killed(signal) => format!("{report}: killed by {signal}"),
            _ => format!("{report}: {}", self.run.sentence()),
        }
    }
}

/// That the child was killed by this signal, `what` being the reason.
#[track_caller]
pub fn died(run: &Run<()>, signal: i32, what: &str) {
    let signal = observe::Signal(signal);
    match &run.end {
        End::Killed(by) if *by == signal => {}
        // An exercise that was not begun, or that has failed otherwise, says so itself.
        End::Panicked(_) | End::Killed(observe::Signal(libc::SIGABRT)) => run.killed_by(signal),
        _ => panic!(
            "{what} should have killed the process by {signal}, and it {}",
            run.sentence()
        ),
    }
}

/// In the child: a program as C would find it, without alternate stack and handlers, calls `install`.
pub fn prepare(report: OwnedFd) {
    disable_alt_stack();
    for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL] {
        // SAFETY: takes integers.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if let Err(failure) = errno(install(report)) {
        panic!("install failed with {failure}");
    }
}

pub fn no_alt_stack(error: io::Error) -> ! {
    let failure = Failure::from(error);
    // A panic can't leave a thread that is not std's.
    eprintln!("there was no AltStack to be had: {failure}");
    std::process::abort()
}

/// In the child: an address, or another number, for the test.
pub fn tell(address: usize) {
    let text = format!("{address:#x}");
    // SAFETY: the text is read during the call.
    let count = unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
    assert_eq!(count, text.len() as isize);
}

/// In the child: sends this process a signal with an si_code of one's own.
pub fn queue(signal: i32, code: i32) {
    // SAFETY: an all-zero siginfo_t is valid, its first members are common to all kinds, and it is read during the call.
    let sent = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        info.si_signo = signal;
        info.si_code = code;
        // The sender's pid follows the head, which is as long as two pointers.
        let pid = (&raw mut info).cast::<i32>().add(4);
        pid.write(libc::getpid());
        libc::syscall(
            libc::SYS_rt_sigqueueinfo,
            libc::getpid(),
            signal,
            &raw const info,
        )
    };
    assert_eq!(sent, 0, "{}", io::Error::last_os_error());
}

pub fn poke(address: usize) {
    // SAFETY: none: this is to crash, in a process of its own.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) }
}

/// A page that fork(2) shares.
pub fn page(access: ProtFlags) -> usize {
    let length = std::num::NonZeroUsize::new(4096).unwrap();
    // SAFETY: a new mapping, where nothing else is.
    let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) };
    page.unwrap().as_ptr() as usize
}

pub fn overflow() {
    #[allow(unconditional_recursion, reason = "this is to crash")]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 64]);
        deeper(depth + 1) + black_box(frame)[0]
    }
    let here = 0_u8;
    tell(black_box(&raw const here) as usize);
    black_box(deeper(0));
}

/// Address and size of the calling thread's alternate stack.
pub fn alt_stack() -> Option<(usize, usize)> {
    // SAFETY: an all-zero stack_t is valid, and written during the call.
    let stack = unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &raw mut stack);
        stack
    };
    let none = stack.ss_flags & libc::SS_DISABLE != 0;
    (!none).then_some((stack.ss_sp as usize, stack.ss_size))
}

pub fn disable_alt_stack() -> Option<(usize, usize)> {
    // SAFETY: an all-zero stack_t is valid, and read during the call.
    unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        stack.ss_flags = libc::SS_DISABLE;
        libc::sigaltstack(&raw const stack, ptr::null_mut());
    }
    alt_stack()
}

/// Bytes of this process's address space that are in use.
pub fn mapped() -> u64 {
    let mappings = observe::Mapping::of(std::process::id() as i32).unwrap();
    mappings
        .iter()
        .map(|mapping| mapping.end - mapping.start)
        .sum()
}

pub mod instructions {
    #[cfg(target_arch = "x86_64")]
    std::arch::global_asm!(
        ".globl syslab_illegal",
        "syslab_illegal: ud2",
        ".globl syslab_divide",
        "syslab_divide: xor edx, edx",
        "xor ecx, ecx",
        "mov eax, 1",
        ".globl syslab_divide_at",
        "syslab_divide_at: div ecx",
        "ret",
    );
    #[cfg(target_arch = "aarch64")]
    std::arch::global_asm!(
        ".globl syslab_illegal",
        ".balign 4",
        "syslab_illegal: udf #0"
    );

    unsafe extern "C" {
        #[link_name = "syslab_illegal"]
        pub unsafe fn illegal();
        #[cfg(target_arch = "x86_64")]
        #[link_name = "syslab_divide"]
        pub unsafe fn divide();
        /// The division itself.
        #[cfg(target_arch = "x86_64")]
        #[link_name = "syslab_divide_at"]
        pub unsafe fn divide_at();
    }
}
