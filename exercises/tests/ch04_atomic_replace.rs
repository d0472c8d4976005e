//! A replacement is known by what it leaves: after success, after an error, after it was killed at any point,
//! and by the order of its system calls, which is all that a power cut respects.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/atomic_replace.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/atomic_replace.rs")]
mod atomic_replace;

mod replacing;

use atomic_replace::atomic_replace;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, PathconfVar, Pid, fork, pathconf};
use observe::{
    Action, Call, Calls, Child, Crash, Errno, Failure, Fault, Scratch, assert_failed, assert_seen,
    errno,
};
use replacing::{Gate, WRITES, assert_durable, has_flag, slow_fsync};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::scope;

const OLD: &[u8] = b"the old contents\n";
/// Longer than the old contents, and than a page.
const NEW: [u8; 10_000] = [b'n'; 10_000];

/// Of the quick one of two who replace the file at the same time.
const OTHER: &[u8] = b"the other contents\n";

#[test]
fn file_is_replaced_or_made() {
    let scratch = Scratch::new();
    let longest = pathconf(scratch.path(), PathconfVar::NAME_MAX)
        .unwrap()
        .unwrap_or(255);
    let name = "n".repeat(longest as usize);
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let cases: [(&str, &str, &[u8]); 5] = [
        ("a few bytes", "file", b"new\n"),
        ("no bytes", "file", b""),
        ("300 kB", "file", &bytes),
        ("a name as long as can be", &name, &NEW),
        ("a bare name", "./file", &NEW),
    ];
    for (case, name, contents) in cases {
        for old in [Some(OLD), None] {
            let world = World::new(old, name);
            let result = Child::new()
                .run(|| match name.strip_prefix("./") {
                    Some(bare) => {
                        std::env::set_current_dir(&world.directory).unwrap();
                        replace(Path::new(bare), contents)
                    }
                    None => replace(&world.path, contents),
                })
                .returned();
            let before = if old.is_some() {
                "an old file"
            } else {
                "no file"
            };
            let case = format!("{case} in the place of {before}");
            result.unwrap_or_else(|failure| panic!("{case}: failed with {failure}"));
            assert!(
                world.holds(contents),
                "{case}: the file holds {} instead of {} bytes, or others",
                world.length(),
                contents.len()
            );
            world.assert_alone(&case);
        }
    }
}

#[test]
fn mode_is_kept() {
    for old in [
        Some(0o600),
        Some(0o640),
        Some(0o755),
        Some(0o444),
        Some(0o4755),
        None,
    ] {
        let world = World::new(old.map(|_| OLD), "file");
        if let Some(mode) = old {
            fs::set_permissions(&world.path, Permissions::from_mode(mode)).unwrap();
        }
        let result = Child::new()
            .run(|| {
                umask(Mode::from_bits_truncate(0o027));
                replace(&world.path, &NEW)
            })
            .returned();
        result.unwrap_or_else(|failure| panic!("failed with {failure}"));
        let mode = mode_of(&world.path);
        match old {
            Some(old) => assert!(
                mode == old & 0o777,
                "the old file had mode {old:03o}, the new one has mode {mode:03o}"
            ),
            None => assert!(
                mode == 0o640,
                "a file made with umask 027 has mode {mode:03o} instead of 640"
            ),
        }
    }
}

#[test]
fn symbolic_link_stays() {
    let scratch = Scratch::new();
    for directory in ["here", "there"] {
        fs::create_dir(scratch.join(directory)).unwrap();
    }
    scratch.write("there/file", OLD);
    let (link, dead) = (scratch.join("here/link"), scratch.join("here/dead"));
    symlink("onward", &link).unwrap();
    let onward = scratch.join("here/onward");
    symlink("../there/file", &onward).unwrap();
    symlink("../there/nothing", &dead).unwrap();

    let result = Child::new().run(|| replace(&link, &NEW)).returned();
    result.unwrap_or_else(|failure| panic!("failed with {failure}"));
    for (link, to, which) in [
        (&link, "onward", "the symbolic link"),
        (&onward, "../there/file", "the second of two symbolic links"),
    ] {
        let now = fs::read_link(link);
        assert!(
            now.is_ok(),
            "{which} was replaced instead of the file that it leads to"
        );
        assert!(
            now.as_deref().ok() == Some(Path::new(to)),
            "{which} leads elsewhere now"
        );
    }
    assert!(
        fs::read(scratch.join("there/file")).unwrap() == NEW,
        "the file that the link leads to has not the new contents"
    );

    let result = Child::new().run(|| replace(&dead, &NEW)).returned();
    assert_failed("a link that leads nowhere", result, libc::ENOENT);
    let to = fs::read_link(&dead).ok();
    assert!(
        to.as_deref() == Some(Path::new("../there/nothing")),
        "the link that leads nowhere is not what it was"
    );
    assert_eq!(
        names(&scratch.join("here")),
        ["dead", "link", "onward"],
        "what lies beside the links"
    );
    assert_eq!(
        names(&scratch.join("there")),
        ["file"],
        "what lies beside the file"
    );
}

#[test]
fn failure_leaves_nothing_behind() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("directory")).unwrap();
    for (name, expected) in [("directory", libc::EISDIR), ("absent/file", libc::ENOENT)] {
        let path = scratch.join(name);
        let result = Child::new().run(|| replace(&path, &NEW)).returned();
        assert_failed(name, result, expected);
        let left = names(scratch.path()).join(", ");
        assert!(
            left == "directory",
            "{name} was refused, and what is left beside it: {left}"
        );
    }

    if !observe::needs("ptrace") {
        return;
    }
    let writes = &WRITES[..];
    let cases: [(&str, i32, &[Fault]); 5] = [
        (
            "no descriptor is free",
            libc::EMFILE,
            &[fail(&["open"], libc::EMFILE).always()],
        ),
        ("disk full", libc::ENOSPC, &[fail(writes, libc::ENOSPC)]),
        (
            "disk full after 1000 bytes",
            libc::ENOSPC,
            &[
                Fault::new(writes, Action::Short(1000)),
                fail(writes, libc::ENOSPC).nth(2),
            ],
        ),
        (
            "fsync failed, once",
            libc::EIO,
            &[fail(&["fsync"], libc::EIO)],
        ),
        ("rename failed", libc::EIO, &[fail(&["rename"], libc::EIO)]),
    ];
    let mut seen = BTreeMap::new();
    for (case, expected, faults) in cases {
        let world = World::new(Some(OLD), "file");
        let child = faults
            .iter()
            .fold(Child::new(), |child, fault| child.fault(fault.clone()));
        let result = child.run(|| replace(&world.path, &NEW)).returned();
        assert_failed(case, result, expected);
        let error = Errno(expected);
        assert!(
            world.holds(OLD),
            "{case}: the old file is damaged, it has {} bytes",
            world.length()
        );
        world.assert_alone(case);
        seen.insert(
            case,
            format!(
                "{}, old contents, nothing else in the directory",
                error.name()
            ),
        );
    }
    assert_seen!("ch04_atomic_replace__failures", seen);
}

#[test]
fn short_counts_and_eintr_are_not_the_end() {
    if !observe::needs("ptrace") {
        return;
    }
    let writes = &WRITES[..];
    let interrupt = |calls: &[&str]| fail(calls, libc::EINTR);
    let cases: [(&str, &[Fault]); 4] = [
        (
            "write(2) took 7 bytes, three times",
            &[Fault::new(writes, Action::Short(7)).times(3)],
        ),
        (
            "write(2) was interrupted twice",
            &[interrupt(writes).times(2)],
        ),
        (
            "the first fsync(2) was interrupted",
            &[interrupt(&["fsync"])],
        ),
        // The data's comes first, and the directory's after it.
        (
            "the second fsync(2) was interrupted",
            &[interrupt(&["fsync"]).nth(2)],
        ),
    ];
    for (case, faults) in cases {
        let world = World::new(Some(OLD), "file");
        let child = faults
            .iter()
            .fold(Child::new(), |child, fault| child.fault(fault.clone()));
        let run = child.run(|| replace(&world.path, &NEW));
        let calls = run.calls.clone();
        let result = run.returned();
        result.unwrap_or_else(|failure| panic!("{case}: failed with {failure}"));
        assert!(
            world.holds(&NEW),
            "{case}: the file holds {} bytes of {}, or others",
            world.length(),
            NEW.len()
        );
        world.assert_alone(case);
        assert_durable(case, &calls);
    }
}

#[test]
fn data_then_name_then_directory() {
    if !observe::needs("ptrace") {
        return;
    }
    for old in [None, Some(OLD)] {
        let world = World::new(old, "file");
        let run = Child::new().traced().run(|| replace(&world.path, &NEW));
        let calls = run.calls.clone();
        run.returned()
            .unwrap_or_else(|failure| panic!("failed with {failure}"));
        let order = assert_durable("replaced", &calls);
        assert_seen!("ch04_atomic_replace__order", order);
    }
}

#[test]
fn lost_directory_entry_is_reported() {
    if !observe::needs("ptrace") {
        return;
    }
    let world = World::new(Some(OLD), "file");
    let fault = fail(&["fsync"], libc::EIO).nth(2);
    let result = Child::new()
        .fault(fault)
        .run(|| replace(&world.path, &NEW))
        .returned();
    assert_failed("the directory could not be synced", result, libc::EIO);
    assert!(
        world.holds(&NEW),
        "rename(2) has been, and the file has not the new contents"
    );
    world.assert_alone("the directory could not be synced");
}

#[test]
fn killed_at_any_call_it_is_old_or_new() {
    if !observe::needs("ptrace") {
        return;
    }
    let mut seen = BTreeMap::new();
    for (before, old) in [("an old file", Some(OLD)), ("no file", None)] {
        let states = RefCell::new(BTreeSet::new());
        observe::kill_at_every_call(
            || {
                let world = World::new(old, "file");
                if old.is_some() {
                    fs::set_permissions(&world.path, Permissions::from_mode(0o600)).unwrap();
                }
                world
            },
            |world| replace(&world.path, &NEW).unwrap(),
            |world, crash| {
                states.borrow_mut().insert(assert_whole(world, crash, old));
            },
        );
        seen.insert(format!("over {before}"), states.into_inner());
    }
    let first = "the first name tried was taken, as by a dead process of the same pid";
    let world = World::new(Some(OLD), "file");
    let run = Child::new().traced().run(|| replace(&world.path, &NEW));
    if let Some(taken) = taken(&run.calls) {
        let run = Child::new().fault(taken).run(|| replace(&world.path, &NEW));
        run.returned()
            .unwrap_or_else(|failure| panic!("{first}: it failed with {failure}"));
        assert!(
            world.holds(&NEW),
            "{first}: it succeeded and changed nothing"
        );
        world.assert_alone(first);
    }
    assert_seen!("ch04_atomic_replace__killed", seen);
}

#[test]
fn two_threads_do_not_mix() {
    if !observe::needs("ptrace") {
        return;
    }
    let world = World::new(Some(OLD), "file");
    let results = slow_fsync()
        .run(|| {
            let mut gate = Gate::shut();
            scope(|scope| {
                let slow = scope.spawn(|| replace(&world.path, &NEW));
                gate.reached(|| slow.is_finished());
                let quick = replace(&world.path, OTHER);
                gate.open();
                [slow.join().unwrap(), quick]
            })
        })
        .returned();
    world.assert_not_mixed(results);
}

#[test]
fn two_processes_do_not_mix() {
    if !observe::needs("ptrace") {
        return;
    }
    let world = World::new(Some(OLD), "file");
    let results = slow_fsync()
        .run(|| {
            let mut gate = Gate::shut();
            // SAFETY: this process has one thread.
            let ForkResult::Parent { child } = unsafe { fork() }.unwrap() else {
                let result = replace(&world.path, &NEW);
                let errno = result.map_or_else(|failure| failure.errno().unwrap_or(255), |()| 0);
                // SAFETY: _exit(2) takes an integer and doesn't return.
                unsafe { libc::_exit(errno) }
            };
            let slow = Cell::new(None);
            gate.reached(|| {
                slow.set(status(child, Some(WaitPidFlag::WNOHANG)));
                slow.get().is_some()
            });
            let quick = replace(&world.path, OTHER);
            gate.open();
            let slow = match slow.get().or_else(|| status(child, None)) {
                Some(0) => Ok(()),
                errno => Err(Failure::Errno(Errno(errno.unwrap_or(255)))),
            };
            [slow, quick]
        })
        .returned();
    world.assert_not_mixed(results);
}

fn replace(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    errno(atomic_replace(path, contents))
}

/// The first of these calls is not made, and fails.
fn fail(calls: &[&str], errno: i32) -> Fault {
    Fault::new(calls, Action::Fail(errno))
}

/// A name that is taken, for the call that chose one: none if it takes whatever is there.
fn taken(calls: &Calls) -> Option<Fault> {
    let nth = |name, chooses: &dyn Fn(&Call) -> bool| {
        let at = calls.of(name).iter().position(chooses)?;
        Some(fail(&[name], libc::EEXIST).nth(at as u32 + 1))
    };
    nth("link", &|_| true).or_else(|| nth("open", &|call| has_flag(call, "O_EXCL")))
}

/// The exit status of a child that has ended.
fn status(child: Pid, flags: Option<WaitPidFlag>) -> Option<i32> {
    match waitpid(child, flags).unwrap() {
        WaitStatus::StillAlive => None,
        WaitStatus::Exited(_, status) => Some(status),
        _ => Some(255),
    }
}

/// A directory with the file that is replaced, and with nothing else.
struct World {
    _scratch: Scratch,
    directory: PathBuf,
    path: PathBuf,
}

impl World {
    fn new(old: Option<&[u8]>, name: &str) -> World {
        let scratch = Scratch::new();
        let directory = scratch.join("home");
        fs::create_dir(&directory).unwrap();
        let path = directory.join(name);
        if let Some(old) = old {
            fs::write(&path, old).unwrap();
        }
        World {
            _scratch: scratch,
            directory,
            path,
        }
    }

    fn holds(&self, contents: &[u8]) -> bool {
        fs::read(&self.path).is_ok_and(|file| file == contents)
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// What lies beside the file.
    fn others(&self) -> Vec<String> {
        let mut names = names(&self.directory);
        names.retain(|name| self.path.file_name().unwrap() != name.as_str());
        names
    }

    #[track_caller]
    fn assert_alone(&self, case: &str) {
        let others = self.others();
        assert!(
            others.is_empty(),
            "{case}: beside the file is left {}",
            others.join(", ")
        );
    }

    #[track_caller]
    fn assert_not_mixed(&self, [slow, quick]: [Result<(), Failure>; 2]) {
        for (who, result) in [("the slow one", slow), ("the quick one", quick)] {
            if let Err(failure) = result {
                panic!("two replaced the file at the same time, and {who} failed with {failure}");
            }
        }
        assert!(
            self.holds(&NEW) || self.holds(OTHER),
            "two replaced the file at the same time, and it has the contents of neither: {} bytes",
            self.length()
        );
        self.assert_alone("two replaced the file at the same time");
    }
}

/// What is at `path` after a crash is whole, what lies beside it is no secret spilt, and the next call works.
#[track_caller]
fn assert_whole(world: &World, crash: &Crash, old: Option<&[u8]>) -> &'static str {
    let state = if world.holds(&NEW) {
        "new contents"
    } else if old.is_some_and(|old| world.holds(old)) {
        "old contents"
    } else if old.is_none() && !world.path.exists() {
        "no file"
    } else {
        panic!(
            "{crash}: the file holds {} bytes that are neither the old contents nor the new",
            world.length()
        )
    };
    if crash.nth == 0 {
        assert!(
            state == "new contents",
            "it was not killed, and left {state}"
        );
        world.assert_alone("it was not killed");
    }
    for name in world.others() {
        let mode = mode_of(&world.directory.join(name));
        assert!(
            old.is_none() || mode & 0o077 == 0,
            "{crash}: the temporary file has mode {mode:03o}, where the old one had 600"
        );
    }
    let again = Child::new()
        .run(|| replace(&world.path, b"again"))
        .returned();
    again.unwrap_or_else(|failure| panic!("{crash}: the next call failed with {failure}"));
    assert!(
        world.holds(b"again"),
        "{crash}: the next call succeeded and changed nothing"
    );
    state
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
