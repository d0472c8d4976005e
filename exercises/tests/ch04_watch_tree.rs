//! A watch is known by whether its events, one after the other, lead from the tree that was to the tree that is.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/watch_tree.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/watch_tree.rs")]
mod watch_tree;
mod unprivileged;
mod watching;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use observe::{Action, Child, Errno, Failure, Fault, Process, assert_failed, assert_seen, errno};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::thread;
use std::time::Duration;
use unprivileged::drop_capabilities;
use watch_tree::WatchTree;
use watching::{
    Paths, Random, SHORT, Told, World, assert_no_failure, assert_once, assert_same, changed, list,
    mkdir, next, paths, remove, rename, rest, shown, told, words, write,
};

/// Longer than anybody needs who has something to tell.
const LONG: Duration = Duration::from_secs(8);

#[test]
fn each_change_is_one_event() {
    let world = World::new(&["directory/inside", "file"]);
    let root = &world.root;
    let steps: [(&str, &(dyn Fn() + Sync)); 12] = [
        ("01 a file is made and written", &|| write(root, "new")),
        ("02 it is written again", &|| write(root, "new")),
        ("03 it is only read", &|| drop(fs::read(root.join("new")))),
        ("04 a directory is made", &|| mkdir(root, "made")),
        ("05 a symbolic link is made", &|| {
            symlink("made", root.join("link")).unwrap();
        }),
        ("06 a second name of a file is made", &|| {
            fs::hard_link(root.join("new"), root.join("second")).unwrap();
        }),
        ("07 a file is renamed", &|| rename(root, "new", "renamed")),
        ("08 a file is renamed into another directory", &|| {
            rename(root, "renamed", "made/file");
        }),
        ("09 a file replaces another", &|| {
            rename(root, "second", "file")
        }),
        ("10 a directory is renamed", &|| {
            rename(root, "directory", "made/below");
        }),
        ("11 a file is removed", &|| {
            remove(root, "made/below/inside")
        }),
        ("12 a directory is removed", &|| {
            fs::remove_dir(root.join("made/below")).unwrap();
        }),
    ];
    let told = world.told("after twelve changes", |tree| {
        steps
            .iter()
            .flat_map(|(name, step)| {
                step();
                [vec![(name.to_string(), Vec::new())], rest(tree)].concat()
            })
            .collect()
    });
    let mut seen = BTreeMap::<&str, Vec<String>>::new();
    let mut step = "";
    for told in &told {
        if told.1.is_empty() && told.0 != "Lost" {
            step = &told.0;
            seen.entry(step).or_default();
        } else {
            seen.entry(step).or_default().push(shown(told));
        }
    }
    assert_seen!("ch04_watch_tree__events", seen);
}

#[test]
fn whole_tree_is_watched() {
    let world = World::new(&["a/b/c/deep", "a/b/c/d/e/deeper", "other"]);
    let root = &world.root;
    let told = world.told("after changes far below", |tree| {
        write(root, "a/b/c/new");
        write(root, "a/b/c/d/e/new");
        mkdir(root, "a/x");
        let mut told = rest(tree);
        // Nobody tells what is in a directory but its own watch.
        write(root, "a/x/file");
        mkdir(root, "a/x/y");
        told.extend(rest(tree));
        write(root, "a/x/y/file");
        told.extend(rest(tree));
        told
    });
    assert_once(&told, "Created", "a/b/c/d/e/new");
    assert_once(&told, "Written", "a/x/y/file");
}

#[test]
fn symbolic_link_is_not_followed() {
    let world = World::new(&["a/file"]);
    let root = &world.root;
    let outside = world.scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, root.join("before")).unwrap();
    symlink("..", root.join("a/up")).unwrap();
    world.told("in a tree with symbolic links", |tree| {
        symlink(&outside, root.join("a/after")).unwrap();
        symlink(".", root.join("here")).unwrap();
        let mut told = rest(tree);
        fs::write(outside.join("secret"), b"").unwrap();
        write(root, "a/inside");
        told.extend(rest(tree));
        told
    });
}

#[test]
fn root_that_cannot_be_watched_is_an_error() {
    let world = World::new(&["file"]);
    for (name, expected) in [("absent", libc::ENOENT), ("file", libc::ENOTDIR)] {
        let path = world.root.join(name);
        let new = Child::new()
            .run(|| errno(WatchTree::new(&path)).map(drop))
            .returned();
        assert_failed(name, new, expected);
    }
}

#[test]
fn closed_directory_is_passed_over() {
    let world = World::new(&["a/file", "closed/hidden"]);
    let root = &world.root;
    let change = |path: &str, mode: u32| {
        let _ = fs::set_permissions(root.join(path), Permissions::from_mode(mode));
    };
    change("closed", 0o0);
    let told = Child::new()
        .run(|| {
            drop_capabilities();
            let mut tree = errno(WatchTree::new(root))?;
            fs::DirBuilder::new()
                .mode(0o0)
                .create(root.join("a/closed"))
                .unwrap();
            let mut told = rest(&mut tree);
            write(root, "a/new");
            told.extend(rest(&mut tree));
            Ok::<_, Failure>((paths(&tree), told))
        })
        .returned();
    for path in ["closed", "a/closed"] {
        change(path, 0o755);
    }
    let (paths, told) = told.unwrap_or_else(|failure| {
        panic!("a directory in the tree can't be read, and WatchTree::new failed with {failure}")
    });
    let what = "in a tree with closed directories";
    assert_no_failure(what, &told);
    assert_once(&told, "Created", "a/closed");
    assert_once(&told, "Created", "a/new");
    let expected = ["a", "a/closed", "a/file", "a/new", "closed"].map(str::to_owned);
    assert_same(what, &paths, &expected.into());
}

#[test]
fn no_watch_left_is_an_error() {
    if !observe::needs("ptrace") {
        return;
    }
    for (call, nth, errno_of, what) in [
        (
            "inotify_init",
            1,
            libc::EMFILE,
            "no inotify instance is left",
        ),
        (
            "inotify_add_watch",
            2,
            libc::ENOSPC,
            "no watch is left for a directory",
        ),
        (
            "inotify_add_watch",
            3,
            libc::ENOSPC,
            "no watch is left for a new directory",
        ),
    ] {
        let world = World::new(&["a/file"]);
        let (new, events) = Child::new()
            .fault(Fault::new(call, Action::Fail(errno_of)).nth(nth).always())
            .run(|| match errno(WatchTree::new(&world.root)) {
                Err(failure) => (Err(failure), Ok(0)),
                Ok(mut tree) => {
                    mkdir(&world.root, "new");
                    (Ok(()), errno(tree.events(SHORT)).map(|events| events.len()))
                }
            })
            .returned();
        let failure = new.err().or(events.err());
        match failure {
            None => panic!("{what}, and nobody was told"),
            Some(failure) => assert!(
                failure.is(errno_of),
                "{what}, and it failed with {failure} instead of {}",
                Errno(errno_of)
            ),
        }
    }
}

#[test]
fn nothing_is_waited_for_asleep() {
    let world = World::new(&["a/file"]);
    let root = &world.root;
    let child = Child::new().start(|| {
        let handler = SigHandler::Handler(nothing);
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let mut tree = errno(WatchTree::new(root))?;
        let none = errno(tree.events(Duration::ZERO))?.len() + errno(tree.events(SHORT))?.len();
        let inherited = Process::me().descriptors.0;
        let inherited = inherited
            .iter()
            .filter(|(fd, open)| **fd > 2 && !open.close_on_exec());
        let inherited = inherited.count();
        println!("ready");
        let told: Vec<Told> = errno(tree.events(LONG * 10))?.iter().map(told).collect();
        drop(tree);
        let left = Process::me().descriptors.above_stderr().len();
        Ok::<_, Failure>((none, inherited, told, left))
    });
    let child = child.does("say that nothing has happened", |child| {
        !child.stdout().is_empty()
    });
    assert!(
        child.falls_asleep(LONG),
        "nothing happens, and the exercise did not sleep until something does"
    );
    child.signal(Signal::SIGUSR1).unwrap();
    let slept = child.falls_asleep(LONG);
    // Ends `events`, if nothing else has.
    mkdir(root, "made");
    let when = if slept {
        "something was made"
    } else {
        "a signal came"
    };
    let (none, inherited, told, left) = child
        .wait()
        .returned()
        .unwrap_or_else(|failure| panic!("{when}, and `events` failed with {failure}"));
    assert!(
        slept,
        "a signal came, and `events` did not sleep on until something happens: it told of {} events",
        told.len()
    );
    assert!(
        none == 0,
        "nothing had happened, and {none} events were told"
    );
    assert!(
        inherited == 0,
        "a program started meanwhile would inherit descriptors that are not close-on-exec"
    );
    assert!(
        left == 0,
        "the tree was dropped, and {left} descriptors are still open"
    );
    assert_once(&told, "Created", "made");
}

#[test]
fn new_directory_is_looked_into() {
    let world = World::new(&["other"]);
    let root = &world.root;
    let outside = world.scratch.join("outside");
    fs::create_dir_all(outside.join("deep/deeper")).unwrap();
    fs::write(outside.join("deep/deeper/file"), b"").unwrap();
    let told = world.told("after directories were made and filled at once", |tree| {
        // All of it is over before the first event is read.
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        for path in ["a/1", "a/b/2", "a/b/c/3"] {
            write(root, path);
        }
        remove(root, "a/1");
        mkdir(root, "gone");
        write(root, "gone/file");
        fs::remove_dir_all(root.join("gone")).unwrap();
        mkdir(root, "twice");
        write(root, "twice/first");
        fs::remove_dir_all(root.join("twice")).unwrap();
        mkdir(root, "twice");
        write(root, "twice/second");
        let mut told = rest(tree);
        fs::rename(&outside, root.join("moved in")).unwrap();
        told.extend(rest(tree));
        write(root, "a/b/c/4");
        write(root, "twice/third");
        write(root, "moved in/deep/deeper/new");
        told.extend(rest(tree));
        told
    });
    for path in ["a/b/c/4", "twice/third", "moved in/deep/deeper/new"] {
        assert_once(&told, "Created", path);
    }
}

#[test]
fn nothing_is_lost_between_watch_and_look() {
    if !observe::needs("ptrace") {
        return;
    }
    for call in ["inotify_add_watch", "getdents64"] {
        // Of a call that is not made so often, nothing becomes of it.
        for nth in 1..=8 {
            let world = World::new(&["a/other"]);
            let root = &world.root;
            let child =
                Child::new().fault(Fault::new(call, Action::SignalBefore(libc::SIGUSR1)).nth(nth));
            let what = "something was made while a directory was looked into";
            let begin = || {
                std::env::set_current_dir(root).unwrap();
                let handler = SigHandler::Handler(make_something);
                let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
                // SAFETY: the handler calls mkdir(2), open(2) and close(2), all async-signal-safe.
                unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
            };
            world.told_to(child, what, begin, |tree| {
                fs::create_dir_all(root.join("new/below")).unwrap();
                let mut told = rest(tree);
                write(root, "new/below/last");
                told.extend(rest(tree));
                told
            });
        }
    }
}

#[test]
fn rename_is_one_event() {
    const RENAMES: usize = 3000;
    // Of all lengths: wherever a buffer ends, some rename begins before its end and ends behind it.
    let name = |number: usize| {
        let directory = if number.is_multiple_of(3) { "a" } else { "b" };
        format!("{directory}/{}", "x".repeat(1 + number % 200))
    };
    let world = World::new(&[&name(0), "b/other"]);
    let root = &world.root;
    let rename_all = || {
        for number in 0..RENAMES {
            rename(root, &name(number), &name(number + 1));
        }
    };
    for (when, at_once) in [
        ("before they were read", true),
        ("while they were read", false),
    ] {
        let told = world.told("after many renames", |tree| {
            if at_once {
                rename_all();
                return rest(tree);
            }
            thread::scope(|scope| {
                let renames = scope.spawn(rename_all);
                let mut told = Vec::new();
                while !renames.is_finished() {
                    told.extend(next(tree, Duration::ZERO));
                }
                told.extend(rest(tree));
                told
            })
        });
        let halves = told.iter().filter(|(what, _)| what != "Renamed").count();
        assert!(
            halves == 0 && told.len() == RENAMES,
            "a file was renamed {RENAMES} times {when}, and the events are {} Renamed and {halves} others",
            told.len() - halves
        );
    }
}

#[test]
fn renamed_directory_reports_under_its_new_name() {
    let world = World::new(&["a/b/file", "c/file", "d/file"]);
    let root = &world.root;
    let told = world.told("after directories were renamed", |tree| {
        rename(root, "a", "c/a");
        let mut told = rest(tree);
        write(root, "c/a/b/one");
        told.extend(rest(tree));
        // Written before it is read that the name is another one.
        rename(root, "c/a/b", "b");
        write(root, "b/two");
        told.extend(rest(tree));
        // Their names exchanged.
        rename(root, "b", "x");
        rename(root, "d", "b");
        rename(root, "x", "d");
        write(root, "d/three");
        write(root, "b/four");
        told.extend(rest(tree));
        // A new one has the name by the time that the events of the old one are read.
        mkdir(root, "e");
        mkdir(root, "e/old");
        rename(root, "e", "f");
        mkdir(root, "e");
        mkdir(root, "e/new");
        told.extend(rest(tree));
        write(root, "f/old/five");
        write(root, "e/new/six");
        told.extend(rest(tree));
        told
    });
    for path in [
        "c/a/b/one",
        "b/two",
        "d/three",
        "b/four",
        "f/old/five",
        "e/new/six",
    ] {
        assert_once(&told, "Created", path);
    }
    assert_once(&told, "Renamed", "a");
}

#[test]
fn what_leaves_the_tree_is_removed() {
    let world = World::new(&["a/b/file", "a/gone", "other", "replaced"]);
    let root = &world.root;
    let outside = world.scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    let told = world.told("after things were moved out and in", |tree| {
        fs::rename(root.join("a/gone"), outside.join("gone")).unwrap();
        let mut told = rest(tree);
        fs::rename(root.join("a"), outside.join("a")).unwrap();
        told.extend(rest(tree));
        fs::write(outside.join("a/secret"), b"").unwrap();
        fs::write(outside.join("a/b/secret"), b"").unwrap();
        told.extend(rest(tree));
        mkdir(root, "a");
        write(root, "a/new");
        told.extend(rest(tree));
        // As an editor saves that has its temporary files elsewhere.
        fs::rename(outside.join("gone"), root.join("replaced")).unwrap();
        told.extend(rest(tree));
        fs::rename(outside.join("a/b"), root.join("b")).unwrap();
        write(root, "b/newer");
        told.extend(rest(tree));
        told
    });
    assert_once(&told, "Removed", "a");
    assert_once(&told, "Created", "b/newer");
    assert_once(&told, "Created", "replaced");
}

#[test]
fn lost_events_are_made_up_for() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    // Each rename is two events, and none is like the one before it.
    let renames = limit.trim().parse::<usize>().unwrap() / 2 + 1;
    let world = World::new(&[
        "0",
        "old",
        "kind",
        "tree/a/file",
        "tree/b",
        "x/1/file",
        "y/2/file",
        "kept/a/b/file",
    ]);
    let root = &world.root;
    let child = Child::new().limit(Duration::from_secs(60));
    let told = world.told_to(
        child,
        "after more events than the queue holds",
        || (),
        |tree| {
            for number in 0..renames {
                match number % 2 {
                    0 => rename(root, "0", "1"),
                    _ => rename(root, "1", "0"),
                }
            }
            write(root, "late");
            fs::create_dir_all(root.join("late directory/sub")).unwrap();
            write(root, "late directory/sub/file");
            remove(root, "old");
            fs::remove_dir_all(root.join("tree")).unwrap();
            remove(root, "kind");
            mkdir(root, "kind");
            write(root, "kind/inside");
            rename(root, "x", "z");
            rename(root, "y", "x");
            rename(root, "z", "y");
            rename(root, "kept/a", "kept/c");
            let mut told = rest(tree);
            for path in [
                "late directory/sub/new",
                "kind/new",
                "x/2/new",
                "y/1/new",
                "kept/c/b/new",
            ] {
                write(root, path);
            }
            told.extend(rest(tree));
            told
        },
    );
    let kinds = |kind: &str| told.iter().filter(|(what, _)| what == kind).count();
    // Whoever reads beside it all loses nothing.
    assert!(
        kinds("Lost") > 0 || kinds("Renamed") >= renames,
        "of {renames} renames {} were told, and no Lost",
        kinds("Renamed")
    );
    for path in [
        "late directory/sub/new",
        "kind/new",
        "x/2/new",
        "y/1/new",
        "kept/c/b/new",
    ] {
        assert_once(&told, "Created", path);
    }
}

#[test]
fn list_stays_right_whatever_happens() {
    const ROUNDS: usize = 200;
    let world = World::new(&["a/b/c", "b/c"]);
    let root = &world.root;
    let outside = world.scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    let (before, rounds) = Child::new()
        .limit(Duration::from_secs(100))
        .run(|| {
            let mut random = Random(1);
            let mut tree = errno(WatchTree::new(root))?;
            let before = list(root);
            let rounds: Vec<(Vec<String>, Vec<Told>, Paths)> = (0..ROUNDS)
                .map(|_| {
                    let steps = 1 + random.below(8);
                    let done = (0..steps)
                        .filter_map(|_| random.change(root, &outside))
                        .collect();
                    (done, rest(&mut tree), list(root))
                })
                .collect();
            Ok::<_, Failure>((before, rounds))
        })
        .returned()
        .unwrap_or_else(|failure| panic!("it failed with {failure}"));
    let mut list = before;
    for (done, told, expected) in rounds {
        let what = format!(
            "in a tree of {} it was done: {}",
            words(&list),
            done.join(", ")
        );
        list = changed(&what, list, &told);
        assert_same(&what, &list, &expected);
    }
}

extern "C" fn nothing(_signal: i32) {}

extern "C" fn make_something(_signal: i32) {
    // SAFETY: the paths are C strings; what is opened is closed. Whatever can't be made is not.
    unsafe {
        libc::mkdir(c"a/by handler".as_ptr(), 0o755);
        libc::mkdir(c"new/by handler".as_ptr(), 0o755);
        libc::mkdir(c"new/below/by handler".as_ptr(), 0o755);
        for path in [
            c"at",
            c"a/by handler/file",
            c"new/by handler/file",
            c"new/below/file",
        ] {
            libc::close(libc::open(
                path.as_ptr(),
                libc::O_CREAT | libc::O_WRONLY,
                0o644,
            ));
        }
    }
}
