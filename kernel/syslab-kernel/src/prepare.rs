//! How does the template come to be?
//!
//! The crates that notebooks use are compiled once per toolchain and version of this program; see
//! [`template`](syslab_rustc::template). What is made is moved into its place when it is whole.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use syslab_rustc::cargo::{METADATA, build_command};
use syslab_rustc::recipe::Recipe;
use syslab_rustc::template::{Provided, Template, manifest};
use toml::Table;

/// A standard library with nothing in it, in a template.
pub(crate) const NO_SOURCES: &str = "no-sources";

/// The standard library's sources for completion, in a template: all but what nobody completes.
pub(crate) const SOURCES: &str = "sources";

/// Makes the template in this folder, or says that it is there.
///
/// # Errors
/// What is missing, and the next command.
pub(crate) fn run(folder: &Path) -> Result<(), String> {
    let folder =
        std::path::absolute(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let cell = cell_crate()?;
    let began = Instant::now();
    let sysroot = PathBuf::from(ask("rustc", &["--print", "sysroot"])?);
    let version = ask(&sysroot.join("bin/rustc").to_string_lossy(), &["-vV"])?;
    let fact = |name: &str| {
        let line = version.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
            .ok_or_else(|| format!("rustc -vV doesn't say its {name:?}"))
    };
    let (release, target) = (fact("release: ")?, fact("host: ")?);
    let key = key(&cell, &version, &sysroot)?;
    if Template::read(&folder)
        .is_ok_and(|template| template.key == key && template.cell_library.exists())
    {
        link_programs(&folder)?;
        eprintln!("the notebooks' crates are compiled already");
        return Ok(());
    }
    let about = |what: &Path, why: std::io::Error| {
        format!(
            "cannot write {}: {why}; free some room, or make it writable",
            what.display()
        )
    };
    let _ = std::fs::remove_file(folder.join(Template::FILE));
    let project = folder.join("project");
    std::fs::create_dir_all(&project).map_err(|why| about(&project, why))?;
    let dependencies = dependencies(&cell)?;
    let write = |name: &str, text: String| {
        std::fs::write(project.join(name), text).map_err(|why| about(&project, why))
    };
    write("Cargo.toml", manifest(&dependencies, &Table::new()))?;
    write("lib.rs", "extern crate syslab_cell as _;\n".to_owned())?;
    let lock = cell.join("project.lock");
    if let Ok(lock) = std::fs::read_to_string(&lock) {
        write("Cargo.lock", lock)?;
    }
    let mut template = Template {
        sysroot,
        rustc: release,
        target,
        crates: BTreeMap::new(),
        cell_library: PathBuf::new(),
        recipe: Recipe::default(),
        dependencies,
        key,
    };
    build(&mut template, &folder)?;
    template.crates = provided(&template.dependencies, &project)?;
    describe(&template, &folder)?;
    link_programs(&folder)?;
    let text = serde_json::to_vec_pretty(&template).map_err(|why| why.to_string())?;
    let new = folder.join("template.json.new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, folder.join(Template::FILE)))
        .map_err(|why| about(&folder, why))?;
    eprintln!(
        "the notebooks' crates are compiled ({:.0} s)",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// `kernel/cell`, which this program was built beside.
fn cell_crate() -> Result<PathBuf, String> {
    let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../cell"));
    here.canonicalize().map_err(|why| {
        format!(
            "{}: {why}; the course has moved: run `cargo xtask lab --prepare`",
            here.display()
        )
    })
}

fn ask(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| {
            format!("cannot run {program}: {why}; install rustup (https://rustup.rs)")
        })?;
    if !output.status.success() {
        return Err(format!("{program} {} failed", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Everything that the template is made from, in one number.
fn key(cell: &Path, version: &str, sysroot: &Path) -> Result<String, String> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let sources = sysroot.join("lib/rustlib/src/rust/library").exists();
    (version, env!("CARGO_PKG_VERSION"), cell, sources).hash(&mut hasher);
    let course = cell.join("../..");
    for folder in [
        cell.to_owned(),
        course.join("notebooks/lens"),
        course.join("tracer"),
    ] {
        let mut files = Vec::new();
        collect(&folder, &mut files)
            .map_err(|why| format!("cannot read {}: {why}", folder.display()))?;
        files.sort();
        for file in files {
            (&file, std::fs::read(&file).unwrap_or_default()).hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "tests" && name != "snapshots" {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "toml" || kind == "lock")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// The crates of `kernel/cell`, and itself.
fn dependencies(cell: &Path) -> Result<Table, String> {
    let file = cell.join("Cargo.toml");
    let manifest: Table = std::fs::read_to_string(&file)
        .map_err(|why| why.to_string())
        .and_then(|text| text.parse().map_err(|why: toml::de::Error| why.to_string()))
        .map_err(|why| format!("{}: {why}", file.display()))?;
    let mut all = manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .cloned()
        .unwrap_or_default();
    for wanted in all
        .iter_mut()
        .filter_map(|(_, wanted)| wanted.as_table_mut())
    {
        if let Some(toml::Value::String(path)) = wanted.get_mut("path") {
            let whole = cell.join(&*path);
            *path = whole
                .canonicalize()
                .unwrap_or(whole)
                .to_string_lossy()
                .into_owned();
        }
    }
    let own = Table::from_iter([(
        "path".to_owned(),
        cell.to_string_lossy().into_owned().into(),
    )]);
    all.insert("syslab_cell".into(), own.into());
    Ok(all)
}

/// Compiles the project, and says how far it is.
fn build(template: &mut Template, folder: &Path) -> Result<(), String> {
    let project = folder.join("project");
    let recipe = folder.join("recipe.json");
    let _ = std::fs::remove_file(&recipe);
    // A file whose time is not older makes cargo compile the empty cell again, and so leave its recipe.
    let mut child = build_command(template, &project, &recipe)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    let lines = child.stdout.take().map(std::io::BufReader::new);
    for line in lines
        .into_iter()
        .flat_map(BufRead::lines)
        .map_while(Result::ok)
    {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(rendered) = message["message"]["rendered"].as_str() {
            eprint!("{rendered}");
        }
        if message["target"]["name"] == "syslab_cell" {
            let files = message["filenames"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            let library = files
                .into_iter()
                .find(|name| Path::new(name).extension().is_some_and(|kind| kind == "so"));
            template.cell_library = library
                .map(|name| in_deps(Path::new(name)))
                .unwrap_or_default();
        }
    }
    let status = child
        .wait()
        .map_err(|why| format!("cannot wait for cargo: {why}"))?;
    if !status.success() {
        return Err(format!(
            "the notebooks' crates could not be compiled (cargo {status}); the reason is above"
        ));
    }
    let text = std::fs::read(&recipe)
        .map_err(|why| format!("cargo left no recipe ({}: {why})", recipe.display()))?;
    template.recipe =
        serde_json::from_slice(&text).map_err(|why| format!("{}: {why}", recipe.display()))?;
    Ok(())
}

/// What rust-analyzer gets to see: for completion the crates, for everything else nothing.
fn describe(template: &Template, folder: &Path) -> Result<(), String> {
    let output = Command::new(template.sysroot.join("bin/cargo"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            &template.target,
        ])
        .current_dir(folder.join("project"))
        .stderr(Stdio::null())
        .output()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    let none = folder.join(NO_SOURCES).join("core/src");
    let installed = template.sysroot.join("lib/rustlib/src/rust/library");
    let sources = folder.join(SOURCES);
    let _ = std::fs::remove_dir_all(&sources);
    std::fs::create_dir_all(&none)
        .and_then(|()| std::fs::write(none.join("lib.rs"), ""))
        .and_then(|()| std::fs::write(folder.join(METADATA), output.stdout))
        .and_then(|()| copy_sources(&installed, &sources))
        .map_err(|why| format!("cannot write in {}: {why}", folder.display()))?;
    if !sources.exists() {
        eprintln!(
            "completion will not know the standard library: `rustup component add rust-src`, then this again"
        );
    }
    Ok(())
}

/// Without tests, and without the intrinsics of every processor there is: a third of what rust-analyzer would read.
fn copy_sources(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, source) = (entry.file_name(), entry.path());
        if name.to_string_lossy().ends_with("tests") {
            continue;
        }
        if name == "core_arch" {
            let empty = to.join(&name).join("src");
            std::fs::create_dir_all(&empty)?;
            std::fs::write(empty.join("mod.rs"), "")?;
            std::fs::write(empty.join("lib.rs"), "")?;
        } else if source.is_dir() {
            copy_sources(&source, &to.join(&name))?;
        } else {
            std::fs::copy(&source, to.join(&name))?;
        }
    }
    Ok(())
}

/// The library where rustc put it: its way to the standard library counts from there, not from where cargo links it.
fn in_deps(library: &Path) -> PathBuf {
    let (folder, name) = (library.parent(), library.file_name().unwrap_or_default());
    let deps = folder.unwrap_or(Path::new("")).join("deps").join(name);
    if deps.exists() {
        deps
    } else {
        library.to_owned()
    }
}

/// Version and features of each crate.
fn provided(dependencies: &Table, project: &Path) -> Result<BTreeMap<String, Provided>, String> {
    let file = project.join("Cargo.lock");
    let lock: Table = std::fs::read_to_string(&file)
        .map_err(|why| why.to_string())
        .and_then(|text| text.parse().map_err(|why: toml::de::Error| why.to_string()))
        .map_err(|why| format!("{}: {why}", file.display()))?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let version = |name: &str| {
        let found = packages?
            .iter()
            .find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
        found.get("version")?.as_str().map(str::to_owned)
    };
    Ok(dependencies
        .iter()
        .filter_map(|(name, wanted)| {
            let features = wanted.get("features").and_then(toml::Value::as_array);
            let features = features
                .into_iter()
                .flatten()
                .filter_map(|feature| feature.as_str().map(str::to_owned));
            let provided = Provided {
                version: version(name)?,
                features: features.collect(),
            };
            Some((name.clone(), provided))
        })
        .collect())
}

/// `cargo`, `rustc` and `rustup` for evcxr.
fn link_programs(folder: &Path) -> Result<(), String> {
    let program = std::env::current_exe()
        .unwrap_or_default()
        .with_file_name("syslab-rustc");
    let bin = folder.join("bin");
    let link = |name: &str| -> std::io::Result<()> {
        std::fs::create_dir_all(&bin)?;
        let link = bin.join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == program) {
            return Ok(());
        }
        let _ = std::fs::remove_file(&link);
        symlink(&program, &link)
    };
    ["cargo", "rustc", "rustup"]
        .into_iter()
        .try_for_each(link)
        .map_err(|why| format!("cannot write {}: {why}", bin.display()))
}
