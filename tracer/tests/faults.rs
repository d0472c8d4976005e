//! Calls go wrong as told, and only those.

mod common;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common::{
    births, demand, fork, handle, mark, needs_ptrace, of, pipe, read, result, sh, until_asleep,
    wait, write,
};
use tracer::{Action, Call, Event, Fault, Matches, Status, Trace, Tracer, region};

fn closure(fault: Fault, f: impl FnOnce()) -> Trace {
    let trace = Tracer::new().fault(fault).closure(f).unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)), "{}", text(&trace));
    trace
}

fn text(trace: &Trace) -> String {
    trace
        .events
        .iter()
        .map(|event| format!("{event}\n"))
        .collect()
}

fn injected<'a>(calls: &[&'a Call]) -> Vec<&'a Call> {
    calls.iter().filter(|call| call.injected).copied().collect()
}

#[test]
fn a_failed_call_is_not_executed() {
    needs_ptrace!();
    let trace = closure(Fault::new("write", Action::Fail(libc::ENOSPC)), || {
        let ends = pipe();
        demand(write(ends[1], b"lost") == Err(libc::ENOSPC));
        demand(write(ends[1], b"kept") == Ok(4));
        let mut buffer = [0; 8];
        demand(read(ends[0], &mut buffer) == Ok(4) && buffer.starts_with(b"kept"));
    });
    let results: Vec<_> = of(&trace, "write")
        .iter()
        .map(|call| (call.result, call.injected))
        .collect();
    assert_eq!(
        results,
        [(Some(Err(libc::ENOSPC)), true), (Some(Ok(4)), false)]
    );
}

#[test]
fn a_program_that_retries_eintr_gets_through() {
    needs_ptrace!();
    let fault = Fault::new("read", Action::Fail(libc::EINTR)).times(3);
    let trace = closure(fault, || {
        let ends = pipe();
        demand(write(ends[1], b"x") == Ok(1));
        let mut tries = 1;
        while read(ends[0], &mut [0]) == Err(libc::EINTR) {
            tries += 1;
        }
        demand(tries == 4);
    });
    assert_eq!(injected(&of(&trace, "read")).len(), 3);
}

#[test]
fn the_nth_call_is_counted_from_one() {
    needs_ptrace!();
    let trace = closure(
        Fault::new("write", Action::Fail(libc::EIO)).nth(3).times(2),
        || {
            let ends = pipe();
            let failed: Vec<bool> = (0..6).map(|_| write(ends[1], b"x").is_err()).collect();
            demand(failed == [false, false, true, true, false, false]);
        },
    );
    assert_eq!(of(&trace, "write").len(), 6);
}

#[test]
fn always_is_until_the_end() {
    needs_ptrace!();
    closure(
        Fault::new("write", Action::Fail(libc::EIO)).nth(2).always(),
        || {
            let ends = pipe();
            let failed: Vec<bool> = (0..5).map(|_| write(ends[1], b"x").is_err()).collect();
            demand(failed == [false, true, true, true, true]);
        },
    );
}

#[test]
fn calls_are_counted_over_the_whole_tree() {
    needs_ptrace!();
    let trace = closure(
        Fault::new("write", Action::Fail(libc::EIO))
            .nth(25)
            .times(10),
        || {
            let ends = pipe();
            let failed = AtomicU32::new(0);
            let ten = || {
                let failures = (0..10)
                    .filter(|_| write(ends[1], b"x") == Err(libc::EIO))
                    .count() as u32;
                failed.fetch_add(failures, Ordering::Relaxed);
                failures as i32
            };
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(ten);
                }
            });
            let elsewhere = libc::WEXITSTATUS(wait(fork(ten), 0));
            demand(failed.load(Ordering::Relaxed) + elsewhere as u32 == 10);
        },
    );
    let writes = of(&trace, "write");
    assert_eq!(writes.len(), 50);
    let places: Vec<usize> = (0..50).filter(|&place| writes[place].injected).collect();
    assert_eq!(places, (24..34).collect::<Vec<_>>());
}

#[test]
fn a_family_counts_all_its_members() {
    needs_ptrace!();
    closure(Fault::new("open", Action::Fail(libc::EMFILE)), || {
        demand(std::fs::File::open("/dev/null").unwrap_err().raw_os_error() == Some(libc::EMFILE));
    });
}

#[test]
fn a_fault_can_be_kept_to_one_descriptor() {
    needs_ptrace!();
    let trace = closure(
        Fault::new(Matches::from("write").on(700), Action::Fail(libc::EIO)),
        || {
            let ends = pipe();
            // SAFETY: two descriptors; 700 was free.
            demand(unsafe { libc::dup2(ends[1], 700) } == 700);
            demand(write(ends[1], b"x") == Ok(1));
            demand(write(700, b"x") == Err(libc::EIO));
        },
    );
    assert_eq!(of(&trace, "write").len(), 2);
}

#[test]
fn the_first_of_two_faults_strikes_and_all_count() {
    needs_ptrace!();
    let trace = Tracer::new()
        .fault(Fault::new("write", Action::Fail(libc::EIO)).nth(2))
        .fault(Fault::new("write", Action::Fail(libc::ENOSPC)).nth(2))
        .fault(Fault::new("write", Action::Fail(libc::EDQUOT)).nth(3))
        .closure(|| {
            let ends = pipe();
            demand(write(ends[1], b"x") == Ok(1));
            demand(write(ends[1], b"x") == Err(libc::EIO));
            demand(write(ends[1], b"x") == Err(libc::EDQUOT));
            demand(write(ends[1], b"x") == Ok(1));
        })
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)), "{}", text(&trace));
}

#[test]
fn outside_the_region_nothing_is_counted() {
    needs_ptrace!();
    closure(Fault::new("write", Action::Fail(libc::EIO)), || {
        let ends = pipe();
        region::end();
        demand(write(ends[1], b"x") == Ok(1));
        region::begin();
        demand(write(ends[1], b"x") == Err(libc::EIO));
    });
}

#[test]
fn a_look_from_outside_is_neither_recorded_nor_counted() {
    needs_ptrace!();
    let trace = closure(Fault::new("write", Action::Fail(libc::EIO)).nth(2), || {
        let ends = pipe();
        demand(write(ends[1], b"1") == Ok(1));
        region::outside(|| region::outside(|| demand(write(ends[1], b"look") == Ok(4))));
        demand(write(ends[1], b"2") == Err(libc::EIO));
        region::end();
        region::outside(|| ());
        demand(write(ends[1], b"after the end") == Ok(13));
    });
    assert_eq!(of(&trace, "write").len(), 2, "{}", text(&trace));
}

#[test]
fn short_reads_and_writes_transfer_what_was_allowed() {
    needs_ptrace!();
    let trace = closure(
        Fault::new(["read", "write"], Action::Short(3)).always(),
        || {
            let ends = pipe();
            demand(write(ends[1], b"abcdef") == Ok(3));
            demand(write(ends[1], b"de") == Ok(2));
            let mut buffer = [0; 8];
            demand(read(ends[0], &mut buffer) == Ok(3) && &buffer == b"abc\0\0\0\0\0");
            demand(read(ends[0], &mut buffer) == Ok(2) && buffer.starts_with(b"dec"));
        },
    );
    // The record has what the program asked for.
    assert_eq!(of(&trace, "write")[0].args[2], 6);
}

#[test]
fn a_short_call_leaves_the_programs_registers_alone() {
    needs_ptrace!();
    closure(Fault::new("write", Action::Short(1)), || {
        let ends = pipe();
        let (result, count) = raw_write(ends[1], b"abcdef");
        demand(result == 1 && count == 6);
    });
}

/// `write(2)` and what the register of its third argument holds after it.
#[cfg(target_arch = "x86_64")]
fn raw_write(fd: i32, bytes: &[u8]) -> (i64, usize) {
    let (mut result, mut count) = (libc::SYS_write, bytes.len());
    // SAFETY: the kernel reads `bytes.len()` bytes; the instruction clobbers rcx and r11.
    unsafe {
        std::arch::asm!("syscall", inout("rax") result, in("rdi") fd as isize, in("rsi") bytes.as_ptr(),
            inout("rdx") count, out("rcx") _, out("r11") _);
    }
    (result, count)
}

/// `write(2)` and what the register of its third argument holds after it.
#[cfg(target_arch = "aarch64")]
fn raw_write(fd: i32, bytes: &[u8]) -> (i64, usize) {
    let (mut result, mut count) = (fd as i64, bytes.len());
    // SAFETY: the kernel reads `bytes.len()` bytes.
    unsafe {
        std::arch::asm!("svc 0", in("x8") libc::SYS_write, inout("x0") result, in("x1") bytes.as_ptr(),
            inout("x2") count);
    }
    (result, count)
}

#[test]
fn short_vectors_end_within_an_iovec_and_are_whole_again_afterwards() {
    needs_ptrace!();
    closure(Fault::new("writev", Action::Short(5)), || {
        let ends = pipe();
        let parts = [&b"abc"[..], b"defg", b"hi"].map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: three iovecs of literals, which the kernel reads.
        let vectored = || result(unsafe { libc::writev(ends[1], parts.as_ptr(), 3) });
        demand(vectored() == Ok(5));
        demand(parts[1].iov_len == 4);
        demand(vectored() == Ok(9));
        let mut buffer = [0; 32];
        demand(read(ends[0], &mut buffer) == Ok(14) && buffer.starts_with(b"abcdeabcdefghi"));
    });
}

#[test]
fn a_short_copy_between_files_copies_what_was_allowed() {
    needs_ptrace!();
    let names = ["sendfile", "copy_file_range", "splice", "getrandom"];
    let trace = closure(Fault::new(names, Action::Short(2)).always(), || {
        let ends = pipe();
        let source = std::fs::File::open("/proc/self/exe").unwrap();
        let null = std::ptr::null_mut();
        // SAFETY: descriptors that are open, offsets that are null, a buffer of eight bytes.
        unsafe {
            demand(libc::sendfile(ends[1], source.as_raw_fd(), null, 100) == 2);
            demand(
                libc::splice(
                    source.as_raw_fd(),
                    null.cast(),
                    ends[1],
                    null.cast(),
                    100,
                    0,
                ) == 2,
            );
            // Not libc's: since glibc 2.41 it rarely asks the kernel.
            let mut bytes = [0u8; 8];
            demand(libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), 8, 0) == 2);
        }
    });
    assert_eq!(
        trace
            .calls()
            .filter(|call| call.injected && call.result == Some(Ok(2)))
            .count(),
        3
    );
}

#[test]
fn a_short_read_that_is_restarted_stays_short() {
    needs_ptrace!();
    // Two faults can't strike the same call: the signal comes from a child while the read blocks.
    extern "C" fn nothing(_: i32) {}
    let trace = closure(Fault::new("read", Action::Short(2)).always(), || {
        let ends = pipe();
        handle(libc::SIGUSR1, nothing, libc::SA_RESTART);
        // SAFETY: takes nothing.
        let parent = unsafe { libc::getpid() };
        let child = fork(|| {
            until_asleep(parent);
            // SAFETY: integers; the parent waits for us.
            unsafe { libc::kill(parent, libc::SIGUSR1) };
            until_asleep(parent);
            i32::from(write(ends[1], b"abcdef") != Ok(6))
        });
        demand(read(ends[0], &mut [0; 8]) == Ok(2));
        demand(wait(child, 0) == 0);
    });
    let reads = of(&trace, "read");
    let ours = reads
        .iter()
        .find(|call| call.pid == trace.pid && call.injected)
        .unwrap();
    assert_eq!((ours.result, ours.restarts), (Some(Ok(2)), 1));
}

#[test]
fn a_process_killed_at_a_call_has_not_made_it() {
    needs_ptrace!();
    let trace = closure(Fault::new("write", Action::Kill).nth(2), || {
        let ends = pipe();
        let child = fork(|| {
            demand(write(ends[1], b"a") == Ok(1));
            demand(write(ends[1], b"b") == Ok(1));
            0
        });
        let status = wait(child, 0);
        demand(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
        let mut buffer = [0; 8];
        demand(read(ends[0], &mut buffer) == Ok(1));
    });
    let last = of(&trace, "write")[1];
    assert_eq!((last.result, last.injected), (None, true));
    assert_eq!(births(&trace).len(), 1);
}

#[test]
fn a_kill_takes_all_threads_of_the_process() {
    needs_ptrace!();
    let trace = Tracer::new()
        .fault(Fault::new("getppid", Action::Kill))
        .closure(|| {
            let ends = pipe();
            thread::scope(|scope| {
                scope.spawn(|| read(ends[0], &mut [0]));
                scope.spawn(mark);
            });
        })
        .unwrap();
    assert_eq!(
        trace.status,
        Some(Status::Killed {
            signal: libc::SIGKILL,
            core: false
        })
    );
}

/// How often the handler below ran.
static RAN: AtomicU32 = AtomicU32::new(0);

extern "C" fn ran(_: i32) {
    RAN.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_signal_at_a_call_interrupts_it() {
    needs_ptrace!();
    let trace = closure(Fault::new("read", Action::Signal(libc::SIGUSR1)), || {
        handle(libc::SIGUSR1, ran, 0);
        let ends = pipe();
        demand(read(ends[0], &mut [0]) == Err(libc::EINTR));
        demand(RAN.load(Ordering::Relaxed) == 1);
    });
    let signal = trace.signals().next().unwrap();
    assert_eq!((signal.name, signal.injected), ("SIGUSR1", true));
}

#[test]
fn a_signal_before_a_call_has_been_handled_when_it_is_made() {
    needs_ptrace!();
    let trace = closure(
        Fault::new("getuid", Action::SignalBefore(libc::SIGUSR1)),
        || {
            handle(libc::SIGUSR1, ran, 0);
            // SAFETY: takes nothing.
            let uid = unsafe { libc::getuid() };
            demand(RAN.load(Ordering::Relaxed) == 1);
            // SAFETY: takes nothing.
            demand(uid == unsafe { libc::getuid() });
        },
    );
    let calls = of(&trace, "getuid");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].result, calls[1].result);
    assert_eq!(calls[0].restarts, 1);
}

#[test]
fn a_signal_that_is_blocked_waits_until_it_is_not() {
    needs_ptrace!();
    closure(Fault::new("getppid", Action::Signal(libc::SIGUSR1)), || {
        handle(libc::SIGUSR1, ran, 0);
        // SAFETY: a set on our stack, filled by the calls that take it.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGUSR1);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            mark();
            demand(RAN.load(Ordering::Relaxed) == 0);
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
            demand(RAN.load(Ordering::Relaxed) == 1);
        }
    });
}

#[test]
fn a_delayed_call_is_made_while_others_go_on() {
    needs_ptrace!();
    let trace = closure(
        Fault::new("getuid", Action::Delay(Duration::from_secs(2))),
        || {
            let child = fork(|| {
                for _ in 0..100 {
                    mark();
                }
                0
            });
            // SAFETY: takes nothing.
            unsafe { libc::getuid() };
            demand(wait(child, 0) == 0);
        },
    );
    let delayed = of(&trace, "getuid")[0];
    assert!(matches!(delayed.result, Some(Ok(_))));
    let returned = delayed.start + delayed.duration;
    let [(child, _)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    let ended = trace
        .events
        .iter()
        .find(|event| matches!(event, Event::Exit { tid, .. } if *tid == child))
        .unwrap();
    assert!(
        ended.time() < returned,
        "the child waited for the delayed parent"
    );
}

#[test]
fn a_process_killed_while_it_is_delayed_ends() {
    needs_ptrace!();
    closure(
        Fault::new("getuid", Action::Delay(Duration::from_secs(3600))),
        || {
            let ends = pipe();
            let child = fork(|| {
                demand(write(ends[1], b"x") == Ok(1));
                // SAFETY: takes nothing.
                unsafe { libc::getuid() as i32 }
            });
            demand(read(ends[0], &mut [0]) == Ok(1));
            // SAFETY: integers; the child isn't reaped yet.
            demand(unsafe { libc::kill(child, libc::SIGKILL) } == 0);
            demand(libc::WTERMSIG(wait(child, 0)) == libc::SIGKILL);
        },
    );
}

#[test]
fn a_failed_fork_makes_no_child() {
    needs_ptrace!();
    let trace = Tracer::new()
        .fault(Fault::new("fork", Action::Fail(libc::EAGAIN)).always())
        .command(sh("(exit 1)").stderr(std::process::Stdio::null()))
        .unwrap();
    assert_eq!(births(&trace), []);
    assert!(
        matches!(trace.status, Some(Status::Exited(code)) if code != 0 && code != 1),
        "{}",
        text(&trace)
    );
}
