//! Which notebooks are meant: by number, by name or by file?

use std::path::Path;

use crate::fail::{About as _, Failure, Result};

/// The notebooks called `wanted`, by number, name or file; none means all.
pub(crate) fn select(root: &Path, wanted: &[String]) -> Result<Vec<String>> {
    let folder = root.join("notebooks");
    let entries =
        std::fs::read_dir(&folder).about(format_args!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_notebook(name))
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(Failure::new(format!(
            "there is no notebook (NN-topic.ipynb) in {}",
            folder.display()
        ))
        .next("git checkout -- notebooks"));
    }
    if wanted.is_empty() {
        return Ok(names);
    }
    let mut selected = Vec::new();
    for want in wanted {
        let want = want.rsplit('/').next().unwrap_or(want);
        let found = names.iter().find(|name| {
            let stem = name.trim_end_matches(".ipynb");
            [stem, name, &stem[..2], &stem[3..]].contains(&want)
        });
        let name = found.ok_or_else(|| {
            let known: Vec<&str> = names
                .iter()
                .map(|name| name.trim_end_matches(".ipynb"))
                .collect();
            Failure::new(format!("there is no notebook {want:?}"))
                .next(format!("one of: {}", known.join(", ")))
        })?;
        if !selected.contains(name) {
            selected.push(name.clone());
        }
    }
    Ok(selected)
}

fn is_notebook(name: &str) -> bool {
    name.strip_suffix(".ipynb").is_some_and(|stem| {
        let (number, rest) = stem.as_bytes().split_at(stem.len().min(2));
        number.len() == 2
            && number.iter().all(u8::is_ascii_digit)
            && rest.len() > 1
            && rest[0] == b'-'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notebooks_are_found_by_number_name_or_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("notebooks");
        std::fs::create_dir(&folder).unwrap();
        let none = select(root.path(), &[]).unwrap_err().to_string();
        assert!(none.contains("there is no notebook"), "{none}");
        for name in [
            "02-processes.ipynb",
            "00-welcome.ipynb",
            "notes.ipynb",
            "é-a.ipynb",
            "run.py",
        ] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let select = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
            select(root.path(), &wanted)
        };
        assert_eq!(
            select(&[]).unwrap(),
            ["00-welcome.ipynb", "02-processes.ipynb"]
        );
        for wanted in [
            "02",
            "processes",
            "02-processes",
            "notebooks/02-processes.ipynb",
        ] {
            assert_eq!(select(&[wanted, "02"]).unwrap(), ["02-processes.ipynb"]);
        }
        let unknown = select(&["03"]).unwrap_err().to_string();
        assert!(
            unknown.contains("one of: 00-welcome, 02-processes"),
            "{unknown}"
        );
    }
}
