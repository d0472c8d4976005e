//! A walk is known by what it visits, by what it says of the rest, and by how little it needs to get to the bottom.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/tree_walk.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/tree_walk.rs")]
mod tree_walk;
mod unprivileged;
mod walking;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{Action, Child, Failure, Fault, Process, Scratch, assert_failed, assert_seen, errno};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tree_walk::{Entry, Kind, tree_walk};
use unprivileged::drop_capabilities;
use walking::{Deep, FILE_EVERY};

/// What `visit` was told of one path: an entry (kind, length, allocated, first), or why there is none.
type Told = Result<(String, u64, u64, bool), Failure>;

/// Every path that was visited, its bytes as text, with all that was said of it; and the sums: count, length, allocated.
type Walk = (BTreeMap<String, Vec<Told>>, Result<[u64; 3], Failure>);

/// Descriptors a walk may have open at a time.
const OPEN: usize = 32;

/// Bytes of the stack.
const STACK: usize = 256 << 10;

#[test]
fn every_name_is_visited_once() {
    let scratch = Scratch::new();
    let root = scratch.path();
    for directory in ["a", "a/b", "a/empty", ".hidden", "..."] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    scratch.write("file", b"12345");
    scratch.write("a/empty file", b"");
    scratch.write("a/b/deeper", b"123");
    scratch.write(".hidden/..file", b"1");
    scratch.write(".../dots", b"12");
    scratch.write("new\nline", b"1234567");
    let odd = OsStr::from_bytes(b"not \xff UTF-8");
    let seen = match fs::write(root.join(odd), b"12") {
        Ok(()) => walk(root),
        Err(error) => panic!("the test cannot write a file with such a name: {error}"),
    };
    assert_seen!("ch04_tree_walk__names", shown(&seen));
    assert_total("the tree", seen.1, root);
}

#[test]
fn large_directory_is_read_to_its_end() {
    let scratch = Scratch::new();
    let names: BTreeSet<String> = (0..5000)
        .map(|number| format!("a name that fills some buffers {number}"))
        .collect();
    for name in &names {
        scratch.write(name, b"");
    }
    let (visits, _) = walk(scratch.path());
    let missed = names.iter().filter(|name| !visits.contains_key(*name));
    let missed = missed.count();
    assert!(
        missed == 0,
        "of 5000 files in one directory {missed} were not visited"
    );
    let total = visits.len() - 1;
    assert!(total == 5000, "of 5000 files {total} were visited");
}

#[test]
fn symbolic_link_is_not_followed() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(scratch.join("outside")).unwrap();
    scratch.write("outside/file", b"1234567890");
    for (link, target) in [
        ("itself", "itself"),
        ("a/b/up", "../.."),
        ("a/b/here", "."),
        ("a/outside", "../../outside"),
        ("nowhere", "absent"),
        ("file", "../outside/file"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let seen = walk(&root);
    assert_seen!("ch04_tree_walk__links", shown(&seen));
    // The root is whatever the caller says.
    let link = scratch.join("link");
    symlink("root", &link).unwrap();
    let (visits, total) = walk(&link);
    assert_total("a root that is a symbolic link", total, &root);
    assert!(
        visits.len() == seen.0.len(),
        "of a root that is a symbolic link {} names were visited instead of {}",
        visits.len(),
        seen.0.len()
    );
}

#[test]
fn other_kinds_are_not_opened() {
    let scratch = Scratch::new();
    mkfifo(&scratch.join("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(scratch.join("socket")).unwrap();
    scratch.write("file", b"1");
    fs::set_permissions(scratch.join("file"), Permissions::from_mode(0o0)).unwrap();
    let seen = walk(scratch.path());
    let kinds =
        ["fifo", "socket", "file"].map(|name| told(seen.0.get(name).map_or(&[], Vec::as_slice)));
    assert!(
        kinds == ["other", "other", "file of 1"],
        "a FIFO, a socket and a file of one byte without permissions were told as: {}",
        kinds.join(", ")
    );
}

#[test]
fn file_with_several_names_counts_once() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("a/b")).unwrap();
    let file = scratch.write("one", vec![b'x'; 10_000]);
    scratch.write("alone", b"12345");
    fs::hard_link(&file, scratch.join("two")).unwrap();
    fs::hard_link(&file, scratch.join("a/b/three")).unwrap();
    symlink("absent", scratch.join("link")).unwrap();
    fs::hard_link(scratch.join("link"), scratch.join("a/link")).unwrap();
    // Its other name is outside.
    let outside = Scratch::new();
    let other = outside.write("other", b"123");
    if fs::hard_link(&other, scratch.join("other")).is_err() {
        fs::write(scratch.join("other"), b"123").unwrap();
    }
    // Length and blocks have little to do with each other.
    let sparse = File::create(scratch.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    for name in ["one", "alone", "other", "sparse"] {
        File::open(scratch.join(name)).unwrap().sync_all().unwrap();
    }
    let (visits, total) = walk(scratch.path());
    for names in [
        &["one", "two", "a/b/three"][..],
        &["link", "a/link"],
        &["alone"],
        &["other"],
        &["sparse"],
    ] {
        let firsts: Vec<bool> = names
            .iter()
            .filter_map(|name| visits.get(*name))
            .flatten()
            .filter_map(|told| Some(told.as_ref().ok()?.3))
            .collect();
        assert!(
            firsts.len() == names.len(),
            "a file has the names {names:?}, and {} of them were visited",
            firsts.len()
        );
        let first = firsts.iter().filter(|first| **first).count();
        assert!(
            first == 1,
            "a file has the names {names:?}, and {first} of them were `first`"
        );
    }
    assert_total(
        "a tree with hard links and a sparse file",
        total,
        scratch.path(),
    );
    for (path, told) in &visits {
        let path = scratch.join(path);
        let expected = fs::symlink_metadata(&path).unwrap().blocks() * 512;
        let allocated = told[0].as_ref().map_or(0, |entry| entry.2);
        assert!(
            allocated == expected,
            "{} takes {expected} bytes on the disk, not {allocated}",
            observe::redact(path.to_str().unwrap())
        );
    }
}

#[test]
fn root_that_cannot_be_walked_is_an_error() {
    let scratch = Scratch::new();
    scratch.write("file", b"");
    symlink("file", scratch.join("link")).unwrap();
    fs::create_dir(scratch.join("locked")).unwrap();
    for (name, expected) in [
        ("absent", libc::ENOENT),
        ("file", libc::ENOTDIR),
        ("link", libc::ENOTDIR),
        ("file/below", libc::ENOTDIR),
        ("locked", libc::EACCES),
    ] {
        fs::set_permissions(scratch.join("locked"), Permissions::from_mode(0o0)).unwrap();
        let (visits, total) = walk(&scratch.join(name));
        fs::set_permissions(scratch.join("locked"), Permissions::from_mode(0o755)).unwrap();
        assert_failed(name, total, expected);
        assert!(
            visits.is_empty(),
            "{name}: it failed, and visited something"
        );
    }
}

#[test]
fn what_stays_unknown_is_reported() {
    let scratch = Scratch::new();
    // Deeper than descriptors are allowed: the way back up leads through `..`, and not from everywhere.
    let deep = "d/".repeat(2 * OPEN);
    for directory in ["closed", "unsearchable", "unreadable"] {
        for above in ["", &deep] {
            fs::create_dir_all(scratch.join(format!("{above}{directory}"))).unwrap();
            scratch.write(format!("{above}{directory}/file"), b"12345");
            scratch.write(format!("{above}after"), b"1");
        }
    }
    let modes = [
        ("closed", 0),
        ("unsearchable", 0o444),
        ("unreadable", 0o333),
    ];
    let change = |open: bool| {
        for (name, mode) in modes {
            for above in ["", &deep] {
                let mode = if open { 0o755 } else { mode };
                let path = scratch.join(format!("{above}{name}"));
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
        }
    };
    change(false);
    let seen = walk(scratch.path());
    change(true);
    assert_seen!(
        "ch04_tree_walk__unknown",
        shown(&seen)
            .into_iter()
            .map(|(path, told)| (path.replace(&deep, "deep down/"), told))
            .filter(|(path, _)| !path.ends_with("/d") && path != "d")
            .collect::<BTreeMap<_, _>>()
    );
}

#[test]
fn broken_directory_is_reported() {
    if !observe::needs("ptrace") {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("a")).unwrap();
    scratch.write("a/file", b"1");
    let seen = Child::new()
        // The root takes two calls at the least: names, and the end of them.
        .fault(Fault::new("getdents64", Action::Fail(libc::EIO)).nth(3))
        .run(|| visits(scratch.path(), |_| ()))
        .returned();
    let said = told(seen.0.get("a").map_or(&[], Vec::as_slice));
    assert!(
        said == "directory; EIO",
        "getdents64(2) failed with EIO, and `visit` was told of that directory: {said}"
    );
    assert!(
        seen.1.is_ok(),
        "one directory could not be read, and the whole walk failed"
    );
}

#[test]
fn tree_that_changes_meanwhile_is_never_left() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    let make = || {
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(scratch.join("outside")).unwrap();
        fs::write(root.join("a/inside"), b"").unwrap();
        scratch.write("outside/secret", b"");
    };
    let secret = |(visits, _): &Walk| visits.keys().any(|path| path.ends_with("secret"));

    make();
    // At the last moment that everybody has: it was seen as a directory, and is no more.
    let seen = Child::new()
        .run(|| {
            visits(&root, |path| {
                if path == "a" && !scratch.join("moved").exists() {
                    fs::rename(root.join("a"), scratch.join("moved")).unwrap();
                    symlink("../outside", root.join("a")).unwrap();
                }
            })
        })
        .returned();
    assert!(
        !secret(&seen),
        "a directory was replaced by a symbolic link when it had been visited, and the link was followed"
    );
    assert!(
        seen.1.is_ok(),
        "a directory was replaced by a symbolic link, and the whole walk failed"
    );

    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    for name in 0..10 {
        fs::write(root.join(name.to_string()), b"").unwrap();
    }
    let (visited, total) = Child::new()
        .run(|| {
            visits(&root, |path| {
                for name in (0..10).map(|name| name.to_string()) {
                    if !path.is_empty() && path != name.as_str() {
                        let _ = fs::remove_file(root.join(name));
                    }
                }
            })
        })
        .returned();
    assert!(
        total.is_ok() && visited.len() == 2 && visited.values().flatten().all(Result::is_ok),
        "at the first file all the others were removed, and the walk says {}",
        shown(&(visited, total))
            .iter()
            .map(|(path, told)| format!("{path:?}: {told}"))
            .collect::<Vec<_>>()
            .join(", ")
    );

    // The walk is at the bottom when a directory far above is put elsewhere: `..` leads out. The names that are
    // still to come in the tree are there too, before and behind `d` in whatever order names are read.
    let half = "d/".repeat(2 * OPEN);
    make();
    let above = root.join(&half);
    fs::create_dir_all(&above).unwrap();
    let both = |names: std::ops::Range<i32>| {
        for name in names.map(|name| name.to_string()) {
            fs::write(above.join(&name), b"").unwrap();
            fs::write(scratch.join("outside").join(&name), b"outside").unwrap();
        }
    };
    both(0..10);
    fs::create_dir_all(above.join(format!("{half}bottom"))).unwrap();
    both(10..20);
    let seen = Child::new()
        .run(|| {
            visits(&root, |path| {
                if path.as_bytes().ends_with(b"bottom") {
                    fs::rename(above.join("d"), scratch.join("outside/moved")).unwrap();
                }
            })
        })
        .returned();
    let outside = seen.0.values().flatten().flatten();
    let outside = outside.filter(|entry| entry.1 == b"outside".len() as u64);
    assert!(
        outside.count() == 0,
        "a directory was moved out of the tree while the walk was in it, and the walk went on outside"
    );
    let said = match &seen.1 {
        Ok(_) => true,
        Err(failure) => failure.is(libc::ESTALE),
    };
    assert!(
        said,
        "a directory was moved out of the tree while the walk was in it: neither success nor ESTALE, but {:?}",
        seen.1
    );
}

#[test]
fn ten_thousand_levels_are_walked() {
    const DEPTH: usize = 10_000;
    if observe::needs("ptrace") {
        assert_straight(150);
    }
    let scratch = Scratch::new();
    let tree = Deep::make(&scratch, DEPTH);
    let (visited, longest, total) = Child::new()
        .limit(Duration::from_secs(40))
        .run(|| {
            // Descriptors 0 to 2 are the test's.
            let most = OPEN as u64 + 3;
            setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
            let (mut visited, mut longest) = (0, 0);
            let total = in_a_small_stack(|| {
                tree_walk(&tree.root, |path, entry| {
                    visited += usize::from(entry.is_ok());
                    longest = longest.max(path.as_os_str().len());
                })
            });
            (visited, longest, errno(total).map(|total| total.count))
        })
        .returned();
    if let Err(failure) = &total {
        panic!(
            "the walk of a tree {DEPTH} deep failed with {failure} at a path of {longest} bytes"
        );
    }
    // Beside the lowest directory is a file, and its path is the longest: `d/d/file`.
    let deepest = longest.saturating_sub("file".len()) / "d/".len() + 1;
    let expected = 1 + DEPTH + DEPTH / FILE_EVERY;
    assert!(
        deepest == DEPTH && visited == expected,
        "the tree is {DEPTH} deep, and {deepest} levels and {visited} names of {expected} were visited"
    );
    assert!(
        total == Ok(expected as u64),
        "the total of {expected} names counts {total:?}"
    );
}

#[test]
fn descriptors_are_closed_in_the_end_and_on_exec() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("d/".repeat(2 * OPEN))).unwrap();
    fs::create_dir(scratch.join("closed")).unwrap();
    fs::set_permissions(scratch.join("closed"), Permissions::from_mode(0o0)).unwrap();
    let (inherited, left) = Child::new()
        .run(|| {
            let mut inherited = 0;
            let _ = visits(scratch.path(), |_| {
                let open = Process::me().descriptors.0;
                let open = open
                    .iter()
                    .filter(|(fd, open)| **fd > 2 && !open.close_on_exec());
                inherited += open.count();
            });
            (inherited, Process::me().descriptors.above_stderr().len())
        })
        .returned();
    fs::set_permissions(scratch.join("closed"), Permissions::from_mode(0o755)).unwrap();
    assert!(
        inherited == 0,
        "a program started meanwhile would inherit descriptors that are not close-on-exec"
    );
    assert!(
        left == 0,
        "the walk is over, and {left} descriptors are still open"
    );
}

/// The way down and back up is as long as the tree is deep; its square would be the walk from the root again and again.
#[track_caller]
fn assert_straight(levels: usize) {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("d/".repeat(levels))).unwrap();
    let run = Child::new()
        .traced()
        .run(|| errno(tree_walk(scratch.path(), |_, _| ())).map(|total| total.count));
    let opened = run.calls.count("open");
    let total = run.returned();
    assert!(
        total == Ok(levels as u64 + 1),
        "the total of a tree {levels} deep counts {total:?}"
    );
    assert!(
        opened <= 10 * levels,
        "the walk of a tree {levels} deep made {opened} open(2): they grow with the square of the depth"
    );
}

/// A walk in a child that may look at nothing but what its permissions allow, be it root's.
fn walk(root: &Path) -> Walk {
    let walk = Child::new().run(|| visits(root, |_| ())).returned();
    if let Err(Failure::Kind { message, .. }) = &walk.1 {
        assert!(
            message != ENDLESS,
            "{MOST} names were visited, and still the walk doesn't come to an end"
        );
    }
    walk
}

/// Names in the largest tree of [`walk`], and some: a walk in a circle must not fill the memory.
const MOST: usize = 6000;

/// What comes instead of the sums when there were more.
const ENDLESS: &str = "endless";

/// In the child: walks, and after each visit does what happens meanwhile.
fn visits(root: &Path, mut meanwhile: impl FnMut(&OsStr)) -> Walk {
    drop_capabilities();
    let mut visits = BTreeMap::<String, Vec<Told>>::new();
    let walk = || {
        tree_walk(root, |path, entry| {
            let told = errno(entry).map(|entry: Entry| {
                let kind = match entry.kind {
                    Kind::Directory => "directory",
                    Kind::File => "file",
                    Kind::Symlink => "symbolic link",
                    Kind::Other => "other",
                };
                (kind.to_owned(), entry.length, entry.allocated, entry.first)
            });
            let path = path.as_os_str();
            visits
                .entry(path.as_bytes().escape_ascii().to_string())
                .or_default()
                .push(told);
            if visits.len() > MOST {
                resume_unwind(Box::new(ENDLESS));
            }
            meanwhile(path);
        })
    };
    let total = catch_unwind(AssertUnwindSafe(walk)).unwrap_or_else(|panic| {
        if panic.downcast_ref() != Some(&ENDLESS) {
            resume_unwind(panic);
        }
        Err(std::io::Error::other(ENDLESS))
    });
    if visits.len() > MOST {
        visits.clear();
    }
    let total = total.map(|total| [total.count, total.length, total.allocated]);
    (visits, errno(total))
}

fn in_a_small_stack<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn_scoped(scope, f).unwrap().join().unwrap()
    })
}

/// What was said of each path, in words.
fn shown((visits, total): &Walk) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = visits
        .iter()
        .map(|(path, all)| {
            let path = match &path[..] {
                "" => "the root",
                path => path,
            };
            (path.to_owned(), told(all))
        })
        .collect();
    if let Err(failure) = total {
        shown.insert("the whole walk".to_owned(), failure.to_string());
    }
    shown
}

fn told(all: &[Told]) -> String {
    let words = all.iter().map(|told| match told {
        Ok((kind, length, _, _)) if kind == "file" => format!("{kind} of {length}"),
        Ok((kind, ..)) => kind.clone(),
        Err(Failure::Errno(errno)) => errno.name(),
        Err(failure) => failure.to_string(),
    });
    match all {
        [] => "not visited".to_owned(),
        _ => words.collect::<Vec<_>>().join("; "),
    }
}

/// Holds the sums against those of a walk that knows the tree to be harmless.
#[track_caller]
fn assert_total(what: &str, total: Result<[u64; 3], Failure>, root: &Path) {
    let total = total.unwrap_or_else(|failure| panic!("{what}: the walk failed with {failure}"));
    let (mut seen, mut expected) = (BTreeSet::new(), [0; 3]);
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        if seen.insert(metadata.ino()) {
            let length = if metadata.is_dir() { 0 } else { metadata.len() };
            let sums = [1, length, metadata.blocks() * 512];
            expected = std::array::from_fn(|at| expected[at] + sums[at]);
        }
    }
    for (at, name) in ["count", "length", "allocated"].iter().enumerate() {
        assert!(
            total[at] == expected[at],
            "{what}: the total has the {name} {} instead of {}",
            total[at],
            expected[at]
        );
    }
}
