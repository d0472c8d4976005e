//! `cargo xtask lab` with a cargo and a Python that do at once what the real ones take minutes for: what is
//! missing is one error with the next command, and nothing is made twice, nor taken for made when it is not.

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::site::{self, Ran};

const LIMIT: Duration = Duration::from_secs(60);

/// A checkout with an empty kernel, and the folder that is all of PATH.
struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let this = Self { folder };
        for name in [
            "course/exercises",
            "course/kernel",
            "course/notebooks",
            "bin",
            "home",
        ] {
            std::fs::create_dir_all(this.at(name)).expect("a folder in a new folder");
        }
        this.write("course/kernel/Cargo.toml", "[workspace]\n");
        this.write("course/notebooks/requirements.txt", "jupyterlab==4\n");
        for tool in ["sh", "cat", "cp", "mkdir", "echo", "cc", "sleep"] {
            let real = ["/usr/bin", "/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(tool));
            let real = real.clone().find(|path| path.exists());
            let real = real.unwrap_or_else(|| panic!("this machine has no {tool}"));
            std::os::unix::fs::symlink(real, this.at("bin").join(tool)).expect("a link");
        }
        this.script(
            "cargo",
            "case $1 in build) ;; *) exit 1;; esac
             echo built >> $log
             mkdir -p kernel/target/lab
             for name in syslab-kernel syslab-host syslab-rustc; do
                 path=$PWD/kernel/target/lab/$name
                 cp $bin/program $path
                 echo '{\"reason\":\"compiler-artifact\",\"package_id\":\"'$name'\",\"fresh\":false,'\\
                      '\"target\":{\"name\":\"'$name'\",\"kind\":[\"bin\"]},\"executable\":\"'$path'\"}'
             done",
        );
        this.script("program", "mkdir -p $2; echo template >> $log");
        this.script(
            "python3",
            "case $* in
             *'-m venv'*) for folder; do :; done; mkdir -p $folder/bin; cp $bin/in-venv $folder/bin/python;;
             *) echo 3.11;;
             esac",
        );
        this.script(
            "in-venv",
            "case $* in
             *'-m pip'*) echo $* >> $log; echo Collecting jupyterlab==4;;
             *'-m jupyterlab'*) echo no server today; exit 1;;
             *) echo 3.11;;
             esac",
        );
        this
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.at(path), text).expect("a file in our own folder");
    }

    /// A program on PATH that knows where it is and where to tell what it did.
    ///
    /// Written by another process: what a test that runs beside this one forks would have
    /// it open for writing for a moment, and nobody could run it (ETXTBSY).
    fn script(&self, name: &str, text: &str) {
        let (bin, log) = (self.at("bin"), self.at("log"));
        let head = format!("#!/bin/sh\nbin={}\nlog={}\n", bin.display(), log.display());
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "rm -f $0; cat > $0; chmod 755 $0"])
            .arg(bin.join(name))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut pipe = writer.stdin.take().expect("stdin is piped");
        pipe.write_all((head + text + "\n").as_bytes())
            .expect("it reads");
        drop(pipe);
        assert!(writer.wait().expect("our own child").success());
    }

    fn without(&self, name: &str) {
        std::fs::remove_file(self.at("bin").join(name)).expect("it was there");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(args)
            .env_clear()
            .env("PATH", self.at("bin"))
            .env("HOME", self.at("home"))
            .env("SYSLAB_ROOT", self.at("course"))
            .env("PIP_FIND_LINKS", "/nowhere")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .current_dir(self.at("course"));
        command
    }

    fn prepare(&self) -> Ran {
        site::run(self.command(&["lab", "--prepare"]), LIMIT)
    }

    /// What was done since the last look, a line each.
    fn done(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.at("log")).unwrap_or_default();
        let _ = std::fs::remove_file(self.at("log"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Status 2, and all of `words` in the one error.
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code(), Some(2), "{}{}", ran.stdout, ran.stderr);
    let errors = ran.stderr.matches("error: ").count();
    let next = ran.stderr.matches("next: ").count();
    assert_eq!((errors, next), (1, 1), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
    }
}

fn ready(ran: &Ran) {
    assert_eq!(ran.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("ready"), "{}", ran.stdout);
}

#[test]
fn what_is_there_is_not_made_again() {
    let checkout = Checkout::new();
    ready(&checkout.prepare());
    let done = checkout.done();
    assert_eq!(done.len(), 3, "{done:?}");
    assert!(
        done[0].contains("--require-hashes") && done[0].contains("--no-deps"),
        "{done:?}"
    );
    assert_eq!(done[1..], ["built", "template"]);

    // Cargo and the kernel know themselves whether there is something to do.
    ready(&checkout.prepare());
    assert_eq!(checkout.done(), ["built", "template"]);

    checkout.write("course/notebooks/requirements.txt", "jupyterlab==5\n");
    ready(&checkout.prepare());
    assert_eq!(checkout.done().len(), 3);
    assert_eq!(std::fs::read_dir(checkout.at("home")).unwrap().count(), 0);
}

#[test]
fn the_kernelspec_is_in_the_venv() {
    let checkout = Checkout::new();
    ready(&checkout.prepare());
    let spec = checkout.at("course/.lab/venv/share/jupyter/kernels/syslab/kernel.json");
    let spec: serde_json::Value = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let program = spec["argv"][0].as_str().unwrap();
    assert!(
        Path::new(program).is_absolute() && Path::new(program).exists(),
        "{program}"
    );
    assert_eq!(spec["display_name"], "Rust (syslab)");
}

#[test]
fn half_an_installation_is_made_anew() {
    let checkout = Checkout::new();
    let venv = "case $* in
                *'-m pip'*) echo No space left on device >&2; exit 1;;
                *) echo 3.11;;
                esac";
    let whole = std::fs::read_to_string(checkout.at("bin/in-venv")).unwrap();
    checkout.script("in-venv", venv);
    refused(&checkout.prepare(), &["the disk is full", "df -h"]);
    checkout.done();
    checkout.script("in-venv", &whole);
    ready(&checkout.prepare());
    assert_eq!(checkout.done().len(), 3);
}

#[test]
fn an_interrupted_installation_ends_with_what_it_started() {
    let checkout = Checkout::new();
    checkout.script(
        "in-venv",
        "case $* in *'-m pip'*) echo $$ > $log; sleep 86399;; esac",
    );
    let mut command = checkout.command(&["lab", "--prepare"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = std::time::Instant::now() + LIMIT;
    let pip = loop {
        let text = std::fs::read_to_string(checkout.at("log")).unwrap_or_default();
        let pid = text.lines().find_map(|line| line.parse::<i32>().ok());
        if let Some(pid) = pid {
            break pid;
        }
        assert!(
            std::time::Instant::now() < until,
            "pip was not started: {text}"
        );
        std::thread::sleep(Duration::from_millis(20));
    };
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = site::wait(&mut child, LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(!Path::new(&format!("/proc/{pip}")).exists());
}

#[test]
fn without_a_python_or_with_an_old_one_the_way_to_one_is_named() {
    let checkout = Checkout::new();
    checkout.script("python3", "echo 3.8");
    refused(
        &checkout.prepare(),
        &["python3 is Python 3.8", "3.9 or newer"],
    );
    checkout.script("python3", "echo 3.11; echo ensurepip");
    refused(&checkout.prepare(), &["lacks ensurepip"]);
    checkout.without("python3");
    refused(&checkout.prepare(), &["python3, which is not on PATH"]);
    assert!(checkout.done().is_empty());
    // A newer one beside an old one will do.
    checkout.script("python3", "echo 3.6");
    checkout.script(
        "python3.12",
        "case $* in
         *'-m venv'*) for folder; do :; done; mkdir -p $folder/bin; cp $bin/in-venv $folder/bin/python;;
         *) echo 3.11;;
         esac",
    );
    ready(&checkout.prepare());
}

#[test]
fn without_a_linker_or_cargo_the_way_to_them_is_named() {
    let checkout = Checkout::new();
    checkout.without("cargo");
    refused(
        &checkout.prepare(),
        &["cannot run cargo", "https://rustup.rs"],
    );
    checkout.without("cc");
    refused(
        &checkout.prepare(),
        &["cc is not on PATH", "cargo xtask doctor"],
    );
}

#[test]
fn a_registry_out_of_reach_is_named() {
    let checkout = Checkout::new();
    checkout.script(
        "cargo",
        "echo 'error: Could not resolve host' >&2; exit 101",
    );
    refused(&checkout.prepare(), &["crates.io could not be reached"]);
}

#[test]
fn a_server_that_ends_is_quoted() {
    let checkout = Checkout::new();
    let ran = site::run(checkout.command(&["lab", "--no-browser"]), LIMIT);
    refused(
        &ran,
        &["JupyterLab has ended", "no server today", "server.log"],
    );
}

#[test]
fn a_port_in_use_is_said_before_anything_starts() {
    let checkout = Checkout::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = site::run(checkout.command(&["lab", "--port", &port]), LIMIT);
    refused(&ran, &[&port, "in use"]);
}

#[test]
fn without_a_python_the_parts_that_need_one_are_skipped() {
    let checkout = Checkout::new();
    checkout.without("python3");
    let exercise = "[[exercise]]\nchapter = \"ch66_lab\"\nslug = \"any\"\ntitle = \"Any?\"\n\
                    difficulty = 1\nminutes = 1\nlimit_seconds = 1\n";
    checkout.write("course/exercises/exercises.toml", exercise);
    for folder in ["ch66_lab", "tests"] {
        std::fs::create_dir(checkout.at("course/exercises").join(folder)).unwrap();
    }
    checkout.write("course/exercises/ch66_lab/any.rs", "");
    checkout.write("course/exercises/tests/ch66_any.rs", "");
    let mut command = checkout.command(&["test", "kernel", "notebooks"]);
    let ran = site::run(command, LIMIT);
    assert_eq!(
        ran.stdout
            .matches("skipped: the notebooks need python3")
            .count(),
        2,
        "{ran:?}"
    );
    assert_eq!(ran.code(), Some(0));
    // Where everything can be installed, what did not run has not passed.
    command = checkout.command(&["test", "kernel", "notebooks"]);
    command.env("CI", "true");
    assert_eq!(site::run(command, LIMIT).code(), Some(1));
}
