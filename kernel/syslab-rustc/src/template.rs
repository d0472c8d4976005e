//! What was compiled beforehand, and is a crate among it?
//!
//! The template is a folder that `syslab-kernel prepare` makes once per toolchain: a project with every crate that
//! cells can use without `:dep`, compiled, and the [recipe](crate::recipe) for a cell that uses them. Sessions only
//! read it.
//!
//! ```text
//! bin/          cargo and rustup: links to this program
//! project/      Cargo.toml, Cargo.lock, target/
//! template.json what is in it
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::recipe::Recipe;

/// What a template says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Template {
    /// The toolchain's folder.
    pub sysroot: PathBuf,
    /// "1.95.0".
    pub rustc: String,
    /// "x86_64-unknown-linux-gnu".
    pub target: String,
    /// The crates that are there.
    pub crates: BTreeMap<String, Provided>,
    /// The library that all cells share.
    pub cell_library: PathBuf,
    /// How a cell is compiled.
    pub recipe: Recipe,
    /// The `[dependencies]` of the project, with absolute paths.
    pub dependencies: Table,
    /// What all this was made from: another number, another template.
    pub key: String,
}

/// A crate in the template.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provided {
    /// Its version.
    pub version: String,
    /// The features that were asked for.
    pub features: Vec<String>,
}

impl Template {
    /// The file in a template's folder.
    pub const FILE: &str = "template.json";

    /// # Errors
    /// What is wrong, and the next command.
    pub fn read(folder: &Path) -> Result<Template, String> {
        let path = folder.join(Template::FILE);
        let text = std::fs::read_to_string(&path).map_err(|why| {
            format!("the notebook's crates are not prepared ({}: {why}); run `cargo xtask lab --prepare`", path.display())
        })?;
        serde_json::from_str(&text).map_err(|why| {
            format!(
                "{} is damaged ({why}); delete it and run `cargo xtask lab --prepare`",
                path.display()
            )
        })
    }

    /// Whether all these crates are there, in a version and with features that fit.
    pub fn provides(&self, dependencies: &Table) -> bool {
        dependencies
            .iter()
            .all(|(name, wanted)| self.has(name, wanted))
    }

    fn has(&self, name: &str, wanted: &Value) -> bool {
        let Some(there) = self
            .crates
            .get(&name.replace('_', "-"))
            .or_else(|| self.crates.get(name))
        else {
            return false;
        };
        let (version, features) = match wanted {
            Value::String(version) => (version.as_str(), Vec::new()),
            Value::Table(table) => {
                const KNOWN: [&str; 3] = ["version", "features", "default-features"];
                if table.keys().any(|key| !KNOWN.contains(&key.as_str())) {
                    return false;
                }
                let features = table.get("features").and_then(Value::as_array);
                let features = features.map(|all| all.iter().filter_map(Value::as_str).collect());
                let version = table.get("version").and_then(Value::as_str).unwrap_or("*");
                (version, features.unwrap_or_default())
            }
            _ => return false,
        };
        let fits = match (VersionReq::parse(version), Version::parse(&there.version)) {
            (Ok(wanted), Ok(there)) => wanted.matches(&there),
            _ => false,
        };
        fits && features.iter().all(|feature| {
            let has = |name: &str| there.features.iter().any(|feature| feature == name);
            has("full") || has(feature) || *feature == "default" || *feature == "std"
        })
    }
}

/// The manifest of a project for cells: the template's own crates and these.
pub fn manifest(own: &Table, more: &Table) -> String {
    let mut all = own.clone();
    for (name, wanted) in more {
        // What is asked for comes before what is there.
        all.insert(name.clone(), wanted.clone());
    }
    let dependencies = Table::from_iter([("dependencies".to_owned(), Value::Table(all))]);
    format!(
        r#"[package]
name = "ctx"
version = "1.0.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]
path = "lib.rs"

[profile.dev]
opt-level = 0
debug = false
incremental = false

# Compiled once, whatever `:opt` says of the cells.
[profile.dev.package."*"]
opt-level = 2

{dependencies}
[workspace]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        let nix = Provided {
            version: "0.31.3".into(),
            features: vec!["fs".into(), "signal".into()],
        };
        let tokio = Provided {
            version: "1.54.1".into(),
            features: vec!["full".into()],
        };
        Template {
            crates: [("nix".to_owned(), nix), ("tokio".to_owned(), tokio)].into(),
            ..Template::default()
        }
    }

    fn provides(dependencies: &str) -> bool {
        template().provides(&dependencies.parse().unwrap())
    }

    #[test]
    fn what_fits_is_there() {
        assert!(provides(""));
        assert!(provides("nix = \"*\""));
        assert!(provides(
            "nix = \"0.31\"\ntokio = { version = \"1.34.0\", features = [\"rt\"] }"
        ));
        assert!(provides(
            "nix = { version = \"0.31\", features = [\"fs\"] }"
        ));
    }

    #[test]
    fn what_does_not_fit_is_not() {
        assert!(!provides("nix = \"0.29\""));
        assert!(!provides("regex = \"1\""));
        assert!(!provides(
            "nix = { version = \"0.31\", features = [\"mqueue\"] }"
        ));
        assert!(!provides("nix = { path = \"/somewhere\" }"));
        assert!(!provides("nix = { git = \"https://example.org/nix\" }"));
    }

    #[test]
    fn a_manifest_has_both() {
        let own: Table = "libc = \"0.2\"\nnix = \"0.31\"".parse().unwrap();
        let more: Table = "nix = \"0.29\"\nregex = \"1\"".parse().unwrap();
        let whole: Table = manifest(&own, &more).parse().unwrap();
        let all = whole["dependencies"].as_table().unwrap();
        assert_eq!(all["nix"].as_str(), Some("0.29"));
        assert_eq!(all.len(), 3);
    }
}
