//! A store is known by what it shows when it is opened again: after its process was killed, after a write failed,
//! and after the power was cut at any moment, with any part of what was not synced on the disk.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/kv_store.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/kv_store.rs")]
mod kv_store;

mod replacing;
mod storing;

use observe::{Action, Child, Failure, Fault, assert_seen, errno};
use replacing::WRITES;
use std::collections::BTreeMap;
use std::io::ErrorKind::{InvalidData, WouldBlock};
use std::path::Path;
use std::slice::from_ref;
use storing::{
    Disk, Files, HOME, Line, MAGIC, Step, World, applied, assert_result, commit, contents,
    cut_power, cut_power_after_failed_sync, files, go_wrong, log, open, record, recover, remove,
    set, told, torn,
};

#[test]
fn what_was_committed_is_shown() {
    let world = World::new(None);
    let commits = [
        vec![set("a", "1"), set("b", "2")],
        vec![],
        vec![remove("a"), remove("never there"), set("c", "")],
        vec![set("", "the empty key"), set("b", "3"), set("b", "4")],
        vec![set("d", "5"), remove("d"), remove("c"), set("c", "6")],
        vec![(b"\xff\x00".to_vec(), Some(b"\x00\xfe\n".to_vec()))],
    ];
    let shown = Child::new()
        .run(|| {
            let mut store = open(&world.store)?;
            let mut shown = vec![contents(&store)];
            for lines in &commits {
                commit(&mut store, lines)?;
                shown.push(contents(&store));
            }
            drop(store);
            let store = open(&world.store)?;
            let got = ["b", "a"].map(|key| store.get(key.as_bytes()).map(<[u8]>::to_vec));
            shown.push(contents(&store));
            Ok::<_, Failure>((shown, got))
        })
        .returned();
    let (shown, got) = shown.unwrap_or_else(|failure| panic!("failed with {failure}"));
    for (count, shown) in shown.iter().enumerate() {
        let (done, when) = match commits.get(count.wrapping_sub(1)) {
            _ if count == 0 => (0, "new".to_owned()),
            Some(_) => (count, format!("after commit {count}")),
            None => (commits.len(), "opened again".to_owned()),
        };
        assert_eq!(
            *shown,
            applied(&commits[..done]),
            "what the store shows, {when}"
        );
    }
    assert_eq!(
        got,
        [Some(b"4".to_vec()), None],
        "what `get` says of b and a"
    );
}

#[test]
fn log_is_as_documented() {
    let world = World::new(None);
    let commits = three();
    let result = Child::new()
        .run(|| {
            let mut store = open(&world.store)?;
            commits
                .iter()
                .try_for_each(|lines| commit(&mut store, lines))
        })
        .returned();
    result.unwrap_or_else(|failure| panic!("failed with {failure}"));
    let written = world.log();
    assert_seen!("ch04_kv_store__log", told(&written));
    assert!(
        written == log(&commits).0,
        "the log has other bytes than it should: {}",
        written.escape_ascii()
    );
    assert_eq!(
        world.others(),
        Vec::<String>::new(),
        "what lies beside the log"
    );
}

#[test]
fn torn_end_is_cut() {
    let (whole, ends) = log(&three());
    let mut cases: Vec<(String, Vec<u8>, usize)> = (MAGIC.len()..=whole.len())
        .map(|length| {
            let commits = ends.iter().filter(|end| **end <= length).count();
            (
                format!("the first {length} bytes"),
                whole[..length].to_vec(),
                commits,
            )
        })
        .collect();
    // The value of the torn commit is a log itself, and more of it is there than of what comes before.
    let copy = record(whole.len(), &[(b"copy".to_vec(), Some(whole.clone()))]);
    let torn_copy = [&whole[..], &[0; 16], &copy[16..]].concat();
    cases.push((
        "a torn commit with a log for a value".to_owned(),
        torn_copy,
        3,
    ));
    let zeros = [&whole[..], &[0; 100]].concat();
    cases.push(("100 zeros at the end".to_owned(), zeros, 3));

    let mut found = recover(cases.iter().map(|(_, log, _)| files(log))).into_iter();
    for (case, log, commits) in &cases {
        let found = found.next().expect("one for each case");
        let expected = applied(&three()[..*commits]);
        assert_eq!(
            found.shown(case),
            &expected,
            "{case} of {}: what the store shows",
            log.len()
        );
        let rest = torn(&found.log);
        assert!(
            rest == 0,
            "{case}: the store was opened, and the last {rest} of the log's {} bytes are still no record",
            found.log.len()
        );
        found.assert_usable(case, &expected);
    }
}

#[test]
fn damage_in_the_middle_is_refused() {
    let (whole, ends) = log(&three());
    let last = ends[1];
    let damaged = |at: usize| {
        let mut log = whole.clone();
        log[at] ^= 0x10;
        log
    };
    let found = recover((0..whole.len()).map(|at| files(&damaged(at))));
    for (at, found) in found.into_iter().enumerate() {
        let case = format!("byte {at} of {} is damaged", whole.len());
        if at < last {
            match &found.shown {
                Err(failure) => assert!(
                    failure.is_kind(InvalidData),
                    "{case}, and a whole record follows: failed with {failure}, not InvalidData"
                ),
                Ok(shown) => panic!("{case}, and a whole record follows: opened, with {shown:?}"),
            }
            assert!(
                found.log == damaged(at),
                "{case}: the store was not opened, and the log was changed all the same"
            );
        } else {
            let expected = applied(&three()[..2]);
            assert_eq!(
                found.shown(&case),
                &expected,
                "{case}, in the last record: what is shown"
            );
        }
    }
    for not_a_log in [&b""[..], b"kvlog", b"#!/bin/sh\nexit\n"] {
        let found = recover([files(not_a_log)]).remove(0);
        let name = not_a_log.escape_ascii();
        assert!(
            matches!(&found.shown, Err(failure) if failure.is_kind(InvalidData)),
            "the file log holds \"{name}\": {:?} instead of InvalidData",
            found.shown
        );
        assert!(
            found.log == not_a_log,
            "the file log, \"{name}\", was changed"
        );
    }
}

#[test]
fn commit_is_one_sync() {
    if !observe::needs("ptrace") {
        return;
    }
    let many: Vec<Line> = (0..100)
        .map(|n| set(&format!("key {n}"), "value"))
        .collect();
    let mut seen = BTreeMap::new();
    for (case, lines) in [("of one change", &many[..1]), ("of 100 changes", &many)] {
        let world = World::new(None);
        let run = Child::new().traced().run(|| {
            observe::region::end();
            let mut store = open(&world.store)?;
            observe::region::begin();
            commit(&mut store, lines)?;
            observe::region::end();
            Ok::<_, Failure>(())
        });
        let calls = run.calls.without_runtime();
        let result = run.returned();
        result.unwrap_or_else(|failure| panic!("a commit {case} failed with {failure}"));
        let syncs = calls.count("fsync");
        assert!(
            syncs == 1,
            "a commit {case} made {syncs} calls of fsync(2) or fdatasync(2), not 1"
        );
        let mut steps: Vec<&str> = calls
            .iter()
            .filter_map(|call| match call.family {
                "fsync" => Some("synced"),
                family if WRITES.contains(&family) => Some("written"),
                _ => None,
            })
            .collect();
        steps.dedup();
        seen.insert(format!("a commit {case}"), steps);
    }
    assert_seen!("ch04_kv_store__calls", seen);
}

#[test]
fn compaction_keeps_what_is_alive() {
    let mut commits: Vec<Vec<Line>> = (0..50)
        .map(|n| {
            vec![
                set("often", &n.to_string()),
                set(&format!("{n}"), "x"),
                remove(&format!("{}", n - 1)),
            ]
        })
        .collect();
    let world = World::new(Some(log(&commits).0));
    let shown = Child::new()
        .run(|| {
            let mut store = open(&world.store)?;
            errno(store.compact())?;
            let compacted = contents(&store);
            commit(&mut store, &[set("later", "y")])?;
            drop(store);
            // Where the process is later has nothing to do with where the store is.
            std::env::set_current_dir(world.store.parent().unwrap()).unwrap();
            let mut store = open(Path::new("store"))?;
            std::env::set_current_dir("/").unwrap();
            errno(store.compact())?;
            drop(store);
            Ok::<_, Failure>((compacted, contents(&open(&world.store)?)))
        })
        .returned();
    let (compacted, later) = shown.unwrap_or_else(|failure| panic!("failed with {failure}"));
    assert_eq!(compacted, applied(&commits), "what a compacted store shows");
    commits.push(vec![set("later", "y")]);
    assert_eq!(
        later,
        applied(&commits),
        "what a store shows that was compacted, changed and opened again"
    );
    let length = world.log().len();
    let most: usize = MAGIC.len() + 3 * (16 + 8 + "often49".len());
    assert!(
        length <= most,
        "3 keys are alive, and the compacted log has {length} bytes: {:?}",
        told(&world.log())
    );
    assert_eq!(
        world.others(),
        Vec::<String>::new(),
        "what compaction leaves beside the log"
    );
}

#[test]
fn directory_belongs_to_one_store() {
    let world = World::new(None);
    let tries = Child::new()
        .run(|| {
            let mut store = open(&world.store)?;
            let second = open(&world.store).map(drop);
            errno(store.compact())?;
            let compacted = open(&world.store).map(drop);
            drop(store);
            Ok::<_, Failure>((second, compacted, open(&world.store).map(drop)))
        })
        .returned();
    let (second, compacted, after) =
        tries.unwrap_or_else(|failure| panic!("failed with {failure}"));
    for (case, result) in [("open", second), ("open and compacted", compacted)] {
        match result {
            Ok(()) => panic!("the store is {case}, and was opened a second time"),
            Err(failure) => assert!(
                failure.is_kind(WouldBlock),
                "the store is {case}; a second one failed with {failure}, not WouldBlock"
            ),
        }
    }
    after.unwrap_or_else(|failure| panic!("the store was dropped, and can't be opened: {failure}"));
}

#[test]
fn short_counts_and_eintr_are_not_the_end() {
    if !observe::needs("ptrace") {
        return;
    }
    let cases = [
        ("write(2) took 7 bytes, twice", vec![short(7).times(2)]),
        ("write(2) was interrupted", vec![fail(&WRITES, libc::EINTR)]),
        (
            "fsync(2) was interrupted",
            vec![fail(&["fsync"], libc::EINTR)],
        ),
    ];
    for (case, faults) in cases {
        let world = World::new(Some(log(&three()).0));
        let wrong = go_wrong(case, &world, &faults, |store| commit(store, &more()));
        assert_result(case, &wrong.result, 0);
        let expected = applied(&[three(), vec![more()]].concat());
        assert_eq!(wrong.shown, expected, "{case}: what the store shows");
        wrong.assert_goes_on(case, &expected);
    }
}

#[test]
fn after_a_failed_commit_nothing_is_promised() {
    if !observe::needs("ptrace") {
        return;
    }
    let (old, new) = (
        applied(&three()),
        applied(&[three(), vec![more()]].concat()),
    );
    let cases = [
        ("disk full", libc::ENOSPC, vec![fail(&WRITES, libc::ENOSPC)]),
        (
            "disk full after 7 bytes",
            libc::ENOSPC,
            vec![short(7), fail(&WRITES, libc::ENOSPC).nth(2)],
        ),
        (
            "fsync failed once",
            libc::EIO,
            vec![fail(&["fsync"], libc::EIO)],
        ),
    ];
    for (case, expected, faults) in cases {
        let world = World::new(Some(log(&three()).0));
        let wrong = go_wrong(case, &world, &faults, |store| commit(store, &more()));
        assert_result(case, &wrong.result, expected);
        assert_eq!(wrong.shown, old, "{case}: what the store shows");
        let again = wrong.assert_ended(case);
        assert!(
            *again == old || *again == new,
            "{case}: opened again, the store shows {again:?}"
        );
    }
}

#[test]
fn failed_compaction_changes_nothing() {
    if !observe::needs("ptrace") {
        return;
    }
    let old = applied(&three());
    let cases = [
        ("disk full", libc::ENOSPC, fail(&WRITES, libc::ENOSPC)),
        (
            "fsync of the file failed",
            libc::EIO,
            fail(&["fsync"], libc::EIO),
        ),
        ("rename failed", libc::EIO, fail(&["rename"], libc::EIO)),
        (
            "the directory's fsync, behind rename, was to fail",
            libc::EIO,
            fail(&["fsync"], libc::EIO).nth(2),
        ),
    ];
    for (case, expected, fault) in cases {
        let world = World::new(Some(log(&three()).0));
        let of_directory = fault.nth == 2;
        let wrong = go_wrong(case, &world, &[fault], |store| errno(store.compact()));
        assert_result(case, &wrong.result, expected);
        assert_eq!(wrong.shown, old, "{case}: what the store shows");
        assert!(
            wrong.others.is_empty(),
            "{case}: beside the log is left {}",
            wrong.others.join(", ")
        );
        if of_directory {
            let again = wrong.assert_ended(case);
            assert_eq!(*again, old, "{case}: what the store shows, opened again");
        } else {
            wrong.assert_goes_on(case, &old);
        }
    }
}

#[test]
fn power_cut_loses_no_commit() {
    if !observe::needs("ptrace") {
        return;
    }
    let steps = [
        Step::Commit(vec![set("a", "1")]),
        Step::Commit(vec![
            set("a", "2"),
            set("large", &"x".repeat(1500)),
            set("b", "3"),
        ]),
        Step::Commit(vec![remove("b"), set("c", "4")]),
    ];
    let found = cut_power(
        "a new store",
        Disk::new(HOME, &Files::new()),
        &[vec![]],
        &steps,
    );
    assert_seen!("ch04_kv_store__power_cut", found);
}

#[test]
fn power_cut_undoes_no_compaction() {
    if !observe::needs("ptrace") {
        return;
    }
    let old = [three(), vec![vec![set("large", &"x".repeat(1500))]]].concat();
    let steps = [
        Step::Compact,
        Step::Commit(vec![set("a", "after the compaction")]),
        Step::Compact,
        Step::Commit(vec![set("b", "after another")]),
    ];
    let disk = Disk::new(HOME, &files(&log(&old).0));
    cut_power("a store with four commits", disk, &[old], &steps);
}

#[test]
fn power_cut_after_a_crash_loses_nothing_that_was_shown() {
    if !observe::needs("ptrace") {
        return;
    }
    let old = three();
    let large = vec![set("large", &"x".repeat(1500))];
    let new = [&old[..], from_ref(&large)].concat();
    let (whole, _) = log(&old);
    let next = record(whole.len(), &large);
    let steps = [Step::Commit(vec![set("a", "after the crash")])];

    let torn = [&whole[..], &next[..700]].concat();
    let disk = Disk::new(HOME, &files(&torn));
    cut_power("a log with a torn end", disk, from_ref(&old), &steps);

    let mut disk = Disk::new(HOME, &files(&whole));
    disk.append("log", &next);
    let before = [old.clone(), new];
    cut_power(
        "a commit that was written, not synced, when the program was killed",
        disk,
        &before,
        &steps,
    );

    let alive: Vec<Vec<Line>> = vec![vec![set("a", "3"), set("c", "4")]];
    let mut disk = Disk::new(HOME, &files(&whole));
    disk.replace("log", &log(&alive).0);
    cut_power(
        "a compacted log that was renamed, and the program killed before the directory was synced",
        disk,
        &[old],
        &steps,
    );
}

#[test]
fn failed_sync_is_not_believed_later() {
    if !observe::needs("ptrace") {
        return;
    }
    let old = three();
    let new = [&old[..], &[more()]].concat();
    cut_power_after_failed_sync(
        "a commit whose fsync failed, and the store was opened again",
        &log(&old).0,
        &[old, new],
        &more(),
        &[Step::Commit(vec![set("a", "after the failure")])],
    );
}

/// The first of these calls is not made, and fails.
fn fail(calls: &[&str], errno: i32) -> Fault {
    Fault::new(calls, Action::Fail(errno))
}

/// The first write takes so many bytes.
fn short(bytes: u64) -> Fault {
    Fault::new(&WRITES[..], Action::Short(bytes))
}

fn more() -> Vec<Line> {
    vec![set("more", "than seven bytes")]
}

/// Three commits, of which `a` and `c` are alive.
fn three() -> Vec<Vec<Line>> {
    vec![
        vec![set("a", "1"), set("b", "2")],
        vec![set("a", "3"), remove("b")],
        vec![set("c", "4")],
    ]
}
