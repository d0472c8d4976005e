//! How is JupyterLab started, and how does it end with nothing left running?
//!
//! It is the leader of a process group of its own, so that the terminal's Ctrl-C
//! reaches only us: Jupyter would ask whether one is sure. It gets SIGTERM, ends its
//! kernels and itself; what then is still there was adopted by us and is killed.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anstream::println;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use serde::Deserialize;

use super::place::Place;
use super::work;
use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Lab;
use crate::paint::{BOLD, DIM, In};
use crate::progress::Spinner;
use crate::{interrupt, sandbox};

const WELCOME: &str = "notebooks/00-welcome.ipynb";
/// How long it may take to answer, and then to end.
const PATIENCE: Duration = Duration::from_secs(60);
const FAREWELL: Duration = Duration::from_secs(15);

/// What a server writes about itself.
#[derive(Deserialize)]
struct Info {
    url: String,
    port: u16,
    token: String,
}

/// Serves the notebooks until Ctrl-C.
pub(super) fn run(place: &Place, flags: &Lab) -> Result<u8> {
    if let Some(port) = flags.port
        && let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port))
    {
        return Err(
            Failure::new(format!("cannot listen on port {port}: {error}"))
                .next("leave out --port: a free one is found"),
        );
    }
    // Orphans of kernels come to us, and are ended with the rest.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let browser = !flags.no_browser && has_screen();
    let mut server = start(place, flags, browser)?;
    let spinner = Spinner::new("starting JupyterLab");
    let served = wait_until_served(place, &mut server);
    drop(spinner);
    match served {
        Ok(Some(info)) => tell(place, &info, flags, browser),
        Ok(None) => {}
        Err(failure) => {
            stop(server);
            return Err(failure);
        }
    }
    while !interrupt::requested() {
        reap_adopted(&server);
        if let Some(status) = server.try_wait().about("cannot wait for JupyterLab")? {
            sandbox::end_adopted(&interrupt::wardens());
            if status.success() {
                // File, Shut Down.
                return Ok(exit_code::PASSED);
            }
            return Err(died(place, &status.to_string()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stop(server);
    println!("  stopped");
    Ok(exit_code::PASSED)
}

fn start(place: &Place, flags: &Lab, browser: bool) -> Result<Child> {
    let notebooks = place.notebooks();
    let mut command = place.command();
    command
        .current_dir(&place.root)
        // The exercises, too, are opened and edited here.
        .args(["-m", "jupyterlab", "--ServerApp.root_dir=."])
        .arg("--ServerApp.preferred_dir=notebooks")
        .arg(format!(
            "--config={}",
            notebooks.join("jupyter_lab_config.json").display()
        ));
    if notebooks.join(WELCOME).is_file() {
        command.arg(format!("--LabApp.default_url=/lab/tree/{WELCOME}"));
    }
    if !browser {
        command.arg("--no-browser");
    }
    if let Some(port) = flags.port {
        command.arg(format!("--ServerApp.port={port}"));
        command.arg("--ServerApp.port_retries=0");
    }
    if nix::unistd::geteuid().is_root() {
        command.arg("--allow-root");
    }
    work::end_with_us(&mut command, libc::SIGTERM);
    let about = format!("cannot start JupyterLab from {}", place.python().display());
    let log = File::create(log(place)).about(&about)?;
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().about(&about)?)
        .stderr(log)
        .spawn()
        .about(about)
}

fn log(place: &Place) -> std::path::PathBuf {
    place.jupyter().join("server.log")
}

/// Waits for what the server writes about itself, and for an answer; none at Ctrl-C.
fn wait_until_served(place: &Place, server: &mut Child) -> Result<Option<Info>> {
    let file = format!("runtime/jpserver-{}.json", server.id());
    let file = place.jupyter().join(file);
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if interrupt::requested() {
            return Ok(None);
        }
        if let Some(status) = server.try_wait().about("cannot wait for JupyterLab")? {
            return Err(died(place, &status.to_string()));
        }
        if let Ok(text) = std::fs::read(&file)
            && let Ok(info) = serde_json::from_slice::<Info>(&text)
            && TcpStream::connect(("127.0.0.1", info.port)).is_ok()
        {
            return Ok(Some(info));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(died(
        place,
        &format!("no answer in {} s", PATIENCE.as_secs()),
    ))
}

fn died(place: &Place, how: &str) -> Failure {
    let log = log(place);
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(8)..].join("\n");
    Failure::new(format!("JupyterLab has ended ({how}):\n{tail}")).next(format!(
        "read {}; `rm -r .lab/venv`, then `cargo xtask lab` installs it anew",
        log.display()
    ))
}

fn tell(place: &Place, info: &Info, flags: &Lab, browser: bool) {
    let page = if place.root.join(WELCOME).is_file() {
        format!("lab/tree/{WELCOME}")
    } else {
        "lab".into()
    };
    let url = format!("{}{page}?token={}", info.url, info.token);
    println!();
    println!("  {} {url}", In(BOLD, "JupyterLab"));
    if !browser && !flags.no_browser {
        println!("  there is no screen here: open it where there is one");
    }
    println!("  {}", In(DIM, "Ctrl-C stops it and all that runs in it"));
    println!();
}

/// Whether a browser could be seen.
fn has_screen() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Waits for orphans that have ended: in a long session there may be many.
fn reap_adopted(server: &Child) {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, peek)
        && let Some(pid) = status.pid()
        && pid.as_raw() != server.id().cast_signed()
        && waitpid(pid, None).is_ok()
    {}
}

/// Ends the server, its kernels, and what they left.
fn stop(mut server: Child) {
    let pid = server.id().cast_signed();
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    let until = Instant::now() + FAREWELL;
    while matches!(server.try_wait(), Ok(None)) {
        if Instant::now() > until {
            sandbox::end_tree(pid);
            let _ = server.wait();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    sandbox::end_adopted(&interrupt::wardens());
}
