//! What the record says of a call, and what is left out of it.

mod common;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::thread;

use common::{demand, exit, fork, mark, needs_ptrace, of, pipe, read, sh, wait, write};
use tracer::{Arg, Call, Event, Status, Trace, Tracer, region, trace};

fn only<'a>(trace: &'a Trace, name: &str) -> &'a Call {
    let calls: Vec<&Call> = trace.calls().filter(|call| call.name == name).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0]
}

#[test]
fn only_the_named_calls_are_recorded() {
    needs_ptrace!();
    let trace = Tracer::new()
        .only(["openat", "wait4"])
        .command(&mut sh("(exit 1); :"))
        .unwrap();
    assert!(trace.calls().count() > 0);
    assert!(
        trace
            .calls()
            .all(|call| ["openat", "wait4"].contains(&call.name))
    );
}

#[test]
fn a_family_stands_for_all_its_members() {
    needs_ptrace!();
    let trace = Tracer::new()
        .only(["thread", "dup"])
        .closure(|| {
            thread::spawn(mark).join().unwrap();
            // SAFETY: standard input or nothing; the copies stay in this child.
            unsafe {
                libc::dup2(libc::dup(0), 700);
            }
            wait(fork(|| 0), 0);
        })
        .unwrap();
    let families: Vec<&str> = trace.calls().map(|call| call.family).collect();
    assert_eq!(families, ["thread", "dup", "dup"]);
}

#[test]
fn only_the_region_is_recorded_and_its_marks_are_not() {
    needs_ptrace!();
    let trace = Tracer::new()
        .region_only()
        .closure(|| {
            region::end();
            mark();
            region::begin();
            // SAFETY: takes nothing.
            unsafe { libc::getuid() };
            region::end();
            mark();
        })
        .unwrap();
    let names: Vec<&str> = trace.calls().map(|call| call.name).collect();
    assert_eq!(names, ["getuid"]);
    assert!(matches!(trace.events.last(), Some(Event::Exit { .. })));
}

#[test]
fn processes_and_threads_made_in_the_region_are_in_it() {
    needs_ptrace!();
    let trace = Tracer::new()
        .closure(|| {
            let go = pipe();
            let inside = fork(|| {
                demand(read(go[0], &mut [0]) == Ok(1));
                mark();
                0
            });
            region::end();
            let outside = fork(|| {
                mark();
                0
            });
            wait(outside, 0);
            demand(write(go[1], b"x") == Ok(1));
            wait(inside, 0);
        })
        .unwrap();
    let marks = of(&trace, "getppid");
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_ne!(marks[0].pid, trace.pid);
}

#[test]
fn marks_are_harmless_when_nobody_traces() {
    // SAFETY: takes nothing.
    let before = unsafe { libc::getppid() };
    region::begin();
    region::end();
    // SAFETY: takes nothing.
    assert_eq!(unsafe { libc::getppid() }, before);
}

#[test]
fn a_closure_that_panics_ends_with_101() {
    needs_ptrace!();
    let trace = trace(|| {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("on purpose");
    });
    assert_eq!(trace.unwrap().status, Some(Status::Exited(101)));
}

#[test]
fn events_are_in_the_order_of_time() {
    needs_ptrace!();
    let trace = Tracer::new()
        .command(sh("for i in 1 2 3; do echo $i | cat; done").stdout(Stdio::null()))
        .unwrap();
    assert!(trace.events.is_sorted_by_key(Event::time));
    assert!(trace.duration >= trace.events.last().unwrap().time());
}

#[test]
fn too_many_events_are_counted_but_not_kept() {
    needs_ptrace!();
    let trace = Tracer::new()
        .limit(10)
        .closure(|| (0..100).for_each(|_| mark()))
        .unwrap();
    assert_eq!(
        (trace.events.len(), trace.status),
        (10, Some(Status::Exited(0)))
    );
    assert_eq!(trace.dropped, 91);
}

#[test]
fn the_summary_counts_calls_and_errors() {
    needs_ptrace!();
    let trace = trace(|| {
        mark();
        mark();
        demand(write(-1, b"x") == Err(libc::EBADF));
    })
    .unwrap();
    let summary = trace.summary();
    let line = |name| {
        summary
            .iter()
            .find(|line| line.name == name)
            .map(|line| (line.calls, line.errors))
    };
    assert_eq!(line("getppid"), Some((2, 0)));
    assert_eq!(line("write"), Some((1, 1)));
}

#[test]
fn the_record_can_be_serialised() {
    needs_ptrace!();
    let trace = trace(|| demand(write(-1, b"x").is_err())).unwrap();
    let json = serde_json::to_value(&trace).unwrap();
    let call = &json["events"][0]["call"];
    assert_eq!(
        (call["name"].as_str(), call["result"]["Err"].as_i64()),
        (Some("write"), Some(i64::from(libc::EBADF)))
    );
    assert_eq!(json["status"]["exited"], 0);
}

#[test]
fn paths_and_open_flags_are_decoded() {
    needs_ptrace!();
    let trace = trace(|| {
        let path = c"/nonexistent/file".as_ptr();
        // SAFETY: the path is a literal.
        unsafe {
            libc::open(
                path,
                libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC,
                0o640,
            );
            libc::open(path, libc::O_RDONLY);
        }
    })
    .unwrap();
    let opens = of(&trace, "open");
    assert_eq!(opens[0].path(), Some("/nonexistent/file"));
    assert_eq!(opens[0].errno(), Some(libc::ENOENT));
    assert!(
        opens[0]
            .decoded
            .contains(&Arg::Flags("O_WRONLY|O_CREAT|O_CLOEXEC".into()))
    );
    assert_eq!(opens[0].decoded.last(), Some(&Arg::Mode(0o640)));
    assert_eq!(
        opens[1].decoded.last(),
        Some(&Arg::Flags("O_RDONLY".into()))
    );
    assert!(
        opens[1]
            .to_string()
            .ends_with("= -1 ENOENT (No such file or directory)"),
        "{}",
        opens[1]
    );
}

#[test]
fn bytes_are_shown_up_to_the_limit() {
    needs_ptrace!();
    let trace = Tracer::new()
        .bytes(4)
        .closure(|| {
            let ends = pipe();
            demand(write(ends[1], b"abc\n\x00\xff") == Ok(6));
            demand(read(ends[0], &mut [0; 100]) == Ok(6));
        })
        .unwrap();
    let bytes = Arg::Bytes {
        start: b"abc\n".to_vec(),
        length: 6,
    };
    assert_eq!(only(&trace, "write").decoded[1], bytes);
    assert_eq!(only(&trace, "read").decoded[1], bytes);
    assert_eq!(bytes.to_string(), r#""abc\n"..."#);
}

#[test]
fn vectors_are_shown_as_the_bytes_behind_them() {
    needs_ptrace!();
    let trace = trace(|| {
        let ends = pipe();
        let parts = [&b"ab"[..], b"", b"cde"].map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: three iovecs of literals, which the kernel reads.
        demand(unsafe { libc::writev(ends[1], parts.as_ptr(), 3) } == 5);
    });
    let bytes = Arg::Bytes {
        start: b"abcde".to_vec(),
        length: 5,
    };
    assert_eq!(only(&trace.unwrap(), "writev").decoded[1], bytes);
}

#[test]
fn a_string_may_end_where_the_mapped_memory_ends() {
    needs_ptrace!();
    let trace = trace(|| {
        // SAFETY: two fresh pages, of which the second is taken away; the strings are written to the end of the
        // first. The last call is given a string without end, which it can't read either.
        unsafe {
            let pages = libc::mmap(
                std::ptr::null_mut(),
                8192,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            demand(pages != libc::MAP_FAILED && libc::munmap(pages.add(4096), 4096) == 0);
            let path = pages.add(4096 - 6).cast::<u8>();
            path.copy_from(c"/none".as_ptr().cast(), 6);
            demand(libc::chdir(path.cast()) == -1);
            path.copy_from(b"/nonee".as_ptr(), 6);
            demand(libc::chdir(path.cast()) == -1);
            let ends = pipe();
            demand(libc::syscall(libc::SYS_write, ends[1], path, 6) == 6);
            demand(libc::chdir(std::ptr::null()) == -1);
        }
    })
    .unwrap();
    let chdirs = of(&trace, "chdir");
    assert_eq!(
        (chdirs[0].path(), chdirs[0].errno()),
        (Some("/none"), Some(libc::ENOENT))
    );
    assert!(matches!(chdirs[1].decoded[..], [Arg::Address(address)] if address != 0));
    assert_eq!(chdirs[1].errno(), Some(libc::EFAULT));
    assert_eq!(
        chdirs[2].to_string(),
        "chdir(NULL) = -1 EFAULT (Bad address)"
    );
    assert_eq!(
        only(&trace, "write").decoded[1],
        Arg::Bytes {
            start: b"/nonee".to_vec(),
            length: 6
        }
    );
}

#[test]
fn a_long_path_that_crosses_pages_is_whole() {
    needs_ptrace!();
    let long = format!("/{}", "x/".repeat(2000));
    let path = std::ffi::CString::new(long.clone()).unwrap();
    // SAFETY: the string lives until the child has ended.
    let trace = trace(|| demand(unsafe { libc::chdir(path.as_ptr()) } == -1)).unwrap();
    assert_eq!(only(&trace, "chdir").path(), Some(&*long));
}

#[test]
fn socket_addresses_are_decoded() {
    needs_ptrace!();
    let trace = trace(|| {
        let bound = UdpSocket::bind("0.0.0.0:0").unwrap();
        demand(bound.local_addr().unwrap().port() != 0);
        // Where loopback is down this fails, which is no matter.
        let _ = bound.connect("127.0.0.1:9");
        let socket = std::env::temp_dir().join(format!("tracer-test-{}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let stream = UnixStream::connect(&socket).unwrap();
        demand(listener.accept().unwrap().1.is_unnamed());
        drop(stream);
        std::fs::remove_file(&socket).unwrap();
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let texts = |family: &str| -> Vec<String> {
        let text = |call: &&Call| match &call.decoded[1] {
            Arg::Sockaddr(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        of(&trace, family).iter().map(text).collect()
    };
    assert_eq!(texts("bind")[0], "0.0.0.0:0");
    assert!(
        texts("getsockname")[0].starts_with("0.0.0.0:") && texts("getsockname")[0] != "0.0.0.0:0"
    );
    assert_eq!(texts("connect")[0], "127.0.0.1:9");
    assert!(texts("bind")[1].starts_with("unix:/") && texts("bind")[1].contains("tracer-test-"));
    assert_eq!(texts("connect")[1], texts("bind")[1]);
    assert_eq!(texts("accept"), ["unix, unnamed"]);
}

#[test]
fn pairs_signals_and_wait_statuses_are_decoded() {
    needs_ptrace!();
    let trace = trace(|| {
        let ends = pipe();
        // SAFETY: two descriptors of ours; integers; the child isn't reaped yet.
        unsafe {
            demand(libc::close(ends[0]) == 0 && libc::close(ends[1]) == 0);
            let child = fork(|| libc::pause());
            demand(libc::kill(child, libc::SIGTERM) == 0);
            wait(child, 0);
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
    })
    .unwrap();
    let closed: Vec<u64> = of(&trace, "close")
        .iter()
        .map(|call| call.args[0])
        .collect();
    let &Arg::Pair(a, b) = &only(&trace, "pipe2").decoded[0] else {
        panic!("{trace:?}")
    };
    assert_eq!(closed, [a as u64, b as u64]);
    assert_eq!(only(&trace, "kill").decoded[1], Arg::Signal("SIGTERM"));
    assert_eq!(
        only(&trace, "wait4").decoded[1],
        Arg::Wait("killed by SIGTERM".into())
    );
    let action = only(&trace, "rt_sigaction");
    assert_eq!(action.decoded[0], Arg::Signal("SIGPIPE"));
    assert!(
        action.to_string().contains("SIG_IGN, SA_RESTART"),
        "{action}"
    );
}

#[test]
fn descriptors_have_targets_if_asked_for() {
    needs_ptrace!();
    let descriptor = |trace: &Trace| only(trace, "fsync").decoded[0].clone();
    let sync = || {
        let null = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: a descriptor that is open.
        unsafe { libc::fsync(null.as_raw_fd()) };
    };
    let with = Tracer::new().fd_targets(true).closure(sync).unwrap();
    assert!(
        matches!(descriptor(&with), Arg::Fd { target: Some(target), .. } if target == "/dev/null")
    );
    let without = Tracer::new().closure(sync).unwrap();
    assert!(matches!(descriptor(&without), Arg::Fd { target: None, .. }));
}

#[test]
fn nothing_is_decoded_if_not_asked_for() {
    needs_ptrace!();
    let trace = Tracer::new()
        .decode(false)
        .closure(|| demand(write(-1, b"x") == Err(libc::EBADF)))
        .unwrap();
    let call = only(&trace, "write");
    assert_eq!(
        (&call.decoded[..], call.args[2], call.errno()),
        (&[][..], 1, Some(libc::EBADF))
    );
}

#[test]
fn a_number_without_a_name_is_unknown() {
    needs_ptrace!();
    let trace = trace(|| {
        // SAFETY: no such call: ENOSYS.
        demand(unsafe { libc::syscall(0x1234, 1u64, 2u64, 3u64, 4u64, 5u64, 6u64) } == -1);
    })
    .unwrap();
    let call = only(&trace, "unknown");
    assert_eq!((call.number, call.errno()), (0x1234, Some(libc::ENOSYS)));
    assert!(
        call.to_string()
            .starts_with("unknown_0x1234(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS"),
        "{call}"
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_call_is_not_given_a_64_bit_name() {
    needs_ptrace!();
    let trace = trace(|| {
        // Number 20 is getpid(2) there and writev(2) here.
        let mut result: u64 = 20;
        // SAFETY: takes nothing; without 32-bit emulation the instruction faults, which the child dies of.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        demand(result == u64::from(std::process::id()) || result as i64 == -i64::from(libc::ENOSYS));
    })
    .unwrap();
    if trace.status
        == Some(Status::Killed {
            signal: libc::SIGSEGV,
            core: false,
        })
    {
        eprintln!("skipped: this kernel has no 32-bit emulation");
        return;
    }
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let call = only(&trace, "foreign");
    assert_eq!((call.number, call.family), (20, "foreign"));
    assert_eq!(of(&trace, "writev").len(), 0);
}

#[test]
fn a_call_that_does_not_return_has_no_result() {
    needs_ptrace!();
    let trace = trace(|| exit(3)).unwrap();
    let call = only(&trace, "exit_group");
    assert_eq!(
        (call.result, call.decoded.as_slice()),
        (None, &[Arg::Int(3)][..])
    );
    assert_eq!(call.to_string(), "exit_group(3) = ?");
}
