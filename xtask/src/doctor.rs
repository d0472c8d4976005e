//! `cargo xtask doctor`: what this machine can do, and who needs it.

use std::path::Path;
use std::process::Command;

use anstream::println;
use serde_json::json;

use crate::course::Course;
use crate::distribution::{self, Thing};
use crate::fail::{Result, exit_code};
use crate::flags::{Confinement, Doctor};
use crate::paint::{BOLD, DIM, GOOD, In, WARN};
use crate::run::private_folder;
use crate::sandbox::Sandbox;
use crate::{capability, lab};

/// A tool, and the first line of its `--version`; none where it cannot be run.
type Tool = (&'static str, Option<String>);

pub(crate) fn run(root: &Path, course: Result<Course>, flags: &Doctor) -> Result<u8> {
    let private = private_folder()?;
    let sandbox = Sandbox::probe(Confinement::Auto, private.path())?;
    let tools = ["cargo", "rustc", "cc", "git"].map(|tool| (tool, version(tool)));
    if flags.json {
        print_json(course.as_ref().ok(), &sandbox, &tools);
        return course.map(|_| exit_code::PASSED);
    }
    println!();
    println!("  {}", In(BOLD, "how tests are held"));
    println!("    {} {}", In(GOOD, "✓"), sandbox.used.join(", "));
    for missing in &sandbox.missing {
        println!("    {} {missing}", In(WARN, "–"));
    }
    println!();
    println!("  {}", In(BOLD, "what exercises may need"));
    print_capabilities(course.as_ref().ok());
    println!();
    println!("  {}", In(BOLD, "tools and room"));
    print_tools(root, &tools);
    println!();
    // Whatever the machine can do, the list comes first.
    course?;
    let complete = tools.iter().all(|(_, version)| version.is_some()) && free(root) >= GRADING;
    println!(
        "  {}",
        if complete {
            "ready: cargo xtask check"
        } else {
            "mend what is missing, then: cargo xtask check"
        }
    );
    Ok(exit_code::PASSED)
}

/// The exercises that need the capability called `name`.
fn needed_by<'a>(course: Option<&'a Course>, name: &str) -> Vec<&'a str> {
    let exercises = course.map_or(&[][..], |course| &course.exercises);
    let need = exercises
        .iter()
        .filter(|exercise| exercise.needs.iter().any(|need| need == name));
    need.map(|exercise| exercise.slug.as_str()).collect()
}

fn print_json(course: Option<&Course>, sandbox: &Sandbox, tools: &[Tool]) {
    let capabilities: Vec<_> = capability::ALL
        .iter()
        .map(|capability| {
            let probed = capability.probe();
            json!({
                "name": capability.name, "available": probed.is_ok(),
                "advice": probed.is_err().then(|| (capability.advice)()),
                "reason": probed.err(), "needed_by": needed_by(course, capability.name),
            })
        })
        .collect();
    let tools: Vec<_> = tools
        .iter()
        .map(|(tool, version)| json!({ "name": tool, "version": version }))
        .collect();
    let python = lab::python::find();
    let document = json!({
        "version": 1, "sandbox": sandbox, "capabilities": capabilities, "tools": tools,
        "notebooks": {
            "python": python.as_ref().ok().map(|python| &python.version),
            "reason": python.as_ref().err().map(ToString::to_string),
        },
    });
    std::println!(
        "{}",
        serde_json::to_string_pretty(&document).expect("plain data")
    );
}

fn print_capabilities(course: Option<&Course>) {
    for capability in &capability::ALL {
        let users = needed_by(course, capability.name);
        let users = if users.is_empty() {
            String::new()
        } else {
            format!("needed by {}", users.join(", "))
        };
        match capability.probe() {
            Ok(()) => println!(
                "    {} {:12} {}  {}",
                In(GOOD, "✓"),
                capability.name,
                capability.what,
                In(DIM, users)
            ),
            Err(reason) => {
                println!(
                    "    {} {:12} {}: {reason}  {}",
                    In(WARN, "–"),
                    capability.name,
                    capability.what,
                    In(DIM, users)
                );
                println!("      {:12} {}", "", In(DIM, (capability.advice)()));
            }
        }
    }
}

fn print_tools(root: &Path, tools: &[Tool]) {
    for (tool, version) in tools {
        if let Some(version) = version {
            println!("    {} {tool:12} {}", In(GOOD, "✓"), In(DIM, version));
        } else {
            println!(
                "    {} {tool:12} not found: {}",
                In(WARN, "–"),
                advice(tool)
            );
        }
    }
    for (name, state, advice) in surroundings(root) {
        match advice {
            None => println!("    {} {name:12} {}", In(GOOD, "✓"), In(DIM, state)),
            Some(advice) => println!("    {} {name:12} {state}: {advice}", In(WARN, "–")),
        }
    }
    match lab::python::find() {
        Ok(python) => println!(
            "    {} {:12} {}",
            In(GOOD, "✓"),
            "python3",
            In(
                DIM,
                format_args!("Python {} with venv, for the notebooks", python.version)
            )
        ),
        Err(failure) => {
            let text = failure.to_string().replace("\n  next: ", ": ");
            println!("    {} {:12} {text}", In(WARN, "–"), "python3");
        }
    }
}

fn version(tool: &str) -> Option<String> {
    let output = Command::new(tool).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn advice(tool: &str) -> String {
    match tool {
        "cc" => format!("it links the programs: {}", distribution::install(Thing::C)),
        "git" => format!(
            "`reset` and `update` take texts from it: {}",
            distribution::install(Thing::Git)
        ),
        _ => "install Rust with rustup (https://rustup.rs)".into(),
    }
}

/// Room that grading takes, and the notebooks beside it, in MiB.
const GRADING: u64 = 512;
const NOTEBOOKS: u64 = 2560;

/// What else a day with the course needs, and what to do where it is short: name, state, advice.
fn surroundings(root: &Path) -> Vec<(&'static str, String, Option<String>)> {
    let (disk, shared) = (free(root), free(Path::new("/dev/shm")));
    let watches = distribution::setting("fs/inotify/max_user_instances");
    vec![
        (
            "disk",
            format!("{:.1} GB free", disk as f64 / 1024.0),
            (disk < GRADING + NOTEBOOKS).then(|| {
                "grading takes 0.5 GB, the notebooks 2.5 GB more: make room, or set CARGO_TARGET_DIR to another disk".into()
            }),
        ),
        (
            "/dev/shm",
            format!("{shared} MB free"),
            (shared < 64).then(|| "cells are loaded from there: start the container with --shm-size=256m".into()),
        ),
        (
            "inotify",
            watches.map_or("unknown".into(), |count| format!("{count} instances a user")),
            watches.is_some_and(|count| count < 16).then(|| {
                "`watch` hears of saves by it: sudo sysctl fs.inotify.max_user_instances=128".into()
            }),
        ),
    ]
}

/// Room that anybody may use on the file system of `path`, in MiB.
fn free(path: &Path) -> u64 {
    let room = nix::sys::statvfs::statvfs(path);
    room.map_or(0, |room| room.blocks_available() * room.fragment_size()) >> 20
}
