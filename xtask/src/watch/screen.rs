//! How is the terminal taken, lent to an editor, and given back, whatever happens?

use std::io;
use std::path::Path;
use std::process::Command;

use ratatui::DefaultTerminal;

/// The terminal in full screen; as it was when this is dropped, or when the program panics.
pub(super) struct Screen(pub(super) DefaultTerminal);

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// Gives the terminal to `command` until it ends.
    pub(super) fn lend(&mut self, command: &mut Command) -> io::Result<()> {
        ratatui::try_restore()?;
        let ended = command.status();
        self.0 = ratatui::try_init()?;
        self.0.clear()?;
        ended.map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The learner's editor, at a line. VISUAL, else EDITOR, else the first that is installed.
///
/// # Errors
/// There is none.
pub(super) fn editor(file: &Path, line: u32) -> Result<Command, String> {
    let named = ["VISUAL", "EDITOR"].into_iter().find_map(|name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    });
    let installed = || {
        ["nano", "vim", "vi", "nvim", "hx", "emacs"]
            .into_iter()
            .find(|name| on_path(name))
            .map(String::from)
    };
    let words = named
        .or_else(installed)
        .ok_or("no editor: set EDITOR to one, as in `EDITOR=nano cargo xtask watch`")?;
    let mut words = words.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(words);
    let name = Path::new(program)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let place = format!("{}:{line}", file.display());
    match name.as_str() {
        "code" | "codium" | "code-insiders" | "cursor" => command.arg("--goto").arg(place),
        "hx" | "helix" | "zed" | "subl" => command.arg(place),
        _ => command.arg(format!("+{line}")).arg(file),
    };
    Ok(command)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(command: &Command) -> Vec<String> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    /// One test: the environment is the process's.
    #[test]
    fn each_editor_is_told_the_line_in_its_own_way() {
        let expected = [
            ("vim", "vim +7 a.rs"),
            ("/usr/bin/nano -w", "/usr/bin/nano -w +7 a.rs"),
            ("code --wait", "code --wait --goto a.rs:7"),
            ("hx", "hx a.rs:7"),
        ];
        for (editor_words, words) in expected {
            // SAFETY: no other test of this program reads or writes the environment's VISUAL.
            unsafe { std::env::set_var("VISUAL", editor_words) };
            let command = editor(Path::new("a.rs"), 7).unwrap();
            assert_eq!(arguments(&command).join(" "), words);
        }
    }
}
