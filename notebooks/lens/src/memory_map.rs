//! What lies where in an address space?

use std::io;

use crate::number;
use crate::picture::Picture;
use crate::proc::{self, Pid};
use crate::svg::{
    Anchor, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Style, Svg, VERMILION, WIDTH, shorten,
    shorten_path,
};
use crate::table::{self, Column, Table};

/// The upper half of all addresses is not the process's, except for one page ("[vsyscall]" of x86_64).
const KERNEL: u64 = 1 << 63;

/// Areas that are shown.
const ROWS: usize = 48;

/// The mappings of a process (`proc_pid_maps(5)`), the highest address first. Neighbours of the same file are one
/// area; the length of a bar is logarithmic.
///
/// # Errors
/// ENOENT: no such process. EACCES: it is another user's. The message names the path.
pub fn memory_map(pid: impl Into<Pid>) -> io::Result<Picture> {
    let pid = pid.into();
    let maps = proc::read(pid.number(), "maps")?;
    Ok(draw(&pid.title(), &areas(&maps)))
}

/// The file that is mapped at an address, or `[heap]`, `[stack]`, `[vdso]`; an empty name where there is memory without a file.
/// `None`: there is no memory.
///
/// # Errors
/// As [`memory_map`].
pub fn file_at(pid: impl Into<Pid>, address: u64) -> io::Result<Option<String>> {
    let maps = proc::read(pid.into().number(), "maps")?;
    let area = areas(&maps)
        .into_iter()
        .find(|area| (area.start..area.end).contains(&address));
    Ok(area.map(|area| area.name))
}

/// Neighbouring mappings of one thing.
#[derive(Debug, PartialEq)]
struct Area {
    start: u64,
    end: u64,
    /// "r-xp", and of merged mappings all that differ.
    permissions: Vec<String>,
    name: String,
}

impl Area {
    fn kind(&self) -> Kind {
        match self.name.as_str() {
            "[heap]" => Kind::Heap,
            "[stack]" => Kind::Stack,
            "[vdso]" | "[vvar]" | "[vsyscall]" | "[vvar_vclock]" => Kind::Kernel,
            name if name.starts_with("[anon") => Kind::Anonymous,
            "" => Kind::Anonymous,
            name if name.contains(".so") => Kind::Library,
            name if name.starts_with('/') && self.permissions.iter().any(|p| p.contains('x')) => {
                Kind::Program
            }
            _ => Kind::File,
        }
    }

    fn permissions(&self) -> String {
        self.permissions.join(" ")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Program,
    Library,
    File,
    Heap,
    Anonymous,
    Stack,
    Kernel,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Program,
        Kind::Library,
        Kind::File,
        Kind::Heap,
        Kind::Anonymous,
        Kind::Stack,
        Kind::Kernel,
    ];

    fn look(self) -> (&'static str, &'static str) {
        match self {
            Kind::Program => (BLUE, "program"),
            Kind::Library => (SKY, "shared library"),
            Kind::File => (PURPLE, "other file"),
            Kind::Heap => (ORANGE, "heap (brk)"),
            Kind::Anonymous => (GREEN, "memory without a file (mmap)"),
            Kind::Stack => (VERMILION, "stack"),
            Kind::Kernel => (GREY, "the kernel's pages (vDSO)"),
        }
    }
}

/// Merges neighbours of the same name, a library's text and data.
fn areas(maps: &str) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for line in maps.lines() {
        let Some(area) = parse(line) else { continue };
        match areas.last_mut() {
            Some(last) if last.end == area.start && last.name == area.name => {
                last.end = area.end;
                for permission in area.permissions {
                    if !last.permissions.contains(&permission) {
                        last.permissions.push(permission);
                    }
                }
            }
            _ => areas.push(area),
        }
    }
    areas
}

/// "7f12a000-7f12b000 r-xp 00000000 fd:00 1234   /usr/lib/libc.so.6".
fn parse(line: &str) -> Option<Area> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let mut words = rest.splitn(4, ' ');
    let permissions = words.next()?.to_owned();
    // Offset and device; then the inode, spaces, the name.
    let rest = words.nth(2)?;
    let name = rest.split_once(' ').map_or("", |(_, name)| name.trim());
    Some(Area {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        permissions: vec![permissions],
        name: name.to_owned(),
    })
}

fn draw(title: &str, areas: &[Area]) -> Picture {
    let total: u64 = areas.iter().map(|area| area.end - area.start).sum();
    let title = format!(
        "address space of {title}: {} in {}",
        number::bytes(total as f64),
        number::things(areas.len(), "area")
    );
    let mut table = Table::new([
        Column::Code("from"),
        Column::Code("to"),
        Column::Number("size"),
        Column::Code("permissions"),
        Column::Words("kind"),
        Column::Code("what"),
    ]);
    let mut svg = Svg::default();
    svg.title(&title);
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| areas.iter().any(|area| area.kind() == *kind))
        .map(Kind::look)
        .collect();
    let mut y = svg.legend(0.0, 22.0, &kinds) + 2.0;
    let mut above: Option<u64> = None;
    // The lower part, program and heap, is always shown.
    let head = ROWS - 16;
    let hidden = areas.len().saturating_sub(ROWS);
    for (index, area) in areas.iter().rev().enumerate() {
        if hidden > 0 && (head..head + hidden).contains(&index) {
            if index == head {
                let more = format!("… {hidden} more areas …");
                svg.text((150.0, y + 12.0), Anchor::Start, Style::Faint, &more);
                y += 20.0;
                table.note(more);
            }
            above = Some(area.start);
            continue;
        }
        let size = (area.end - area.start) as f64;
        if let Some(above) = above
            && above > area.end
        {
            let gap = if above > KERNEL && area.end < KERNEL {
                "⋮ the kernel's half".to_owned()
            } else {
                let size = (above - area.end) as f64;
                format!("⋮ {} of nothing", number::bytes(size))
            };
            svg.text((150.0, y + 10.0), Anchor::Start, Style::Faint, &gap);
            y += 15.0;
        }
        above = Some(area.start);
        let (colour, kind) = area.kind().look();
        // A page is a short bar, a terabyte a long one.
        let width = 8.0 + 262.0 * ((size / 4096.0).max(1.0).log2() / 30.0).min(1.0);
        let tip = format!("{:#x}–{:#x} {}", area.start, area.end, area.name);
        svg.text(
            (140.0, y + 12.0),
            Anchor::End,
            Style::Code,
            &format!("{:#x}", area.start),
        );
        svg.rect((150.0, y + 1.0, width, 14.0), colour, &tip);
        svg.text(
            (158.0 + width, y + 12.0),
            Anchor::Start,
            Style::Normal,
            &number::bytes(size),
        );
        svg.text(
            (500.0, y + 12.0),
            Anchor::Start,
            Style::Code,
            &shorten(&area.permissions(), 15),
        );
        let name = if area.name.is_empty() {
            kind
        } else {
            &area.name
        };
        svg.text(
            (624.0, y + 12.0),
            Anchor::Start,
            Style::Normal,
            &shorten_path(name, 32),
        );
        y += 19.0;
        table.row([
            format!("{:#x}", area.start),
            format!("{:#x}", area.end),
            number::bytes(size),
            area.permissions(),
            kind.to_owned(),
            shorten_path(&area.name, 80),
        ]);
    }
    let text = format!("{title}\n{}", table.text());
    let svg = svg.finish(&title, &text, WIDTH, y + 8.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    const MAPS: &str = "\
55d0a000-55d0b000 r--p 00000000 fd:00 11 /opt/a b <c>
55d0b000-55d0d000 r-xp 00001000 fd:00 11 /opt/a b <c>
55d0e000-55d2f000 rw-p 00000000 00:00 0  [heap]
7f120000-7f121000 rw-p 00000000 00:00 0
7f121000-7f130000 r--p 00000000 fd:00 12 /usr/lib/libc.so.6
7ffd0000-7ffd4000 rw-p 00000000 00:00 0  [stack]
broken line
";

    #[test]
    fn neighbours_are_one_area() {
        let picture = draw("process 7", &areas(MAPS));
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn nothing_and_very_much_are_drawn_too() {
        well_formed(&draw("nobody", &[]));
        let maps: String = (0..5000u64)
            .map(|n| format!("{:x}-{:x} rw-p 0 0:0 0 \n", n * 8192, n * 8192 + 4096))
            .collect();
        let picture = draw("many", &areas(&maps));
        assert!(picture.html().len() < 40_000);
        well_formed(&picture);
    }

    #[test]
    fn an_address_has_a_file() {
        let code = an_address_has_a_file as *const () as u64;
        let file = file_at(0, code).unwrap().unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(file, own.to_string_lossy());
        assert_eq!(file_at(0, 8).unwrap(), None);
    }

    #[test]
    fn this_process_has_a_stack() {
        let picture = memory_map(0).unwrap();
        assert!(picture.text().contains("[stack]"));
        well_formed(&picture);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        let error = memory_map(i32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
