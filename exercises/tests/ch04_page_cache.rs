//! Whether pages are in the cache is asked of the kernel a second time, by the test; what was read past it shows in the
//! calls, and in the pages that did not come.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/page_cache.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/page_cache.rs")]
mod page_cache;

use libc::{EINTR, EINVAL, EIO, ENODEV};
use memmap2::{Advice, MmapOptions};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use observe::{
    Action, Calls, Child, Errno, Failure, Fault, Mapping, Process, Scratch, assert_failed,
    assert_seen, errno,
};
use page_cache::{DirectFile, drop_pages, residency};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the files here: whole pages on every machine, and some bytes of one more.
const LARGE: usize = (4 << 20) + 5000;

#[test]
fn every_page_is_told() {
    let Some(world) = World::new() else { return };
    let size = page_size();
    for (case, len) in [
        ("an empty file", 0),
        ("a file of one byte", 1),
        ("a page", size),
        ("a page and a byte", size + 1),
        ("five pages and a half", 5 * size + size / 2),
    ] {
        let path = world.write("file", len);
        assert_told(&format!("{case}, just written"), &path);
        world.forget(&path);
        assert_told(&format!("{case}, dropped"), &path);
    }
    // Some pages are there and some are not, wherever the kernel reads ahead.
    let path = world.write("file", LARGE);
    world.forget(&path);
    let file = File::open(&path).unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM).unwrap();
    for at in [0, LARGE / 2, LARGE - 1] {
        file.read_at(&mut [0], at as u64).unwrap();
    }
    let pages = assert_told("a large file of which three bytes were read", &path);
    assert!(
        pages.contains(&true) && pages.contains(&false),
        "the test could not bring in some pages and not others"
    );
}

#[test]
fn asking_changes_nothing() {
    let Some(world) = World::new() else { return };
    let path = world.write("file", LARGE);
    world.forget(&path);
    let (mappings, descriptors) = Child::new()
        .run(|| {
            for _ in 0..3 {
                let file = File::open(&path).unwrap();
                residency(&file).unwrap();
            }
            let mut mappings = Mapping::of(std::process::id() as i32).unwrap();
            mappings.retain(|mapping| Path::new(&mapping.name) == path);
            (
                mappings.len(),
                Process::me().descriptors.above_stderr().len(),
            )
        })
        .returned();
    let came = resident(&path);
    assert!(
        came == 0,
        "no page was in memory, and after asking there are {came}"
    );
    assert!(
        mappings == 0,
        "the file was asked about three times, and {mappings} mappings are left"
    );
    assert!(
        descriptors == 0,
        "the file was asked about three times, and {descriptors} descriptors are left open"
    );
    let directory = Child::new()
        .run(|| errno(residency(&File::open(world.scratch.path()).unwrap()).map(drop)))
        .returned();
    assert_failed("a directory was asked about", directory, ENODEV);
}

#[test]
fn written_pages_are_dropped() {
    let Some(world) = World::new() else { return };
    for (case, len) in [
        ("an empty file", 0),
        ("a byte", 1),
        ("4 MiB and some bytes", LARGE),
    ] {
        for writable in [true, false] {
            let path = world.write("file", len);
            let dropped = Child::new()
                .run(|| {
                    errno(drop_pages(
                        &File::options()
                            .read(true)
                            .write(writable)
                            .open(&path)
                            .unwrap(),
                    ))
                })
                .returned();
            let left = resident(&path);
            let case = format!("{case}, just written");
            assert!(left == 0, "{case}: {left} pages are still there");
            assert!(
                dropped == Ok(0),
                "{case}: all pages are gone, and drop_pages returned {}",
                told(&dropped)
            );
            assert!(
                fs::read(&path).unwrap() == bytes(len),
                "{case}: the file has other contents now"
            );
        }
    }
}

#[test]
fn sync_comes_first() {
    let Some(world) = World::new() else { return };
    if !observe::needs("ptrace") {
        return;
    }
    let path = world.write("file", LARGE);
    let run = Child::new()
        .traced()
        .run(|| errno(drop_pages(&File::open(&path).unwrap())));
    let calls = run
        .calls
        .only(&["fsync", "sync_file_range", "sync", "msync", "fadvise64"]);
    run.returned()
        .unwrap_or_else(|failure| panic!("drop_pages failed with {failure}"));
    let mut steps: Vec<&str> = calls
        .iter()
        .map(|call| {
            if call.is("fadvise64") {
                "its pages are given up"
            } else {
                "the file is synced"
            }
        })
        .collect();
    steps.dedup();
    assert_seen!("ch04_page_cache__order", steps);
}

#[test]
fn what_stays_is_counted() {
    let Some(world) = World::new() else { return };
    let path = world.write("file", LARGE);
    let file = File::open(&path).unwrap();
    let half = LARGE / 2;
    // SAFETY: nobody writes into the file while it is mapped.
    let map = unsafe { MmapOptions::new().len(half).map(&file) }.unwrap();
    map.advise(Advice::Random).unwrap();
    black_box(map.iter().step_by(4096).fold(0, |all, byte| all | byte));
    let dropped = Child::new()
        .run(|| errno(drop_pages(&File::open(&path).unwrap())))
        .returned();
    let left = resident(&path);
    assert!(
        left >= half / page_size(),
        "the test could not hold half of the pages"
    );
    assert!(
        left < LARGE.div_ceil(page_size()),
        "half of the file is mapped by somebody, and the other half was not dropped"
    );
    assert!(
        dropped == Ok(left),
        "somebody has {left} pages mapped, and drop_pages returned {}",
        told(&dropped)
    );
}

#[test]
fn failures_are_told() {
    let Some(world) = World::new() else { return };
    if !observe::needs("ptrace") {
        return;
    }
    let mut seen = BTreeMap::new();
    for (call, number) in [("fsync", EIO), ("fadvise64", EINVAL)] {
        let path = world.write("file", LARGE);
        let run = Child::new()
            .fault(Fault::new(call, Action::Fail(number)).always())
            .run(|| errno(drop_pages(&File::open(&path).unwrap())));
        let advised = run.calls.count("fadvise64");
        let left = resident(&path);
        let case = format!("{call} failed with {}", Errno(number).name());
        assert_failed(&case, run.returned(), number);
        assert!(
            call != "fsync" || (advised == 0 && left > 0),
            "{case}: the pages were given up all the same"
        );
        seen.insert(
            case,
            format!("drop_pages fails with {}", Errno(number).name()),
        );
    }
    assert_seen!("ch04_page_cache__failures", seen);
}

#[test]
fn direct_read_gives_what_is_there() {
    let Some(world) = World::new() else { return };
    let opened = Child::new()
        .run(|| errno(DirectFile::open(Path::new("/proc/version")).map(drop)))
        .returned();
    assert_failed(
        "a file of procfs, which has no disk, was opened",
        opened,
        EINVAL,
    );
    if !observe::needs("direct_io") {
        return;
    }
    let path = world.write("file", LARGE);
    let mut jobs = vec![
        (0, 0),
        (0, 1),
        (0, 4096),
        (1, 1),
        (511, 2),
        (4095, 2),
        (4096, 4096),
        (3, 8192),
        (100_000, 300_001),
        (0, LARGE),
        (0, LARGE + 1),
        (7, LARGE),
    ];
    // At the end, around it and behind it.
    for (back, len) in [
        (1, 1),
        (1, 2),
        (5000, 5000),
        (5001, 10_000),
        (904, 904),
        (904, 905),
        (0, 10),
        (4096, 4096),
        (0, 100_000),
    ] {
        jobs.push((LARGE - back, len));
    }
    jobs.extend([(LARGE + 1, 1), (LARGE + 100_000, 5000)]);
    let all = Child::new()
        .run(|| {
            let file = DirectFile::open(&path).unwrap();
            let expected = bytes(LARGE);
            let jobs = jobs.iter().map(|&(offset, len)| {
                // An odd address, and bytes around it that are not to be touched.
                let mut buf = vec![0xee; len + 3];
                let count = errno(file.read_at(&mut buf[1..=len], offset as u64));
                let (start, end) = (offset.min(LARGE), (offset + len).min(LARGE));
                let there = &expected[start..end.max(start)];
                let same = buf[1..].starts_with(there);
                let kept =
                    buf[0] == 0xee && buf[1 + there.len()..].iter().all(|byte| *byte == 0xee);
                (count, there.len(), same, kept)
            });
            jobs.collect::<Vec<_>>()
        })
        .returned();
    for ((offset, len), (count, there, same, kept)) in jobs.into_iter().zip(all) {
        let case = format!("{len} bytes were read at {offset} of {LARGE}");
        assert!(
            count == Ok(there),
            "{case}: {} was returned instead of {there}",
            told(&count)
        );
        assert!(same, "{case}: other bytes came than are there");
        assert!(kept, "{case}: bytes behind what was read were written to");
    }
}

#[test]
fn direct_read_is_aligned_and_leaves_no_page() {
    let Some(world) = World::new() else { return };
    if !observe::needs("direct_io") || !observe::needs("ptrace") {
        return;
    }
    let path = world.write("file", LARGE);
    world.forget(&path);
    for (offset, len) in [(0, LARGE), (777, LARGE - 1777), (LARGE - 10, 100)] {
        let run = Child::new()
            .traced()
            .run(|| errno(read(&path, offset, len)));
        let calls = run.calls.clone();
        let result = run.returned();
        assert_direct(&calls, len);
        if let Err(failure) = result {
            panic!("{len} bytes at {offset}: the read failed with {failure}");
        }
        let came = resident(&path);
        assert!(
            came == 0,
            "no page was in memory, and after a direct read there are {came}"
        );
    }
    let cases = [
        (
            "each read gives 4096 bytes at most",
            Action::Short(4096),
            u32::MAX,
        ),
        ("the first read is interrupted", Action::Fail(EINTR), 1),
        ("the first read fails", Action::Fail(EIO), 1),
    ];
    for (case, action, times) in cases {
        let fault = Fault::new(["pread", "preadv", "read", "readv"], action).times(times);
        let result = Child::new()
            .fault(fault)
            .run(|| errno(read(&path, 777, 100_000)))
            .returned();
        if matches!(action, Action::Fail(EIO)) {
            assert_failed(case, result, EIO);
        } else {
            let expected = &bytes(LARGE)[777..100_777];
            assert!(
                result.as_deref() == Ok(expected),
                "{case}: of 100000 bytes {} came",
                told(&result.map(|bytes| bytes.len()))
            );
        }
    }
}

/// A directory on a disk.
struct World {
    scratch: Scratch,
}

impl World {
    fn new() -> Option<World> {
        observe::needs("disk").then(|| World {
            scratch: Scratch::on_disk(),
        })
    }

    /// A new file, whose pages are dirty.
    fn write(&self, name: &str, len: usize) -> PathBuf {
        let _ = fs::remove_file(self.scratch.join(name));
        self.scratch.write(name, bytes(len))
    }

    /// Nothing of the file stays in memory.
    #[track_caller]
    fn forget(&self, path: &Path) {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        assert!(
            resident(path) == 0,
            "the test could not drop the pages of its file"
        );
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 251) as u8 ^ (at >> 12) as u8)
        .collect()
}

/// In the child.
fn read(path: &Path, offset: usize, len: usize) -> std::io::Result<Vec<u8>> {
    let file = DirectFile::open(path)?;
    let mut buf = vec![0; len];
    let count = file.read_at(&mut buf, offset as u64)?;
    buf.truncate(count);
    Ok(buf)
}

/// What the kernel says of each page, by a mapping of the test's own.
fn pages(path: &Path) -> Vec<bool> {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len() as usize;
    if len == 0 {
        return Vec::new();
    }
    let mut pages = vec![0; len.div_ceil(page_size())];
    // SAFETY: the mapping is not touched.
    let map = unsafe { MmapOptions::new().len(len).map(&file) }.unwrap();
    // SAFETY: mincore(2) writes a byte for each page of the mapping, which is there until after the call.
    let asked = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), len, pages.as_mut_ptr()) };
    assert!(asked == 0, "the test could not ask mincore(2)");
    pages.iter().map(|page| page & 1 == 1).collect()
}

fn resident(path: &Path) -> usize {
    pages(path).iter().filter(|page| **page).count()
}

/// Holds what `residency` says against what the kernel says to the test. What both say.
#[track_caller]
fn assert_told(case: &str, path: &Path) -> Vec<bool> {
    // Before: an answer that brings pages in is wrong.
    let expected = pages(path);
    let seen = Child::new()
        .run(|| errno(residency(&File::open(path).unwrap())))
        .returned();
    let seen = seen.unwrap_or_else(|failure| panic!("{case}: residency failed with {failure}"));
    assert!(
        seen.len() == expected.len(),
        "{case}: the file has {} pages, and {} were told",
        expected.len(),
        seen.len()
    );
    // A page may leave at any time, on a machine that needs its memory.
    let after = pages(path);
    let gone = |at: usize| !seen[at] && !after[at];
    if let Some(at) = (0..seen.len()).find(|at| seen[*at] != expected[*at] && !gone(*at)) {
        let is = |there: bool| if there { "in memory" } else { "not in memory" };
        panic!(
            "{case}: page {at} is {}, and was told to be {}",
            is(expected[at]),
            is(seen[at])
        );
    }
    seen
}

/// Every read is aligned, and large where much is wanted.
#[track_caller]
fn assert_direct(calls: &Calls, len: usize) {
    let opened = calls.of("open").on("$TMPDIR/file");
    assert!(
        opened.iter().any(|call| call
            .decoded
            .iter()
            .any(|arg| arg.to_string().contains("O_DIRECT"))),
        "the file was opened without O_DIRECT"
    );
    let reads = calls
        .only(&["pread", "preadv", "read", "readv"])
        .on("$TMPDIR/file");
    assert!(
        !reads.is_empty(),
        "the file was not read by read(2) or pread(2)"
    );
    assert!(
        calls.of("mmap").on("$TMPDIR/file").is_empty(),
        "the file was mapped: what is read there comes from the page cache"
    );
    for call in reads.iter() {
        let [_, address, count, offset, ..] = call.args;
        if call.is("pread") || call.is("read") {
            assert!(
                address.is_multiple_of(512),
                "the address of a buffer is no multiple of 512: {call}"
            );
            assert!(
                count.is_multiple_of(512),
                "a count is no multiple of 512: {call}"
            );
        }
        if call.is("pread") || call.is("preadv") {
            assert!(
                offset.is_multiple_of(512),
                "an offset is no multiple of 512: {call}"
            );
        }
    }
    let most = len.div_ceil(64 << 10) + 2;
    assert!(
        reads.len() <= most,
        "{len} bytes were read by {} calls, which ask for less than 64 KiB each",
        reads.len()
    );
}

fn told(result: &Result<usize, Failure>) -> String {
    match result {
        Ok(count) => count.to_string(),
        Err(failure) => failure.to_string(),
    }
}

fn page_size() -> usize {
    // SAFETY: takes an integer.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
