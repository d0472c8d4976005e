//! Submissions that want to get away with it, break the grader, or harm whoever runs it.
//!
//! Each file in `hostile/` is one submission; its first lines say what it does and what must come of it:
//!
//! - `outcome: crashed | failed` — what the grader has to call it
//! - `says: SIGKILL | killed its parent` — one of these is in the message
//! - `seconds: 1`, `limit: 4` — what `observe` gives the code, and what the grader gives the test
//! - `outcome@processes: …` — the same for one configuration: `namespaces`, `processes`, `root` or `user`
//!
//! All of them are graded in one run, once in every configuration: with namespaces and without, as root and as
//! another user. Each has to come out as its file says, and afterwards nothing of it may be running, no file may
//! lie or be changed outside, and an innocent process of the same user must live.
//!
//! Without libtest's harness, because the count is worth reading when all is well, too.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use support::course::{Built, Course, Exercise};
use support::site::{NOBODY, Site};
use support::traces;

/// A whole check may take this long, on a machine that does other things as well.
const WHOLE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let started = Instant::now();
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let all = Submission::all();
    let exercises: Vec<Exercise> = all
        .iter()
        .map(|submission| submission.exercise.clone())
        .collect();
    let wanted = |submission: &Submission| {
        filter.is_empty()
            || filter
                .iter()
                .any(|word| submission.exercise.slug.contains(word.as_str()))
    };
    let submissions: Vec<Submission> = all.into_iter().filter(wanted).collect();
    if submissions.is_empty() {
        println!("\nrunning 0 hostile submissions: none is named like {filter:?}\n");
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} hostile submissions", submissions.len());
    let course = Course::make(&exercises);
    // Whoever is refused before it is compiled may keep rustc busy for ever.
    let graded = |exercise: &Exercise| {
        let mut named = submissions.iter();
        let of = named.find(|submission| submission.exercise.slug == exercise.slug);
        of.is_some_and(|submission| submission.value("outcome", &[]) != Some("tampered"))
    };
    let built = course.build(graded);
    let mut complaints = Vec::new();
    let mut configurations = 0;
    for configuration in Configuration::all() {
        match configuration.hold(&course, &built, &submissions) {
            Ok((found, seconds)) => {
                configurations += 1;
                let word = if found.is_empty() { "ok" } else { "FAILED" };
                println!("test {} ... {word} ({seconds:.1} s)", configuration.name());
                complaints.extend(
                    found
                        .into_iter()
                        .map(|(slug, what)| (configuration.name(), slug, what)),
                );
            }
            Err(reason) => println!("test {} ... skipped: {reason}", configuration.name()),
        }
    }
    for (configuration, slug, what) in &complaints {
        println!("\n---- {slug}, {configuration} ----\n{what}");
    }
    let held = submissions
        .iter()
        .filter(|submission| {
            !complaints
                .iter()
                .any(|(_, slug, _)| *slug == submission.exercise.slug)
        })
        .count();
    println!(
        "\nhostile submissions: {held} of {} held, in {configurations} configurations",
        submissions.len()
    );
    let failed = complaints.len() + usize::from(configurations == 0);
    println!(
        "\ntest result: {}. {held} passed; {} failed; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        submissions.len() - held,
        started.elapsed().as_secs_f64()
    );
    let _ = std::io::stdout().flush();
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One file of `hostile/`.
struct Submission {
    exercise: Exercise,
    /// `(key, condition, value)` of its first lines.
    header: Vec<(String, Option<String>, String)>,
}

impl Submission {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
        let mut all: Vec<Self> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| Self::read(&entry.expect("an entry").path()))
            .collect();
        all.sort_by(|a, b| a.exercise.slug.cmp(&b.exercise.slug));
        all
    }

    fn read(path: &Path) -> Self {
        let slug = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name in ASCII");
        let source =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{slug}: {error}"));
        let header: Vec<_> = source
            .lines()
            .map_while(|line| line.strip_prefix("//! "))
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(key, value)| {
                let (key, condition) = key
                    .split_once('@')
                    .map_or((key, None), |(key, on)| (key, Some(on.to_owned())));
                let known = ["outcome", "says", "seconds", "limit"].contains(&key);
                known.then(|| (key.to_owned(), condition, value.trim().to_owned()))
            })
            .collect();
        let mut submission = Self {
            exercise: Exercise::new(slug, &source),
            header,
        };
        assert!(
            submission.value("outcome", &[]).is_some(),
            "{slug} does not say its outcome"
        );
        if let Some(seconds) = submission.value("seconds", &[]) {
            submission.exercise.seconds = seconds.parse().expect("a number of seconds");
        }
        if let Some(limit) = submission.value("limit", &[]) {
            submission.exercise.limit = limit.parse().expect("a number of seconds");
        }
        submission
    }

    /// The value under `conditions`, else the one without.
    fn value(&self, wanted: &str, conditions: &[&str]) -> Option<&str> {
        let of = |holds: &dyn Fn(Option<&str>) -> bool| {
            let mut lines = self.header.iter();
            lines
                .find(|(key, on, _)| key == wanted && holds(on.as_deref()))
                .map(|(_, _, value)| value.as_str())
        };
        of(&|on| on.is_some_and(|on| conditions.contains(&on))).or_else(|| of(&|on| on.is_none()))
    }

    /// What is wrong with the verdict.
    fn complaint(&self, document: &serde_json::Value, conditions: &[&str]) -> Option<String> {
        let all = document["exercises"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let Some(graded) = all
            .iter()
            .find(|graded| graded["slug"] == self.exercise.slug.as_str())
        else {
            return Some("it has no verdict".into());
        };
        let outcome = graded["outcome"].as_str().unwrap_or_default();
        let message = graded["message"]
            .as_str()
            .or(graded["tests"][0]["message"].as_str())
            .unwrap_or_default();
        let one_of = |list: &str, holds: &dyn Fn(&str) -> bool| {
            list.split('|').any(|word| holds(word.trim()))
        };
        let wanted = self.value("outcome", conditions).unwrap_or_default();
        if !one_of(wanted, &|word| word == outcome) {
            return Some(format!("is {outcome:?} and not {wanted:?}: {message}"));
        }
        // `says` is of the same condition as the outcome.
        let own = self.header.iter().any(|(key, on, _)| {
            key == "outcome" && on.as_deref().is_some_and(|on| conditions.contains(&on))
        });
        let says = self.header.iter().find(|(key, on, _)| {
            key == "says"
                && if own {
                    on.as_deref().is_some_and(|on| conditions.contains(&on))
                } else {
                    on.is_none()
                }
        });
        if let Some((_, _, says)) = says
            && !one_of(says, &|word| message.contains(word))
        {
            return Some(format!(
                "is {outcome}, but does not say {says:?}: {message}"
            ));
        }
        // What is shown on a terminal must not steer it.
        let steering = message
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\t') && *c != '\u{1b}');
        let escape = outcome != "does_not_compile" && message.contains('\u{1b}');
        (steering.is_some() || escape)
            .then(|| format!("its message steers the terminal: {message:?}"))
    }
}

/// How and as whom the grader is run.
struct Configuration {
    sandbox: &'static str,
    /// Root's own run, or that of a normal user.
    root: bool,
    uid: Option<u32>,
}

impl Configuration {
    /// A normal user can't become root; root can become anybody.
    fn all() -> Vec<Self> {
        let root = nix::unistd::geteuid().is_root();
        let of = |root, uid| ["namespaces", "processes"].map(|sandbox| Self { sandbox, root, uid });
        if root {
            of(true, None)
                .into_iter()
                .chain(of(false, Some(NOBODY)))
                .collect()
        } else {
            println!("as root: skipped, these are run by a normal user");
            of(false, None).into_iter().collect()
        }
    }

    fn name(&self) -> String {
        format!(
            "in {}, as {}",
            self.sandbox,
            if self.root { "root" } else { "a normal user" }
        )
    }

    /// Complaints by submission, and how long the check took; or why there is no such configuration here.
    fn hold(
        &self,
        course: &Course,
        built: &Built,
        submissions: &[Submission],
    ) -> Result<(Vec<(String, String)>, f64), String> {
        let site = match self.uid {
            None => Site::in_place(course),
            Some(_) => Site::copied(&course.root, built, self.uid),
        };
        let places = [
            traces::usual_places(),
            vec![site.course.clone(), site.tmp.clone()],
        ]
        .concat();
        for path in traces::litter(&places) {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
        let before = traces::tree(&site.course, &[".syslab"]);
        let system_v = traces::system_v();
        let mut bystander = bystander(&site);
        let mut arguments = vec!["check", "--json", "--fresh", "--sandbox", self.sandbox];
        arguments.extend(
            submissions
                .iter()
                .map(|submission| submission.exercise.slug.as_str()),
        );
        let ran = site.run(&arguments, WHOLE);
        let mut found: Vec<(String, String)> = Vec::new();
        let mut complain = |slug: &str, what: String| found.push((slug.to_owned(), what));
        if !matches!(bystander.try_wait(), Ok(None)) || stopped(bystander.id()) {
            complain(
                "the grader",
                "an innocent process of the same user did not survive".into(),
            );
        }
        let _ = bystander.kill();
        let _ = bystander.wait();
        let left = traces::running(&site.marks);
        if !left.is_empty() {
            complain("the grader", format!("still running: {}", left.join(", ")));
        }
        if ran.code() == Some(2) && ran.stderr.contains("namespaces are not available") {
            return Err(ran.stderr);
        }
        if !matches!(ran.code(), Some(0 | 1)) {
            let said = format!("{}\n{}", ran.stdout, ran.stderr);
            complain(
                "the grader",
                format!(
                    "ended with {:?} after {:.0} s: {said}",
                    ran.status, ran.seconds
                ),
            );
            return Ok((found, ran.seconds));
        }
        for path in traces::litter(&places) {
            complain("the grader", format!("{} was left", path.display()));
        }
        for path in std::fs::read_dir(&site.tmp).expect("TMPDIR").flatten() {
            complain(
                "the grader",
                format!("{} was left in TMPDIR", path.path().display()),
            );
        }
        for what in traces::difference(&before, &traces::tree(&site.course, &[".syslab"])) {
            complain("the grader", what);
        }
        for object in traces::system_v()
            .iter()
            .filter(|object| !system_v.contains(object))
        {
            complain("the grader", format!("System V {object} was left"));
        }
        let document = ran.document();
        if (ran.code() == Some(0)) != (document["summary"]["not_passed"] == 0) {
            complain(
                "the grader",
                format!("ended with {:?}: {}", ran.status, document["summary"]),
            );
        }
        let conditions = [self.sandbox, if self.root { "root" } else { "user" }];
        for submission in submissions {
            if let Some(what) = submission.complaint(&document, &conditions) {
                complain(&submission.exercise.slug, what);
            }
        }
        Ok((found, ran.seconds))
    }
}

/// A process of the same user that has nothing to do with any of this. It waits for its standard input.
fn bystander(site: &Site) -> Child {
    let mut command = site.as_user(Path::new("/bin/sh"));
    command
        .args(["-c", "read never", "syslab-bystander"])
        .stdin(Stdio::piped());
    command.spawn().expect("a shell")
}

fn stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
}
