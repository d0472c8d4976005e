//! A lookup is held against a directory tree in which each place of PATH has something else of the same name.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch02_processes/path_lookup.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch02_processes/path_lookup.rs")]
mod path_lookup;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{Child, Errno, Failure, Scratch, assert_seen, errno};
use path_lookup::path_lookup;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

#[test]
fn first_element_with_the_program_wins() {
    let place = Place::new();
    place.finds("tool", "one", "one/tool");
    place.finds("tool", "none:absent:two:one", "two/tool");
    place.finds("tool", "one:two", "one/tool");
    place.finds("tool", "caf\u{e9}:one", "caf\u{e9}/tool");
}

#[test]
fn only_a_program_is_found() {
    let place = Place::new();
    for what in [
        "plain", "others", "folder", "fifo", "dangling", "loop", "tofolder",
    ] {
        place.finds("tool", &format!("{what}:one"), "one/tool");
    }
    // An element that is a file.
    place.finds("tool", "plain/tool:one", "one/tool");
}

#[test]
fn empty_element_is_the_current_directory() {
    let place = Place::new();
    for path in ["", ":one", "none:", "none::one"] {
        place.finds("here", path, "./here");
    }
    place.finds("tool", ":one", "one/tool");
    place.finds("here", ".:one", "./here");
    place.fails("here", "one:none", libc::ENOENT);
    place.fails("plain", "", libc::EACCES);
}

#[test]
fn slash_means_no_search() {
    let place = Place::new();
    place.finds("./here", "one", "./here");
    place.finds("two/tool", "one", "two/tool");
    place.fails("./tool", "one", libc::ENOENT);
    place.fails("absent/tool", "one", libc::ENOENT);
    // As elements of PATH such places are passed over.
    place.fails("plain/tool/tool", "one", libc::ENOTDIR);
    place.fails("loop/tool", "one", libc::ELOOP);
    place.fails("plain/tool", "one", libc::EACCES);
    place.fails("./one", "one", libc::EACCES);
}

#[test]
fn nothing_is_enoent_and_no_program_is_eacces() {
    let place = Place::new();
    let cases = [
        ("no file of that name", "tool", "none", libc::ENOENT),
        (
            "an element that does not exist",
            "tool",
            "absent",
            libc::ENOENT,
        ),
        (
            "an element that is a file",
            "tool",
            "plain/tool",
            libc::ENOENT,
        ),
        ("a link to nothing", "tool", "dangling", libc::ENOENT),
        ("the empty name", "", "one", libc::ENOENT),
        ("the empty name in an empty PATH", "", "", libc::ENOENT),
        (
            "a file that nobody may execute",
            "tool",
            "plain",
            libc::EACCES,
        ),
        (
            "a file that others may execute",
            "tool",
            "others",
            libc::EACCES,
        ),
        ("a directory", "tool", "folder", libc::EACCES),
        ("a link to a directory", "tool", "tofolder", libc::EACCES),
        ("a FIFO", "tool", "fifo", libc::EACCES),
        (
            "an element that may not be searched",
            "tool",
            "closed",
            libc::EACCES,
        ),
        (
            "nothing, a file, nothing",
            "tool",
            "none:plain:absent",
            libc::EACCES,
        ),
    ];
    let mut seen = BTreeMap::new();
    for (what, name, path, errno) in cases {
        seen.insert(what, place.fails(name, path, errno));
    }
    assert_seen!("ch02_path_lookup__errors", seen);
}

#[test]
fn unset_path_is_the_default() {
    let place = Place::new();
    let found = place.lookup("sh", None);
    let shell = ["/bin/sh", "/usr/bin/sh"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("a system has a shell");
    place.assert_found("\"sh\" without PATH", found, shell);
    let found = place.lookup("here", None);
    place.assert_failed("\"here\" without PATH", found, libc::ENOENT);
}

/// The files called `tool`, by their directories.
const TOOLS: [(&str, &str); 10] = [
    ("one", "a symbolic link to a program"),
    ("two", "a symbolic link to a program"),
    ("plain", "a file without x"),
    ("others", "a file with x for others only, and not for you"),
    ("folder", "a directory"),
    ("fifo", "a FIFO"),
    ("dangling", "a symbolic link that leads nowhere"),
    ("loop", "a symbolic link to itself"),
    ("tofolder", "a symbolic link to a directory"),
    ("closed", "in a directory without x"),
];

/// What a lookup gave: the bytes of a path.
type Found = Result<Vec<u8>, Failure>;

/// A current directory with a file `here`, and directories that each have something else called `tool`.
///
/// Programs are links to the system's shell: on this file system itself nobody may be allowed to execute.
struct Place {
    scratch: Scratch,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Or it could not be removed.
        let _ = fs::set_permissions(self.scratch.join("closed"), Permissions::from_mode(0o700));
    }
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        let make = |directory: &OsStr| {
            fs::create_dir(scratch.join(directory)).unwrap();
            scratch.join(directory).join("tool")
        };
        let program = |path: PathBuf| symlink("/bin/sh", path).unwrap();
        let file = |path: PathBuf, mode| {
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        program(scratch.join("here"));
        for directory in ["one", "two", "caf\u{e9}", "closed"] {
            program(make(&latin1(directory)));
        }
        make("none".as_ref());
        file(make("plain".as_ref()), 0o644);
        // It has execute bits, and its owner may not execute it.
        file(make("others".as_ref()), 0o011);
        fs::create_dir(make("folder".as_ref())).unwrap();
        mkfifo(&make("fifo".as_ref()), Mode::S_IRWXU).unwrap();
        symlink("nowhere", make("dangling".as_ref())).unwrap();
        symlink("tool", make("loop".as_ref())).unwrap();
        symlink("..", make("tofolder".as_ref())).unwrap();
        fs::set_permissions(scratch.join("closed"), Permissions::from_mode(0o600)).unwrap();
        Place { scratch }
    }

    fn lookup(&self, name: &str, path: Option<&str>) -> Found {
        let path = path.map(latin1);
        let run = Child::new().run(|| {
            std::env::set_current_dir(self.scratch.path()).unwrap();
            as_everybody();
            let found = path_lookup(name.as_ref(), path.as_deref());
            errno(found.map(|found| found.into_os_string().into_vec()))
        });
        run.returned()
    }

    #[track_caller]
    fn finds(&self, name: &str, path: &str, expected: &str) {
        let found = self.lookup(name, Some(path));
        self.assert_found(&question(name, path), found, expected);
    }

    #[track_caller]
    fn fails(&self, name: &str, path: &str, errno: i32) -> Errno {
        let found = self.lookup(name, Some(path));
        self.assert_failed(&question(name, path), found, errno)
    }

    #[track_caller]
    fn assert_found(&self, question: &str, found: Found, expected: &str) {
        let same = |found: &Vec<u8>| OsStr::from_bytes(found) == latin1(expected);
        assert!(
            found.as_ref().is_ok_and(same),
            "{question} is {} instead of {expected}{}",
            words(&found),
            explained(question)
        );
    }

    #[track_caller]
    fn assert_failed(&self, question: &str, found: Found, errno: i32) -> Errno {
        assert!(
            found.as_ref().is_err_and(|failure| failure.is(errno)),
            "{question} is {} instead of {}{}",
            words(&found),
            Errno(errno),
            explained(question)
        );
        Errno(errno)
    }
}

fn question(name: &str, path: &str) -> String {
    format!("{name:?} with PATH={path}")
}

/// What the names in a question don't say.
fn explained(text: &str) -> String {
    let told: Vec<String> = TOOLS
        .iter()
        .filter(|(directory, _)| {
            text.split([' ', '=', ':', '/'])
                .any(|part| part == *directory)
        })
        .map(|(directory, what)| format!("{directory}/tool is {what}"))
        .collect();
    match told.len() {
        0 => String::new(),
        _ => format!(" ({})", told.join(", ")),
    }
}

fn words(found: &Found) -> String {
    match found {
        Ok(path) => String::from_utf8_lossy(path).into_owned(),
        Err(failure) if failure.errno().is_none() => {
            format!("{failure}: the error carries no errno")
        }
        Err(failure) => failure.to_string(),
    }
}

/// `é` as the one byte that it was before UTF-8: names of files are bytes.
fn latin1(text: &str) -> OsString {
    OsString::from_vec(text.chars().map(|char| char as u8).collect())
}

/// Gives up root's capabilities, with which every directory can be searched.
fn as_everybody() {
    // linux/capability.h: version 3, two words of each set.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0_u32; 6];
    // SAFETY: the kernel reads the 8 bytes of the header and the 24 bytes of the sets during the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert!(done == 0, "capabilities can always be given up");
}
