//! A crash is seen by the parent, in the status that wait(2) gives, and at the other end of the pipe to which
//! the report goes.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/crash_report.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/crash_report.rs")]
mod crash_report;

mod handlers;

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{ptr, thread};

use crash_report::{AltStack, install};
use handlers::{SAFE, count_allocations, in_handler, prints};
use libc::{SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use observe::{Action, Calls, Child, End, Failure, Fault, Run, Scratch, assert_seen, errno, needs};

#[test]
fn bad_address_is_reported_and_kills() {
    let unmapped = Crash::of(|| poke(0x10));
    unmapped.is(SIGSEGV, "a write to 0x10", "SIGSEGV SEGV_MAPERR at 0x10");

    let read_only = Crash::of(|| {
        let page = page(ProtFlags::PROT_READ);
        tell(page);
        poke(page);
    });
    let what = "a write to a read-only page";
    let expected = format!("SIGSEGV SEGV_ACCERR at {}", read_only.told());
    read_only.is(SIGSEGV, what, &expected);

    let seen = [&unmapped, &read_only].map(|crash| crash.in_words());
    assert_seen!("ch03_crash_report__bad_address", seen);
}

#[test]
fn every_fault_has_its_name_and_its_address() {
    let scratch = Scratch::new();
    let path = scratch.write("file", [b'x'; 100]);
    let gone = Crash::of(|| {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // SAFETY: nobody else has the file, and of the mapping one byte is read.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        file.set_len(0).unwrap();
        tell(map.as_ptr() as usize);
        // SAFETY: an address of the mapping; that its page is gone is the question.
        black_box(unsafe { map.as_ptr().read_volatile() });
    });
    let what = "a read of a mapped file behind its end";
    let expected = format!("SIGBUS BUS_ADRERR at {}", gone.told());
    gone.is(SIGBUS, what, &expected);

    // SAFETY: it is to crash.
    let illegal = Crash::of(|| unsafe { instructions::illegal() });
    let code = if cfg!(target_arch = "x86_64") {
        "ILL_ILLOPN"
    } else {
        "ILL_ILLOPC"
    };
    let address = instructions::illegal as *const () as usize;
    let expected = format!("SIGILL {code} at {address:#x}");
    illegal.is(SIGILL, "an instruction that isn't one", &expected);

    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: it is to crash.
        let divided = Crash::of(|| unsafe { instructions::divide() });
        let address = instructions::divide_at as *const () as usize;
        let expected = format!("SIGFPE FPE_INTDIV at {address:#x}");
        divided.is(SIGFPE, "a division by zero", &expected);
        // The CPU does not say which address it was.
        let nowhere = Crash::of(|| poke(1 << 63));
        let what = "a write to an address that no pointer has";
        nowhere.is(SIGSEGV, what, "SIGSEGV SI_KERNEL");
    }
}

#[test]
fn sent_signal_names_its_sender_and_kills_too() {
    let me = std::process::id();
    let mut seen = Vec::new();
    for (signal, name) in [
        (SIGSEGV, "SIGSEGV"),
        (SIGBUS, "SIGBUS"),
        (SIGFPE, "SIGFPE"),
        (SIGILL, "SIGILL"),
    ] {
        let raised = Crash::of(|| {
            tell(std::process::id() as usize);
            // SAFETY: takes an integer.
            unsafe { libc::raise(signal) };
        });
        let pid = usize::from_str_radix(raised.told().trim_start_matches("0x"), 16);
        let expected = format!("{name} SI_TKILL from process {}", pid.unwrap_or_default());
        raised.is(
            signal,
            &format!("{name} that a thread sent itself"),
            &expected,
        );

        let (reader, writer) = io::pipe().unwrap();
        let child = Child::new().keep(&writer).start(move || {
            prepare(writer.into());
            tell(0);
            // A read(2) that goes on is no reason to live on either.
            thread::sleep(Duration::from_secs(60));
        });
        let child = child.does("install", |child| !child.stdout().is_empty());
        child.signal(signal).unwrap();
        let sent = Crash::new(child.wait(), reader);
        let expected = format!("{name} SI_USER from process {me}");
        sent.is(
            signal,
            &format!("{name} that another process sent"),
            &expected,
        );
        seen.push(
            sent.in_words()
                .replace(&format!("process {me}"), "the process that sent it"),
        );
    }
    assert_seen!("ch03_crash_report__sent", seen);
}

#[test]
fn stack_overflow_is_reported() {
    Crash::of(overflow).is_overflow("the thread that called install");
}

#[test]
fn overflow_of_another_thread_is_reported() {
    // Not std's thread: that has an alternate stack already.
    extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
        let stack = AltStack::new().unwrap_or_else(|error| no_alt_stack(error));
        overflow();
        drop(stack);
        ptr::null_mut()
    }
    Crash::of(|| {
        let mut thread = 0;
        // SAFETY: no attributes and no argument; the thread is joined.
        unsafe {
            libc::pthread_create(&raw mut thread, ptr::null(), run, ptr::null_mut());
            libc::pthread_join(thread, ptr::null_mut());
        }
    })
    .is_overflow("another thread, which has made an AltStack");
}

#[test]
fn alternate_stack_is_given_back() {
    let (stacks, grown) = Child::new()
        .run(|| {
            let make = || AltStack::new().unwrap_or_else(|error| no_alt_stack(error));
            let none = disable_alt_stack();
            let outer = make();
            let one = alt_stack();
            let inner = make();
            let two = alt_stack();
            drop(inner);
            let one_again = alt_stack();
            drop(outer);
            let none_again = alt_stack();

            (0..10).for_each(|_| drop(make()));
            let before = mapped();
            (0..400).for_each(|_| drop(make()));
            let grown = mapped().saturating_sub(before);
            ([none, one, two, one_again, none_again], grown)
        })
        .returned();
    let [none, one, two, one_again, none_again] = stacks;
    // SAFETY: takes an integer.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize + (16 << 10);
    let size = one.map_or(0, |(_, size)| size);
    assert!(
        size >= least,
        "an AltStack was made, and the thread's alternate stack has {size} bytes instead of {least}"
    );
    assert!(
        two != one,
        "a second AltStack was made, and the thread still has the first"
    );
    assert!(
        one_again == one && none_again == none,
        "an AltStack was dropped, and its thread has not the alternate stack (or none) that it had before"
    );
    assert!(
        grown < 1 << 20,
        "400 AltStacks were dropped, and {} KiB more are mapped than before",
        grown >> 10
    );
}

#[test]
fn handler_does_only_what_a_handler_may() {
    if !needs("ptrace") {
        return;
    }
    let shared = page(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
    // SAFETY: a page that is never unmapped, shared with the child; all-zero is valid.
    let allocations: &'static AtomicU32 = unsafe { &*(shared as *const AtomicU32) };
    let crash = Crash::in_child(Child::new().traced(), || {
        count_allocations(Some(allocations));
        // SAFETY: getppid takes nothing.
        unsafe { libc::getppid() };
        poke(0x10);
    });
    crash.is(SIGSEGV, "a write to 0x10", "SIGSEGV SEGV_MAPERR at 0x10");
    let calls = in_handler(&crash.calls);
    for call in &calls {
        assert!(!prints(call), "the handler printed: {call}");
        assert!(
            SAFE.iter().any(|safe| call.is(safe)),
            "the handler called {call}, which signal-safety(7) does not list"
        );
    }
    let writes = calls.iter().filter(|call| call.is("write")).count();
    assert!(
        writes == 1,
        "the report was written by {writes} calls, between which another process may write"
    );
    let allocations = allocations.load(Ordering::Relaxed);
    assert!(
        allocations == 0,
        "the handler allocated memory, {allocations} times"
    );
}

#[test]
fn nothing_keeps_a_crash_from_being_one() {
    let (reader, nobody_reads) = io::pipe().unwrap();
    drop(reader);
    let (_reader, full) = io::pipe().unwrap();
    fcntl(&full, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&full, &[0; 4096]).is_ok() {}
    for (what, pipe) in [("that nobody reads", nobody_reads), ("that is full", full)] {
        let run = Child::new()
            .limit(Duration::from_secs(5))
            .keep(&pipe)
            .run(|| {
                prepare(pipe.try_clone().unwrap().into());
                poke(0x10);
            });
        died(
            &run,
            SIGSEGV,
            &format!("a write to 0x10, with a report to a pipe {what},"),
        );
    }
    let (reader, writer) = io::pipe().unwrap();
    let second = Child::new()
        .keep(&writer)
        .run(|| {
            prepare(writer.try_clone().unwrap().into());
            errno(install(writer.try_clone().unwrap().into()))
        })
        .returned();
    drop(reader);
    assert!(
        second
            .as_ref()
            .is_err_and(|failure| failure.is(libc::EBUSY)),
        "install was called a second time, and returned {second:?} instead of EBUSY"
    );
}

#[test]
fn threads_that_crash_at_once_leave_a_report() {
    if !needs("ptrace") {
        return;
    }
    // The second one crashes while the first one writes.
    let slow = Fault::new("write", Action::Delay(Duration::from_millis(300))).always();
    let crash = Crash::in_child(Child::new().fault(slow), || {
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            for address in [0x10, 0x20] {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    poke(address);
                });
            }
        });
    });
    let what = "two threads that write to bad addresses at the same moment";
    died(&crash.run, SIGSEGV, what);
    let report = &crash.report;
    let lines: Vec<_> = report.lines().collect();
    let right =
        |line: &&str| ["SIGSEGV SEGV_MAPERR at 0x10", "SIGSEGV SEGV_MAPERR at 0x20"].contains(line);
    assert!(
        !lines.is_empty() && lines.iter().all(right) && report.ends_with('\n'),
        "{what} left this report: {report:?}"
    );
}

/// A child that crashed, and what its handler wrote.
struct Crash {
    run: Run<()>,
    calls: Calls,
    report: String,
}

impl Crash {
    fn of(crash: impl FnOnce()) -> Crash {
        Crash::in_child(Child::new(), crash)
    }

    fn in_child(child: Child, crash: impl FnOnce()) -> Crash {
        let (reader, writer) = io::pipe().unwrap();
        let run = child.keep(&writer).run(move || {
            prepare(writer.into());
            crash();
        });
        Crash::new(run, reader)
    }

    fn new(run: Run<()>, mut reader: impl Read) -> Crash {
        let mut report = String::new();
        reader.read_to_string(&mut report).unwrap();
        Crash {
            calls: run.calls.clone(),
            run,
            report,
        }
    }

    /// What the child told before it crashed.
    fn told(&self) -> String {
        self.run.stdout_text()
    }

    /// That `what` killed by this signal, and left this line.
    #[track_caller]
    fn is(&self, signal: i32, what: &str, line: &str) {
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
    fn is_overflow(&self, whose: &str) {
        let what = format!("an overflow of the stack of {whose}");
        died(&self.run, SIGSEGV, &what);
        let report = &self.report;
        assert!(!report.is_empty(), "{what} was not reported");
        // A guard page, or nothing at all below the stack.
        let mut words = report.trim_end().rsplit(" at 0x");
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let address = words.next().and_then(number);
        let name = words.next().unwrap_or_default();
        let start = number(self.told().trim_start_matches("0x"));
        let on_stack = start
            .zip(address)
            .is_some_and(|(start, address)| address < start && start - address < 64 << 20);
        assert!(
            on_stack && ["SIGSEGV SEGV_MAPERR", "SIGSEGV SEGV_ACCERR"].contains(&name),
            "{what} was reported as {report:?}"
        );
    }

    /// The report, without what differs each time, and how the process ended.
    fn in_words(&self) -> String {
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
fn died(run: &Run<()>, signal: i32, what: &str) {
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
fn prepare(report: OwnedFd) {
    disable_alt_stack();
    for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL] {
        // SAFETY: takes integers.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if let Err(failure) = errno(install(report)) {
        panic!("install failed with {failure}");
    }
}

fn no_alt_stack(error: io::Error) -> ! {
    let failure = Failure::from(error);
    // A panic can't leave a thread that is not std's.
    eprintln!("there was no AltStack to be had: {failure}");
    std::process::abort()
}

/// In the child: an address for the test.
fn tell(address: usize) {
    let text = format!("{address:#x}");
    // SAFETY: the text is read during the call.
    let count = unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
    assert_eq!(count, text.len() as isize);
}

fn poke(address: usize) {
    // SAFETY: none: this is to crash, in a process of its own.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) }
}

/// A page that fork(2) shares.
fn page(access: ProtFlags) -> usize {
    let length = std::num::NonZeroUsize::new(4096).unwrap();
    // SAFETY: a new mapping, where nothing else is.
    let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) };
    page.unwrap().as_ptr() as usize
}

fn overflow() {
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
fn alt_stack() -> Option<(usize, usize)> {
    // SAFETY: an all-zero stack_t is valid, and written during the call.
    let stack = unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &raw mut stack);
        stack
    };
    let none = stack.ss_flags & libc::SS_DISABLE != 0;
    (!none).then_some((stack.ss_sp as usize, stack.ss_size))
}

fn disable_alt_stack() -> Option<(usize, usize)> {
    // SAFETY: an all-zero stack_t is valid, and read during the call.
    unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        stack.ss_flags = libc::SS_DISABLE;
        libc::sigaltstack(&raw const stack, ptr::null_mut());
    }
    alt_stack()
}

/// Bytes of this process's address space that are in use.
fn mapped() -> u64 {
    let mappings = observe::Mapping::of(std::process::id() as i32).unwrap();
    mappings
        .iter()
        .map(|mapping| mapping.end - mapping.start)
        .sum()
}

mod instructions {
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
