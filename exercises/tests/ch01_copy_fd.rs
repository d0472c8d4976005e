//! Every pair of descriptors is copied under trace: which calls moved the bytes, and did all arrive?

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch01_system_calls/copy_fd.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch01_system_calls/copy_fd.rs")]
mod copy_fd;
mod copying;

use copy_fd::copy_fd;
use copying::{BLOCK, LIMIT, Site, bytes, data_of, punch};
use libc::{EBADF, EINTR, EINVAL, EIO, EISDIR, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EPIPE, EXDEV};
use nix::unistd::{Whence, lseek};
use observe::{Action, Calls, Child, Failure, Fault, assert_seen};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;

const WAYS: [&str; 5] = ["copy_file_range", "sendfile", "splice", "read", "write"];

#[test]
fn bytes_go_from_offset_to_offset() {
    let site = Site::new();
    let (mut from, mut to) = (site.from(b"abcdefgh"), site.to(b"0123456789"));
    from.seek(SeekFrom::Start(5)).unwrap();
    to.seek(SeekFrom::Start(2)).unwrap();
    let copied = Child::new()
        .keep(&from)
        .keep(&to)
        .limit(LIMIT)
        .run(|| copy(&from, &to))
        .returned();
    assert_copied("a file of 8 bytes from offset 5 on", &copied, b"fgh");
    let seen = site.text();
    assert!(
        seen == "01fgh56789",
        "3 bytes were to replace \"234\" in \"0123456789\", and it is {seen:?} now"
    );
    let offsets = [&mut from, &mut to].map(|file| file.stream_position().unwrap());
    assert!(
        offsets == [8, 5],
        "the offsets are {offsets:?} after the copy instead of [8, 5]: behind the last byte"
    );
    let child = Child::new().keep(&from).keep(&to).limit(LIMIT);
    let copied = child.run(|| copy(&from, &to)).returned();
    assert_copied("a file from its end on", &copied, b"");
}

#[test]
fn short_counts_and_interruptions_lose_nothing() {
    if !observe::needs("ptrace") {
        return;
    }
    for [from, to] in [
        ["file", "file"],
        ["file", "pipe"],
        ["pipe", "file"],
        ["pipe", "socket"],
        ["socket", "socket"],
        ["socket", "file"],
    ] {
        let mut child = Child::new();
        for way in WAYS {
            // What has been read at once is not written at once.
            let most = if way == "read" { 9000 } else { 5000 };
            child = child
                .fault(Fault::new(way, Action::Fail(EINTR)).times(2))
                .fault(Fault::new(way, Action::Short(most)).nth(3).times(3))
                .fault(Fault::new(way, Action::Fail(EINTR)).nth(6));
        }
        let what = format!("{from} to {to}, in small pieces with interruptions");
        let site = Site::new();
        let (run, arrived) = site.pair(from, to, child, copy);
        assert_copied(&what, &run.returned(), &bytes());
        assert_arrived(&what, &arrived, &bytes());
    }
}

#[test]
fn size_of_zero_is_no_end() {
    let site = Site::new();
    let (from, to) = (File::open("/proc/version").unwrap(), site.to(b""));
    let child = Child::new().keep(&from).keep(&to).limit(LIMIT);
    let copied = child.run(|| copy(&from, &to)).returned();
    let version = fs::read("/proc/version").unwrap();
    assert_arrived("/proc/version", &fs::read(&site.to).unwrap(), &version);
    assert_copied("/proc/version", &copied, &version);
    if !observe::needs("ptrace") {
        return;
    }
    for believing in [&WAYS[..1], &WAYS[1..2], &WAYS[..2]] {
        // What a kernel says that believes the size.
        let nothing = Fault::new(believing, Action::Short(0)).always();
        let site = Site::new();
        let (run, arrived) = site.pair("file", "file", Child::new().fault(nothing), copy);
        let what = format!("{} moved 0 bytes", believing.join(" and "));
        assert_copied(&what, &run.returned(), &bytes());
        assert_arrived(&what, &arrived, &bytes());
    }
}

#[test]
fn holes_hide_what_was_there() {
    let old = vec![b'o'; 10 * BLOCK];
    for (what, append) in [("over old bytes", false), ("to an O_APPEND file", true)] {
        let site = Site::new();
        let from = site.from(b"");
        punch(&site.from, &[(2, BLOCK)], 6 * BLOCK as u64);
        let contents = fs::read(&site.from).unwrap();
        let mut to = site.to(&old);
        let mut expected = old.clone();
        if append {
            to = File::options().append(true).open(&site.to).unwrap();
            expected.extend(&contents);
        } else {
            to.seek(SeekFrom::Start(BLOCK as u64)).unwrap();
            expected[BLOCK..7 * BLOCK].copy_from_slice(&contents);
        }
        let child = Child::new().keep(&from).keep(&to).limit(LIMIT);
        let copied = child.run(|| copy(&from, &to)).returned();
        let what = format!("a file with holes, {what}");
        assert_copied(&what, &copied, &contents);
        assert_arrived(&what, &fs::read(&site.to).unwrap(), &expected);
    }
}

#[test]
fn refused_way_is_followed_by_the_next() {
    if !observe::needs("ptrace") {
        return;
    }
    let refusals = [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EBADF];
    for (count, errno) in refusals.into_iter().cycle().take(12).enumerate() {
        // The last six times sendfile is refused as well.
        let refused = &WAYS[..1 + count / refusals.len()];
        // Refused at once, or when a part has been moved.
        for nth in [1, 2] {
            let name = observe::Errno(errno).name();
            let what = format!("{} refused with {name}", refused.join(" and "));
            let mut child = Child::new();
            for way in refused {
                let part = Fault::new(*way, Action::Short(1000)).times(nth - 1);
                let refuse = Fault::new(*way, Action::Fail(errno)).nth(nth).always();
                child = child.fault(part).fault(refuse);
            }
            let site = Site::new();
            let (run, arrived) = site.pair("file", "file", child, copy);
            let calls = run.calls.only(&WAYS);
            assert_copied(&what, &run.returned(), &bytes());
            assert_arrived(&what, &arrived, &bytes());
            for way in refused {
                let tries = calls.of(way).failed().len();
                assert!(tries <= 1, "{what}: {way} was tried {tries} times");
            }
        }
    }
    let refuse = Fault::new(
        ["copy_file_range", "sendfile", "splice"],
        Action::Fail(ENOSYS),
    );
    let site = Site::new();
    let (run, arrived) = site.pair("pipe", "pipe", Child::new().fault(refuse.always()), copy);
    let what = "a pipe to a pipe, and only read and write work";
    assert_copied(what, &run.returned(), &bytes());
    assert_arrived(what, &arrived, &bytes());
}

#[test]
fn fastest_way_is_taken() {
    if !observe::needs("ptrace") {
        return;
    }
    let mut seen = BTreeMap::new();
    for [from, to] in [
        ["file", "file"],
        ["file", "pipe"],
        ["file", "socket"],
        ["file", "O_APPEND file"],
        ["pipe", "file"],
        ["pipe", "pipe"],
        ["pipe", "socket"],
        ["pipe", "O_APPEND file"],
        ["socket", "file"],
        ["socket", "pipe"],
        ["socket", "socket"],
    ] {
        let pair = format!("{from} to {to}");
        let site = Site::new();
        let (run, arrived) = site.pair(from, to, Child::new().traced(), copy);
        let calls = run.calls.only(&WAYS);
        assert_copied(&pair, &run.returned(), &bytes());
        assert_arrived(&pair, &arrived, &bytes());
        let ways = moved(&calls).join(" and ");
        let fastest = match (from, to) {
            ("file", "file") => "copy_file_range",
            (_, "O_APPEND file") => "read and write",
            // What sendfile can do besides files grows with the kernel.
            (_, "pipe") if ways == "sendfile" => "sendfile",
            (_, "pipe") if ways == "splice" => "splice",
            ("file", _) => "sendfile",
            ("pipe", _) | (_, "pipe") => "splice",
            _ => "read and write",
        };
        assert!(
            ways == fastest,
            "{pair}: the bytes were moved by {ways} instead of {fastest}"
        );
        let told = if to == "pipe" {
            "sendfile or splice"
        } else {
            fastest
        };
        seen.insert(pair, told);
    }
    let refuse = Fault::new("copy_file_range", Action::Fail(EXDEV)).always();
    let site = Site::new();
    let (run, _) = site.pair("file", "file", Child::new().fault(refuse), copy);
    let calls = run.calls.only(&WAYS);
    let ways = moved(&calls).join(" and ");
    assert!(
        ways == "sendfile",
        "file to file, and copy_file_range refused with EXDEV: the bytes were moved by {ways} instead of sendfile"
    );
    assert_seen!("ch01_copy_fd__ways", seen);
}

#[test]
fn holes_are_kept() {
    if !observe::needs("ptrace") {
        return;
    }
    // Data first or a hole first, data last or a hole last.
    let shapes = [
        ("a hole in the middle", &[(0, BLOCK), (32, BLOCK)][..], 33),
        (
            "holes at both ends",
            &[(16, 2 * BLOCK), (40, BLOCK / 2)],
            64,
        ),
        ("nothing but a hole", &[], 32),
    ];
    for (shape, data, end) in shapes {
        for refuse in [&[][..], &WAYS[..1], &WAYS[..3]] {
            let what = match refuse {
                [] => format!("a file with {shape}"),
                ways => format!("a file with {shape}, and {} refused", ways.join(", ")),
            };
            let site = Site::new();
            let (from, to) = (site.from(b""), site.to(b"old"));
            punch(&site.from, data, end * BLOCK as u64);
            let (contents, map) = (fs::read(&site.from).unwrap(), data_of(&site.from, 0));
            lseek(&to, 2 * BLOCK as i64, Whence::SeekSet).unwrap();
            let mut child = Child::new().keep(&from).keep(&to).limit(LIMIT).traced();
            if !refuse.is_empty() {
                child = child.fault(Fault::new(refuse, Action::Fail(EXDEV)).always());
            }
            let run = child.run(|| copy(&from, &to));
            let refused = run.calls.of("copy_file_range").failed().len();
            assert_copied(&what, &run.returned(), &contents);
            let copied = fs::read(&site.to).unwrap();
            assert_eq!(&copied[..3], b"old", "{what}: what was there before");
            assert_arrived(&what, &copied[2 * BLOCK..], &contents);
            let kept = data_of(&site.to, 2 * BLOCK as u64);
            assert!(
                kept == map,
                "{what}: the file has data in these blocks of 64 KiB: {}; the copy: {}",
                words(&map),
                words(&kept)
            );
            let offset = lseek(&to, 0, Whence::SeekCur).unwrap() as usize;
            assert!(
                offset == 2 * BLOCK + contents.len(),
                "{what}: the offset of the copy is {offset}, {} is behind its last byte",
                2 * BLOCK + contents.len()
            );
            assert!(
                refused <= 1,
                "{what}: copy_file_range was tried {refused} times"
            );
        }
    }
}

#[test]
fn other_errnos_come_at_once() {
    let site = Site::new();
    let from = site.from(b"something");
    let to = site.to(b"");
    let directory = File::open(site.scratch.path()).unwrap();
    // A copy that failed may have read: this one has an offset of its own.
    let unread = File::open(&site.from).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let child = Child::new()
        .keep(&from)
        .keep(&to)
        .keep(&directory)
        .keep(&unread)
        .keep(&writer);
    let answers = child
        .limit(LIMIT)
        .run(|| {
            [
                copy(&directory, &to),
                copy(&from, &from),
                copy(&writer, &to),
                copy(&unread, &writer),
            ]
        })
        .returned();
    let cases = [
        ("from a directory", EISDIR),
        ("to a descriptor open for reading only", EBADF),
        ("from a descriptor open for writing only", EBADF),
        ("to a pipe that nobody reads", EPIPE),
    ];
    for (answer, (what, errno)) in answers.iter().zip(cases) {
        assert_failed(what, answer, errno);
    }
    if !observe::needs("ptrace") {
        return;
    }
    for (index, errno) in [(0, ENOSPC), (1, EIO)] {
        let site = Site::new();
        let child = Child::new()
            .fault(Fault::new(&WAYS[..index], Action::Fail(EXDEV)).times(index as u32))
            .fault(Fault::new(WAYS[index], Action::Fail(errno)).always());
        let (run, _) = site.pair("file", "file", child, copy);
        let calls = run.calls.only(&WAYS);
        let what = format!("when {} fails", WAYS[index]);
        assert_failed(&what, &run.returned(), errno);
        assert!(
            moved(&calls).is_empty(),
            "{what}, it is not refused, and yet the copy went on: {}",
            calls.in_a_line()
        );
    }
}

/// Runs in the child.
fn copy(from: &impl AsFd, to: &impl AsFd) -> Result<u64, Failure> {
    observe::errno(copy_fd(from, to))
}

/// The ways by which bytes were moved, each once.
fn moved(calls: &Calls) -> Vec<&str> {
    let moved = |way: &&str| {
        let mut done = calls.iter().filter(|call| call.is(way));
        done.any(|call| matches!(call.result, Some(Ok(1..))))
    };
    WAYS.into_iter().filter(moved).collect()
}

#[track_caller]
fn assert_copied(what: &str, answer: &Result<u64, Failure>, expected: &[u8]) {
    let count = expected.len() as u64;
    match answer {
        Ok(copied) => assert!(
            *copied == count,
            "{what}: there were {count} bytes to copy, and copy_fd returned {copied}"
        ),
        Err(failure) => panic!("{what}: copy_fd gave {failure}"),
    }
}

#[track_caller]
fn assert_arrived(what: &str, arrived: &[u8], expected: &[u8]) {
    let differs = arrived.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(at) = differs {
        panic!(
            "{what}: byte {at} of the copy is {:#04x} instead of {:#04x}",
            arrived[at], expected[at]
        );
    }
    assert!(
        arrived.len() == expected.len(),
        "{what}: {} bytes arrived instead of {}",
        arrived.len(),
        expected.len()
    );
}

#[track_caller]
fn assert_failed(what: &str, answer: &Result<u64, Failure>, errno: i32) {
    let expected = observe::Errno(errno).name();
    match answer {
        Ok(count) => panic!("{what}: copy_fd returned {count} instead of {expected}"),
        Err(failure) => assert!(
            failure.is(errno),
            "{what}: copy_fd gave {failure} instead of {expected}"
        ),
    }
}

fn words(blocks: &[u64]) -> String {
    match blocks {
        [] => "none".to_owned(),
        [first, .., last] if blocks.len() > 8 => {
            format!("{} of them, from {first} to {last}", blocks.len())
        }
        blocks => format!("{blocks:?}"),
    }
}
