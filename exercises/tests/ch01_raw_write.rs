//! Each write is looked at from the kernel's side: which call came, from where, and what it answered.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch01_system_calls/raw_write.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch01_system_calls/raw_write.rs")]
mod raw_write;

use libc::{EBADF, EFAULT, EINTR, EPIPE};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use observe::{Action, Child, Failure, Fault, assert_seen};
use raw_write::{decode, raw_write, write};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::ptr;

const GREETING: &[u8] = b"hello, kernel\n";

#[test]
fn errnos_are_minus_4095_to_minus_1() {
    let errnos = [-1, -9, -4095];
    let values = [0, 1, 4095, isize::MAX, -4096];
    let rets = errnos.into_iter().chain(values);
    let decode = |ret| observe::errno(decode(ret));
    let run = Child::new().run(|| rets.clone().map(decode).collect::<Vec<_>>());
    for (ret, decoded) in rets.zip(run.returned()) {
        let seen = words(&decoded);
        if errnos.contains(&ret) {
            let errno = -ret as i32;
            assert!(
                is_errno(&decoded, errno),
                "decode({ret}) is {seen}: it is the error of errno {errno}"
            );
        } else {
            assert!(
                decoded == Ok(ret as usize),
                "decode({ret}) is {seen}: only -4095 to -1 are errors"
            );
        }
    }
}

#[test]
fn one_write_and_no_library() {
    if !observe::needs("ptrace") {
        return;
    }
    let run = Child::new().traced().run(|| {
        // SAFETY: descriptor 1 is there for this text, which is a constant.
        unsafe { raw_write(1, GREETING.as_ptr(), GREETING.len()) }
    });
    let (calls, stdout) = (run.calls.clone(), run.stdout_text());
    let answer = run.returned();
    assert!(
        calls.count("foreign") == 0,
        "the call came through the 32-bit interface (int 0x80?), whose numbers are others"
    );
    assert!(
        calls.names() == ["write"],
        "the kernel saw {} instead of one write",
        calls.in_a_line()
    );
    let (called_from, exercise) = (mapping(calls[0].ip), mapping(is_errno as *const () as u64));
    assert!(
        called_from == exercise,
        "the system call instruction was executed in {called_from}, not in the exercise"
    );
    assert!(stdout.as_bytes() == GREETING, "{stdout:?} came out");
    assert!(
        answer == GREETING.len() as isize,
        "the kernel answered {}, and raw_write returned {answer}",
        GREETING.len()
    );
    assert_seen!("ch01_raw_write__one_write", calls);
}

#[test]
fn the_kernel_judges_the_arguments() {
    let null = File::options().write(true).open("/dev/null").unwrap();
    let (text, full) = (GREETING.as_ptr(), GREETING.len());
    let beyond_32_bits = (1 << 32) + full;
    // Descriptor 0 is /dev/null, open for reading.
    let cases = [
        ("to a closed descriptor", -1, text, full, -EBADF),
        ("to a read-only descriptor", 0, text, full, -EBADF),
        ("of zero bytes", 1, text, 0, 0),
        ("of zero bytes to a read-only one", 0, text, 0, -EBADF),
        ("from where no memory is", 1, ptr::null(), full, -EFAULT),
    ];
    let run = Child::new().keep(&null).run(|| {
        Errno::clear();
        // SAFETY: the descriptors are there for this, and the text is a constant.
        let answers = cases.map(|(_, fd, buf, count, _)| unsafe { raw_write(fd, buf, count) });
        // SAFETY: as above; /dev/null looks at no byte.
        let large = unsafe { raw_write(null.as_raw_fd(), text, beyond_32_bits) };
        let errno = Errno::last_raw();
        let empty = observe::errno(write(io::stdin(), b""));
        (answers, large, errno, empty)
    });
    let (answers, large, errno, empty) = run.returned();
    for ((what, .., expected), answer) in cases.into_iter().zip(answers) {
        assert!(
            answer == expected as isize,
            "a write {what} was answered by {answer} instead of {expected}"
        );
    }
    // write(2) transfers at most 0x7ffff000 bytes, less where pages are larger than 4 KiB.
    assert!(
        large > i32::MAX as isize / 2,
        "of {beyond_32_bits} bytes /dev/null took {large}: the kernel was told another count"
    );
    assert!(
        errno == 0,
        "libc's errno was set to {errno}: the call went through libc"
    );
    assert!(
        is_errno(&empty, EBADF),
        "write of zero bytes to a descriptor open for reading only gave {} instead of EBADF",
        words(&empty)
    );
}

#[test]
fn closed_reader_is_epipe() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let written = Child::new()
        .keep(&writer)
        .run(|| observe::errno(write(&writer, GREETING)))
        .returned();
    assert!(
        is_errno(&written, EPIPE),
        "a write to a pipe that nobody reads gave {} instead of EPIPE",
        words(&written)
    );
}

#[test]
fn short_count_is_a_result() {
    if !observe::needs("ptrace") {
        return;
    }
    let (mut reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let too_much = vec![b'x'; 1 << 20];
    let run = Child::new()
        .keep(&writer)
        .traced()
        .run(|| observe::errno(write(&writer, &too_much)));
    drop(writer);
    let calls = run.calls.of("write");
    let written = run.returned();
    assert!(
        calls.len() == 1,
        "{} writes were made: {}",
        calls.len(),
        calls.in_a_line()
    );
    let mut piped = Vec::new();
    reader.read_to_end(&mut piped).unwrap();
    assert!(
        written == Ok(piped.len()),
        "the pipe had room for {} bytes, and write returned {}",
        piped.len(),
        words(&written)
    );
}

#[test]
fn interrupted_write_is_eintr() {
    if !observe::needs("ptrace") {
        return;
    }
    let run = Child::new()
        .fault(Fault::new("write", Action::Fail(EINTR)))
        .run(|| observe::errno(write(io::stdout(), GREETING)));
    let calls = run.calls.clone();
    let written = run.returned();
    assert!(
        is_errno(&written, EINTR),
        "the kernel answered EINTR, and write returned {} after {}",
        words(&written),
        calls.in_a_line()
    );
    assert_seen!("ch01_raw_write__interrupted", calls);
}

fn is_errno(result: &Result<usize, Failure>, errno: i32) -> bool {
    result.as_ref().is_err_and(|failure| failure.is(errno))
}

/// What was returned.
fn words(result: &Result<usize, Failure>) -> String {
    match result {
        Ok(value) => format!("Ok({value})"),
        Err(failure) => format!("Err({failure})"),
    }
}

/// The name of the file that is mapped at this address. A child is a fork: what is mapped here is
/// mapped there.
fn mapping(address: u64) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let bound = |text| u64::from_str_radix(text, 16).unwrap();
        (bound(start)..bound(end)).contains(&address)
    });
    let file = line.and_then(|line| line.rsplit_once('/'));
    file.map_or("memory without a file", |(_, name)| name)
        .to_owned()
}
