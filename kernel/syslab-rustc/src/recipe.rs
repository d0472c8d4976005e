//! Which arguments did cargo use, and how do they change for a cell?

use std::path::Path;

use serde::{Deserialize, Serialize};

/// How rustc was called for an empty cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The compiler and its arguments.
    pub arguments: Vec<String>,
    /// Cargo's own environment variables.
    pub environment: Vec<(String, String)>,
}

/// What is wanted of rustc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A library to load.
    Library,
    /// Only to know whether it compiles.
    Check,
}

/// Names the file that a recipe is written to.
pub const RECORD: &str = "SYSLAB_RECORD";

impl Recipe {
    /// Of this process, called by cargo as `PROGRAM RUSTC ARGUMENT...`.
    pub fn of_this_call() -> Recipe {
        let kept = |name: &str| {
            name.starts_with("CARGO") && name != "CARGO_MAKEFLAGS" || name == "LD_LIBRARY_PATH"
        };
        Recipe {
            arguments: std::env::args().skip(1).collect(),
            environment: std::env::vars().filter(|(name, _)| kept(name)).collect(),
        }
    }

    /// Whether it is one for the crate of a cell.
    pub fn is_for_a_cell(&self) -> bool {
        self.arguments
            .windows(2)
            .any(|pair| pair == ["--crate-name", "ctx"])
    }

    /// The arguments for a cell in `folder/cell/lib.rs`, whose text this is; rustc's own path is the first. A crate that
    /// the text doesn't name stays away: rustc would look through all of it for what was misspelt.
    pub fn for_cell(&self, folder: &Path, text: &str, opt_level: &str, want: Want) -> Vec<String> {
        /// Options with a value that a cell has its own word on.
        const OWN: [&str; 4] = ["--out-dir", "--error-format", "--json", "--emit"];
        /// Likewise, below `-C`.
        const OWN_CODEGEN: [&str; 8] = [
            "incremental",
            "extra-filename",
            "metadata",
            "opt-level",
            "codegen-units",
            "debuginfo",
            "strip",
            "embed-bitcode",
        ];
        let mut arguments = Vec::new();
        let mut given = self.arguments.iter();
        while let Some(argument) = given.next() {
            let (name, joined) = argument
                .split_once('=')
                .map_or((argument.as_str(), false), |(name, _)| (name, true));
            if OWN.contains(&name) {
                if !joined {
                    given.next();
                }
            } else if argument == "--extern" {
                let value = given.next().map_or("", String::as_str);
                let name = value.split('=').next().unwrap_or_default();
                if text.contains(name) {
                    arguments.extend(["--extern".to_owned(), value.to_owned()]);
                }
            } else if argument == "-C" {
                let value = given.next().map_or("", String::as_str);
                let name = value.split('=').next().unwrap_or_default();
                if !OWN_CODEGEN.contains(&name) {
                    arguments.extend(["-C".to_owned(), value.to_owned()]);
                }
            } else if !argument.starts_with('-') && argument.ends_with("lib.rs") {
                arguments.push("cell/lib.rs".to_owned());
            } else {
                arguments.push(argument.clone());
            }
        }
        arguments.extend([
            "--error-format=json".to_owned(),
            "--json=diagnostic-rendered-ansi".to_owned(),
            match want {
                Want::Library => "--emit=link".to_owned(),
                Want::Check => "--emit=metadata".to_owned(),
            },
            format!("--out-dir={}", folder.join("out").display()),
            format!("-Copt-level={opt_level}"),
            "-Ccodegen-units=1".to_owned(),
            // So that a crash can name its line.
            "-Cdebuginfo=line-tables-only".to_owned(),
            // A function that a later cell defines anew is that cell's, also when others can see it.
            "-Clink-arg=-Wl,-Bsymbolic-functions".to_owned(),
        ]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_its_own_word() {
        let words = "rustc --crate-name ctx --edition=2024 /p/lib.rs --error-format=json --json=artifacts --crate-type \
                     cdylib --emit=dep-info,link -C opt-level=0 -C metadata=1 -C prefer-dynamic --out-dir /p/target \
                     -L dependency=/p/deps --extern nix=/p/libnix.rlib --extern tokio=/p/libtokio.rlib";
        let recipe = Recipe {
            arguments: words.split_whitespace().map(str::to_owned).collect(),
            environment: vec![],
        };
        assert!(recipe.is_for_a_cell());
        let cell = recipe.for_cell(Path::new("/s"), "use nix::x;", "2", Want::Library);
        let has = |word: &str| cell.iter().any(|argument| argument == word);
        for word in [
            "cell/lib.rs",
            "--emit=link",
            "--out-dir=/s/out",
            "-Copt-level=2",
            "prefer-dynamic",
            "nix=/p/libnix.rlib",
        ] {
            assert!(has(word), "{word} in {cell:?}");
        }
        for word in [
            "/p/lib.rs",
            "--out-dir",
            "/p/target",
            "opt-level=0",
            "metadata=1",
            "--emit=dep-info,link",
            "tokio=/p/libtokio.rlib",
        ] {
            assert!(!has(word), "{word} in {cell:?}");
        }
        assert!(
            recipe
                .for_cell(Path::new("/s"), "", "0", Want::Check)
                .contains(&"--emit=metadata".to_owned())
        );
    }
}
