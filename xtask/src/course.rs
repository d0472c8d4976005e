//! Which exercises are there, in which order, and which of them are meant?
//!
//! `exercises/exercises.toml` is the only list. Names follow from it: the
//! exercise `ch02_processes`/`daemonize` is the file
//! `exercises/ch02_processes/daemonize.rs` and the test target `ch02_daemonize`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory as _;
use serde::Deserialize;

use crate::fail::{Failure, Result};
use crate::flags::Flags;
use crate::source;
use crate::store::Store;

/// The list's path below the root.
pub(crate) const LIST: &str = "exercises/exercises.toml";

/// The course: a folder and what `exercises.toml` says of it.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) root: PathBuf,
    /// `ch02_processes` → `Processes`
    pub(crate) chapters: BTreeMap<String, String>,
    pub(crate) exercises: Vec<Exercise>,
}

/// One block of `exercises.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exercise {
    pub(crate) chapter: String,
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) difficulty: u8,
    pub(crate) minutes: u32,
    pub(crate) limit_seconds: u64,
    #[serde(default)]
    pub(crate) man: Vec<String>,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    #[serde(default)]
    pub(crate) notebook: String,
    #[serde(default)]
    pub(crate) hints: Vec<String>,
    /// Attributes that this exercise is about and that are refused elsewhere.
    #[serde(default)]
    pub(crate) allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    chapters: BTreeMap<String, String>,
    exercise: Vec<Exercise>,
}

impl Exercise {
    /// `ch02`
    pub(crate) fn number(&self) -> &str {
        self.chapter.split('_').next().unwrap_or(&self.chapter)
    }

    /// `ch02_daemonize`: the test target and the prefix of the snapshots.
    pub(crate) fn target(&self) -> String {
        format!("{}_{}", self.number(), self.slug)
    }

    /// `exercises/ch02_processes/daemonize.rs`
    pub(crate) fn file(&self) -> String {
        format!("exercises/{}/{}.rs", self.chapter, self.slug)
    }

    /// `solutions/ch02_processes/daemonize.rs`
    pub(crate) fn solution(&self) -> String {
        format!("solutions/{}/{}.rs", self.chapter, self.slug)
    }

    /// `exercises/tests/ch02_daemonize.rs`
    pub(crate) fn test(&self) -> String {
        format!("exercises/tests/{}.rs", self.target())
    }

    /// `solutions/mutants/ch02_daemonize.toml`
    pub(crate) fn mutants(&self) -> String {
        format!("solutions/mutants/{}.toml", self.target())
    }

    /// Wall-clock limit of one test.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_seconds)
    }
}

impl Course {
    /// Reads the list, and sees that each exercise's file and test are there.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let path = root.join(LIST);
        let restore = format!("git checkout -- {LIST}");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", path.display())).next(&restore)
        })?;
        Self::parse(root, &text).map_err(|what| Failure::new(what).next(restore))
    }

    /// The course that `text` describes, or the line that is wrong.
    pub(crate) fn parse(root: &Path, text: &str) -> Result<Self, String> {
        let list: List =
            toml::from_str(text).map_err(|error| format!("{LIST} is broken:\n{error}"))?;
        let mut targets = std::collections::HashSet::new();
        for exercise in &list.exercise {
            let name = |part: &str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            };
            if !name(&exercise.chapter) || !name(&exercise.slug) {
                return Err(format!(
                    "{LIST}: chapter {:?} and slug {:?} must be made of a-z, 0-9 and _",
                    exercise.chapter, exercise.slug
                ));
            }
            if !targets.insert(exercise.target()) {
                return Err(format!("{LIST} names {} twice", exercise.slug));
            }
            if exercise.limit_seconds == 0 {
                return Err(format!("{LIST}: {} has limit_seconds = 0", exercise.slug));
            }
        }
        if list.exercise.is_empty() {
            return Err(format!("{LIST} lists no exercise"));
        }
        Ok(Self {
            root: root.to_owned(),
            chapters: list.chapters,
            exercises: list.exercise,
        })
    }

    /// An exercise whose file can't be read or whose test is missing is a broken course, not a
    /// failed exercise.
    pub(crate) fn require_files(&self, exercises: &[&Exercise]) -> Result<()> {
        for exercise in exercises {
            if !self.root.join(exercise.test()).is_file() {
                return Err(Failure::new(format!(
                    "{LIST} names {}, but {} is missing",
                    exercise.slug,
                    exercise.test()
                ))
                .next(format!("git checkout -- {}", exercise.test())));
            }
            self.read(exercise)?;
        }
        Ok(())
    }

    /// What the learner's file holds.
    pub(crate) fn read(&self, exercise: &Exercise) -> Result<Vec<u8>> {
        let file = exercise.file();
        source::read(&self.root.join(&file)).map_err(|error| {
            let reset = format!("cargo xtask reset {}", exercise.slug);
            match error.kind() {
                ErrorKind::NotFound => Failure::new(format!(
                    "{LIST} names {}, but {file} is missing",
                    exercise.slug
                ))
                .next(reset),
                ErrorKind::PermissionDenied => Failure::new(format!("cannot read {file}: {error}"))
                    .next(format!("chmod u+r {file}")),
                _ => Failure::new(format!("cannot read {file}: {error}"))
                    .next(format!("{reset}  (what is there now is kept)")),
            }
        })
    }

    /// The exercises that `wanted` means, in course order; all when it is empty.
    ///
    /// A word is a slug (`daemonize`), a chapter (`ch02`, `2`, `ch02_processes`),
    /// a target (`ch02_daemonize`) or a file's path, as a shell completes it.
    pub(crate) fn select(&self, wanted: &[String]) -> Result<Vec<&Exercise>> {
        let mut chosen = vec![false; self.exercises.len()];
        for word in wanted {
            let mut any = false;
            for (exercise, chosen) in self.exercises.iter().zip(&mut chosen) {
                if exercise.answers_to(word) {
                    *chosen = true;
                    any = true;
                }
            }
            if !any {
                return Err(self.unknown(word));
            }
        }
        Ok(self
            .exercises
            .iter()
            .zip(chosen)
            .filter_map(|(exercise, chosen)| (chosen || wanted.is_empty()).then_some(exercise))
            .collect())
    }

    /// `ch02 · Processes`
    pub(crate) fn chapter_title(&self, exercise: &Exercise) -> String {
        let title = self
            .chapters
            .get(&exercise.chapter)
            .unwrap_or(&exercise.chapter);
        format!("{} · {title}", exercise.number())
    }

    /// The one exercise that `word` means.
    pub(crate) fn one(&self, word: &str) -> Result<&Exercise> {
        let found = self.select(&[word.to_owned()])?;
        match found[..] {
            [one] => Ok(one),
            _ => Err(
                Failure::new(format!("{word} means {} exercises; name one", found.len())).next(
                    format!("cargo xtask list  (one of them is {})", found[0].slug),
                ),
            ),
        }
    }

    /// The first exercise that is not solved.
    pub(crate) fn first_open(&self, store: &Store) -> Result<&Exercise> {
        let mut all = self.exercises.iter();
        all.find(|exercise| !store.get(&exercise.target()).solved)
            .ok_or_else(|| {
                Failure::new("every exercise is solved").next("cargo xtask list, and name one")
            })
    }

    fn unknown(&self, word: &str) -> Failure {
        let nearest = self
            .exercises
            .iter()
            .flat_map(|exercise| [exercise.slug.as_str(), exercise.chapter.as_str()])
            .map(|name| (strsim::jaro_winkler(word, name), name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(score, _)| *score > 0.7);
        let failure = Failure::new(format!("there is no exercise or chapter {word:?}"));
        match nearest {
            Some((_, name)) => failure.next(format!(
                "did you mean `cargo xtask {} {name}`?",
                subcommand()
            )),
            None => failure.next("cargo xtask list"),
        }
    }
}

/// The subcommand that this process was started for.
fn subcommand() -> String {
    let first = std::env::args().nth(1);
    let first = first.filter(|word| Flags::command().find_subcommand(word).is_some());
    first.unwrap_or_else(|| "check".into())
}

impl Exercise {
    fn answers_to(&self, word: &str) -> bool {
        let stem = Path::new(word)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or(word);
        word == self.slug
            || word == self.chapter
            || word == self.number()
            || word
                == self
                    .number()
                    .trim_start_matches("ch")
                    .trim_start_matches('0')
            || word == self.target()
            || (Path::new(word).extension().is_some_and(|rs| rs == "rs")
                && (stem == self.slug || stem == self.target()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        let block = |chapter: &str, slug: &str| {
            format!(
                "[[exercise]]\nchapter = {chapter:?}\nslug = {slug:?}\ntitle = \"t\"\n\
                 difficulty = 1\nminutes = 1\nlimit_seconds = 1\n"
            )
        };
        let text = block("ch01_system_calls", "raw_write") + &block("ch02_processes", "daemonize");
        Course::parse(Path::new("/nowhere"), &text).unwrap()
    }

    fn slugs(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        course()
            .select(&words)
            .unwrap()
            .iter()
            .map(|exercise| exercise.slug.clone())
            .collect()
    }

    #[test]
    fn an_exercise_answers_to_its_slug_chapter_target_and_path() {
        for word in ["daemonize", "ch02", "2", "ch02_processes", "ch02_daemonize"] {
            assert_eq!(slugs(&[word]), ["daemonize"], "{word}");
        }
        assert_eq!(
            slugs(&["exercises/ch02_processes/daemonize.rs"]),
            ["daemonize"]
        );
        assert_eq!(slugs(&["exercises/tests/ch02_daemonize.rs"]), ["daemonize"]);
    }

    #[test]
    fn no_word_means_all_and_order_is_the_courses() {
        assert_eq!(slugs(&[]), ["raw_write", "daemonize"]);
        assert_eq!(
            slugs(&["daemonize", "raw_write"]),
            ["raw_write", "daemonize"]
        );
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let error = course()
            .select(&["deamonize".into()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("did you mean `cargo xtask check daemonize`?"),
            "{error}"
        );
    }

    #[test]
    fn a_broken_list_names_the_line() {
        let error = Course::parse(Path::new("/nowhere"), "[[exercise]]\nslug = 3\n").unwrap_err();
        assert!(
            error.contains("exercises.toml is broken") && error.contains("slug = 3"),
            "{error}"
        );
        let error = Course::parse(Path::new("/nowhere"), "exercise = []").unwrap_err();
        assert!(error.contains("lists no exercise"), "{error}");
    }

    #[test]
    fn a_name_cannot_leave_the_course() {
        let text = "[[exercise]]\nchapter = \"../x\"\nslug = \"y\"\ntitle = \"t\"\ndifficulty = 1\n\
                    minutes = 1\nlimit_seconds = 1\n";
        assert!(
            Course::parse(Path::new("/nowhere"), text)
                .unwrap_err()
                .contains("a-z")
        );
    }
}
