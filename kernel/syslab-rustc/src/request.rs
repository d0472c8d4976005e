//! What does evcxr want of cargo, and with which crates?

use std::path::Path;

use toml::{Table, Value};

/// The manifest that evcxr wrote, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// "0", "1", "2", "3", "s", "z".
    pub opt_level: String,
    /// The crates that `:dep` asked for.
    pub dependencies: Table,
    /// Whether cargo may use the network.
    pub offline: bool,
}

impl Request {
    /// Reads the manifest in evcxr's folder.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn read(folder: &Path) -> Result<Request, String> {
        let text = std::fs::read_to_string(folder.join("Cargo.toml"))
            .map_err(|why| format!("cannot read Cargo.toml: {why}"))?;
        let config = std::fs::read_to_string(folder.join(".cargo/config.toml")).unwrap_or_default();
        Request::of(&text, &config)
    }

    /// # Errors
    /// What is wrong with the manifest, in a sentence.
    pub fn of(manifest: &str, config: &str) -> Result<Request, String> {
        let manifest: Table = manifest
            .parse()
            .map_err(|why| format!("the manifest cannot be read: {why}"))?;
        let profile = manifest
            .get("profile")
            .and_then(|profile| profile.get("dev"));
        let opt_level = match profile.and_then(|dev| dev.get("opt-level")) {
            Some(Value::String(level)) => level.clone(),
            Some(level) => level.to_string(),
            None => "0".into(),
        };
        let dependencies = manifest.get("dependencies").and_then(Value::as_table);
        Ok(Request {
            opt_level,
            dependencies: dependencies.cloned().unwrap_or_default(),
            offline: config.contains("offline = true"),
        })
    }

    /// A name for these crates: the same for the same.
    pub fn key(&self) -> String {
        // FNV-1a: no secret, no adversary, the same in every build.
        let text = self.dependencies.to_string();
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_says_level_and_crates() {
        let manifest = "[package]\nname = \"ctx\"\n[profile.dev]\nopt-level = 2\n[dependencies]\nregex = \"1\"\n";
        let request = Request::of(manifest, "[net]\noffline = true\n").unwrap();
        assert_eq!(request.opt_level, "2");
        assert_eq!(request.dependencies["regex"].as_str(), Some("1"));
        assert!(request.offline);
        let other = Request::of(&manifest.replace("= 2", "= 0"), "").unwrap();
        assert_eq!(other.key(), request.key());
        assert!(!other.offline);
    }
}
