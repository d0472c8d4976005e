//! Every flag of every subcommand, in one place.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0    everything that was asked for passed
  1    something did not pass
  2    the grader itself could not run; the message names the reason
  130  stopped by Ctrl-C; results so far are kept";

const KEYS: &str = "\
Keys:
  n, p   next unsolved exercise, previous     h  next hint
  l      list: type to search, Tab filters    i  the exercise's text
  e      editor, at the line (VISUAL, EDITOR) t  system calls of the failed stage
  f      grade afresh                         s  solution, after a pass
  r      reset, with a backup                 q  quit";

/// Linux systems programming, graded by what your program did.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
pub(crate) struct Flags {
    /// The course's folder (default: the one this program was built in)
    #[arg(long, global = true, hide = true, env = "SYSLAB_ROOT")]
    pub(crate) root: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Grade at every save, full screen: what a learner leaves running all day
    #[command(after_help = KEYS)]
    Watch(Watch),
    /// Grade exercises: all, a chapter (ch02), or by name (daemonize)
    #[command(after_help = EXIT_CODES)]
    Check(Check),
    /// Show the course and where you are in it
    List(List),
    /// Show what an exercise asks for
    Show(Show),
    /// Show the next hint of an exercise
    Hint(Hint),
    /// Put an exercise back to its beginning (your file is backed up first)
    Reset(Reset),
    /// Show the solution of an exercise you have passed
    Solution(Solution),
    /// Bring in a new version of the course; what you have written stays
    Update(Update),
    /// Write a page about where you are: the chapters, exercises, stages and time
    Report(Report),
    /// Say what this machine can do and which exercises need it
    Doctor(Doctor),
    /// Open the notebooks in JupyterLab; the first time, build what they need
    Lab(Lab),
    /// Authors: execute the notebooks and compare what they show
    Notebooks(Notebooks),
    /// Authors: write snapshots from the solutions, then the manifest
    Bless(Bless),
    /// Authors: hold the whole course against itself
    Test(Test),
}

#[derive(Args, Default)]
pub(crate) struct Check {
    /// Chapters or exercises; none means all
    pub(crate) wanted: Vec<String>,
    /// Run everything, also what has not changed since the last check
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Record the system calls, and show those of the first open stage; such a result is not kept
    #[arg(long)]
    pub(crate) trace: bool,
    /// Keep rustc's colours in the document, and say on standard error what goes on
    #[arg(long, hide = true, requires = "json")]
    pub(crate) for_screen: bool,
    /// Print a MIME bundle, for a notebook: the verdict, and the calls of the stage that failed
    #[arg(long, hide = true, conflicts_with = "json")]
    pub(crate) mime: bool,
    /// Print one JSON document instead of the board
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Grade the solutions instead of your files
    #[arg(long)]
    pub(crate) solutions: bool,
    /// How each test is held
    #[arg(long, value_enum, default_value_t = Confinement::Auto, value_name = "HOW")]
    pub(crate) sandbox: Confinement,
    /// How many tests run at once (default: the number of processors)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
}

#[derive(Args)]
pub(crate) struct Watch {
    /// The exercise to begin with; none means where you were
    pub(crate) exercise: Option<String>,
    /// How each test is held
    #[arg(long, value_enum, default_value_t = Confinement::Auto, value_name = "HOW")]
    pub(crate) sandbox: Confinement,
}

/// How a test is held; see `sandbox`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum Confinement {
    /// Namespaces where the kernel allows them, else processes
    #[default]
    Auto,
    /// Namespaces, or refuse to run
    Namespaces,
    /// Without namespaces: resource limits, Landlock, seccomp, a walk of the process tree
    Processes,
}

#[derive(Args)]
pub(crate) struct List {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The exercise; none means the first that is not solved
    pub(crate) exercise: Option<String>,
    /// Print a MIME bundle, for a notebook
    #[arg(long, hide = true)]
    pub(crate) mime: bool,
}

#[derive(Args)]
pub(crate) struct Hint {
    /// The exercise; none means the first that is not solved
    pub(crate) exercise: Option<String>,
    /// Show this tier (1 to 3) instead of the next one
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) tier: Option<u8>,
    /// Print a MIME bundle, for a notebook
    #[arg(long, hide = true)]
    pub(crate) mime: bool,
}

#[derive(Args)]
pub(crate) struct Reset {
    /// The exercise
    pub(crate) exercise: String,
}

#[derive(Args)]
pub(crate) struct Update {
    /// A repository to take it from (default: where this one was cloned from)
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
}

#[derive(Args)]
pub(crate) struct Report {
    /// Write the page to this file (default: .syslab/report.html in the course's folder)
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print JSON instead
    #[arg(long)]
    pub(crate) json: bool,
    /// Write JUnit XML instead
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) junit: Option<PathBuf>,
    /// Print a MIME bundle, for a notebook
    #[arg(long, hide = true)]
    pub(crate) mime: bool,
}

#[derive(Args)]
pub(crate) struct Solution {
    /// The exercise
    pub(crate) exercise: String,
    /// Show it although the exercise has not passed
    #[arg(long)]
    pub(crate) spoil: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Lab {
    /// Build and install all that is needed, but do not start it
    #[arg(long)]
    pub(crate) prepare: bool,
    /// Do not open a browser
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Listen on this port (default: 8888, or the next that is free)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
}

#[derive(Args)]
pub(crate) struct Notebooks {
    /// Notebooks, by number (02) or name (02-processes); none means all
    pub(crate) wanted: Vec<String>,
    /// Strip outputs, and write what is shown as what is expected
    #[arg(long)]
    pub(crate) bless: bool,
}

#[derive(Args)]
pub(crate) struct Bless {
    /// Chapters or exercises; none means all
    pub(crate) wanted: Vec<String>,
    /// Only rewrite the manifest of hashes
    #[arg(long)]
    pub(crate) manifest_only: bool,
}

#[derive(Args)]
pub(crate) struct Test {
    /// Only these parts; none means all, the fast ones first
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,
    /// Also the notebooks in a real browser (Chromium), where there is one
    #[arg(long)]
    pub(crate) browser: bool,
    /// Stubs, solutions and mutants of these chapters or exercises only
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
}

/// A part of `cargo xtask test`, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Part {
    /// Every exercise has all its parts, every invariant holds
    Tidy,
    /// Unit and integration tests of every crate, hostile submissions among them
    Crates,
    /// Every exercise as the learner gets it is `todo`
    Stubs,
    /// Every solution passes
    Solutions,
    /// Every mutant fails for its stated reason
    Mutants,
    /// The notebook kernel: unit tests, protocol, hostile cells
    Kernel,
    /// Every notebook shows what it says
    Notebooks,
    /// JupyterLab in a real browser; only when asked for
    Browser,
}
