//! `cargo xtask`: the course's own commands.
//!
//! # Layout
//! - [`flags`]: every flag; one file a subcommand: [`watch`], [`check`], [`list`], [`show`], [`hint`],
//!   [`reset`], [`solution`], [`update`], [`report`], [`doctor`], [`lab`], [`notebooks`], [`bless`], [`mod@test`]
//! - the course: [`course`] (the list), [`manifest`] and [`specification`] (the pristine texts), [`store`]
//!   (what is remembered), [`source`] (what a text says before it is compiled)
//! - grading: [`grade`] (the way from exercises to verdicts), [`build`], [`ingredients`]
//!   (what was built from what), [`mod@run`], [`sandbox`], [`scratch`], [`verdict`],
//!   [`capability`], [`distribution`], [`stage`]
//! - showing: [`board`], [`feedback`], [`junit`], [`mime`], [`paint`], [`progress`]
//! - holding the course against itself: [`mod@test`], [`mutants`], [`kernel_suites`], [`browser`], [`tidy`]
//! - [`fail`], [`interrupt`]: when it can't go on, and when it shall not

mod bless;
mod board;
mod browser;
mod build;
mod capability;
mod check;
mod course;
mod distribution;
mod doctor;
mod fail;
mod feedback;
mod flags;
mod grade;
mod hint;
mod ingredients;
mod interrupt;
mod junit;
mod kernel_suites;
mod lab;
mod list;
mod manifest;
mod mime;
mod mutants;
mod notebooks;
mod paint;
mod progress;
mod report;
mod reset;
mod run;
mod sandbox;
mod scratch;
mod show;
mod solution;
mod source;
mod specification;
mod stage;
mod store;
mod test;
mod tidy;
mod update;
mod verdict;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::eprintln;
use clap::Parser as _;
use nix::sys::signal::{SigHandler, Signal, signal};

use course::Course;
use fail::{Failure, Result, exit_code};
use flags::{Command, Flags};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(sandbox::warden::WARDEN) => return sandbox::warden::main(),
        Some(sandbox::warden::NOTHING) => return ExitCode::SUCCESS,
        _ => {}
    }
    // `cargo xtask list | head` ends like any other program.
    // SAFETY: SIG_DFL is a valid disposition, and there is one thread so far.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    fail::when_output_is_lost();
    match run(&Flags::parse()) {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("{} {failure}", paint::In(paint::BAD.bold(), "error:"));
            exit_code::CANNOT_RUN.into()
        }
    }
}

fn run(flags: &Flags) -> Result<u8> {
    let root = flags.root.clone().map_or_else(find_root, Ok)?;
    let load = || Course::load(&root);
    match &flags.command {
        Command::Watch(flags) => watch::run(&load()?, flags),
        Command::Check(flags) => check::run(&load()?, flags),
        Command::List(flags) => Ok(list::run(&load()?, flags)),
        Command::Show(flags) => show::run(&load()?, flags),
        Command::Hint(flags) => hint::run(&load()?, flags),
        Command::Reset(flags) => reset::run(&load()?, flags),
        Command::Update(flags) => update::run(&root, flags),
        Command::Report(flags) => report::run(&load()?, flags),
        Command::Solution(flags) => solution::run(&load()?, flags),
        Command::Doctor(flags) => doctor::run(&root, load(), flags),
        Command::Lab(flags) => lab::run(&root, flags),
        Command::Notebooks(flags) => notebooks::run(&root, flags),
        Command::Bless(flags) => bless::run(&load()?, flags),
        Command::Test(flags) => test::run(&load()?, flags),
    }
}

/// The folder that holds `xtask`; `cargo run` says where that is.
fn find_root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    if let Some(root) = own.as_deref().and_then(Path::parent) {
        return Ok(root.to_owned());
    }
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors()
        .find(|folder| folder.join(course::LIST).is_file())
        .map(Path::to_owned)
        .ok_or_else(|| {
            Failure::new(format!("{} is not inside the course", here.display()))
                .next("cd into the folder that holds exercises/, then `cargo xtask check`")
        })
}
