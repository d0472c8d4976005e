//! Where, as whom and how the grader is run.
//!
//! Another user may have no way to the toolchain, which often lies in a home that only its owner may enter. For
//! that user everything is copied to a folder of his own, and `cargo` is a script that says again what the real
//! one has said: compiling is not what is held against anybody here.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::course::{Built, Course, target_folder};

/// A user that no machine has.
pub(crate) const NOBODY: u32 = 64_206;

/// A place from which the grader is run.
pub(crate) struct Site {
    pub(crate) course: PathBuf,
    /// The grader's TMPDIR: empty before and after.
    pub(crate) tmp: PathBuf,
    xtask: PathBuf,
    /// In place of the real cargo.
    cargo: Option<PathBuf>,
    /// Another user than the one who runs this suite.
    uid: Option<u32>,
    /// Folders that a process of the test's has in its arguments.
    pub(crate) marks: Vec<String>,
    _folder: tempfile::TempDir,
}

/// What became of one run.
#[derive(Debug)]
pub(crate) struct Ran {
    /// None when it had to be ended.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
}

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// The document that `--json` prints.
    pub(crate) fn document(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "no document ({error}): {:?}\n{}\n{}",
                self.status, self.stdout, self.stderr
            )
        })
    }
}

impl Site {
    /// The course where it was built, by the user who runs this, with the real cargo.
    pub(crate) fn in_place(course: &Course) -> Self {
        let folder = folder();
        let tmp = folder.path().join("tmp");
        std::fs::create_dir(&tmp).expect("a folder for TMPDIR");
        Self {
            course: course.root.clone(),
            marks: vec![
                tmp.display().to_string(),
                target_folder().display().to_string(),
            ],
            tmp,
            xtask: env!("CARGO_BIN_EXE_xtask").into(),
            cargo: None,
            uid: None,
            _folder: folder,
        }
    }

    /// A copy of the course and of all that was built, for `uid` or for the user who runs this.
    pub(crate) fn copied(course: &Path, built: &Built, uid: Option<u32>) -> Self {
        let folder = folder();
        let below = |name: &str| folder.path().join(name);
        for name in ["tmp", "bin"] {
            std::fs::create_dir(below(name)).expect("a folder in a new folder");
        }
        copy(course, &below("course"));
        let _ = std::fs::remove_dir_all(below("course/.syslab"));
        let mut messages = built.messages.clone();
        for executable in &built.executables {
            let to = below("bin").join(executable.file_name().expect("a file"));
            std::fs::copy(executable, &to).expect("a copy of a test program");
            // rustc's list of the files that it was made of.
            std::fs::copy(executable.with_extension("d"), to.with_extension("d"))
                .expect("a copy of a list");
            messages = messages.replace(&*executable.to_string_lossy(), &to.to_string_lossy());
        }
        std::fs::write(below("messages"), messages).expect("a copy of cargo's messages");
        let xtask = below("xtask");
        std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &xtask).expect("a copy of the grader");
        let cargo = below("cargo");
        let script = format!("#!/bin/sh\nexec cat {}\n", below("messages").display());
        std::fs::write(&cargo, script).expect("a script");
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755))
            .expect("a script that runs");
        for program in [&xtask, &cargo] {
            until_it_can_run(program);
        }
        if let Some(uid) = uid {
            give(folder.path(), uid);
        }
        Self {
            course: below("course"),
            tmp: below("tmp"),
            xtask,
            cargo: Some(cargo),
            uid,
            marks: vec![folder.path().display().to_string()],
            _folder: folder,
        }
    }

    /// `cargo xtask ARGS`, with what a cheat would put into the environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.as_user(&self.xtask);
        command.args(args);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_"))
        {
            if name != "CARGO_HOME" {
                command.env_remove(name);
            }
        }
        if let Some(cargo) = &self.cargo {
            command.env("CARGO", cargo);
        }
        command
            .env("SYSLAB_ROOT", &self.course)
            .env("TMPDIR", &self.tmp)
            .env("CARGO_TARGET_DIR", target_folder())
            .env("CARGO_NET_OFFLINE", "true")
            .env("INSTA_UPDATE", "always")
            .env("INSTA_FORCE_PASS", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .current_dir(&self.course);
        command
    }

    /// What a process that runs `program` of this site has in its arguments.
    pub(crate) fn mark(&self, program: &str) -> String {
        let folder = self.tmp.parent().expect("below the site's folder");
        let bin = folder.join("bin").join(program);
        let own = folder.join(program);
        let found = if own.exists() { own } else { bin };
        found.display().to_string()
    }

    /// A program run by this site's user.
    pub(crate) fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid).env("HOME", &self.tmp);
        }
        command
    }

    /// Runs it to its end, or to `limit`.
    pub(crate) fn run(&self, args: &[&str], limit: Duration) -> Ran {
        run(self.command(args), limit)
    }
}

/// Runs `command` to its end, or to `limit`. Its output goes to files: what it left running can't hold us.
pub(crate) fn run(mut command: Command, limit: Duration) -> Ran {
    let [mut stdout, mut stderr] = [0; 2].map(|_| tempfile::tempfile().expect("a file for output"));
    let duplicate = |file: &File| Stdio::from(file.try_clone().expect("a duplicate"));
    let started = Instant::now();
    let mut child = command
        .stdout(duplicate(&stdout))
        .stderr(duplicate(&stderr))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = wait(&mut child, limit);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    Ran {
        status,
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// The child's end; none at `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(status);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("our own file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A folder that every user may enter.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("syslab-suite-")
        .tempdir()
        .expect("a folder in TMPDIR");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("our own folder");
    folder
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .expect("cp runs");
    assert!(
        status.success(),
        "cp -a {} {}: {status}",
        from.display(),
        to.display()
    );
}

fn give(folder: &Path, uid: u32) {
    let status = Command::new("chown")
        .args(["-R", "-h"])
        .arg(format!("{uid}:{uid}"))
        .arg(folder)
        .status();
    assert!(
        status.expect("chown runs").success(),
        "chown -R {}",
        folder.display()
    );
}

/// A process that another test forks while we write a program has it open for writing until its own `execve(2)`: as
/// long as that lasts, nobody can run it (ETXTBSY).
fn until_it_can_run(program: &Path) {
    loop {
        match Command::new(program).arg("--version").output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            other => {
                other.expect("a program that runs");
                return;
            }
        }
    }
}
