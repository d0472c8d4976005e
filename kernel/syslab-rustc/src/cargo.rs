//! What cargo is asked for, and what it is really needed for.
//!
//! evcxr asks for `build`, `check` and `metadata`; the rust-analyzer inside it for `metadata` and the compiler's
//! configuration. Only crates that nobody has compiled yet need cargo itself: it builds an empty cell with them, once,
//! in a project beside the template's, and leaves the recipe.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::recipe::{RECORD, Recipe, Want};
use crate::request::Request;
use crate::template::{Template, manifest};
use crate::{TEMPLATE, answers, compile, first};

/// The environment variable by which completion is known.
pub const ANALYSIS: &str = "SYSLAB_ANALYSIS";
/// The file in a template that holds what `cargo metadata` says of its project.
pub const METADATA: &str = "metadata.json";

/// Does what cargo would do with these arguments; the exit status.
///
/// # Errors
/// What went wrong, in a sentence.
pub fn run(arguments: &[String]) -> Result<i32, String> {
    let place = std::env::var_os(TEMPLATE).map(PathBuf::from);
    let place = place.ok_or_else(|| format!("{TEMPLATE} is not set"))?;
    let template = Template::read(&place)?;
    let folder = std::env::current_dir().map_err(|why| format!("no working directory: {why}"))?;
    match command(arguments) {
        Some("build") => first::kept(&template, &place, &folder, || {
            cell(&template, &folder, Want::Library)
        }),
        Some("check") => cell(&template, &folder, Want::Check),
        Some("metadata") => metadata(&template, &place, &folder, arguments),
        Some("locate-project") => {
            println!("{}", json!({ "root": folder.join("Cargo.toml") }));
            Ok(0)
        }
        // What is set there says evcxr itself, and only to cargo.
        Some("config") => Ok(0),
        // rust-analyzer's questions, which don't depend on the project.
        Some("rustc") | None => {
            answers::ask(&place, &template.sysroot.join("bin/cargo"), arguments)
        }
        _ => pass(&template, arguments),
    }
}

/// The subcommand: the first word that is no flag, nor the name of an unstable one.
fn command(arguments: &[String]) -> Option<&str> {
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-Z" => drop(words.next()),
            word if word.starts_with(['-', '+']) => {}
            word => return Some(word),
        }
    }
    None
}

/// The real cargo, in our place.
fn pass(template: &Template, arguments: &[String]) -> Result<i32, String> {
    let cargo = template.sysroot.join("bin/cargo");
    let why = answers::real(&cargo).args(arguments).exec();
    Err(format!("cannot run {}: {why}", cargo.display()))
}

fn cell(template: &Template, folder: &Path, want: Want) -> Result<i32, String> {
    let request = Request::read(folder)?;
    if template.provides(&request.dependencies) {
        return compile::compile(folder, &template.recipe, &request.opt_level, want);
    }
    let recipe = folder.join(format!("recipe-{}.json", request.key()));
    if !recipe.exists() {
        let status = build_crates(template, folder, &request, &recipe)?;
        if status != 0 {
            return Ok(status);
        }
    }
    let text =
        std::fs::read(&recipe).map_err(|why| format!("cannot read {}: {why}", recipe.display()))?;
    let recipe: Recipe =
        serde_json::from_slice(&text).map_err(|why| format!("{}: {why}", recipe.display()))?;
    compile::compile(folder, &recipe, &request.opt_level, want)
}

/// Has cargo build an empty cell with the crates that are asked for.
fn build_crates(
    template: &Template,
    folder: &Path,
    request: &Request,
    recipe: &Path,
) -> Result<i32, String> {
    let project = folder.join("project");
    let own = std::env::var_os(TEMPLATE)
        .map(PathBuf::from)
        .unwrap_or_default()
        .join("project");
    let begin = |project: &Path| -> std::io::Result<()> {
        if !project.exists() {
            // Names in the target folder depend on the manifest's content, not on its place: what is compiled counts.
            copy(&own, project)?;
        }
        std::fs::write(
            project.join("Cargo.toml"),
            manifest(&template.dependencies, &request.dependencies),
        )?;
        std::fs::write(project.join("lib.rs"), "extern crate syslab_cell as _;\n")
    };
    begin(&project).map_err(|why| format!("cannot prepare {}: {why}", project.display()))?;
    let mut command = build_command(template, &project, recipe);
    if request.offline {
        command.arg("--offline");
    }
    // SAFETY: one system call on numbers. Who interrupts us interrupts cargo.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let status = command
        .status()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    Ok(status.code().unwrap_or(101))
}

/// `cargo build` of a project for cells, which leaves its recipe in a file.
pub fn build_command(template: &Template, project: &Path, recipe: &Path) -> Command {
    let mut command = answers::real(&template.sysroot.join("bin/cargo"));
    command
        .args([
            "build",
            "--message-format=json",
            "--target",
            &template.target,
        ])
        .current_dir(project)
        .stdin(Stdio::null())
        .env("CARGO_TARGET_DIR", project.join("target"))
        .env("CARGO_BUILD_BUILD_DIR", project.join("target"))
        .env("RUSTC", template.sysroot.join("bin/rustc"))
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            std::env::current_exe()
                .unwrap_or_default()
                .with_file_name("syslab-rustc"),
        )
        .env("RUSTFLAGS", "-Cprefer-dynamic -Crpath")
        .env(RECORD, recipe)
        .env_remove("RUSTC_WRAPPER")
        .env_remove("EVCXR_EXECUTION_SO_PATH")
        .env_remove("CARGO_MAKEFLAGS");
    command
}

/// A copy of a folder that shares its files: cargo replaces files, it doesn't change them.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
            let time = entry.metadata()?.modified()?;
            std::fs::File::options()
                .write(true)
                .open(&target)?
                .set_modified(time)?;
        }
    }
    Ok(())
}

fn metadata(
    template: &Template,
    place: &Path,
    folder: &Path,
    arguments: &[String],
) -> Result<i32, String> {
    if std::env::var_os(ANALYSIS).is_some() {
        return analysis_metadata(template, place, folder, arguments);
    }
    let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let analysis = arguments
        .iter()
        .any(|argument| argument == "--filter-platform" || argument == "--manifest-path");
    let there =
        Request::of(&text, "").is_ok_and(|request| template.provides(&request.dependencies));
    if analysis || there {
        // rust-analyzer has to know this crate alone: types come from rustc.
        println!("{}", alone(folder));
        return Ok(0);
    }
    pass(template, arguments)
}

/// For completion: the template's crates, as if this project were the template's; and the standard library's.
fn analysis_metadata(
    template: &Template,
    place: &Path,
    folder: &Path,
    arguments: &[String],
) -> Result<i32, String> {
    let about_us = std::env::var_os("EVCXR_TMPDIR").is_some_and(|ours| folder == Path::new(&ours));
    let file = place.join(METADATA);
    let Some(text) = std::fs::read_to_string(&file).ok().filter(|_| about_us) else {
        return pass(template, arguments);
    };
    let project = place.join("project");
    let text = text
        .replace(
            &project.join("lib.rs").display().to_string(),
            &folder.join("src/lib.rs").display().to_string(),
        )
        .replace(
            &project.display().to_string(),
            &folder.display().to_string(),
        );
    println!("{text}");
    Ok(0)
}

/// `cargo metadata` of a crate without dependencies.
fn alone(folder: &Path) -> serde_json::Value {
    let id = format!("path+file://{}#ctx@1.0.0", folder.display());
    json!({
        "packages": [{
            "name": "ctx", "version": "1.0.0", "id": id, "license": null, "license_file": null, "description": null,
            "source": null, "dependencies": [], "features": {}, "edition": "2024",
            "manifest_path": folder.join("Cargo.toml"), "metadata": null, "publish": null, "authors": [],
            "categories": [], "keywords": [], "readme": null, "repository": null, "homepage": null,
            "documentation": null, "links": null, "default_run": null, "rust_version": null,
            "targets": [{
                "kind": ["cdylib"], "crate_types": ["cdylib"], "name": "ctx", "src_path": folder.join("src/lib.rs"),
                "edition": "2024", "doc": true, "doctest": false, "test": true,
            }],
        }],
        "workspace_members": [id],
        "workspace_default_members": [id],
        "resolve": { "nodes": [{ "id": id, "dependencies": [], "deps": [], "features": [] }], "root": id },
        "target_directory": folder.join("target"),
        "build_directory": folder.join("target"),
        "version": 1,
        "workspace_root": folder,
        "metadata": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_flag_is_no_subcommand() {
        let of = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            command(&words).map(str::to_owned)
        };
        assert_eq!(
            of("-Z unstable-options config get --format toml").as_deref(),
            Some("config")
        );
        assert_eq!(of("+nightly --offline build").as_deref(), Some("build"));
        assert_eq!(of("--version"), None);
        assert_eq!(of("-Z"), None);
    }
}
