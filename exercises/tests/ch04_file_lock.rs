//! A lock is known by whom it keeps out, by what the kernel says of it to others, and by when it is gone.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/file_lock.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/file_lock.rs")]
mod file_lock;
mod unprivileged;

use file_lock::{Mode, RecordLock};
use libc::{F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_SETLK, F_UNLCK, F_WRLCK};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pause};
use observe::{
    Child, Errno, Failure, Process, Scratch, Started, assert_failed, assert_seen, errno,
};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Seek, Write};
use std::ops::Bound;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use unprivileged::drop_capabilities;

/// A range as it crosses to the child.
type Range = (Bound<u64>, Bound<u64>);

/// Longer than one byte, shorter than some of the ranges below.
const CONTENTS: &[u8] = b"sixteen bytes...";

/// Whoever asks again and again never does so for a lock.
const WAIT: &str = "sleep in fcntl(2) until the lock is free";

/// The greatest offset of a file.
const LAST: u64 = i64::MAX as u64;

#[test]
fn lock_is_what_was_asked_for() {
    let world = World::new();
    let cases: [(&str, Range, Mode); 9] = [
        ("3..7, exclusive", range(3..7), Mode::Exclusive),
        ("3..7, shared", range(3..7), Mode::Shared),
        ("3..=7", range(3..=7), Mode::Exclusive),
        ("..4", range(..4), Mode::Exclusive),
        ("10..", range(10..), Mode::Exclusive),
        ("11..=i64::MAX", range(11..=LAST), Mode::Exclusive),
        ("..", range(..), Mode::Shared),
        ("behind the end", range(1000..1100), Mode::Exclusive),
        (
            "5 excluded..8",
            (Bound::Excluded(5), Bound::Excluded(8)),
            Mode::Exclusive,
        ),
    ];
    let mut seen = BTreeMap::new();
    for (case, range, mode) in cases {
        let (locked, dropped) = Child::new()
            .run(|| {
                let lock = world.try_lock(range, mode)?;
                let locked = world.locks();
                drop(lock);
                Ok::<_, Failure>((locked, world.locks()))
            })
            .returned()
            .unwrap_or_else(|failure| panic!("{case}: failed with {failure}"));
        assert!(
            dropped.is_empty(),
            "{case}: the lock was dropped, and {} is still there",
            dropped.join(", ")
        );
        seen.insert(case, locked.join(", "));
    }
    assert_seen!("ch04_file_lock__locks", seen);
}

#[test]
fn range_that_cannot_be_is_an_error() {
    let world = World::new();
    let cases: [(&str, Range, i32); 6] = [
        ("5..5", range(5..5), libc::EINVAL),
        ("..0", range(..0), libc::EINVAL),
        (
            "7..5",
            (Bound::Included(7), Bound::Excluded(5)),
            libc::EINVAL,
        ),
        ("(i64::MAX + 1)..", range(LAST + 1..), libc::EOVERFLOW),
        ("5..=u64::MAX", range(5..=u64::MAX), libc::EOVERFLOW),
        ("5..i64::MAX + 2", range(5..LAST + 2), libc::EOVERFLOW),
    ];
    for (case, range, expected) in cases {
        let (result, locks) = Child::new()
            .run(|| {
                let lock = world.try_lock(range, Mode::Exclusive);
                let locks = world.locks();
                (lock.map(drop), locks)
            })
            .returned();
        if result.is_ok() {
            panic!(
                "{case}: it succeeded instead of failing with {}, and locked {}",
                Errno(expected),
                locks.join(", ")
            );
        }
        assert_failed(case, result, expected);
    }
    let absent = world.scratch.join("absent");
    let result = Child::new()
        .run(|| errno(RecordLock::try_lock(&absent, .., Mode::Exclusive)).map(drop))
        .returned();
    assert_failed("a file that is not there", result, libc::ENOENT);
    assert!(!absent.exists(), "the file that was not there was made");
}

#[test]
fn others_are_kept_out() {
    let world = World::new();
    // What somebody else has, what is asked for, and whether it is to be had.
    let cases = [
        (
            "exclusive, the same bytes",
            F_WRLCK,
            range(4..8),
            Mode::Exclusive,
            false,
        ),
        (
            "exclusive, one byte of it, shared",
            F_WRLCK,
            range(7..20),
            Mode::Shared,
            false,
        ),
        (
            "exclusive, all bytes",
            F_WRLCK,
            range(..),
            Mode::Exclusive,
            false,
        ),
        (
            "exclusive, the bytes before",
            F_WRLCK,
            range(..4),
            Mode::Exclusive,
            true,
        ),
        (
            "exclusive, the bytes behind",
            F_WRLCK,
            range(8..),
            Mode::Exclusive,
            true,
        ),
        (
            "shared, exclusive",
            F_RDLCK,
            range(4..8),
            Mode::Exclusive,
            false,
        ),
        ("shared, both", F_RDLCK, range(4..8), Mode::Shared, true),
    ];
    for (whose, command) in [
        ("a lock like these", F_OFD_SETLK),
        ("a classic lock", F_SETLK),
    ] {
        for (case, kind, range, mode, free) in cases {
            let other = Other::lock(&world.path, command, kind, 4, 4);
            let result = Child::new()
                .run(|| world.try_lock(range, mode).map(drop))
                .returned();
            drop(other);
            let case = format!("somebody else has {whose} on 4..8; {case}");
            match result {
                Err(failure) if free => panic!("{case}: failed with {failure}"),
                result if !free => {
                    assert_failed(&case, result, libc::EAGAIN);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn threads_are_kept_out() {
    let world = World::new();
    let results = Child::new()
        .run(|| {
            let _lock = world.try_lock(range(4..8), Mode::Exclusive)?;
            let ask = |range| world.try_lock(range, Mode::Exclusive).map(drop);
            Ok::<_, Failure>(thread::scope(|scope| {
                let same = scope.spawn(|| ask(range(7..9))).join().unwrap();
                let beside = scope.spawn(|| ask(range(8..9))).join().unwrap();
                (same, ask(range(4..5)), beside)
            }))
        })
        .returned();
    let (same, myself, beside) =
        results.unwrap_or_else(|failure| panic!("the first lock failed with {failure}"));
    assert_failed(
        "a second thread asks for a byte that is locked",
        same,
        libc::EAGAIN,
    );
    assert_failed("the same thread asks a second time", myself, libc::EAGAIN);
    beside.unwrap_or_else(|failure| {
        panic!("a second thread asks for the bytes beside: failed with {failure}")
    });
}

#[test]
fn other_descriptors_of_the_file_do_not_matter() {
    let world = World::new();
    let (before, after) = Child::new()
        .run(|| {
            let first = world.try_lock(range(0..2), Mode::Exclusive)?;
            let second = world.try_lock(range(4..8), Mode::Exclusive)?;
            let before = world.locks();
            // As a library might, which knows nothing of locks.
            drop(fs::read(&world.path).unwrap());
            drop(first);
            let after = world.locks();
            drop(second);
            Ok::<_, Failure>((before, after))
        })
        .returned()
        .unwrap_or_else(|failure| panic!("failed with {failure}"));
    let before = before.join(", ");
    assert!(
        before == "0..2 exclusive, 4..8 exclusive",
        "0..2 and 4..8 were locked exclusively, and the kernel says: {before}"
    );
    let after = after.join(", ");
    assert!(
        after == "4..8 exclusive",
        "the file was opened and closed, the lock on 0..2 dropped, and of 4..8 is left: {after}"
    );
}

#[test]
fn lock_needs_no_more_than_its_mode() {
    let world = World::new();
    let (read, written, descriptors) = Child::new()
        .run(|| {
            let lock = world.try_lock(range(..), Mode::Exclusive)?;
            let mut file = lock.file();
            let mut text = String::new();
            let read = errno(file.read_to_string(&mut text)).map(|_| text);
            file.rewind().unwrap();
            let written = errno(file.write_all(b"SIX"));
            let all = Process::me().descriptors;
            let inherited = all
                .0
                .iter()
                .filter(|(fd, descriptor)| **fd > 2 && !descriptor.close_on_exec());
            Ok::<_, Failure>((read, written, inherited.count()))
        })
        .returned()
        .unwrap_or_else(|failure| panic!("failed with {failure}"));
    let read = read
        .unwrap_or_else(|failure| panic!("`file` of an exclusive lock can't be read: {failure}"));
    assert!(
        read.as_bytes() == CONTENTS,
        "`file` of an exclusive lock reads {read:?}, which is not what is in the file"
    );
    written.unwrap_or_else(|failure| {
        panic!("`file` of an exclusive lock can't be written to: {failure}")
    });
    assert!(
        fs::read(&world.path).unwrap().starts_with(b"SIXteen"),
        "what was written to `file` is not in the file"
    );
    assert!(
        descriptors == 0,
        "a program started meanwhile would inherit the lock: its descriptor is not close-on-exec"
    );

    fs::set_permissions(&world.path, Permissions::from_mode(0o444)).unwrap();
    let read = Child::new()
        .run(|| {
            // Root may write to whatever it likes.
            drop_capabilities();
            let lock = world.try_lock(range(..), Mode::Shared)?;
            let mut read = String::new();
            errno(lock.file().read_to_string(&mut read))?;
            Ok::<_, Failure>(read)
        })
        .returned()
        .unwrap_or_else(|failure| {
            panic!("a shared lock on a file that can only be read failed with {failure}")
        });
    assert!(
        read == "SIXteen bytes...",
        "`file` of a shared lock reads {read:?}, which is not what is in the file"
    );
}

#[test]
fn crash_lets_the_next_one_in() {
    let world = World::new();
    let at = somewhere();
    let holder: Started<()> = Child::new().start(|| {
        let _lock = world.lock(range(at + 4..at + 8), Mode::Exclusive).unwrap();
        loop {
            pause();
        }
    });
    let holder = holder.does("take the lock", |_| !world.locks().is_empty());
    let waiting = Child::new().start(|| {
        let lock = world.lock(range(at..at + 5), Mode::Exclusive)?;
        let locks = world.locks();
        drop(lock);
        Ok::<_, Failure>(locks)
    });
    let waiting = waiting.does(WAIT, |_| waits(at));
    holder.signal(libc::SIGKILL).unwrap();
    let locks = waiting.wait().returned().unwrap_or_else(|failure| {
        panic!("somebody waited for a lock whose holder was killed, and it failed with {failure}")
    });
    let (locks, expected) = (locks.join(", "), format!("{at}..{} exclusive", at + 5));
    assert!(
        locks == expected,
        "the next one was let in, and what it has locked is {locks} instead of {expected}"
    );
}

#[test]
fn signal_does_not_end_the_waiting() {
    let world = World::new();
    let at = somewhere();
    let other = Other::lock(&world.path, F_OFD_SETLK, F_WRLCK, at as i64 + 4, 4);
    let waiting = Child::new().start(|| {
        let handler = SigHandler::Handler(say_so);
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler only calls write(2).
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        world.lock(range(at..at + 5), Mode::Shared).map(drop)
    });
    let waiting = waiting.does(WAIT, |_| waits(at));
    waiting.signal(Signal::SIGUSR1).unwrap();
    let waiting = waiting.does("handle SIGUSR1", |child| !child.stdout().is_empty());
    // Asleep again, or it has given up.
    waiting.until(Duration::from_secs(10), |child| {
        waits(at) || child.process().is_err()
    });
    drop(other);
    waiting.wait().returned().unwrap_or_else(|failure| {
        panic!("a signal came while it waited for a lock, and it failed with {failure}")
    });
}

#[test]
fn forked_copy_does_not_keep_the_lock() {
    let world = World::new();
    let (held, dropped) = Child::new()
        .run(|| {
            let lock = world.try_lock(range(4..8), Mode::Exclusive)?;
            // SAFETY: this process has one thread.
            let ForkResult::Parent { child: copy } = unsafe { fork() }.unwrap() else {
                loop {
                    pause();
                }
            };
            let held = world.locks();
            drop(lock);
            let dropped = world.locks();
            kill(copy, Signal::SIGKILL).unwrap();
            waitpid(copy, None).unwrap();
            Ok::<_, Failure>((held, dropped))
        })
        .returned()
        .unwrap_or_else(|failure| panic!("failed with {failure}"));
    let held = held.join(", ");
    assert!(
        held == "4..8 exclusive",
        "4..8 was locked exclusively, and after fork(2) the kernel says: {held}"
    );
    assert!(
        dropped.is_empty(),
        "the lock was dropped, and a forked process that has a copy of the descriptor keeps it"
    );
}

extern "C" fn say_so(_signal: i32) {
    // SAFETY: write(2) is async-signal-safe, and reads one byte of a constant.
    unsafe { libc::write(1, c"!".as_ptr().cast(), 1) };
}

/// A file of [`CONTENTS`].
struct World {
    scratch: Scratch,
    path: PathBuf,
}

impl World {
    fn new() -> World {
        let scratch = Scratch::new();
        let path = scratch.write("records", CONTENTS);
        World { scratch, path }
    }

    fn try_lock(&self, range: Range, mode: Mode) -> Result<RecordLock, Failure> {
        errno(RecordLock::try_lock(&self.path, range, mode))
    }

    fn lock(&self, range: Range, mode: Mode) -> Result<RecordLock, Failure> {
        errno(RecordLock::lock(&self.path, range, mode))
    }

    /// What is locked, as anybody sees it who asks, in the order of the bytes.
    fn locks(&self) -> Vec<String> {
        // Opened and closed: classic locks of this process would not survive it.
        let file = File::open(&self.path).unwrap();
        let mut held = Vec::new();
        let mut free = vec![(0, LAST as i64)];
        while let Some((start, last)) = free.pop() {
            let length = if last == LAST as i64 {
                0
            } else {
                last - start + 1
            };
            // A lock for writing: everybody else's excludes it.
            let found = flock(&file, F_OFD_GETLK, F_WRLCK, start, length).unwrap();
            if i32::from(found.l_type) == F_UNLCK {
                continue;
            }
            if found.l_len != 0 && found.l_start + found.l_len <= last {
                free.push((found.l_start + found.l_len, last));
            }
            if start < found.l_start {
                free.push((start, found.l_start - 1));
            }
            held.push((found.l_start, words(&found)));
        }
        held.sort();
        held.into_iter().map(|(_, words)| words).collect()
    }
}

/// An offset that nobody else locks on this machine: /proc/locks shows the locks of all, in every namespace.
fn somewhere() -> u64 {
    RandomState::new().build_hasher().finish() >> 2
}

/// Whether somebody sleeps in fcntl(2) until he gets five bytes at `at`.
fn waits(at: u64) -> bool {
    let bytes = format!(" {at} {}", at + 4);
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks
        .lines()
        .any(|line| line.contains("-> ") && line.ends_with(&bytes))
}

/// A lock as `F_OFD_GETLK` shows it: "4..8 exclusive".
fn words(lock: &libc::flock) -> String {
    let end = match lock.l_len {
        0 => String::new(),
        length => (lock.l_start + length).to_string(),
    };
    let mode = match i32::from(lock.l_type) {
        F_WRLCK => "exclusive",
        _ => "shared",
    };
    let owner = match lock.l_pid {
        -1 => "",
        _ => ", owned by the process",
    };
    format!("{}..{end} {mode}{owner}", lock.l_start)
}

/// A lock of the test's own.
struct Other {
    file: File,
    command: i32,
}

impl Other {
    fn lock(path: &Path, command: i32, kind: i32, start: i64, length: i64) -> Other {
        let file = File::options().read(true).write(true).open(path).unwrap();
        flock(&file, command, kind, start, length).unwrap();
        Other { file, command }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // A child's keeper may have a copy of the descriptor.
        flock(&self.file, self.command, F_UNLCK, 0, 0).unwrap();
    }
}

fn flock(
    file: &File,
    command: i32,
    kind: i32,
    start: i64,
    length: i64,
) -> std::io::Result<libc::flock> {
    let mut flock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    // SAFETY: the kernel reads and writes one struct of this stack during the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut flock) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(flock),
    }
}

fn range(range: impl std::ops::RangeBounds<u64>) -> Range {
    (range.start_bound().cloned(), range.end_bound().cloned())
}
