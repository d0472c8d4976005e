//! The cell with which evcxr begins every session.
//!
//! It is `42`, compiled while somebody waits for the first answer. Its library is kept in the template, for as long as
//! the libraries that it was linked with are the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use crate::compile::{LIBRARY, tell};
use crate::template::Template;

/// Does without `compile` where a session begins as one before it has begun.
///
/// # Errors
/// Those of `compile`.
pub fn kept(
    template: &Template,
    place: &Path,
    folder: &Path,
    compile: impl FnOnce() -> Result<i32, String>,
) -> Result<i32, String> {
    let library = folder.join(LIBRARY);
    if library.exists() {
        return compile();
    }
    let Ok(kept) = path(template, place, folder) else {
        return compile();
    };
    let had =
        std::fs::create_dir_all(folder.join("out")).and_then(|()| std::fs::copy(&kept, &library));
    if had.is_ok() {
        return tell(&library).map(|()| 0);
    }
    let status = compile()?;
    if status == 0 {
        // A template that can't be written to is only slower.
        let _ = keep(&library, &kept);
    }
    Ok(status)
}

/// Where it is kept: another path for whatever makes it another library.
fn path(template: &Template, place: &Path, folder: &Path) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for name in ["src/lib.rs", "Cargo.toml"] {
        std::fs::read(folder.join(name))?.hash(&mut hasher);
    }
    let shared = std::fs::metadata(&template.cell_library)?;
    (shared.modified()?, shared.len()).hash(&mut hasher);
    let own = std::fs::metadata(std::env::current_exe()?)?;
    (own.modified()?, own.len()).hash(&mut hasher);
    (&template.recipe.arguments, &template.sysroot).hash(&mut hasher);
    Ok(place.join(format!("first/{:016x}.so", hasher.finish())))
}

fn keep(library: &Path, kept: &Path) -> io::Result<()> {
    let folder = kept.parent().unwrap_or(kept);
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let new = kept.with_extension(std::process::id().to_string());
    std::fs::copy(library, &new)?;
    std::fs::rename(&new, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn the_first_library_is_kept_until_what_it_stands_on_changes() {
        let base = std::env::temp_dir().join(format!("syslab-first-{}", std::process::id()));
        let (place, sessions) = (base.join("template"), base.join("sessions"));
        let shared = base.join("libsyslab_cell.so");
        let template = Template {
            cell_library: shared.clone(),
            recipe: Recipe {
                arguments: vec!["rustc".into()],
                environment: vec![],
            },
            ..Template::default()
        };
        std::fs::create_dir_all(&base).unwrap();
        std::fs::write(&shared, "1").unwrap();
        let compiled = std::cell::Cell::new(0);
        let begin = |name: &str, text: &str| {
            let folder = sessions.join(name);
            std::fs::create_dir_all(folder.join("src")).unwrap();
            std::fs::write(folder.join("src/lib.rs"), text).unwrap();
            std::fs::write(folder.join("Cargo.toml"), "").unwrap();
            let status = kept(&template, &place, &folder, || {
                compiled.set(compiled.get() + 1);
                std::fs::create_dir_all(folder.join("out")).unwrap();
                std::fs::write(folder.join(LIBRARY), text).unwrap();
                Ok(0)
            });
            assert_eq!(status, Ok(0));
            let library = std::fs::read_to_string(folder.join(LIBRARY)).unwrap();
            (library, compiled.get())
        };
        assert_eq!(begin("a", "42"), ("42".to_owned(), 1));
        assert_eq!(begin("b", "42"), ("42".to_owned(), 1));
        // The second cell of a session is not the first.
        assert_eq!(begin("b", "43"), ("43".to_owned(), 2));
        std::fs::write(&shared, "22").unwrap();
        assert_eq!(begin("c", "42"), ("42".to_owned(), 3));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
