//! Where is something built that must not be built in place?
//!
//! In a small workspace below `target/`: pristine specifications when the ones in
//! place were changed, and mutants. It shares the target folder, so what it has in
//! common with the course is compiled once.

use std::path::{Path, PathBuf};

use crate::fail::{About as _, Failure, Result};

/// A folder with a workspace of its own around one package, `exercises`.
pub(crate) struct Stage {
    pub(crate) root: PathBuf,
}

impl Stage {
    /// An empty stage named `name`; `own` are the crates that it will hold itself.
    pub(crate) fn new(
        course: &Path,
        target: &Path,
        name: &str,
        manifest: &str,
        own: &[&str],
    ) -> Result<Self> {
        let root = target.join(name);
        if root.exists() {
            std::fs::remove_dir_all(&root).about(format!("cannot empty {}", root.display()))?;
        }
        let stage = Self { root };
        let broken = |error: &dyn std::fmt::Display| {
            Failure::new(format!("Cargo.toml is broken: {error}"))
                .next("git checkout -- Cargo.toml")
        };
        let mut cargo: toml::Table = manifest.parse().map_err(|error| broken(&error))?;
        let workspace = cargo
            .get_mut("workspace")
            .and_then(toml::Value::as_table_mut)
            .ok_or_else(|| broken(&"it has no [workspace]"))?;
        workspace.insert("members".into(), own.to_vec().into());
        workspace.remove("exclude");
        if let Some(table) = workspace
            .get_mut("dependencies")
            .and_then(toml::Value::as_table_mut)
        {
            for (name, dependency) in table
                .iter_mut()
                .filter(|(name, _)| !own.contains(&name.as_str()))
            {
                let dependency = dependency.as_table_mut();
                if let Some(path) = dependency.and_then(|dependency| dependency.get_mut("path")) {
                    *path = course.join(name).to_string_lossy().into_owned().into();
                }
            }
        }
        stage.write("Cargo.toml", cargo.to_string().as_bytes())?;
        if let Ok(lock) = std::fs::read(course.join("Cargo.lock")) {
            stage.write("Cargo.lock", &lock)?;
        }
        Ok(stage)
    }

    /// Writes `path` below the stage, with the folders that it needs.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let to = self.root.join(path);
        let about = || format!("cannot write {}", to.display());
        std::fs::create_dir_all(to.parent().expect("below the stage")).about(about())?;
        std::fs::write(&to, bytes).about(about())
    }

    /// Makes `path` below the stage stand for `to`.
    pub(crate) fn link(&self, path: &str, to: &Path) -> Result<()> {
        let from = self.root.join(path);
        std::fs::create_dir_all(from.parent().expect("below the stage"))
            .and_then(|()| std::os::unix::fs::symlink(to, &from))
            .about(format!("cannot link {}", from.display()))
    }
}
