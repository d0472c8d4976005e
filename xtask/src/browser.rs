//! `cargo xtask test --browser`: the lab as a learner has it, JupyterLab in a real browser.
//!
//! The browser is the system's; what drives it is installed by hash into `.lab/browser`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fail::{About as _, Failure, Result};
use crate::lab::place::Place;
use crate::lab::python;
use crate::lab::work::{self, Cancel};
use crate::progress::Spinner;

const SUITE: &str = "kernel/tests/browser";

/// How long JupyterLab may take to say where it is, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The system's Chromium, or one of its relatives.
pub(crate) fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    let found = || {
        std::env::split_paths(&path)
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|program| program.is_file())
    };
    named.filter(|program| program.is_file()).or_else(found)
}

/// What was seen, or what was not.
pub(crate) fn run(place: &Place, chromium: &Path) -> Result<Result<String, String>> {
    let spinner = Spinner::new("installing what drives the browser");
    let packages = place.folder.join("browser");
    python::install_into(
        place,
        &packages,
        &place.root.join(SUITE).join("requirements.txt"),
    )?;
    spinner.say("starting JupyterLab");
    let (server, url) = serve(place)?;
    spinner.say("looking at the notebooks");
    let mut command = place.script();
    command
        .arg(place.root.join(SUITE).join("browser.py"))
        .arg("--chromium")
        .arg(chromium)
        .args(["--url", &url, "--course"])
        .arg(&place.root)
        .arg("--pictures")
        .arg(place.folder.join("pictures"))
        .arg("--packages")
        .arg(&packages);
    let ended = work::run(command, &Cancel::default(), |_| true);
    drop(server);
    let ended = ended?;
    Ok(if ended.status.success() {
        Ok(ended.tail(1).trim().to_owned())
    } else {
        Err(format!(
            "browser.py ({}); pictures are in .lab/pictures:\n{}",
            ended.status,
            ended.tail(30)
        ))
    })
}

/// A lab that is stopped when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `cargo xtask lab --no-browser`, as a learner types it, and the address that it says.
fn serve(place: &Place) -> Result<(Server, String)> {
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg("--root")
        .arg(&place.root)
        .args(["lab", "--no-browser"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    work::end_with_us(&mut command, libc::SIGTERM);
    let mut server = Server(command.spawn().about("cannot start the lab")?);
    let stdout = server.0.stdout.take().expect("stdout is piped");
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end: a full pipe would stop the server.
        for line in BufReader::new(stdout)
            .lines()
            .map_while(std::io::Result::ok)
        {
            if let Some(at) = line.find("http://") {
                let _ = send.send(line[at..].trim().to_owned());
            }
        }
    });
    let url = receive.recv_timeout(PATIENCE).map_err(|_| {
        Failure::new("JupyterLab did not say where it is").next("cargo xtask lab --no-browser")
    })?;
    Ok((server, url))
}
