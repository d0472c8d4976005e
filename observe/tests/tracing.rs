//! System calls are seen as they were made, told without what differs each time, and made to fail on demand.

use observe::{
    Action, Arg, Child, Descriptors, End, Fault, Mapping, Matches, Process, Scratch, Signal,
    descendants, errno, kill_at_every_call, needs,
};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// write(2), once, to any descriptor number.
fn write(fd: i32, bytes: &[u8]) -> std::io::Result<usize> {
    // SAFETY: `bytes` is valid for its length.
    match unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } {
        -1 => Err(std::io::Error::last_os_error()),
        count => Ok(count as usize),
    }
}

#[test]
fn only_the_calls_of_the_closure_are_recorded() {
    if !needs("ptrace") {
        return;
    }
    let run = Child::new().traced().run(|| {
        write(1, b"hello").unwrap();
    });
    assert_eq!(run.calls.names(), ["write"]);
    assert_eq!(run.calls.to_string(), "write(stdout, 5) = 5");
    assert_eq!(run.end, End::Returned(()));
    assert_eq!(run.stdout, b"hello");
}

#[test]
fn calls_on_a_message_queue_show_their_deadline() {
    if !needs("ptrace") || !needs("mqueue") {
        return;
    }
    let run = Child::new().traced().run(|| {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        let past = libc::timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        // SAFETY: names are C strings, `past` and the message live across the calls, null asks for the defaults.
        unsafe {
            let none = std::ptr::null::<libc::mq_attr>();
            let queue = libc::mq_open(c"/observe-tracing".as_ptr(), flags, 0o600, none);
            libc::mq_timedsend(queue, c"hi".as_ptr(), 2, 7, &raw const past);
            libc::mq_unlink(c"/observe-tracing".as_ptr());
        }
    });
    assert_eq!(
        run.calls.to_string(),
        "mq_open(\"observe-tracing\", O_RDWR|O_CREAT|O_EXCL, 0600) = mqueue1\n\
         mq_timedsend(mqueue1, 2, 7, 5s) = 0\n\
         mq_unlink(\"observe-tracing\") = 0"
    );
}

#[test]
fn as_many_bytes_are_kept_as_were_asked_for() {
    if !needs("ptrace") {
        return;
    }
    let text: Vec<u8> = (0..1000_u32).map(|at| at as u8).collect();
    for (child, kept) in [
        (Child::new().traced(), 32),
        (Child::new().bytes(4096), 1000),
    ] {
        let run = child.run(|| {
            write(1, &text).unwrap();
        });
        let written = run.calls[0].decoded.iter().find_map(|arg| match arg {
            Arg::Bytes { start, length } => Some((start.as_slice(), *length)),
            _ => None,
        });
        assert_eq!(written, Some((&text[..kept], 1000)));
    }
}

#[test]
fn calls_are_told_by_what_they_work_on() {
    if !needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let run = Child::new().traced().run(|| {
        let mut file = File::create(scratch.join("new")).unwrap();
        file.write_all(b"four").unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::rename(scratch.join("new"), scratch.join("old")).unwrap();
        let _ = File::open(scratch.join("none"));
    });
    let calls = run.calls.without_runtime();
    assert_eq!(
        calls.to_string(),
        "open(\"$TMPDIR/new\", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = a descriptor\n\
         write($TMPDIR/new, 4) = 4\n\
         fsync($TMPDIR/new) = 0\n\
         close($TMPDIR/new) = 0\n\
         rename(\"$TMPDIR/new\", \"$TMPDIR/old\") = 0\n\
         open(\"$TMPDIR/none\", O_RDONLY|O_CLOEXEC) = ENOENT"
    );
    assert_eq!(
        calls.count("openat") + calls.count("open"),
        4,
        "a name and a family count"
    );
    assert_eq!(calls.of("open").failed().names(), ["open"]);
    assert_eq!(
        calls.on("$TMPDIR/new").names(),
        ["open", "write", "fsync", "close", "rename"]
    );
}

#[test]
fn preadv2_without_flags_is_told_as_preadv() {
    if !needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let file = File::open(scratch.write("text", "abcdefghij")).unwrap();
    let run = Child::new().keep(&file).traced().run(|| {
        let mut bytes = [0u8; 4];
        let list = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: 4,
        };
        // SAFETY: `list` and the bytes that it names live across the calls.
        unsafe {
            libc::preadv(file.as_raw_fd(), &raw const list, 1, 4);
            libc::preadv2(file.as_raw_fd(), &raw const list, 1, 4, 0);
        }
    });
    assert_eq!(
        run.calls.to_string(),
        "preadv($TMPDIR/text, 1, 4) = 4\n\
         preadv($TMPDIR/text, 1, 4) = 4"
    );
}

#[test]
fn pipes_processes_and_standard_streams_have_names() {
    if !needs("ptrace") {
        return;
    }
    let run = Child::new().traced().run(|| {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for two descriptors; the fork is of a process of one thread.
        unsafe {
            libc::pipe(ends.as_mut_ptr());
            let pid = libc::fork();
            if pid == 0 {
                libc::dup2(ends[1], 1);
                libc::write(1, b"x".as_ptr().cast(), 1);
                libc::_exit(3);
            }
            libc::close(ends[1]);
            let mut byte = 0u8;
            libc::read(ends[0], (&raw mut byte).cast(), 1);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    });
    let calls = run.calls.without_runtime();
    let seen = observe::text(&calls.by_process());
    let wanted = "\
process 1:
  - pipe() = pipe1
  - fork() = process 2
  - close(pipe1:write) = 0
  - read(pipe1:read, 1) = 1
  - wait(process 2) = process 2
process 2:
  - dup(pipe1:write, stdout) = stdout
  - write(pipe1:write, 1) = 1
  - exit(3) = ?";
    assert_eq!(seen, wanted);
}

#[test]
fn kept_descriptors_have_names() {
    if !needs("ptrace") {
        return;
    }
    let (reader, writer) = std::io::pipe().unwrap();
    let run = Child::new().keep(&reader).keep(&writer).traced().run(|| {
        write(writer.as_raw_fd(), b"abc").unwrap();
        (&reader).read(&mut [0; 8]).unwrap()
    });
    assert_eq!(
        run.calls.to_string(),
        "write(pipe1:write, 3) = 3\nread(pipe1:read, 8) = 3"
    );
    assert_eq!(run.returned(), 3);
}

#[test]
fn an_injected_errno_is_what_the_exercise_sees() {
    if !needs("ptrace") {
        return;
    }
    let fault = Fault::new("write", Action::Fail(libc::EINTR)).nth(2);
    let run = Child::new()
        .fault(fault)
        .run(|| [1, 2, 3].map(|_| errno(write(1, b"a"))));
    assert_eq!(run.stdout, b"aa");
    let [first, second, third] = run.returned();
    assert_eq!((first, third), (Ok(1), Ok(1)));
    assert!(second.unwrap_err().is(libc::EINTR));
}

#[test]
fn facts_about_oneself_meet_no_fault_and_leave_no_call() {
    if !needs("ptrace") {
        return;
    }
    let me = std::process::id() as i32;
    let looks = ["open", "read", "readlink", "getdents64"];
    let fault = Fault::new(looks, Action::Fail(libc::EIO)).always();
    let run = Child::new().fault(fault).run(|| {
        let process = Process::me();
        let mappings = Mapping::of(process.pid).map_or(0, |mappings| mappings.len());
        let descriptors = Descriptors::mine().len();
        (process.ppid, mappings, descriptors, descendants(me).len())
    });
    let calls = run.calls.clone();
    let (parent, mappings, descriptors, processes) = run.returned();
    assert!(parent > 0 && mappings > 0 && processes > 0);
    assert_eq!(descriptors, 3);
    assert!(
        !calls
            .iter()
            .any(|call| looks.iter().any(|look| call.is(look))),
        "{calls}"
    );
}

#[test]
fn a_short_count_is_really_short() {
    if !needs("ptrace") {
        return;
    }
    let fault = Fault::new(Matches::named(["write"]).on(1), Action::Short(2));
    let run = Child::new().fault(fault).run(|| errno(write(1, b"abcdef")));
    assert_eq!(run.stdout, b"ab");
    assert_eq!(run.calls.to_string(), "write(stdout, 6) = 2 (injected)");
    assert_eq!(run.returned(), Ok(2));
}

#[test]
fn a_traced_endless_loop_ends_at_the_limit() {
    if !needs("ptrace") {
        return;
    }
    let limit = Duration::from_millis(300);
    let run = Child::new().limit(limit).traced().run(|| {
        // SAFETY: a fork in a process of one thread; both sleep until they are killed.
        unsafe { libc::fork() };
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    });
    assert_eq!(run.end, End::<()>::TimedOut(limit));
    assert_eq!(run.calls.count("fork"), 1);
}

#[test]
fn a_traced_crash_is_told_with_its_address() {
    if !needs("ptrace") {
        return;
    }
    // SAFETY: none; the child is to die of it.
    let run = Child::new()
        .traced()
        .run(|| unsafe { std::ptr::with_exposed_provenance_mut::<u8>(8).write_volatile(1) });
    assert_eq!(run.sentence(), "was killed by SIGSEGV at address 0x8");
    assert_eq!(run.end, End::Killed(Signal(libc::SIGSEGV)));
}

#[test]
fn a_traced_child_that_stops_itself_can_be_continued() {
    if !needs("ptrace") {
        return;
    }
    // SAFETY: raise takes an integer.
    let child = Child::new()
        .traced()
        .start(|| unsafe { libc::raise(libc::SIGSTOP) });
    let child = child.does("stop itself", |child| {
        child.stopped_by() == Some(Signal(libc::SIGSTOP))
    });
    child.signal(libc::SIGCONT).unwrap();
    assert_eq!(child.wait().returned(), 0);
}

#[test]
fn traced_and_untraced_children_side_by_side_keep_their_ends() {
    if !needs("ptrace") {
        return;
    }
    std::thread::scope(|scope| {
        for worker in 0..6 {
            scope.spawn(move || {
                for status in 0..10 {
                    let child = Child::new();
                    let child = if worker % 2 == 0 {
                        child.traced()
                    } else {
                        child
                    };
                    let run = child.run(|| -> i32 { std::process::exit(status) });
                    assert_eq!(run.end, End::Exited(status));
                }
            });
        }
    });
}

#[test]
fn a_torn_writer_is_caught_at_its_crash_point() {
    if !needs("ptrace") {
        return;
    }
    let torn = |scratch: &Scratch| fs::write(scratch.join("file"), "new").unwrap();
    let check = |scratch: &Scratch, crash: &observe::Crash| {
        let left = fs::read_to_string(scratch.join("file")).unwrap();
        assert!(
            left == "old" || left == "new",
            "{crash}: the file held {left:?}"
        );
    };
    let verdict = std::panic::catch_unwind(|| kill_at_every_call(file_with_old, torn, check));
    let payload = verdict.unwrap_err();
    let sentence = payload.downcast_ref::<String>().unwrap();
    assert!(sentence.starts_with("killed at call "), "{sentence}");
    assert!(
        sentence.contains(" write($TMPDIR/file, 3), after open(\"$TMPDIR/file\", O_WRONLY"),
        "{sentence}"
    );
    assert!(sentence.ends_with("the file held \"\""), "{sentence}");
}

#[test]
fn an_atomic_writer_survives_every_crash_point() {
    if !needs("ptrace") {
        return;
    }
    let atomic = |scratch: &Scratch| {
        let mut file = File::create(scratch.join("file.new")).unwrap();
        file.write_all(b"new").unwrap();
        file.sync_all().unwrap();
        fs::rename(scratch.join("file.new"), scratch.join("file")).unwrap();
    };
    let seen = std::cell::RefCell::new(Vec::new());
    let points = kill_at_every_call(file_with_old, atomic, |scratch, crash| {
        let left = fs::read_to_string(scratch.join("file")).unwrap();
        assert!(
            left == "old" || left == "new",
            "{crash}: the file held {left:?}"
        );
        seen.borrow_mut().push((crash.nth, left));
    });
    assert!(points >= 4, "open, write, fsync, rename");
    let seen = seen.into_inner();
    assert_eq!(seen[0], (0, "new".to_owned()), "the whole run");
    assert_eq!(seen[1], (1, "old".to_owned()), "killed at the first call");
}

fn file_with_old() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("file", "old");
    scratch
}
