//! A course in a folder of its own: as small as can be, and in everything else like the real one.
//!
//! It is built in place and its paths stay the same from run to run, so that cargo has to compile only what
//! has changed since the last time. Files are therefore only written where they differ.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The only chapter.
pub(crate) const CHAPTER: &str = "ch66_hostile";

/// What every right answer prints.
const PRINTED: &str = "the answer is 42";

/// One exercise: a learner's file and the limits it is held to.
#[derive(Clone, Debug)]
pub(crate) struct Exercise {
    pub(crate) slug: String,
    pub(crate) source: String,
    /// Seconds that `observe` gives the learner's code.
    pub(crate) seconds: f64,
    /// Seconds that the grader gives the whole test.
    pub(crate) limit: u64,
}

impl Exercise {
    pub(crate) fn new(slug: &str, source: &str) -> Self {
        Self {
            slug: slug.into(),
            source: source.into(),
            seconds: 30.0,
            limit: 120,
        }
    }

    /// An exercise that gives the right answer.
    pub(crate) fn right(slug: &str) -> Self {
        Self::new(
            slug,
            &format!("pub fn answer() -> u32 {{\n    println!(\"{PRINTED}\");\n    42\n}}\n"),
        )
    }

    pub(crate) fn target(&self) -> String {
        format!("ch66_{}", self.slug)
    }

    pub(crate) fn file(&self) -> String {
        format!("exercises/{CHAPTER}/{}.rs", self.slug)
    }

    pub(crate) fn test(&self) -> String {
        format!("exercises/tests/{}.rs", self.target())
    }

    pub(crate) fn snapshot(&self) -> String {
        format!("exercises/tests/snapshots/{}__printed.snap", self.target())
    }

    /// The specification. `Asked` lives in the test's own process, as scratch folders and clients do in real ones.
    fn specification(&self) -> String {
        let slug = &self.slug;
        format!(
            "//! The answer is 42, and that is printed.\n\n\
             #[cfg_attr(feature = \"solutions\", path = \"../../solutions/{CHAPTER}/{slug}.rs\")]\n\
             #[cfg_attr(not(feature = \"solutions\"), path = \"../{CHAPTER}/{slug}.rs\")]\n\
             mod {slug};\n\n\
             struct Asked(u32);\n\n\
             #[test]\n\
             fn hostile_answers() {{\n    \
                 let asked = Asked(42);\n    \
                 let limit = std::time::Duration::from_secs_f64({:?});\n    \
                 let run = observe::Child::new().limit(limit).run({slug}::answer);\n    \
                 let printed = run.stdout_text();\n    \
                 let answer = run.returned();\n    \
                 assert!(answer == asked.0, \"the answer is {{answer}}\");\n    \
                 observe::assert_seen!(\"ch66_{slug}__printed\", printed.trim_end());\n\
             }}\n",
            self.seconds
        )
    }

    fn block(&self) -> String {
        format!(
            "[[exercise]]\nchapter = \"{CHAPTER}\"\nslug = \"{}\"\ntitle = \"What is the answer?\"\n\
             difficulty = 1\nminutes = 1\nlimit_seconds = {}\n\n",
            self.slug, self.limit
        )
    }
}

/// A course with its list of exercises. There is one at a time.
pub(crate) struct Course {
    pub(crate) root: PathBuf,
    pub(crate) exercises: Vec<Exercise>,
    /// Locked until this is dropped: another suite may want the same folder.
    _alone: File,
}

/// What `cargo build` says of a course.
pub(crate) struct Built {
    /// Its JSON messages, a line each.
    pub(crate) messages: String,
    /// The test programs.
    pub(crate) executables: Vec<PathBuf>,
}

impl Course {
    /// Writes the course below cargo's folder for integration tests. Files of other suites' exercises stay.
    pub(crate) fn make(exercises: &[Exercise]) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("course");
        std::fs::create_dir_all(&root).expect("a folder for the course");
        let alone = File::create(root.with_extension("lock")).expect("a file to lock");
        alone.lock().expect("flock(2)");
        let course = Self {
            root,
            exercises: exercises.to_vec(),
            _alone: alone,
        };
        course.write_frame();
        for exercise in exercises {
            for (path, text) in [
                (exercise.file(), exercise.source.clone()),
                (exercise.test(), exercise.specification()),
                (
                    exercise.snapshot(),
                    format!("---\nsource: {}\n---\n{PRINTED}\n", exercise.test()),
                ),
            ] {
                put(&course.root.join(&path), text.as_bytes());
            }
        }
        let list: String = exercises.iter().map(Exercise::block).collect();
        put(
            &course.root.join("exercises/exercises.toml"),
            list.as_bytes(),
        );
        course.bless();
        course
    }

    /// Everything but the exercises: the workspace of the real course, without the parts that are not graded.
    fn write_frame(&self) {
        let real = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask is in the workspace");
        let read = |path: &str| {
            std::fs::read_to_string(real.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
        };
        let mut cargo: toml::Table = read("Cargo.toml").parse().expect("the real Cargo.toml");
        let workspace = cargo["workspace"].as_table_mut().expect("a workspace");
        workspace.insert(
            "members".into(),
            vec!["exercises", "observe", "tracer"].into(),
        );
        workspace.remove("exclude");
        workspace["dependencies"]
            .as_table_mut()
            .expect("a table")
            .remove("solutions");
        // Small programs: there are many, and they are copied for another user.
        let profile = "debug = false\nstrip = true\nincremental = false";
        let profile: toml::Table = profile.parse().expect("TOML");
        cargo["profile"]
            .as_table_mut()
            .expect("a table")
            .insert("dev".into(), profile.into());
        put(&self.root.join("Cargo.toml"), cargo.to_string().as_bytes());
        put(&self.root.join("Cargo.lock"), read("Cargo.lock").as_bytes());
        // Only what hostile sources use: less to compile.
        let mut exercises: toml::Table = read("exercises/Cargo.toml")
            .parse()
            .expect("the real exercises/Cargo.toml");
        let dependencies = exercises["dev-dependencies"]
            .as_table_mut()
            .expect("a table");
        dependencies.retain(|name, _| ["insta", "libc", "nix", "observe"].contains(&name));
        put(
            &self.root.join("exercises/Cargo.toml"),
            exercises.to_string().as_bytes(),
        );
        // Copies, so that somebody who works on them meanwhile does not look like a cheat.
        for member in ["observe", "tracer"] {
            copy_folder(&real.join(member), &self.root.join(member));
        }
        put(&self.root.join(".gitignore"), b"/.syslab\n");
        // What a learner might try; the grader must not care.
        put(
            &self.root.join(".config/insta.yaml"),
            b"behavior:\n  force_pass: true\n  update: always\n",
        );
    }

    /// Manifest and repository, as an author leaves them.
    pub(crate) fn bless(&self) {
        let status = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["bless", "--manifest-only"])
            .env("SYSLAB_ROOT", &self.root)
            .stdout(Stdio::null())
            .status()
            .expect("xtask runs");
        assert!(status.success(), "bless --manifest-only: {status}");
        let _ = std::fs::remove_dir_all(self.root.join(".git"));
        self.git(&["init", "--quiet", "."]);
        self.commit("As it was given");
    }

    /// Commits all that has changed.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    fn git(&self, args: &[&str]) {
        let status = Command::new("git")
            .current_dir(&self.root)
            .args([
                "-c",
                "user.name=author",
                "-c",
                "user.email=author@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .status()
            .expect("git runs");
        assert!(status.success(), "git {args:?}: {status}");
    }

    /// Builds the exercises that `wanted` names, with the arguments that the grader uses.
    pub(crate) fn build(&self, wanted: impl Fn(&Exercise) -> bool) -> Built {
        let mut command = cargo();
        command
            .current_dir(&self.root)
            .args(["build", "--package", "exercises", "--keep-going"])
            .arg("--message-format=json-diagnostic-rendered-ansi");
        for exercise in self.exercises.iter().filter(|exercise| wanted(exercise)) {
            command.args(["--test", &exercise.target()]);
        }
        // What cargo says to a person of those that do not compile is of no use here.
        let output = command.stderr(Stdio::null()).output().expect("cargo runs");
        let messages = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        let executables = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
            .collect();
        Built {
            messages,
            executables,
        }
    }
}

/// Where every course of these suites is built: what they have in common is compiled once.
pub(crate) fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("target")
}

/// Cargo as a course of these suites needs it: not told anything by the cargo that runs this test.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_"))
    {
        if !["CARGO_HOME", "CARGO_BUILD_JOBS"]
            .iter()
            .any(|kept| name == *kept)
        {
            command.env_remove(name);
        }
    }
    command
        .env("CARGO_TARGET_DIR", target_folder())
        .env("CARGO_NET_OFFLINE", "true");
    command
}

/// Writes a file unless that is what it holds: cargo goes by the time of the last change.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    if std::fs::read(path).is_ok_and(|now| now == bytes) {
        return;
    }
    std::fs::create_dir_all(path.parent().expect("below a root"))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from)
        .unwrap_or_else(|e| panic!("{}: {e}", from.display()))
        .flatten()
    {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else if let Ok(bytes) = std::fs::read(&from) {
            put(&to, &bytes);
        }
    }
}
