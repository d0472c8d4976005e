//! Does a power cut at any point leave the old file or the new one?
//!
//! Only if the calls came in the right order: what is not synced may reach the disk at any time, or never.

use observe::{Arg, Call, Calls};
use std::path::{Path, PathBuf};

/// All that writes to a descriptor, be it from one buffer or from several.
pub const WRITES: [&str; 4] = ["write", "pwrite", "writev", "pwritev"];

/// Holds the calls of one replacement of `$TMPDIR/home/…` against the order; the steps as they were made.
#[track_caller]
pub fn assert_durable(case: &str, calls: &Calls) -> Vec<&'static str> {
    let is_done = |call: &Call| matches!(call.result, Some(Ok(_)));
    // The last one of `calls[..end]`.
    let last = |end: usize, what: &dyn Fn(&Call) -> bool| {
        calls[..end]
            .iter()
            .rposition(|call| is_done(call) && what(call))
    };

    let Some(rename) = last(calls.len(), &|call| call.is("rename")) else {
        panic!("{case}: no rename(2) put a new file in the place of the old one");
    };
    let temporary = place(&calls[rename]);
    // linkat(2) gives a name to what was made without one.
    let linked = last(rename, &|call| call.is("link") && links(call, &temporary));
    let made = last(rename, &|call| match linked {
        Some(_) => has_flag(call, "O_TMPFILE"),
        None => place(call) == temporary && makes_file(call),
    });
    let Some(made) = made else {
        let name = temporary.display();
        panic!("{case}: what was renamed, {name}, is not a file made for it");
    };
    let directory = temporary.parent().unwrap_or(Path::new("/"));
    assert!(
        directory == Path::new("$TMPDIR/home"),
        "{case}: the temporary file was made in {}, not in the directory of the file",
        directory.display()
    );

    // Descriptors are called by the path that open(2) was given.
    let name = observe::redact(calls[made].path().unwrap_or_default());
    let on_file = |call: &Call| call.on.as_deref() == Some(&name);
    let writes = |call: &Call| WRITES.iter().any(|write| call.is(write)) && on_file(call);
    let syncs = |call: &Call| call.is("fsync") && on_file(call);
    let Some(written) = last(calls.len(), &writes) else {
        panic!("{case}: nothing was written to the temporary file");
    };
    let Some(synced) = last(rename, &syncs) else {
        assert!(
            last(calls.len(), &syncs).is_none(),
            "{case}: the data was synced after rename(2): a power cut in between leaves an empty file"
        );
        panic!(
            "{case}: the data was never synced: a power cut after rename(2) leaves an empty file"
        );
    };
    assert!(
        written < synced,
        "{case}: data was written after it had been synced"
    );
    let settles = |call: &Call| {
        let on = call.on.as_deref().map(Path::new);
        call.is("fsync") && on == Some(directory)
    };
    let settled = last(calls.len(), &settles).filter(|settled| rename < *settled);
    let Some(settled) = settled else {
        panic!(
            "{case}: the directory was not synced after rename(2): a power cut brings the old name back"
        );
    };

    let mut steps = [
        (made, "a new file is made in the same directory"),
        (written, "the contents are written to it"),
        (synced, "it is synced"),
        (rename, "it takes the name"),
        (settled, "the directory is synced"),
    ];
    steps.sort_unstable();
    steps.map(|(_, step)| step).to_vec()
}

/// The first path of a call; a relative one is below the directory whose descriptor comes with it.
pub fn place(call: &Call) -> PathBuf {
    let path = observe::redact(call.path().unwrap_or_default());
    match &call.on {
        Some(directory) if !path.starts_with(['/', '$']) => Path::new(directory).join(path),
        _ => PathBuf::from(path),
    }
}

fn makes_file(call: &Call) -> bool {
    call.is("creat") || has_flag(call, "O_CREAT")
}

/// Whether it is an open(2) with that flag.
pub fn has_flag(call: &Call, flag: &str) -> bool {
    call.is("open")
        && call
            .decoded
            .iter()
            .any(|arg| arg.to_string().contains(flag))
}

/// Whether a link(2) makes that name: its last path, without the directory.
fn links(call: &Call, name: &Path) -> bool {
    let to = call.decoded.iter().rev().find_map(|arg| match arg {
        Arg::Path(path) => Some(Path::new(path)),
        _ => None,
    });
    to.is_some_and(|to| to.file_name() == name.file_name())
}
