//! What do evcxr and rust-analyzer ask of rustc and cargo again and again?
//!
//! The compiler's version, its target's configuration, its folder: a dozen questions at each start, a tenth of a second
//! each. A template belongs to one toolchain, so that an answer holds for as long as the template does.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Asks the program, or remembers what it said in `template`; the exit status.
///
/// # Errors
/// What went wrong, in a sentence.
pub fn ask(template: &Path, program: &Path, arguments: &[String]) -> Result<i32, String> {
    let mut hasher = DefaultHasher::new();
    (program, arguments).hash(&mut hasher);
    let folder = template.join("answers");
    let file = folder.join(format!("{:016x}", hasher.finish()));
    let answer = if let Ok(answer) = std::fs::read(&file) {
        answer
    } else {
        let output = real(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|why| format!("cannot run {}: {why}", program.display()))?;
        if !output.status.success() {
            return Ok(output.status.code().unwrap_or(101));
        }
        // A template that can't be written to is only slower.
        let new = file.with_extension(std::process::id().to_string());
        let _ = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&new, &output.stdout))
            .and_then(|()| std::fs::rename(&new, &file));
        output.stdout
    };
    std::io::stdout()
        .write_all(&answer)
        .map_err(|why| why.to_string())?;
    Ok(0)
}

/// A program of the toolchain in the environment of the kernel's user.
pub fn real(program: &Path) -> Command {
    let mut command = Command::new(program);
    users_environment(&mut command);
    command
}

/// PATH and CARGO_HOME as the kernel found them.
pub fn users_environment(command: &mut Command) {
    if let Some(path) = std::env::var_os("SYSLAB_USERS_PATH") {
        command.env("PATH", path);
    }
    match std::env::var_os("SYSLAB_USERS_CARGO_HOME") {
        Some(home) => command.env("CARGO_HOME", home),
        None if std::env::var_os("SYSLAB_USERS_PATH").is_some() => command.env_remove("CARGO_HOME"),
        None => command,
    };
}
