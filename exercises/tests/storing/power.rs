//! What is there when the power was cut?
//!
//! A store does its work once, under trace. After each of its calls the disk may be in a number of states, and on each
//! of them a store is opened: what was acknowledged before the cut has to be there.

use super::recovery::recover;
use super::world::{Contents, World, applied, commit, contents, files, open, with, words};
use super::{Cut, Disk, Line};
use observe::{Action, Calls, Child, Failure, Fault, Run, errno};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::fs;

/// What the trace calls the directory of the store.
pub const HOME: &str = "$TMPDIR/store";

/// What a store does after it was opened.
pub enum Step {
    Commit(Vec<Line>),
    Compact,
}

/// A moment at which the power was cut.
struct Moment {
    cut: Cut,
    /// How often something had been acknowledged: the open store first, then each step.
    acknowledged: usize,
    when: String,
}

/// Opens a store on what a program sees of `disk` and takes these steps; cuts the power before the first call and
/// after each that changes anything, in every way, and opens what is left. `before` is what the store may hold
/// until it has been shown. What was found, by what had been acknowledged.
#[track_caller]
pub fn cut_power(
    case: &str,
    disk: Disk,
    before: &[Vec<Vec<Line>>],
    steps: &[Step],
) -> BTreeMap<String, BTreeSet<String>> {
    let world = World::new(None);
    for (name, bytes) in disk.cached() {
        fs::write(world.store.join(name), bytes).unwrap();
    }
    let run = Child::new().bytes(1 << 20).run(|| work(&world, steps));
    judge(case, &world, disk, before, steps, run)
}

/// The same with a commit before it whose fsync(2) fails: the pages of what it has written count as written then.
#[track_caller]
pub fn cut_power_after_failed_sync(
    case: &str,
    log: &[u8],
    before: &[Vec<Vec<Line>>],
    lost: &[Line],
    steps: &[Step],
) {
    let opening = World::new(Some(log.to_vec()));
    let run = Child::new().traced().run(|| open(&opening.store).map(drop));
    let fault =
        Fault::new("fsync", Action::Fail(libc::EIO)).nth(run.calls.count("fsync") as u32 + 1);
    let world = World::new(Some(log.to_vec()));
    let run = Child::new().bytes(1 << 20).fault(fault).run(|| {
        let mut store = open(&world.store)?;
        // That it fails is another test's.
        let _ = commit(&mut store, lost);
        drop(store);
        work(&world, steps)
    });
    judge(
        case,
        &world,
        Disk::new(HOME, &files(log)),
        before,
        steps,
        run,
    );
}

#[track_caller]
fn judge(
    case: &str,
    world: &World,
    disk: Disk,
    before: &[Vec<Vec<Line>>],
    steps: &[Step],
    run: Run<Result<Vec<Contents>, Failure>>,
) -> BTreeMap<String, BTreeSet<String>> {
    let calls = run.calls.clone();
    let shown = run.returned();
    let shown = shown.unwrap_or_else(|failure| panic!("{case}: failed with {failure}"));
    let Some(opened) = before.iter().find(|commits| applied(commits) == shown[0]) else {
        panic!("{case}: opened, the store shows {:?}", shown[0])
    };
    // What each acknowledgement stands for.
    let mut promises = vec![applied(opened)];
    for step in steps {
        let last = promises.last().cloned().unwrap_or_default();
        promises.push(match step {
            Step::Commit(lines) => with(last, lines),
            Step::Compact => last,
        });
    }
    assert_eq!(
        shown, promises,
        "{case}: what the store shows, opened and after each step"
    );

    let moments = moments(case, disk, &calls, world);
    let found = recover(moments.iter().map(|moment| moment.cut.files.clone()));
    let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
    for (moment, found) in moments.iter().zip(found) {
        let Moment {
            cut,
            acknowledged,
            when,
        } = moment;
        let last = match *acknowledged {
            0 => "nothing acknowledged".to_owned(),
            1 => "the open store acknowledged".to_owned(),
            count => format!("step {} ({}) acknowledged", count - 1, steps[count - 2]),
        };
        let case = format!("{case}, {last}, power cut {when}, {}", cut.how);
        let shown = found.shown(&case);
        // The step that was cut may be there already.
        let may_be: Vec<Contents> = match *acknowledged {
            0 => before.iter().map(|commits| applied(commits)).collect(),
            count => promises[count - 1..].iter().take(2).cloned().collect(),
        };
        assert!(
            may_be.contains(shown),
            "{case}, and the store shows {shown:?} instead of {:?}",
            may_be[0]
        );
        found.assert_usable(&case, shown);
        seen.entry(last).or_default().insert(words(shown));
    }
    seen
}

/// In the child: what the store showed at each acknowledgement.
fn work(world: &World, steps: &[Step]) -> Result<Vec<Contents>, Failure> {
    let mut store = open(&world.store)?;
    let mut shown = vec![contents(&store)];
    acknowledge();
    for step in steps {
        match step {
            Step::Commit(lines) => commit(&mut store, lines)?,
            Step::Compact => errno(store.compact())?,
        }
        shown.push(contents(&store));
        acknowledge();
    }
    Ok(shown)
}

/// A call that stands in the trace between what was promised before and what was not.
fn acknowledge() {
    // SAFETY: one byte of a constant is read during the call.
    unsafe { libc::write(1, c".".as_ptr().cast(), 1) };
}

/// Every state in which a power cut may leave the disk, each once for what had been acknowledged.
#[track_caller]
fn moments(case: &str, mut disk: Disk, calls: &Calls, world: &World) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut seen = HashSet::new();
    let mut cut = |disk: &Disk, acknowledged: usize, when: &str| {
        for cut in disk.cuts() {
            if seen.insert((acknowledged, cut.files.clone())) {
                moments.push(Moment {
                    cut,
                    acknowledged,
                    when: when.to_owned(),
                });
            }
        }
    };
    let mut acknowledged = 0;
    cut(&disk, acknowledged, "before the first call");
    for call in calls.iter() {
        if call.is("write") && call.on.as_deref() == Some("stdout") {
            acknowledged += 1;
            cut(&disk, acknowledged, "at once");
        } else if disk.follow(call) {
            let line = call.to_string();
            let made = line.rsplit_once(" = ").map_or(&*line, |(call, _)| call);
            cut(&disk, acknowledged, &format!("after {made}"));
        }
    }
    let followed = disk.cached();
    for (name, bytes) in world.files() {
        assert!(
            followed.get(&name) == Some(&bytes),
            "{case}: {name} is not what write(2), ftruncate(2) and rename(2) made of it: no power cut can be tried"
        );
    }
    moments
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step::Commit(lines) = self else {
            return f.write_str("compact");
        };
        let lines: Vec<String> = lines
            .iter()
            .map(|(key, value)| {
                let what = if value.is_some() { "set" } else { "remove" };
                format!("{what} {}", key.escape_ascii())
            })
            .collect();
        f.write_str(&lines.join(", "))
    }
}
