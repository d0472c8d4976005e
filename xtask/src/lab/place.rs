//! Where does the lab keep its things?
//!
//! All in `.lab/` below the course: what Jupyter would put into a home stays in the
//! checkout, and `rm -r .lab` is the way back.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The paths of one checkout's lab.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Place {
    /// Absolute, because the kernelspec and the scripts of a venv need it so.
    pub(crate) fn new(root: &Path) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        Self {
            folder: root.join(".lab"),
            root,
        }
    }

    pub(crate) fn notebooks(&self) -> PathBuf {
        self.root.join("notebooks")
    }

    pub(crate) fn requirements(&self) -> PathBuf {
        self.notebooks().join("requirements.txt")
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.folder.join("venv")
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.venv().join("bin/python")
    }

    /// The compiled dependencies that every session starts with.
    pub(crate) fn template(&self) -> PathBuf {
        self.folder.join("template")
    }

    pub(crate) fn jupyter(&self) -> PathBuf {
        self.folder.join("jupyter")
    }

    /// The venv's Python in isolation: a learner's `notebooks/json.py` is not Jupyter's `json`.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.script();
        command.arg("-I");
        command
    }

    /// The venv's Python for a program that imports what lies beside it.
    ///
    /// It sees no other Python's packages, and its Jupyter writes below `.lab/` only.
    pub(crate) fn script(&self) -> Command {
        let mut command = Command::new(self.python());
        for name in foreign(std::env::vars_os().map(|(name, _)| name)) {
            command.env_remove(name);
        }
        let jupyter = self.jupyter();
        for (name, folder) in [
            ("JUPYTER_CONFIG_DIR", "config"),
            ("JUPYTER_DATA_DIR", "data"),
            ("JUPYTER_RUNTIME_DIR", "runtime"),
            ("JUPYTERLAB_SETTINGS_DIR", "settings"),
            ("JUPYTERLAB_WORKSPACES_DIR", "workspaces"),
            ("IPYTHONDIR", "ipython"),
        ] {
            command.env(name, jupyter.join(folder));
        }
        // The venv's kernelspec before one of the same name elsewhere.
        command.env("JUPYTER_PREFER_ENV_PATH", "1");
        command
    }
}

/// Variables that lead Python or Jupyter out of the venv.
fn foreign(names: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    names.filter(|name| {
        let name = name.as_encoded_bytes();
        [&b"PYTHON"[..], b"JUPYTER", b"IPYTHON", b"JPY_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_venvs_python_sees_no_other() {
        let names = [
            "PYTHONPATH",
            "JUPYTER_TOKEN",
            "HOME",
            "JPY_PARENT_PID",
            "PATH",
        ];
        let foreign: Vec<_> = foreign(names.iter().map(OsString::from)).collect();
        assert_eq!(foreign, ["PYTHONPATH", "JUPYTER_TOKEN", "JPY_PARENT_PID"]);
    }

    #[test]
    fn jupyter_writes_below_the_course_only() {
        let place = Place::new(Path::new("/course"));
        let command = place.command();
        let folders: Vec<_> = command
            .get_envs()
            .filter(|(name, _)| name.to_string_lossy().ends_with("DIR"))
            .collect();
        assert_eq!(folders.len(), 6);
        for (name, folder) in folders {
            let folder = Path::new(folder.expect("a folder"));
            assert!(folder.starts_with("/course/.lab"), "{name:?}: {folder:?}");
        }
    }
}
