//! A supervisor is known by its children: who lives, how often they were started, and what the log says of them.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch03_signals_ipc/supervisor.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch03_signals_ipc/supervisor.rs")]
mod supervisor;

mod sleeping;
mod supervising;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libc::{EINVAL, ENOENT, SIGCONT, SIGHUP, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use observe::{Descriptor, End, Errno, Process, assert_seen};
use sleeping::{asleep, switches};
use supervising::{LONG, QUICK, Site, gone, kill};
use supervisor::{Pace, supervise};

/// A worker that says that it is up, and waits.
const UP: &str = "echo \"up $$ $1\"\n$WAIT";

#[test]
fn workers_run_as_the_config_says() {
    let site = Site::new();
    let config = format!(
        "# the front\n{}\n   \n{}\t\nsleeper   sleep\t1000\n",
        site.worker("web", UP, "one"),
        site.worker("mail", UP, "two"),
    );
    let supervisor = site.start(QUICK, &config);
    let pids = [supervisor.up("web", 1), supervisor.up("mail", 1)];
    let said = [site.said("web"), site.said("mail")].concat();
    let expected = [format!("up {} one", pids[0]), format!("up {} two", pids[1])];
    assert!(
        said == expected,
        "the arguments of two workers were \"one\" and \"two\", and they printed {said:?}"
    );
    let mut sleeper = None;
    supervisor.until("worker sleeper as a child of the supervisor", || {
        let children = supervisor
            .process()
            .map_or(Vec::new(), |process| process.children);
        let mut children = children.into_iter().filter_map(|pid| Process::of(pid).ok());
        sleeper = children.find(|child| child.command == ["sleep", "1000"]);
        sleeper.is_some()
    });
    let sleeper = sleeper.unwrap();
    let links: Vec<&str> = [1, 2]
        .iter()
        .filter_map(|fd| Some(sleeper.descriptors.get(*fd)?.link.as_str()))
        .collect();
    assert!(
        links.len() == 2 && links[0] == links[1],
        "stdout and stderr of a worker are {links:?}, not one pipe"
    );
    let descriptors = sleeper.descriptors.0.iter();
    let descriptors: BTreeMap<i32, String> = descriptors
        .map(|(fd, file)| (*fd, Descriptor::target(file)))
        .collect();
    assert_seen!(
        "ch03_supervisor__worker",
        [
            format!("parent: {}", sleeper.facts().parent),
            format!("descriptors: {descriptors:?}"),
            format!("blocked signals: {:?}", sleeper.signals.blocked),
            format!("ignored signals: {:?}", sleeper.signals.ignored),
        ]
    );
    let pid = supervisor.process().map_or(0, |process| process.pid);
    supervisor.until("a moment in which supervise sleeps", || asleep(pid));
    let before = switches(pid, pid);
    sleep(Duration::from_millis(300));
    assert!(
        before == switches(pid, pid),
        "nothing happened, and supervise woke all the same: it looks now and then"
    );
    supervisor.end();
}

#[test]
fn config_that_is_wrong_starts_nobody() {
    let site = Site::new();
    let web = site.worker("web", "echo started", "one");
    let cases = [
        ("is not there", None, ENOENT),
        (
            "has a name without a program",
            Some(format!("{web}mail\n").into_bytes()),
            EINVAL,
        ),
        (
            "has a name twice",
            Some(format!("{web}{web}").into_bytes()),
            EINVAL,
        ),
        (
            "is not UTF-8",
            Some([web.as_bytes(), b"caf\xe9 /bin/true\n"].concat()),
            EINVAL,
        ),
    ];
    for (what, config, expected) in cases {
        if let Some(config) = config {
            site.config(&config);
        }
        let expected = Errno(expected);
        let child = site.child().limit(Duration::from_secs(10));
        let run = child.run(|| site.supervise(QUICK));
        assert!(
            !matches!(run.end, End::TimedOut(_)),
            "supervise went to work with a config that {what}, instead of failing with {expected}"
        );
        match run.returned() {
            Ok(()) => {
                panic!("supervise returned Ok for a config that {what}, instead of {expected}")
            }
            Err(failure) => assert!(
                failure.is(expected.0),
                "supervise failed with {failure} instead of {expected}, for a config that {what}"
            ),
        }
        let log = site.log();
        assert!(
            log.iter().all(|line| line.starts_with("supervisor: ")),
            "a config that {what} started a worker: {log:?}"
        );
    }
}

#[test]
fn log_has_whole_lines_and_last_words() {
    let site = Site::new();
    let lines = "i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done";
    let long = "x=0123456789; for i in 1 2 3; do x=$x$x$x$x$x$x$x$x$x$x; done; echo $x$x$x$x$x";
    let parts = "printf 'one, '; echo 'two' >&2; printf '\\nfour \\377 and a half'";
    let texts = [("parts", parts), ("long", long), ("lines", lines)];
    let scripts = texts.map(|(name, text)| {
        mkfifo(&site.path(&format!("gate-{name}")), Mode::S_IRWXU).unwrap();
        let text = format!("read line < \"$2/gate-$1\"\n{text}\nkill -9 $$");
        site.worker(name, &text, name)
    });
    let once = Pace {
        first: LONG,
        ..QUICK
    };
    let supervisor = site.start(once, &scripts.concat());
    supervisor.until("the first processes of three workers", || {
        supervisor.workers().len() == 3
    });
    // All they print, and their end, is there before it looks.
    supervisor.signal(SIGSTOP);
    for (name, _) in texts {
        fs::write(site.path(&format!("gate-{name}")), "\n").unwrap();
    }
    supervisor.until("the end of three workers", || {
        supervisor.workers().is_empty()
    });
    supervisor.signal(SIGCONT);
    for (name, count) in [("parts", 3), ("long", 1), ("lines", 3000)] {
        supervisor.until(
            &format!("the last words of worker {name} in the log"),
            || site.said(name).len() >= count,
        );
    }
    supervisor.end();

    let log = site.log();
    let strange = log.iter().find(|line| {
        !["parts: ", "long: ", "lines: "]
            .iter()
            .any(|name| line.starts_with(name))
    });
    assert!(
        strange.is_none(),
        "a line of the log begins with no worker's name: {:?}",
        strange.unwrap()
    );
    let said = site.said("lines");
    let torn = (0..3000).find(|at| said.get(*at) != Some(&format!("line {at}")));
    assert!(
        torn.is_none() && said.len() == 3000,
        "worker lines printed 3000 lines and killed itself; line {} in the log is {:?}",
        torn.unwrap_or(3000),
        said.get(torn.unwrap_or(3000))
    );
    let [long] = &site.said("long")[..] else {
        panic!(
            "a line of 50000 bytes became {} in the log",
            site.said("long").len()
        );
    };
    assert!(
        *long == "0123456789".repeat(5000),
        "a line of 50000 bytes has {} in the log",
        long.len()
    );
    let log = fs::read(site.path("log")).unwrap();
    let log: Vec<String> = log
        .split(|byte| *byte == b'\n')
        .map(|line| line.escape_ascii().to_string())
        .collect();
    let parts: Vec<&String> = log
        .iter()
        .filter(|line| line.starts_with("parts: "))
        .collect();
    assert_seen!("ch03_supervisor__log", parts);
}

#[test]
fn whoever_ends_is_started_again() {
    let site = Site::new();
    let config = [
        site.worker("done", "echo \"up $$\"\nexit 0", "x"),
        site.worker("crashes", "echo \"up $$\"\nkill -SEGV $$", "x"),
        site.worker("lasts", UP, "x"),
        // A child of its own holds the pipe open.
        site.worker(
            "parent",
            "(read line < \"$2/never\") &\necho \"up $$\"\nexit 1",
            "x",
        ),
        format!(
            "missing {} {}\n",
            site.path("late").display(),
            site.path("late.sh").display()
        ),
    ];
    let supervisor = site.start_beside_a_stranger(QUICK, &config.concat());
    for name in ["done", "crashes", "parent"] {
        supervisor.up(name, 4);
    }
    kill(supervisor.up("lasts", 1), SIGKILL);
    supervisor.up("lasts", 2);
    supervisor.until("a word about the program that is missing", || {
        site.said("supervisor")
            .iter()
            .any(|note| note.contains("missing"))
    });
    fs::write(site.path("late.sh"), "echo \"up $$\"\nexec sleep 1000\n").unwrap();
    symlink("/bin/sh", site.path("late")).unwrap();
    supervisor.up("missing", 1);
    let stranger = supervisor.ends_beside_others();
    assert!(
        stranger == "exit status: 7",
        "a child that is no worker exited with 7, and wait(2) by whoever had started it gave: {stranger}"
    );
}

#[test]
fn back_off_doubles_up_to_most_and_is_forgotten_after_calm() {
    let clock = "read now idle < /proc/uptime\necho \"at $now\"\n";
    let site = Site::new();
    let [first, most] = [100, 400].map(Duration::from_millis);
    let pace = Pace {
        first,
        most,
        calm: LONG,
        grace: LONG,
    };
    let supervisor = site.start(pace, &site.worker("crashes", clock, "x"));
    supervisor.until("start 8 of a worker that ends at once", || {
        site.said("crashes").len() >= 8
    });
    supervisor.end();
    let at: Vec<f64> = site
        .said("crashes")
        .iter()
        .map(|line| line[3..].parse().unwrap())
        .collect();
    for (nth, pair) in (1..).zip(at.windows(2)) {
        let gap = Duration::from_secs_f64(pair[1] - pair[0] + 0.02);
        let wait = most.min(first * 2_u32.pow(nth - 1));
        assert!(
            gap >= wait,
            "start {} of a worker that ends at once came {gap:?} after start {nth}, not after {wait:?}",
            nth + 1
        );
        assert!(
            gap < most * 10,
            "start {} of a worker that ends at once came {gap:?} after start {nth}: most is {most:?}",
            nth + 1
        );
    }

    // Six times it ends at once, so that the next wait were 6.4 s; then it stays.
    let site = Site::new();
    let text = r#"echo "up $$"
        echo >> "$2/starts"
        n=0
        while read line; do n=$((n+1)); done < "$2/starts"
        [ $n -le 6 ] && exit
        $WAIT"#;
    let pace = Pace {
        first,
        most: LONG,
        calm: Duration::from_secs(1),
        grace: LONG,
    };
    let supervisor = site.start(pace, &site.worker("calms", text, "x"));
    let pid = supervisor.up("calms", 7);
    sleep(Duration::from_millis(1200));
    let killed = Instant::now();
    kill(pid, SIGKILL);
    supervisor.up("calms", 8);
    let wait = killed.elapsed();
    assert!(
        wait < first * 2_u32.pow(6),
        "a worker ended after it had run for longer than calm, and was started {wait:?} later: first is {first:?}"
    );
    supervisor.end();
}

#[test]
fn sighup_changes_only_what_is_not_the_same() {
    let site = Site::new();
    let stubborn = "trap '' TERM\necho \"up $$ $1\"\n$WAIT";
    let [same, left] = ["same", "left"].map(|name| site.worker(name, UP, "old"));
    let [changed, new] = ["old", "new"].map(|word| site.worker("changed", UP, word));
    let [slow, slower] = ["old", "new"].map(|word| site.worker("slow", stubborn, word));
    // Waits to be started again when SIGHUP comes: its new arguments don't wait.
    let crash = "[ $1 = old ] && { echo once; exit; }\necho \"up $$ $1\"\n$WAIT";
    let [crashes, stays] = ["old", "new"].map(|word| site.worker("waits", crash, word));
    let pace = Pace {
        first: LONG,
        most: LONG,
        calm: LONG,
        grace: Duration::from_millis(500),
    };
    let old = [&*same, &left, &changed, &slow, &crashes].concat();
    let supervisor = site.start(pace, &old);
    let pids = ["same", "left", "changed", "slow"].map(|name| supervisor.up(name, 1));
    supervisor.until("the end of worker waits", || {
        site.said("waits").len() == 1 && !supervisor.workers().contains_key("waits")
    });

    for (what, config) in [("not there", None), ("malformed", Some("left\n"))] {
        let notes = site.said("supervisor").len();
        match config {
            None => fs::remove_file(site.path("config")).unwrap(),
            Some(config) => site.config(config),
        }
        supervisor.signal(SIGHUP);
        supervisor.until(&format!("a word about a config that is {what}"), || {
            site.said("supervisor").len() > notes
        });
        let living: Vec<i32> = supervisor.workers().into_values().flatten().collect();
        assert!(
            pids.iter().all(|pid| living.contains(pid)) && living.len() == 4,
            "after SIGHUP, with a config that is {what}, not the same workers run as before"
        );
    }

    let fresh = site.worker("fresh", UP, "new");
    site.config([&*fresh, &stays, &same, &new, &slower].concat());
    supervisor.signal(SIGHUP);
    let mut most = 0;
    let mut watch = || {
        let workers = supervisor.workers();
        most = most.max(workers.get("slow").map_or(0, Vec::len));
        workers
    };
    for name in ["fresh", "waits", "changed", "slow"] {
        let times = if ["fresh", "waits"].contains(&name) {
            1
        } else {
            2
        };
        supervisor.until(
            &format!("start {times} of worker {name}, after SIGHUP"),
            || {
                watch();
                site.pids(name).len() >= times
            },
        );
    }
    supervisor.until("the end of worker left, after SIGHUP", || {
        !watch().contains_key("left")
    });
    assert!(
        most == 1,
        "a worker that ignores SIGTERM was changed, and two processes of it ran at the same time"
    );
    let mut lines = Vec::new();
    for (name, before) in ["same", "changed", "slow", "left", "waits", "fresh"]
        .iter()
        .zip(pids_of(&pids))
    {
        let now = supervisor.workers().get(*name).cloned().unwrap_or_default();
        let fate = match (before, &now[..]) {
            (Some(before), [now]) if before == *now => "the same process as before".to_owned(),
            (_, []) => "none".to_owned(),
            (_, now) => format!("{} new process", now.len()),
        };
        let said: Vec<String> = site
            .said(name)
            .iter()
            .map(|line| {
                line.split(' ')
                    .filter(|word| word.parse::<i32>().is_err())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        lines.push(format!("{name}: {fate}; it printed {said:?}"));
    }
    assert_seen!("ch03_supervisor__reload", lines);
    // SIGHUP while a worker is on its way out, and then all of them.
    supervisor.end();
}

#[test]
fn sigterm_ends_all_of_them() {
    let site = Site::new();
    let config = [
        site.worker(
            "polite",
            "trap 'echo bye; exit' TERM\necho \"up $$\"\n$WAIT",
            "x",
        ),
        site.worker("stubborn", "trap '' TERM\necho \"up $$\"\n$WAIT", "x"),
        site.worker("ended", "echo \"up $$\"\nexit 1", "x"),
    ];
    let pace = Pace {
        first: LONG,
        most: LONG,
        calm: LONG,
        grace: Duration::from_millis(500),
    };
    let supervisor = site.start(pace, &config.concat());
    let pids = ["polite", "stubborn", "ended"].map(|name| supervisor.up(name, 1));
    supervisor.until("the end of worker ended", || gone(pids[2]));
    supervisor.signal(SIGTERM);
    supervisor.until(
        "\"bye\" in the log, from a worker that was sent SIGTERM",
        || site.said("polite").iter().any(|line| line == "bye"),
    );
    supervisor.signal(SIGTERM);
    supervisor.signal(SIGHUP);
    supervisor.ends("with a worker that ignores SIGTERM, after SIGTERM and a grace of 500 ms");
    for name in ["polite", "stubborn", "ended"] {
        let starts = site.pids(name).len();
        assert!(
            starts == 1,
            "worker {name} was started {starts} times before the end, and once before SIGTERM"
        );
    }

    // At the next moment after the start.
    let site = Site::new();
    let supervisor = site.start(QUICK, &site.worker("web", UP, "x"));
    supervisor.until("the first process of worker web", || {
        supervisor
            .process()
            .is_some_and(|process| !process.children.is_empty())
    });
    supervisor.end();
}

#[test]
fn chaos_loses_nobody_and_doubles_nobody() {
    const NAMES: [&str; 6] = ["ada", "bob", "cyd", "dan", "eva", "flo"];
    let site = Site::new();
    let config: String = NAMES
        .iter()
        .map(|name| site.worker(name, UP, "x"))
        .collect();
    let pace = Pace {
        first: Duration::from_millis(1),
        most: Duration::from_millis(20),
        calm: LONG,
        grace: LONG,
    };
    let supervisor = site.start(pace, &config);
    for name in NAMES {
        supervisor.up(name, 1);
    }
    let before = supervisor
        .process()
        .map_or(Vec::new(), |process| process.descriptors.numbers());
    let mut kills = NAMES.map(|_| 0);
    let mut random = RandomState::new().hash_one(0);
    let mut dice = |sides: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    for round in 0..60 {
        // Several in one stop: however many end, SIGCHLD is pending once.
        let together = round % 3 == 0;
        if together {
            supervisor.signal(SIGSTOP);
        }
        for _ in 0..=dice(4) {
            let at = dice(NAMES.len() as u64) as usize;
            // One that is up and was not killed yet: each kill is one start.
            if let Some(pid) = site.pids(NAMES[at]).get(kills[at]) {
                kill(*pid, SIGKILL);
                kills[at] += 1;
            }
        }
        if together {
            supervisor.signal(SIGCONT);
        }
        if dice(8) == 0 {
            supervisor.signal(SIGHUP);
        }
        let doubled = supervisor
            .workers()
            .into_iter()
            .find(|(_, pids)| pids.len() > 1);
        assert!(
            doubled.is_none(),
            "in round {round} of killing workers at random, two processes of one run: {doubled:?}"
        );
        sleep(Duration::from_millis(dice(30)));
    }
    for (name, kills) in NAMES.iter().zip(kills) {
        supervisor.up(name, kills + 1);
    }
    // Time in which one too many would show.
    sleep(Duration::from_millis(300));
    for (name, kills) in NAMES.iter().zip(kills) {
        let starts = site.pids(name).len();
        let living = supervisor.workers().get(*name).map_or(0, Vec::len);
        assert!(
            (starts, living) == (kills + 1, 1),
            "worker {name} was killed {kills} times, was started {starts} times, and {living} processes of it run"
        );
    }
    let process = supervisor.process().expect("a supervisor that runs");
    assert!(
        process.children.len() == NAMES.len(),
        "after {} kills the supervisor has {} children, zombies among them, for {} workers",
        kills.iter().sum::<usize>(),
        process.children.len(),
        NAMES.len()
    );
    let after = process.descriptors.len();
    assert!(
        after == before.len(),
        "with the same workers the supervisor had {} descriptors open, and after {} kills it has {after}",
        before.len(),
        kills.iter().sum::<usize>()
    );
    supervisor.end();
}

/// The first pids in the order of the snapshot: same, changed, slow, left; then two that had none.
fn pids_of([same, left, changed, slow]: &[i32; 4]) -> [Option<i32>; 6] {
    [
        Some(*same),
        Some(*changed),
        Some(*slow),
        Some(*left),
        None,
        None,
    ]
}
