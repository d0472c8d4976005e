//! A crash is seen by the parent, in the status that wait(2) gives, and at the other end of the pipe to which
//! the report goes.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/crash_report.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/crash_report.rs")]
mod crash_report;

mod crashing;
mod handlers;

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{ptr, thread};

use crash_report::{AltStack, install};
use crashing::{
    Crash, alt_stack, died, disable_alt_stack, instructions, mapped, no_alt_stack, overflow, page,
    poke, prepare, queue, tell,
};
use handlers::{SAFE, count_allocations, in_handler, prints};
use libc::{SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::mman::ProtFlags;
use observe::{Action, Child, Fault, Scratch, assert_seen, errno, needs};

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
        let expected = format!("{name} SI_TKILL from process {}", raised.told_number());
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

    // A code that needs no name.
    let unnamed = Crash::of(|| {
        tell(std::process::id() as usize);
        queue(SIGSEGV, libc::SI_ASYNCNL);
    });
    let what = "SIGSEGV that was sent with the si_code -60";
    let expected = format!("SIGSEGV code -60 from process {}", unnamed.told_number());
    unnamed.is(SIGSEGV, what, &expected);
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
    let told = match &second {
        Ok(()) => "Ok".to_owned(),
        Err(failure) => failure.to_string(),
    };
    assert!(
        second.is_err_and(|failure| failure.is(libc::EBUSY)),
        "install was called a second time, and returned {told} instead of EBUSY"
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
