//! One program under several names: `cargo` and `rustup` for evcxr, a wrapper around rustc for cargo.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use syslab_rustc::recipe::{RECORD, Recipe};
use syslab_rustc::template::Template;
use syslab_rustc::{TEMPLATE, answers, cargo};

/// Deeply nested code makes parsers recurse.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    let thread = std::thread::Builder::new().stack_size(STACK);
    let ended = thread.spawn(serve).map(std::thread::JoinHandle::join);
    match ended {
        Ok(Ok(status)) => status,
        Ok(Err(_)) => ExitCode::from(101),
        Err(why) => {
            eprintln!("error: no thread could be started: {why}");
            ExitCode::from(101)
        }
    }
}

fn serve() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_name());
    let done = match name.and_then(|name| name.to_str()) {
        Some("cargo") => cargo::run(&arguments[1..]),
        Some("rustup") => rustup(&arguments[1..]),
        Some("rustc") => rustc(&arguments[1..]),
        _ => wrapper(),
    };
    match done {
        Ok(status) => ExitCode::from(status as u8),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(101)
        }
    }
}

fn template_folder() -> Result<PathBuf, String> {
    std::env::var_os(TEMPLATE)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{TEMPLATE} is not set"))
}

/// Questions about the compiler; cells are compiled by the real one.
fn rustc(arguments: &[String]) -> Result<i32, String> {
    let template = template_folder()?;
    let program = Template::read(&template)?.sysroot.join("bin/rustc");
    let question = arguments.iter().any(|word| {
        word.starts_with("--print") || ["-vV", "-Vv", "-V", "--version"].contains(&word.as_str())
    });
    if question {
        return answers::ask(&template, &program, arguments);
    }
    let why = answers::real(&program).args(arguments).exec();
    Err(format!("cannot run {}: {why}", program.display()))
}

/// `rustup which TOOL`, and only that.
fn rustup(arguments: &[String]) -> Result<i32, String> {
    let template = template_folder()?;
    match arguments {
        [which, tool] if which == "which" => {
            println!("{}", template.join("bin").join(tool).display());
            Ok(0)
        }
        _ => Err(format!(
            "in a notebook rustup is only asked `which`, not {arguments:?}"
        )),
    }
}

/// Called by cargo for every crate of its workspace, which is a cell: writes down how, and does it.
fn wrapper() -> Result<i32, String> {
    let recipe = Recipe::of_this_call();
    let (rustc, arguments) = recipe
        .arguments
        .split_first()
        .ok_or("a wrapper around rustc, called by cargo")?;
    let status = Command::new(rustc)
        .args(arguments)
        .status()
        .map_err(|why| format!("cannot run {rustc}: {why}"))?;
    if status.success()
        && recipe.is_for_a_cell()
        && let Some(file) = std::env::var_os(RECORD)
    {
        let text = serde_json::to_vec_pretty(&recipe).map_err(|why| why.to_string())?;
        std::fs::write(&file, text)
            .map_err(|why| format!("cannot write {}: {why}", Path::new(&file).display()))?;
    }
    Ok(status.code().unwrap_or(101))
}
