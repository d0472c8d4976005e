//! Limits for the whole test at once, where this user may make a cgroup.
//!
//! `RLIMIT_AS` counts a process and `RLIMIT_NPROC` does not hold root: a fork bomb
//! of root's, or a hundred processes that take a gigabyte each, stop only here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;

use super::limits;

/// A cgroup of this test's own: one folder a hierarchy (v1), or one (v2).
pub(super) struct Cgroup {
    folders: Vec<PathBuf>,
    version: u8,
}

impl Cgroup {
    /// A new cgroup with memory and pids limits; none where that is not allowed.
    pub(super) fn create() -> Option<Self> {
        Self::create_v2().or_else(Self::create_v1)
    }

    /// `cgroup (v2)`
    pub(super) fn describe(&self) -> String {
        format!("cgroup (v{})", self.version)
    }

    fn create_v2() -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
        if !["memory", "pids"]
            .iter()
            .all(|name| controllers.split_whitespace().any(|c| c == *name))
        {
            return None;
        }
        let folder = make(root)?;
        let group = Self {
            folders: vec![folder.clone()],
            version: 2,
        };
        let limited = std::fs::write(folder.join("pids.max"), limits::PROCESSES.to_string())
            .is_ok()
            && std::fs::write(folder.join("memory.max"), limits::MEMORY.to_string()).is_ok();
        if limited {
            Some(group)
        } else {
            group.give_up()
        }
    }

    fn create_v1() -> Option<Self> {
        let mut group = Self {
            folders: Vec::new(),
            version: 1,
        };
        for (controller, file, limit) in [
            ("pids", "pids.max", limits::PROCESSES),
            ("memory", "memory.limit_in_bytes", limits::MEMORY),
        ] {
            let Some(folder) = make(&Path::new("/sys/fs/cgroup").join(controller)) else {
                return group.give_up();
            };
            group.folders.push(folder.clone());
            if std::fs::write(folder.join(file), limit.to_string()).is_err() {
                return group.give_up();
            }
        }
        Some(group)
    }

    fn give_up(self) -> Option<Self> {
        self.remove();
        None
    }

    /// Moves `pid` into the cgroup; its children will be there too.
    pub(super) fn add(&self, pid: Pid) {
        for folder in &self.folders {
            // A process that cannot be moved is still held by everything else.
            let _ = std::fs::write(folder.join("cgroup.procs"), pid.to_string());
        }
    }

    /// From now on nothing in it can fork: what is killed has no successor.
    pub(super) fn forbid_forks(&self) {
        for folder in &self.folders {
            let _ = std::fs::write(folder.join("pids.max"), "0");
        }
    }

    /// Every process that is in it now.
    pub(super) fn members(&self) -> Vec<Pid> {
        let Some(folder) = self.folders.first() else {
            return Vec::new();
        };
        let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.parse().ok())
            .map(Pid::from_raw)
            .collect()
    }

    /// Removes it; a cgroup is busy for a moment after its last process died.
    pub(super) fn remove(self) {
        for folder in &self.folders {
            for _ in 0..100 {
                if std::fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn make(parent: &Path) -> Option<PathBuf> {
    // A warden that was killed could not remove its own; one in use is busy.
    for stale in std::fs::read_dir(parent).ok()?.flatten() {
        if stale.file_name().as_encoded_bytes().starts_with(b"syslab-")
            && !alive(&stale.file_name())
        {
            let _ = std::fs::remove_dir(stale.path());
        }
    }
    let folder = parent.join(format!("syslab-{}", std::process::id()));
    std::fs::create_dir(&folder).ok()?;
    Some(folder)
}

/// True while the warden that a folder is named after lives.
fn alive(name: &std::ffi::OsStr) -> bool {
    let pid = name
        .to_string_lossy()
        .trim_start_matches("syslab-")
        .to_owned();
    Path::new("/proc").join(pid).exists()
}
