//! A reader of a mapped file is known by its lines, by where they lie in memory, by its system calls, and by
//! what becomes of it when the file is cut short.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/mmap_reader.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/mmap_reader.rs")]
mod mmap_reader;

use memmap2::Mmap;
use mmap_reader::{Lines, MappedFile};
use nix::sys::signal::{SigHandler, Signal, signal};
use observe::{Child, End, Errno, Failure, Mapping, Process, Scratch, assert_seen, count, errno};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::ErrorKind::UnexpectedEof;
use std::path::Path;
use std::time::Duration;

/// What one `next` gave, as it crosses from the child.
type Item = Option<Result<Vec<u8>, Failure>>;

/// Several pages on every machine: they have 4, 16 or 64 KiB.
const PAGES: usize = 256 << 10;

/// Lines of the longest file below: an iterator without an end must not fill the memory.
const MOST: usize = 1000;

#[test]
fn every_line_is_given_as_it_is() {
    let scratch = Scratch::new();
    let small: [(&str, &[u8]); 8] = [
        ("newline at the end", b"one\ntwo\n"),
        ("no newline at the end", b"one\ntwo"),
        ("empty lines", b"\n\none\n\n"),
        ("nothing but a newline", b"\n"),
        ("nothing but a byte", b"x"),
        ("carriage returns", b"one\r\ntwo\r\n\rthree\r"),
        ("not UTF-8", b"caf\xe9\n\xff\xfe\n\xc3\xa9\n"),
        ("zeros", b"\0one\0\n\0\n"),
    ];
    let mut seen = BTreeMap::new();
    for (name, contents) in small {
        let path = scratch.write("lines", contents);
        let given = Child::new().run(|| read(&path)).returned();
        seen.insert(name, shown(&assert_lines(name, contents, given)));
    }
    // Line ends in, at and behind the last byte of a page; the last line has none.
    let mut large: Vec<u8> = (0..PAGES).map(|at| b'a' + (at % 26) as u8).collect();
    for at in (4095..PAGES - 1).step_by(3 * 4096 - 1) {
        large[at] = b'\n';
    }
    let path = scratch.write("lines", &large);
    let given = Child::new().run(|| read(&path)).returned();
    assert_lines("many pages", &large, given);
    assert_seen!("ch04_mmap_reader__lines", seen);
}

#[test]
fn empty_file_has_no_lines() {
    let scratch = Scratch::new();
    let path = scratch.write("empty", b"");
    let given = Child::new()
        .run(|| open(&path).map(|file| next(&mut file.lines(), 2)))
        .returned();
    match given {
        Ok(items) => assert_eq!(items, [None, None], "what an empty file gives"),
        Err(failure) => panic!("an empty file could not be opened: {failure}"),
    }
}

#[test]
fn errno_of_open_and_mmap_is_passed_on() {
    let scratch = Scratch::new();
    // Not empty: on some file systems an empty directory has the length 0.
    let directory = scratch.join("directory");
    fs::create_dir(&directory).unwrap();
    scratch.write("directory/entry", b"");
    for (path, expected) in [
        (scratch.join("absent"), Errno(libc::ENOENT)),
        (directory, Errno(libc::ENODEV)),
    ] {
        let opened = Child::new().run(|| open(&path).map(drop)).returned();
        let name = observe::redact(path.to_str().unwrap());
        match opened {
            Ok(()) => panic!("open({name}) succeeded instead of failing with {expected}"),
            Err(failure) => assert!(
                failure.is(expected.0),
                "open({name}) failed with {failure} instead of {expected}"
            ),
        }
    }
}

#[test]
fn lines_lie_in_the_mapping() {
    let scratch = Scratch::new();
    let mut contents = b"one\n\nthree\r\n".to_vec();
    contents.resize(PAGES, b'x');
    let path = scratch.write("lines", &contents);
    let (mappings, lines) = Child::new()
        .run(|| {
            let file = open(&path).unwrap();
            let lines: Vec<&[u8]> = file.lines().take(4).map(Result::unwrap).collect();
            let place = |line: &&[u8]| (line.as_ptr() as u64, line.len() as u64);
            let places: Vec<(u64, u64)> = lines.iter().map(place).collect();
            (mappings_of(&path), places)
        })
        .returned();
    let [mapping] = &mappings[..] else {
        panic!(
            "the file is mapped {} times while it is open, not once",
            mappings.len()
        );
    };
    let permissions = &mapping.permissions;
    assert!(
        permissions.starts_with("r--"),
        "the file is mapped {permissions}, not for reading only"
    );
    let mut places = Vec::new();
    for (number, (address, length)) in (1..).zip(lines) {
        let inside = mapping.start <= address && address + length <= mapping.end;
        assert!(
            inside,
            "line {number} lies outside of the mapping: it was copied"
        );
        let offset = address - mapping.start + mapping.offset;
        places.push(format!(
            "line {number}: byte {offset} of the file, {length} long"
        ));
    }
    assert_seen!("ch04_mmap_reader__places", places);
}

#[test]
fn file_is_mapped_once_and_never_read() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    let contents: Vec<u8> = b"as many lines as a file may have\n".repeat(MOST - 1);
    let path = scratch.write("lines", &contents);
    let run = Child::new().traced().run(|| read(&path));
    let calls = run.calls.clone();
    assert_lines("a file of 32 KiB", &contents, run.returned());
    let reads = calls.only(&[
        "read",
        "pread",
        "readv",
        "preadv",
        "sendfile",
        "splice",
        "copy_file_range",
    ]);
    if let Some(first) = reads.first() {
        panic!(
            "{} read the file where mmap(2) is enough: {first}",
            count(reads.len(), "call")
        );
    }
    let maps = calls.of("mmap").on("$TMPDIR/lines");
    assert!(
        maps.len() == 1,
        "the file was mapped by {}, not by one: {maps}",
        count(maps.len(), "call")
    );
}

#[test]
fn nothing_is_left_when_the_file_is_dropped() {
    let scratch = Scratch::new();
    let paths = [
        scratch.write("empty", b""),
        scratch.write("lines", b"one\ntwo\n"),
    ];
    // As many at once as are promised, then one after the other as often as anybody likes.
    let (at_once, mappings, descriptors) = Child::new()
        .run(|| {
            let files: Vec<_> = (0..64).map(|at| open(&paths[at % 2])).collect();
            let at_once: Vec<_> = files
                .iter()
                .map(|file| {
                    file.as_ref().map_or_else(
                        |failure| vec![Some(Err(failure.clone()))],
                        |file| next(&mut file.lines(), 3),
                    )
                })
                .collect();
            drop(files);
            for at in 0..200 {
                open(&paths[at % 2]).unwrap();
            }
            let mappings = mappings_of(scratch.path());
            (at_once, mappings, Process::me().descriptors.above_stderr())
        })
        .returned();
    for (at, items) in at_once.iter().enumerate() {
        let expected = [vec!["end"; 3], vec!["one", "two", "end"]];
        let given: Vec<String> = items.iter().map(told).collect();
        assert_eq!(
            given,
            expected[at % 2],
            "what file {} of 64 open at once gave",
            at + 1
        );
    }
    assert!(
        mappings.is_empty(),
        "every file was dropped, and {} of {} is still mapped",
        count(mappings.len(), "mapping"),
        observe::redact(&mappings[0].name)
    );
    assert!(
        descriptors.is_empty(),
        "every file was dropped, and {} left open",
        count(descriptors.len(), "descriptor")
    );
}

#[test]
fn line_that_was_cut_is_unexpected_eof() {
    let scratch = Scratch::new();
    let page = vec![b'x'; PAGES / 4];
    let pages = [b"one\n", &page[..], b"\n", &page[..], b"\nthree\n"].concat();
    let words = b"one\ntwo\nthree\n";
    // The file, how many lines are given before it is cut, to which length.
    let cases: [(&str, &[u8], usize, u64); 7] = [
        ("cut in the line to come", words, 1, 6),
        ("cut behind the line that was given", words, 1, 4),
        (
            "cut in the last line, which has no newline",
            b"one\ntwo",
            1,
            5,
        ),
        ("cut when every line was given", words, 3, 2),
        ("cut before the first line was asked for", words, 0, 0),
        (
            "cut in the line to come, pages before its end",
            &pages,
            1,
            10,
        ),
        ("all pages gone", &pages, 1, 0),
    ];
    let mut seen = BTreeMap::new();
    for (name, contents, before, length) in cases {
        let path = scratch.write("lines", contents);
        let (given, after) = Child::new()
            .run(|| {
                let file = open(&path).unwrap();
                let mut lines = file.lines();
                let given = next(&mut lines, before);
                cut(&path, length);
                (given, next(&mut lines, 3))
            })
            .returned();
        let whole = given.iter().zip(contents.split(|byte| *byte == b'\n'));
        for (item, line) in whole {
            assert!(
                matches!(item, Some(Ok(given)) if given == line),
                "{name}: before the cut came {}",
                told(item)
            );
        }
        assert_cut(name, &after);
        seen.insert(name, after.iter().map(told).collect::<Vec<_>>());
    }
    assert_seen!("ch04_mmap_reader__cut", seen);
}

#[test]
fn borrowed_line_survives_a_cut() {
    let scratch = Scratch::new();
    let mut contents = vec![b'x'; PAGES];
    contents.extend(b"\nnext\n");
    for length in [0, PAGES as u64 / 2, PAGES as u64 - 1] {
        let path = scratch.write("lines", &contents);
        let (strange, after) = Child::new()
            .run(|| {
                let file = open(&path).unwrap();
                let mut lines = file.lines();
                let line = lines.next().unwrap().unwrap();
                cut(&path, length);
                // Backwards, as no search for a newline goes.
                let strange = line
                    .iter()
                    .rev()
                    .filter(|byte| !matches!(byte, b'x' | 0))
                    .count();
                (strange, next(&mut lines, 3))
            })
            .returned();
        assert!(
            strange == 0,
            "{} of the line were neither its own nor 0 after the cut",
            count(strange, "byte")
        );
        assert_cut("after a borrowed line was cut", &after);
    }
}

#[test]
fn cut_is_told_to_nobody_else() {
    let scratch = Scratch::new();
    let contents = b"one\ntwo\n".repeat(PAGES / 8);
    let paths = [
        scratch.write("cut", &contents),
        scratch.write("whole", &contents),
    ];
    let (cut_short, whole, anew) = Child::new()
        .run(|| {
            let [first, second] = [&paths[0], &paths[1]].map(|path| open(path).unwrap());
            let (mut lines, mut others) = (first.lines(), second.lines());
            let given = next(&mut others, 1);
            cut(&paths[0], 0);
            let cut_short = last(&mut lines);
            let whole = (given, last(&mut others));
            drop(first);
            // In the place of the first one, perhaps: at its address, in its entry of a table.
            fs::write(&paths[0], b"three").unwrap();
            (
                cut_short,
                whole,
                open(&paths[0]).map(|file| next(&mut file.lines(), 2)),
            )
        })
        .returned();
    assert_cut("the file that was cut", &[cut_short, None, None]);
    let given: Vec<String> = whole.0.iter().chain([&whole.1]).map(told).collect();
    assert_eq!(
        given,
        ["one", "end"],
        "first and last of a file beside the one that was cut"
    );
    let anew: Vec<String> = anew.unwrap().iter().map(told).collect();
    assert_eq!(
        anew,
        ["three", "end"],
        "what a file gives that is opened after a cut"
    );
}

#[test]
fn sigbus_from_elsewhere_does_what_it_did() {
    let scratch = Scratch::new();
    let paths = [
        scratch.write("lines", b"one\n"),
        scratch.write("other", vec![b'x'; PAGES]),
    ];
    let touch = |exit_on_sigbus: bool| {
        Child::new().limit(Duration::from_secs(5)).run(|| {
            if exit_on_sigbus {
                // SAFETY: the handler only calls _exit(2).
                unsafe { signal(Signal::SIGBUS, SigHandler::Handler(exit)) }.unwrap();
            }
            let file = open(&paths[0]).unwrap();
            fs::write(&paths[1], vec![b'x'; PAGES]).unwrap();
            // SAFETY: no slice of it is used but for one byte, read as volatile.
            let other = unsafe { Mmap::map(&File::open(&paths[1]).unwrap()) }.unwrap();
            cut(&paths[1], 0);
            // SAFETY: an address of the mapping; that the page behind it is gone is the question.
            let byte = unsafe { other.as_ptr().read_volatile() };
            black_box(file);
            byte
        })
    };
    for exit_on_sigbus in [false, true] {
        let run = touch(exit_on_sigbus);
        assert!(
            !matches!(run.end, End::Returned(_)),
            "a lost page of somebody else's mapping was read as if it were there"
        );
        if exit_on_sigbus {
            run.exited(7);
        } else {
            run.killed_by(libc::SIGBUS);
        }
    }
}

extern "C" fn exit(_signal: i32) {
    // SAFETY: _exit(2) takes an integer and doesn't return.
    unsafe { libc::_exit(7) }
}

fn open(path: &Path) -> Result<MappedFile, Failure> {
    // SAFETY: nobody writes into the file of a test while it is mapped; it is only cut.
    errno(unsafe { MappedFile::open(path) })
}

/// The lines of a file to its end, or to the first error.
fn read(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let file = open(path)?;
    let lines = file.lines().take(MOST);
    errno(lines.map(|line| line.map(<[u8]>::to_vec)).collect())
}

/// What the next calls of `next` give.
fn next(lines: &mut Lines<'_>, count: usize) -> Vec<Item> {
    (0..count).map(|_| item(lines.next())).collect()
}

/// What comes behind the last line.
fn last(lines: &mut Lines<'_>) -> Item {
    item(lines.find(Result::is_err))
}

fn item(item: Option<std::io::Result<&[u8]>>) -> Item {
    item.map(|line| errno(line.map(<[u8]>::to_vec)))
}

/// truncate(2), as anybody might call it.
fn cut(path: &Path, length: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length)
        .unwrap();
}

/// The mappings of this process whose name begins with `path`.
fn mappings_of(path: &Path) -> Vec<Mapping> {
    let mut mappings = Mapping::of(std::process::id() as i32).unwrap();
    mappings.retain(|mapping| Path::new(&mapping.name).starts_with(path));
    mappings
}

/// Holds the lines against `contents`, split without mmap.
#[track_caller]
fn assert_lines(name: &str, contents: &[u8], given: Result<Vec<Vec<u8>>, Failure>) -> Vec<Vec<u8>> {
    let given = given.unwrap_or_else(|failure| panic!("{name}: reading failed with {failure}"));
    let contents = contents.strip_suffix(b"\n").unwrap_or(contents);
    let expected: Vec<&[u8]> = contents.split(|byte| *byte == b'\n').collect();
    for (number, (given, expected)) in (1..).zip(given.iter().zip(&expected)) {
        assert!(
            given == expected,
            "{name}: line {number} is {} instead of {}",
            quoted(given),
            quoted(expected)
        );
    }
    assert!(
        given.len() == expected.len(),
        "{name}: there are {}, and {} came",
        count(expected.len(), "line"),
        given.len()
    );
    given
}

/// The first answer after a cut is the error, and nothing comes behind it.
#[track_caller]
fn assert_cut(name: &str, after: &[Item]) {
    let told: Vec<String> = after.iter().map(told).collect();
    let error = matches!(&after[0], Some(Err(failure)) if failure.is_kind(UnexpectedEof));
    assert!(error, "{name}: {} came instead of UnexpectedEof", told[0]);
    assert!(
        after[1..].iter().all(Option::is_none),
        "{name}: behind the error came {} and {}",
        told[1],
        told[2]
    );
}

fn told(item: &Item) -> String {
    match item {
        None => "end".to_owned(),
        Some(Ok(line)) if line.iter().all(u8::is_ascii_graphic) && line.len() < 40 => {
            String::from_utf8_lossy(line).into_owned()
        }
        Some(Ok(line)) => quoted(line),
        Some(Err(failure)) if failure.is_kind(UnexpectedEof) => "UnexpectedEof".to_owned(),
        Some(Err(failure)) => failure.to_string(),
    }
}

fn shown(lines: &[Vec<u8>]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.escape_ascii().to_string())
        .collect()
}

fn quoted(line: &[u8]) -> String {
    match line.len() {
        ..=40 => format!("\"{}\"", line.escape_ascii()),
        length => format!("\"{}…\" ({length} bytes)", line[..40].escape_ascii()),
    }
}
