//! Which Python, and is the venv with JupyterLab the one that `requirements.txt` asks for?
//!
//! A venv can't be made elsewhere and moved: its scripts name the interpreter by its
//! absolute path. It is made in place, and its stamp is removed first and written
//! last, so that one that was interrupted is never taken for a whole one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha1::{Digest as _, Sha1};

use super::place::Place;
use super::work::{self, Cancel, Ended, Line};
use crate::distribution::{self, Thing};
use crate::fail::{About as _, Failure, Result};
use crate::progress::Task;

/// The oldest that `requirements.txt` has wheels for.
const OLDEST: (u32, u32) = (3, 9);

/// Where there is no usable `python3`: distributions keep newer ones beside it.
const NAMES: [&str; 7] = [
    "python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3.9",
];

const PROBE: &str = "\
import sys
print('%d.%d' % sys.version_info[:2])
for name in ('ensurepip', 'venv', 'ssl', 'sqlite3', 'zlib'):
    try:
        __import__(name)
    except ImportError:
        print(name)
";

/// A Python that can make the venv.
#[derive(Debug)]
pub(crate) struct Python {
    pub(crate) name: &'static str,
    pub(crate) version: String,
}

/// The first of [`NAMES`] that is new enough and whole.
pub(crate) fn find() -> Result<Python> {
    let mut reason = None;
    for name in NAMES {
        match probe(name) {
            None => {}
            Some(Ok(python)) => return Ok(python),
            Some(Err(failure)) => {
                reason.get_or_insert(failure);
            }
        }
    }
    Err(reason.unwrap_or_else(|| {
        Failure::new("the notebooks need python3, which is not on PATH").next(install())
    }))
}

/// None where there is no such program.
fn probe(name: &'static str) -> Option<Result<Python>> {
    let output = Command::new(name)
        .args(["-I", "-c", PROBE])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let version = lines.next().filter(|_| output.status.success())?;
    let missing: Vec<&str> = lines.collect();
    Some(judge(name, version, &missing))
}

/// Whether this Python will do; the error says what to install.
fn judge(name: &'static str, version: &str, missing: &[&str]) -> Result<Python> {
    let number = version
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if number.is_none_or(|number: (u32, u32)| number < OLDEST) {
        let (major, minor) = OLDEST;
        return Err(Failure::new(format!(
            "{name} is Python {version}; the notebooks need {major}.{minor} or newer"
        ))
        .next(install()));
    }
    if missing.is_empty() {
        return Ok(Python {
            name,
            version: version.to_owned(),
        });
    }
    let missing = missing.join(" and ");
    Err(
        Failure::new(format!("{name} (Python {version}) lacks {missing}")).next(
            if missing.contains("ssl") || missing.contains("sqlite3") || missing.contains("zlib") {
                "build Python with the development files of OpenSSL, SQLite and zlib, or use your distribution's".into()
            } else {
                install()
            },
        ),
    )
}

/// How this distribution installs Python and its venv module.
fn install() -> String {
    let command = distribution::install(Thing::Python);
    format!("{command}  (then `cargo xtask lab`)")
}

/// Whether the lab of the course in `root` has its Python, or one to make it with.
pub(crate) fn require(root: &Path) -> Result<()> {
    if current(&Place::new(root)) {
        return Ok(());
    }
    find().map(drop)
}

/// What the venv was made of.
#[derive(PartialEq, Eq, Debug)]
struct Stamp {
    requirements: String,
    python: String,
    folder: PathBuf,
}

impl Stamp {
    fn text(&self) -> String {
        format!(
            "requirements {}\npython {}\nfolder {}\n",
            self.requirements,
            self.python,
            self.folder.display()
        )
    }

    fn path(place: &Place) -> PathBuf {
        place.venv().join("syslab.stamp")
    }
}

/// Git's id of the lock file's text would do as well; this one needs no git.
fn hash(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(format!("cannot read {}: {error}", path.display()))
            .next("git checkout -- notebooks/requirements.txt")
    })?;
    let digest = Sha1::digest(bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the venv is what `requirements.txt` asks for, and its interpreter still there.
///
/// Its own Python is asked, not the one on PATH: that may be another in every terminal.
pub(crate) fn current(place: &Place) -> bool {
    let Ok(stamp) = std::fs::read_to_string(Stamp::path(place)) else {
        return false;
    };
    let Ok(requirements) = hash(&place.requirements()) else {
        return false;
    };
    let output = Command::new(place.python())
        .args([
            "-I",
            "-c",
            "import sys; print('%d.%d' % sys.version_info[:2])",
        ])
        .stdin(Stdio::null())
        .output();
    let python = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    let wanted = Stamp {
        requirements,
        python,
        folder: place.venv(),
    };
    stamp == wanted.text()
}

/// Makes the venv with JupyterLab by `python`; none says that it is there.
pub(super) fn make(
    place: &Place,
    python: Option<&Python>,
    cancel: &Cancel,
    task: &Task,
) -> Result<()> {
    let Some(python) = python else {
        return Ok(());
    };
    task.say("making a place for it");
    let (venv, requirements) = (place.venv(), place.requirements());
    let stamp = Stamp {
        requirements: hash(&requirements)?,
        python: python.version.clone(),
        folder: venv.clone(),
    };
    let about = || format!("cannot make {}", venv.display());
    if venv.exists() {
        let _ = std::fs::remove_file(Stamp::path(place));
        std::fs::remove_dir_all(&venv).about(about())?;
    }
    let mut command = Command::new(python.name);
    command.args(["-I", "-m", "venv"]).arg(&venv);
    let ended = work::run(command, cancel, |_| true)?;
    if !ended.status.success() {
        return Err(explain(&ended, &about()));
    }
    // Kept only while it is not complete, so that the next run does not begin anew.
    let cache = place.folder.join("pip");
    let mut command = pip(place, std::env::vars_os().map(|(name, _)| name));
    command
        .arg("--cache-dir")
        .arg(&cache)
        .arg("-r")
        .arg(&requirements);
    let mut count = 0;
    let ended = work::run(command, cancel, |line| {
        let (Line::Out(text) | Line::Err(text)) = line;
        if let Some(package) = text.strip_prefix("Collecting ") {
            count += 1;
            let name = package.split(['=', '<', '>', ';', ' ']).next();
            task.say(&format!("{count} packages · {}", name.unwrap_or_default()));
        } else if text.starts_with("Installing collected packages") {
            task.say(&format!("installing {count} packages"));
        }
        true
    })?;
    if !ended.status.success() {
        return Err(explain(&ended, "pip could not install JupyterLab"));
    }
    let _ = std::fs::remove_dir_all(&cache);
    std::fs::write(Stamp::path(place), stamp.text()).about(about())?;
    task.finish(&format!("JupyterLab installed, {count} packages"));
    Ok(())
}

/// Installs what `requirements` names into `folder`, beside the venv, unless it is there.
pub(crate) fn install_into(place: &Place, folder: &Path, requirements: &Path) -> Result<()> {
    let stamp = folder.join("syslab.stamp");
    let wanted = hash(requirements)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    let about = || format!("cannot make {}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(folder).about(about())?;
    }
    let mut command = pip(place, std::env::vars_os().map(|(name, _)| name));
    command
        .arg("--target")
        .arg(folder)
        .arg("-r")
        .arg(requirements);
    let ended = work::run(command, &Cancel::default(), |_| true)?;
    if !ended.status.success() {
        return Err(explain(&ended, &about()));
    }
    std::fs::write(&stamp, wanted).about(about())
}

/// `pip install` of exactly what the lock file names, wherever the mirror is.
fn pip(place: &Place, environment: impl Iterator<Item = std::ffi::OsString>) -> Command {
    /// How to get to a registry; everything else would say what to install, and where.
    const ROAD: [&str; 7] = [
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_INDEX_URL",
        "PIP_PROXY",
        "PIP_TRUSTED_HOST",
    ];
    let mut command = place.command();
    for name in environment {
        let text = name.to_string_lossy();
        if text.starts_with("PIP_") && !ROAD.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    // A pip.conf may ask for what a venv can't do.
    command.env("PIP_USER", "0").args([
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        "--no-warn-script-location",
        "--progress-bar=off",
        "--retries=2",
    ]);
    command
}

/// What pip has said, as one sentence and the next command.
fn explain(ended: &Ended, what: &str) -> Failure {
    let said = &ended.said;
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["No space left on device"]) {
        return Failure::new(format!("{what}: the disk is full"))
            .next("make room (`df -h .`), then `cargo xtask lab`");
    }
    if any(&["DO NOT MATCH THE HASHES"]) {
        return Failure::new(format!(
            "{what}: a package is not the one that notebooks/requirements.txt names:\n{}",
            ended.tail(8)
        ))
        .next("look at the mirror that pip uses (`python3 -m pip config list`)");
    }
    if any(&[
        "NewConnectionError",
        "Max retries exceeded",
        "name resolution",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
        "Connection broken",
        "ConnectionResetError",
    ]) {
        return Failure::new(format!("{what}: PyPI could not be reached"))
            .next("look at the network (a proxy? HTTPS_PROXY), then `cargo xtask lab`");
    }
    let text = ended.tail(12);
    Failure::new(format!("{what} ({}):\n{}", ended.status, text.trim()))
        .next("mend what it names, then `cargo xtask lab`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn an_old_python_or_half_of_one_is_named_with_what_to_install() {
        let old = judge("python3", "3.8", &[]).unwrap_err().to_string();
        assert!(
            old.contains("Python 3.8; the notebooks need 3.9 or newer"),
            "{old}"
        );
        let half = judge("python3", "3.11", &["ensurepip"])
            .unwrap_err()
            .to_string();
        assert!(
            half.contains("lacks ensurepip") && half.contains("next: "),
            "{half}"
        );
        assert_eq!(judge("python3", "3.11", &[]).unwrap().version, "3.11");
        assert!(judge("python3", "3.10", &[]).is_ok());
    }

    #[test]
    fn a_stamp_is_of_one_lock_file_one_python_and_one_place() {
        let stamp = |requirements: &str, python: &str, folder: &str| Stamp {
            requirements: requirements.into(),
            python: python.into(),
            folder: folder.into(),
        };
        let made = stamp("a", "3.11", "/a").text();
        for other in [
            stamp("b", "3.11", "/a"),
            stamp("a", "3.12", "/a"),
            stamp("a", "3.11", "/b"),
        ] {
            assert_ne!(other.text(), made);
        }
    }

    #[test]
    fn a_venv_without_its_stamp_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path());
        std::fs::create_dir_all(place.venv().join("bin")).unwrap();
        std::fs::create_dir_all(place.notebooks()).unwrap();
        std::fs::write(place.requirements(), "jupyterlab==4\n").unwrap();
        assert!(!current(&place));
        std::os::unix::fs::symlink("/bin/echo", place.python()).unwrap();
        // An interpreter of another version, too.
        let stamp = Stamp {
            requirements: hash(&place.requirements()).unwrap(),
            python: "3.11".into(),
            folder: place.venv(),
        };
        std::fs::write(Stamp::path(&place), stamp.text()).unwrap();
        assert!(!current(&place));
    }

    #[test]
    fn pip_hears_of_mirrors_and_of_nothing_else() {
        let place = Place::new(Path::new("/course"));
        let names = [
            "PIP_FIND_LINKS",
            "PIP_INDEX_URL",
            "PIP_EXTRA_INDEX_URL",
            "PIP_TARGET",
        ];
        let command = pip(&place, names.iter().map(std::ffi::OsString::from));
        let removed = |name: &str| {
            command
                .get_envs()
                .any(|(n, value)| n == name && value.is_none())
        };
        assert!(
            removed("PIP_FIND_LINKS") && removed("PIP_EXTRA_INDEX_URL") && removed("PIP_TARGET")
        );
        assert!(!removed("PIP_INDEX_URL"));
        assert!(
            command
                .get_args()
                .any(|argument| argument == "--require-hashes")
        );
    }

    #[test]
    fn what_pip_could_not_do_is_one_sentence() {
        let ended = |said: &str| Ended {
            status: std::process::ExitStatus::from_raw(256),
            said: said.into(),
        };
        for (said, sentence) in [
            (
                "OSError: [Errno 28] No space left on device",
                "the disk is full",
            ),
            ("Retrying … NewConnectionError", "PyPI could not be reached"),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES",
                "not the one that notebooks/requirements.txt names",
            ),
            ("ERROR: odd", "ERROR: odd"),
        ] {
            let text = explain(&ended(said), "pip").to_string();
            assert!(text.contains(sentence) && text.contains("next: "), "{text}");
        }
    }
}
