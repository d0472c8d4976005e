//! Which namespaces is a process in, and which of them are its parent's?

use std::io;

use crate::picture::Picture;
use crate::proc::{self, Pid};
use crate::svg;
use crate::table::{self, Column, Table};

/// The namespaces of a process (`namespaces(7)`), beside those of its parent: what differs was made new.
///
/// # Errors
/// ENOENT: no such process. EACCES: it is another user's. The message names the path.
pub fn namespaces(pid: impl Into<Pid>) -> io::Result<Picture> {
    let pid = pid.into();
    let number = pid.number();
    let mut names = proc::list(number, "ns")?;
    names.sort();
    let parent = proc::read(number, "status")
        .ok()
        .and_then(|status| proc::value(&status, "PPid")?.parse::<i32>().ok());
    let entries: Vec<Entry> = names
        .into_iter()
        .map(|name| {
            let path = format!("ns/{name}");
            let of = |pid| proc::link(pid, &path).map_err(|error| error.kind());
            Entry {
                id: of(number),
                // A parent outside of the pid namespace is 0.
                parent: parent.filter(|pid| *pid > 0).map(of),
                name,
            }
        })
        .collect();
    Ok(draw(&pid.title(), parent, &entries))
}

struct Entry {
    name: String,
    /// "net:[4026531840]".
    id: Result<String, io::ErrorKind>,
    parent: Option<Result<String, io::ErrorKind>>,
}

fn draw(title: &str, parent: Option<i32>, entries: &[Entry]) -> Picture {
    let mut table = Table::new([
        Column::Name("namespace"),
        Column::Code("id"),
        Column::Words("compared with the parent's"),
        Column::Words("what it holds"),
    ]);
    for entry in entries {
        let id = match &entry.id {
            Ok(link) => inode(link).to_owned(),
            Err(kind) => format!("({kind})"),
        };
        let compared = match (&entry.id, &entry.parent) {
            (Ok(own), Some(Ok(parents))) if own == parents => "the same",
            (Ok(_), Some(Ok(_))) => "its own",
            (Ok(_), _) => "not to be seen",
            _ => "",
        };
        table.row([
            entry.name.clone(),
            id,
            compared.to_owned(),
            holds(&entry.name).to_owned(),
        ]);
    }
    let parent = match parent {
        Some(pid) if pid > 0 => format!(" and its parent {pid}"),
        _ => String::new(),
    };
    let title = format!("namespaces of {title}{parent}");
    let text = format!("{title}\n{}", table.text());
    let svg = svg::of_text(&title, &text);
    let html = table::page(&table.html(&title));
    Picture::new(title, text, svg, html)
}

/// "4026531840" of "net:[4026531840]".
fn inode(link: &str) -> &str {
    link.split_once('[')
        .map_or(link, |(_, rest)| rest.trim_end_matches(']'))
}

fn holds(name: &str) -> &'static str {
    match name {
        "cgroup" => "which cgroup is the root",
        "ipc" => "System V objects, POSIX message queues",
        "mnt" => "mount points",
        "net" => "interfaces, addresses, ports",
        "pid" => "process ids",
        "pid_for_children" => "process ids of future children",
        "time" => "offsets of the monotonic clocks",
        "time_for_children" => "clock offsets of future children",
        "user" => "user ids, group ids, capabilities",
        "uts" => "host name",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    #[test]
    fn own_and_shared_and_unreadable() {
        let entry = |name: &str, id, parent| Entry {
            name: name.into(),
            id,
            parent,
        };
        let entries = [
            entry("net", Ok("net:[5]".into()), Some(Ok("net:[4]".into()))),
            entry("uts", Ok("uts:[7]".into()), Some(Ok("uts:[7]".into()))),
            entry(
                "pid",
                Ok("pid:[8]".into()),
                Some(Err(io::ErrorKind::PermissionDenied)),
            ),
            entry("new<", Err(io::ErrorKind::PermissionDenied), None),
        ];
        let picture = draw("process 7", Some(3), &entries);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
        well_formed(&draw("nobody", None, &[]));
    }

    #[test]
    fn this_process_is_in_some() {
        let picture = namespaces(0).unwrap();
        assert!(picture.text().contains("user ids"));
        well_formed(&picture);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert_eq!(
            namespaces(i32::MAX).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
