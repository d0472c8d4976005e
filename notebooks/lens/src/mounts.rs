//! Which file system begins where in the tree of names?

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;

use crate::number;
use crate::picture::Picture;
use crate::proc::{self, Pid};
use crate::svg::{
    Anchor, BLUE, GREEN, GREY, ORANGE, PURPLE, Style, Svg, WIDTH, code_width, shorten, shorten_path,
};
use crate::table::{self, Column, Table};

/// Mounts that are shown.
const ROWS: usize = 64;

/// The mounts that a process sees (`proc_pid_mountinfo(5)`), as the tree they are: where each hangs, what kind of file
/// system it is, and how full (`statfs(2)`; only of the caller's own).
///
/// # Errors
/// ENOENT: no such process. EACCES: it is another user's. The message names the path.
pub fn mounts(pid: impl Into<Pid>) -> io::Result<Picture> {
    let pid = pid.into();
    let info = proc::read(pid.number(), "mountinfo")?;
    let mut mounts: Vec<Mount> = info.lines().filter_map(Mount::parse).collect();
    if pid == Pid::from(0) {
        for mount in &mut mounts {
            mount.space = space(&mount.point);
        }
    }
    Ok(draw(&mounts))
}

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    id: u32,
    parent: u32,
    /// What of the file system is seen here: "/" is all of it.
    root: String,
    point: String,
    options: String,
    kind: String,
    source: String,
    /// Bytes: in all, and used.
    space: Option<(u64, u64)>,
}

impl Mount {
    /// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        Some(Mount {
            id: left.first()?.parse().ok()?,
            parent: left.get(1)?.parse().ok()?,
            root: plain(left.get(3)?),
            point: plain(left.get(4)?),
            options: (*left.get(5)?).to_owned(),
            kind: (*right.first()?).to_owned(),
            source: plain(right.get(1)?),
            space: None,
        })
    }

    fn look(&self) -> (&'static str, &'static str) {
        match self.kind.as_str() {
            "tmpfs" | "ramfs" | "hugetlbfs" => (ORANGE, "in memory"),
            "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "virtiofs" => {
                (PURPLE, "of another machine")
            }
            "overlay" | "fuse" => (GREEN, "made of other files"),
            kind if kind.starts_with("fuse.") => (GREEN, "made of other files"),
            _ if self.source.starts_with("/dev/") => (BLUE, "on a disk"),
            _ => (GREY, "the kernel's own"),
        }
    }
}

/// The kernel writes a space as `\040`.
fn plain(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", " ")
}

/// `None`: it has no blocks, as /proc has none, or it can't be asked.
fn space(point: &str) -> Option<(u64, u64)> {
    let path = CString::new(point).ok()?;
    // SAFETY: all zeros is a value of the structure; the kernel reads the path to its end and fills the structure.
    let (done, fs) = unsafe {
        let mut fs: libc::statfs = std::mem::zeroed();
        (libc::statfs(path.as_ptr(), &raw mut fs), fs)
    };
    let block = fs.f_bsize as u64;
    (done == 0 && fs.f_blocks > 0).then(|| {
        let used = fs.f_blocks.saturating_sub(fs.f_bfree);
        (fs.f_blocks * block, used * block)
    })
}

/// In the order of the tree, each with its depth.
fn tree(mounts: &[Mount]) -> Vec<(usize, &Mount)> {
    let known: BTreeMap<u32, &Mount> = mounts.iter().map(|mount| (mount.id, mount)).collect();
    let mut children: BTreeMap<u32, Vec<&Mount>> = BTreeMap::new();
    let mut stack = Vec::new();
    for mount in mounts {
        // The parent of the first is outside; a mount can't be its own.
        if known.contains_key(&mount.parent) && mount.parent != mount.id {
            children.entry(mount.parent).or_default().push(mount);
        } else {
            stack.push((0, mount));
        }
    }
    stack.reverse();
    let mut tree = Vec::new();
    while let Some((depth, mount)) = stack.pop() {
        tree.push((depth, mount));
        let hanging = children.remove(&mount.id).unwrap_or_default();
        stack.extend(hanging.into_iter().rev().map(|child| (depth + 1, child)));
    }
    tree
}

fn draw(mounts: &[Mount]) -> Picture {
    let tree = tree(mounts);
    let kinds: std::collections::BTreeSet<&str> = mounts.iter().map(|m| &*m.kind).collect();
    let title = format!(
        "{} of {}",
        number::things(tree.len(), "mount"),
        number::things(kinds.len(), "kind")
    );
    let mut table = Table::new([
        Column::Code("mounted at"),
        Column::Name("kind"),
        Column::Words("is"),
        Column::Code("source"),
        Column::Number("size"),
        Column::Number("used"),
        Column::Code("options"),
    ]);
    let mut svg = Svg::default();
    svg.title(&title);
    let mut looks: Vec<(&'static str, &str)> = Vec::new();
    for (_, mount) in &tree {
        if !looks.contains(&mount.look()) {
            looks.push(mount.look());
        }
    }
    let mut y = svg.legend(0.0, 22.0, &looks) + 4.0;
    // Where the line to the next one of each depth begins.
    let mut trunks: Vec<f64> = Vec::new();
    for (depth, mount) in tree.iter().take(ROWS) {
        let (colour, is) = mount.look();
        let x = (22.0 * *depth as f64).min(200.0);
        if *depth > 0 {
            let from = trunks.get(*depth).copied().unwrap_or(y - 5.0);
            svg.rule((x - 12.0, from), (x - 12.0, y + 9.0), 0.6);
            svg.rule((x - 12.0, y + 9.0), (x, y + 9.0), 0.6);
        }
        trunks.resize(*depth, y - 5.0);
        trunks.push(y + 9.0);
        let label = shorten_path(&mount.point, 34);
        let width = code_width(&label) + 16.0;
        let part = if mount.root == "/" || mount.root.contains(":[") {
            String::new()
        } else {
            format!(", its {}", mount.root)
        };
        let tip = format!("{}: {} of {}{part}", mount.point, mount.kind, mount.source);
        svg.rect((x, y, width, 19.0), colour, &tip);
        let at = (x + 8.0, y + 13.5);
        svg.text(at, Anchor::Start, Style::On(colour), &label);
        let kind = shorten(&mount.kind, 14);
        svg.text((484.0, y + 13.5), Anchor::Start, Style::Code, &kind);
        let source = shorten(&mount.source, 18);
        svg.text((590.0, y + 13.5), Anchor::Start, Style::Faint, &source);
        let mut cells = [
            format!("{}{}", "  ".repeat(*depth), mount.point),
            mount.kind.clone(),
            is.to_owned(),
            shorten(&mount.source, 40),
            String::new(),
            String::new(),
            shorten(&mount.options, 50),
        ];
        if let Some((size, used)) = mount.space {
            let share = used as f64 / size as f64;
            svg.rule((730.0, y + 16.0), (830.0, y + 16.0), 0.5);
            let bar = (730.0, y + 5.0, 100.0 * share, 11.0);
            svg.rect(bar, colour, &format!("{:.0} % used", share * 100.0));
            cells[4] = number::bytes(size as f64);
            cells[5] = format!("{:.0} %", share * 100.0);
        }
        table.row(cells);
        y += 24.0;
    }
    if tree.len() > ROWS {
        let more = format!("… {} more mounts", tree.len() - ROWS);
        svg.text((0.0, y + 12.0), Anchor::Start, Style::Faint, &more);
        y += 20.0;
        table.note(more);
    }
    let table = table.without_empty();
    let key = "bar: how much of it is used";
    svg.text((830.0, y + 10.0), Anchor::End, Style::Faint, key);
    let text = format!("{title}\n{}", table.text());
    let svg = svg.finish(&title, &text, WIDTH, y + 18.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    const INFO: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:20 / /proc rw,nosuid - proc proc rw
31 22 0:5 / /dev rw - devtmpfs devtmpfs rw,size=9k
35 31 0:22 / /dev/shm rw shared:3 master:1 - tmpfs a&b rw
36 22 254:0 /srv/a /mnt/a\\040b ro - ext4 /dev/vda rw
broken line
";

    #[test]
    fn mounts_hang_on_mounts() {
        let mut mounts: Vec<Mount> = INFO.lines().filter_map(Mount::parse).collect();
        mounts[0].space = Some((1 << 30, 1 << 29));
        let picture = draw(&mounts);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn a_loop_and_a_crowd_end() {
        let crowd: String = (1..500)
            .map(|id| format!("{id} {} 0:1 / /m{id} rw - tmpfs none rw\n", id % 7))
            .collect();
        let mounts: Vec<Mount> = crowd.lines().filter_map(Mount::parse).collect();
        let picture = draw(&mounts);
        assert!(picture.html().len() < 60_000);
        well_formed(&picture);
        well_formed(&draw(&[]));
    }

    #[test]
    fn this_process_sees_proc() {
        let picture = mounts(0).unwrap();
        assert!(picture.text().contains("/proc"));
        well_formed(&picture);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        let error = mounts(i32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
