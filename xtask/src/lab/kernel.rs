//! How do the kernel's programs, its template and its kernelspec come about?
//!
//! Cargo decides what is to be compiled; asking it costs half a second when nothing
//! is. How many crates there are is asked only once something is: by then the
//! manifests of all of them are here.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::place::Place;
use super::work::{self, Cancel, Ended, Line};
use crate::build;
use crate::fail::{About as _, Failure, Result};
use crate::progress::Task;

/// The kernel's name, as notebooks have it.
pub(crate) const NAME: &str = "syslab";
/// And as a person reads it.
pub(crate) const DISPLAY_NAME: &str = "Rust (syslab)";

const PROGRAMS: [&str; 3] = ["syslab-kernel", "syslab-host", "syslab-rustc"];
const LOGO: &str = include_str!("logo.svg");

/// Free space that a first build needs, and a little more.
const ROOM: u64 = 2 << 30;

#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-artifact")]
    Artifact {
        package_id: String,
        target: Target,
        executable: Option<PathBuf>,
        fresh: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Cargo with a subcommand on the kernel's workspace, in the kernel's own folder of artifacts.
pub(crate) fn cargo(place: &Place, subcommand: &str) -> Command {
    let mut command = build::cargo();
    command
        .current_dir(&place.root)
        .args([subcommand, "--locked", "--profile", "lab"])
        .args(["--manifest-path", "kernel/Cargo.toml"])
        .args(["--target-dir", "kernel/target"]);
    command
}

/// Whether a first build is ahead and the disk has no room for it.
pub(super) fn require_room(place: &Place) -> Result<()> {
    if place
        .root
        .join("kernel/target/lab")
        .join(PROGRAMS[0])
        .exists()
    {
        return Ok(());
    }
    let about = format!(
        "cannot ask how full the disk of {} is",
        place.root.display()
    );
    let disk = nix::sys::statvfs::statvfs(&place.root).about(about)?;
    let free = disk.blocks_available() * disk.fragment_size();
    if free >= ROOM {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    Err(Failure::new(format!(
        "the disk of {} has {:.1} GiB left; the first build needs {:.0}",
        place.root.display(),
        gib(free),
        gib(ROOM)
    ))
    .next("make room (`df -h .`), then `cargo xtask lab`"))
}

/// Builds the kernel; gives its program.
pub(super) fn build(place: &Place, cancel: &Cancel, task: &Task) -> Result<PathBuf> {
    let mut command = cargo(place, "build");
    command.args(["--bins", "--message-format=json-render-diagnostics"]);
    let total = Arc::new(AtomicUsize::new(0));
    let (mut seen, mut compiled, mut crates) = (HashSet::new(), 0, 0);
    let mut programs = HashMap::new();
    let ended = work::run(command, cancel, |line| {
        let text = match line {
            Line::Out(text) => text,
            Line::Err(text) => {
                // Downloading, waiting for another cargo's lock.
                if compiled == 0 {
                    task.say(text.trim());
                }
                return true;
            }
        };
        let Ok(Message::Artifact {
            package_id,
            target,
            executable,
            fresh,
        }) = serde_json::from_str(text)
        else {
            return false;
        };
        if let Some(path) = executable {
            programs.insert(target.name.clone(), path);
        }
        if !fresh && compiled == 0 {
            count_crates(place, &total);
        }
        compiled += usize::from(!fresh);
        let script = target.kind.iter().any(|kind| kind == "custom-build");
        crates += usize::from(!fresh && !script);
        if !script && seen.insert(package_id) && compiled > 0 {
            let of = Some(total.load(Ordering::Relaxed)).filter(|total| *total >= seen.len());
            task.count(seen.len(), of, &format!("crates · {}", target.name));
        }
        false
    })?;
    if !ended.status.success() {
        return Err(explain(&ended));
    }
    if compiled > 0 {
        task.finish(&format!("the kernel is built, {crates} crates compiled"));
    }
    for program in PROGRAMS {
        if !programs.get(program).is_some_and(|path| path.is_file()) {
            return Err(
                Failure::new(format!("cargo has built the kernel without {program}"))
                    .next("git status kernel  (then `git checkout -- kernel`)"),
            );
        }
    }
    Ok(programs.remove(PROGRAMS[0]).expect("just looked at"))
}

/// Counts, in a thread of its own, the crates that this machine's build is made of.
fn count_crates(place: &Place, total: &Arc<AtomicUsize>) {
    let mut command = build::cargo();
    command
        .current_dir(&place.root)
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .args(["--manifest-path", "kernel/Cargo.toml", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    let total = Arc::clone(total);
    std::thread::spawn(move || {
        // Without an answer there is no bar, and a count all the same.
        if let Ok(output) = command.output()
            && let Ok(metadata) = serde_json::from_slice::<Metadata>(&output.stdout)
        {
            total.store(metadata.crates(), Ordering::Relaxed);
        }
    });
}

#[derive(Deserialize)]
struct Metadata {
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Metadata {
    /// The members and all that they are built of; not what only their tests need.
    fn crates(&self) -> usize {
        let nodes: HashMap<&str, &Node> = self
            .resolve
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), node))
            .collect();
        let mut reached: HashSet<&str> = HashSet::new();
        let mut next: Vec<&str> = self.workspace_members.iter().map(String::as_str).collect();
        while let Some(id) = next.pop() {
            if !reached.insert(id) {
                continue;
            }
            let needed = nodes.get(id).into_iter().flat_map(|node| &node.deps);
            let needed = needed.filter(|dependency| {
                let kinds = &dependency.dep_kinds;
                kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
            });
            next.extend(needed.map(|dependency| dependency.pkg.as_str()));
        }
        reached.len()
    }
}

/// Makes or updates what every session starts with; the kernel knows what is missing.
pub(super) fn prepare_template(
    place: &Place,
    kernel: &Path,
    cancel: &Cancel,
    task: &Task,
) -> Result<()> {
    let mut command = Command::new(kernel);
    command.arg("prepare").arg(place.template());
    let started = Instant::now();
    let ended = work::run(command, cancel, |line| {
        let (Line::Out(text) | Line::Err(text)) = line;
        task.say(text.trim());
        true
    })?;
    if !ended.status.success() {
        let said = ended.tail(6);
        return Err(Failure::new(format!(
            "cannot compile the notebooks' dependencies ({}):\n{}",
            ended.status,
            said.trim()
        ))
        .next("mend what it names, then `cargo xtask lab`; `rm -r .lab/template` begins anew"));
    }
    // It is there, or it was compiled.
    if started.elapsed() > Duration::from_secs(2) {
        task.finish("the notebooks' dependencies are compiled");
    }
    Ok(())
}

/// Tells Jupyter how the kernel is started, in the venv: nothing is installed for the user.
pub(super) fn write_spec(place: &Place, kernel: &Path) -> Result<()> {
    let share = place.venv().join("share/jupyter");
    let spec = share.join("kernels").join(NAME);
    write(&spec.join("kernel.json"), &pretty(&spec_of(place, kernel)))?;
    write(&spec.join("logo-svg.svg"), LOGO)?;
    // Nobody is asked about news, nothing asks the network.
    let settings = json!({
        "@jupyterlab/apputils-extension:notification":
            { "fetchNews": "false", "checkForUpdates": false },
    });
    write(
        &share.join("lab/settings/overrides.json"),
        &pretty(&settings),
    )
}

fn spec_of(place: &Place, kernel: &Path) -> Value {
    json!({
        "argv": [kernel, "start", "--template", place.template(), "{connection_file}"],
        "display_name": DISPLAY_NAME,
        "language": "rust",
        "interrupt_mode": "message",
        "env": {},
        "metadata": { "debugger": false },
    })
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("plain data") + "\n"
}

/// Writes a file that differs, whole or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    if std::fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().expect("a file in a folder");
    let put = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let beside = tempfile::NamedTempFile::new_in(folder)?;
        std::fs::write(beside.path(), text)?;
        beside.persist(path).map(drop).map_err(|error| error.error)
    };
    put().about(format_args!("cannot write {}", path.display()))
}

/// Cargo could not build the kernel: finds the one line that a person can act on.
fn explain(ended: &Ended) -> Failure {
    let said = &ended.said;
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["No space left on device"]) {
        return Failure::new("cannot build the kernel: the disk is full")
            .next("make room (`df -h .`), then `cargo xtask lab`");
    }
    if any(&["Read-only file system", "Permission denied"]) {
        return Failure::new(format!(
            "cargo cannot write kernel/target:\n{}",
            ended.tail(4)
        ))
        .next("copy the course to a folder of your own");
    }
    if any(&[
        "Could not resolve host",
        "Couldn't resolve host",
        "Could not connect",
        "Couldn't connect",
        "Failed to connect",
        "Timeout was reached",
        "Operation timed out",
        "SSL connect error",
        "spurious network error",
        "failed to download",
        "download of ",
    ]) {
        return Failure::new("cannot build the kernel: crates.io could not be reached")
            .next("look at the network (a proxy? HTTPS_PROXY), then `cargo xtask lab`");
    }
    if any(&["linker `cc` not found"]) {
        return Failure::new("cannot build the kernel: there is no C compiler to link with")
            .next("cargo xtask doctor");
    }
    let text = ended.tail(25);
    Failure::new(format!(
        "cargo could not build the kernel ({}):\n{}",
        ended.status,
        text.trim()
    ))
    .next("mend what cargo names, then `cargo xtask lab`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn what_only_tests_need_is_not_counted() {
        let node = |id: &str, deps: &[(&str, Option<&str>)]| {
            let deps: Vec<Value> = deps
                .iter()
                .map(|(pkg, kind)| json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] }))
                .collect();
            json!({ "id": id, "deps": deps })
        };
        let metadata: Metadata = serde_json::from_value(json!({
            "workspace_members": ["a"],
            "resolve": { "nodes": [
                node("a", &[("b", None), ("c", Some("dev")), ("d", Some("build"))]),
                node("b", &[("e", None)]),
                node("c", &[]), node("d", &[]), node("e", &[("b", None)]),
            ] },
        }))
        .unwrap();
        assert_eq!(metadata.crates(), 4);
    }

    #[test]
    fn the_kernelspec_names_absolute_paths() {
        let place = Place::new(Path::new("/course"));
        let spec = spec_of(&place, Path::new("/course/kernel/target/lab/syslab-kernel"));
        assert_eq!(
            spec["argv"],
            json!([
                "/course/kernel/target/lab/syslab-kernel",
                "start",
                "--template",
                "/course/.lab/template",
                "{connection_file}"
            ])
        );
        assert_eq!(spec["interrupt_mode"], "message");
    }

    #[test]
    fn a_file_that_is_as_it_should_be_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        write(&path, "one").unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        write(&path, "one").unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().modified().unwrap(),
            written
        );
        write(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn what_cargo_could_not_do_is_one_sentence() {
        for (said, sentence) in [
            (
                "warning: spurious network error (3 tries remaining)",
                "crates.io could not be reached",
            ),
            (
                "error: No space left on device (os error 28)",
                "the disk is full",
            ),
            (
                "error: failed to open: Read-only file system",
                "cannot write kernel/target",
            ),
            ("error: linker `cc` not found", "no C compiler"),
            ("error[E0308]: mismatched types", "E0308"),
        ] {
            let ended = Ended {
                status: std::process::ExitStatus::from_raw(101 << 8),
                said: said.into(),
            };
            let text = explain(&ended).to_string();
            assert!(text.contains(sentence) && text.contains("next: "), "{text}");
        }
    }
}
