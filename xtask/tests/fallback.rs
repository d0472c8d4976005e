//! On a machine that denies one thing or another, the grader says so and holds a test with what is left.

mod support;

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::Value;
use support::course::{Course, Exercise};
use support::site::{self, Ran, Site};
use support::traces;

const LIMIT: Duration = Duration::from_secs(120);

/// What must be held everywhere: a right answer, a sleeper, and processes that are hard to catch.
const SLUGS: [&str; 4] = ["honest_work", "sleeper", "hopper", "hops_without_its_test"];
const OUTCOMES: [&str; 4] = ["passed", "leaked", "leaked", "crashed"];

fn site() -> (Course, Site) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let exercises = SLUGS.map(|slug| {
        let source = std::fs::read_to_string(folder.join(format!("{slug}.rs")));
        Exercise::new(slug, &source.expect("a submission"))
    });
    let course = Course::make(&exercises);
    let site = Site::in_place(&course);
    (course, site)
}

/// Makes these system calls fail with EPERM in the command and all it starts, as Docker's profile does.
fn deny(command: &mut Command, calls: &[i64]) {
    let filter = SeccompFilter::new(
        calls.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        std::env::consts::ARCH
            .try_into()
            .expect("an architecture that seccomp knows"),
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    // SAFETY: prctl(2) and seccomp(2) only; the program was made before the fork.
    unsafe {
        command
            .pre_exec(move || seccompiler::apply_filter(&program).map_err(std::io::Error::other));
    }
}

fn check(site: &Site, denied: &[i64], how: &str) -> Ran {
    let mut arguments = vec!["check", "--json", "--fresh", "--sandbox", how];
    arguments.extend(SLUGS);
    let mut command = site.command(&arguments);
    deny(&mut command, denied);
    site::run(command, LIMIT)
}

/// The sandbox, when everything came out as everywhere.
fn held(site: &Site, ran: &Ran) -> (String, String) {
    let document = ran.document();
    let exercises = document["exercises"].as_array().expect("exercises").iter();
    let outcomes: Vec<&str> = exercises
        .filter_map(|graded| graded["outcome"].as_str())
        .collect();
    assert_eq!(outcomes, OUTCOMES, "{}", ran.stdout);
    let left = traces::running(&site.marks);
    assert!(left.is_empty(), "still running: {left:?}");
    let missing = document["sandbox"]["missing"]
        .as_array()
        .expect("a list")
        .iter();
    let missing: Vec<&str> = missing.filter_map(Value::as_str).collect();
    (
        document["sandbox"]["mode"]
            .as_str()
            .expect("a mode")
            .to_owned(),
        missing.join("; "),
    )
}

#[test]
fn each_thing_that_is_denied_is_named() {
    let (_course, site) = site();
    for (denied, named) in [
        (
            &[libc::SYS_unshare][..],
            "namespaces (unshare(2) of a user namespace: EPERM",
        ),
        (
            &[libc::SYS_mount],
            "namespaces (a private mount of /: EPERM",
        ),
        (
            &[libc::SYS_mount_setattr],
            "namespaces (a read-only /: EPERM",
        ),
        (
            &[libc::SYS_unshare, libc::SYS_landlock_create_ruleset],
            "Landlock (files outside TMPDIR can be written",
        ),
    ] {
        let (mode, missing) = held(&site, &check(&site, denied, "auto"));
        assert_eq!(mode, "processes");
        assert!(
            missing.contains(named),
            "{missing:?} does not say {named:?}"
        );
    }
}

#[test]
fn a_machine_without_user_namespaces_is_told_so() {
    let (_course, site) = site();
    let mut arguments = vec!["check", "--json", "--fresh"];
    arguments.extend(SLUGS);
    let mut command = site.command(&arguments);
    // SAFETY: system calls of a process of one thread, before exec.
    unsafe {
        command.pre_exec(|| {
            let (uid, gid) = (libc::getuid(), libc::getgid());
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?;
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
            std::fs::write("/proc/sys/user/max_user_namespaces", "0")
        });
    }
    let Ok(mut probe) = command.spawn() else {
        println!("skipped: this user may not make user namespaces, nor forbid them");
        return;
    };
    let _ = probe.kill();
    let _ = probe.wait();
    let (mode, missing) = held(&site, &site::run(command, LIMIT));
    assert_eq!(mode, "processes");
    assert!(
        missing.contains("unshare(2) of a user namespace: ENOSPC"),
        "{missing:?}"
    );
}

#[test]
fn namespaces_that_were_asked_for_are_not_done_without() {
    let (_course, site) = site();
    let ran = check(&site, &[libc::SYS_unshare], "namespaces");
    assert_eq!(ran.code(), Some(2));
    assert!(
        ran.stderr
            .contains("namespaces are not available: unshare(2)"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("next: cargo xtask check --sandbox auto"),
        "{}",
        ran.stderr
    );
}
