//! Which pages of a file are in memory, and which of them has no disk yet?
//!
//! `mincore(2)` says of each page of a mapping whether it is in memory. `cachestat(2)`, Linux 6.5, counts pages of a
//! range, those among them that are dirty, too. Neither reads the file.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::number;
use crate::picture::Picture;
use crate::svg::{Anchor, PURPLE, SKY, Style, Svg, VERMILION, WIDTH};
use crate::table::{self, Column, Table};

/// Boxes in a row, and boxes at most: of a bigger file a box is several pages.
const COLUMNS: u64 = 64;
const BOXES: u64 = 1024;

/// A box for each page of a file: empty where the page cache has nothing, filled where it has, in another colour
/// where what it has is not on the disk.
///
/// # Errors
/// EPERM: the file is another user's and can't be written, which both calls want. ENOSYS: neither call is there.
pub fn page_cache(file: impl AsFd) -> io::Result<Picture> {
    let fd = file.as_fd();
    let size = std::fs::File::from(fd.try_clone_to_owned()?)
        .metadata()?
        .len();
    // SAFETY: takes a number and gives one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let pages = size.div_ceil(page);
    let each = pages.div_ceil(BOXES).max(1);
    let count = pages.div_ceil(each);
    let counted = (0..count).map(|at| counted(fd, at * each * page, each * page));
    let (boxes, dirty_known) = match counted.collect::<io::Result<Vec<Part>>>() {
        Ok(boxes) => (boxes, true),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            let there = resident(fd, size, pages)?;
            let boxes = there.chunks(each as usize).map(|pages| Part {
                cached: pages.iter().filter(|page| **page & 1 == 1).count() as u64,
                ..Part::default()
            });
            (boxes.collect(), false)
        }
        Err(error) => return Err(error),
    };
    Ok(draw(pages, each, &boxes, dirty_known))
}

/// What the cache has of a few pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    cached: u64,
    /// Changed in memory only.
    dirty: u64,
    /// On its way to the disk.
    writeback: u64,
}

impl Part {
    fn state(self, pages: u64) -> (&'static str, &'static str) {
        match self {
            Part { cached: 0, .. } => ("", "not in memory"),
            Part { dirty: 1.., .. } => (VERMILION, "dirty: in memory only"),
            Part { writeback: 1.., .. } => (PURPLE, "on its way to the disk"),
            Part { cached, .. } if cached < pages => (SKY, "in memory, not all"),
            _ => (SKY, "in memory"),
        }
    }
}

/// `cachestat(2)`; its number is the same on every architecture.
fn counted(fd: BorrowedFd<'_>, from: u64, length: u64) -> io::Result<Part> {
    const SYS_CACHESTAT: libc::c_long = 451;
    let range = [from, length];
    // nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted.
    let mut counts = [0u64; 5];
    // SAFETY: the kernel reads the two numbers of the range and writes the five counts; both outlive the call.
    let done = unsafe {
        let (range, counts) = (range.as_ptr(), counts.as_mut_ptr());
        libc::syscall(SYS_CACHESTAT, fd.as_raw_fd(), range, counts, 0)
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Part {
        cached: counts[0],
        dirty: counts[1],
        writeback: counts[2],
    })
}

/// `mincore(2)` of a mapping that is made for it: a byte a page.
fn resident(fd: BorrowedFd<'_>, size: u64, pages: u64) -> io::Result<Vec<u8>> {
    let mut there = vec![0; pages as usize];
    if pages == 0 {
        return Ok(there);
    }
    let (size, raw) = (size as usize, fd.as_raw_fd());
    // SAFETY: a new mapping at a place that the kernel chooses; nothing reads it. mincore(2) writes one byte for each
    // of its pages, which is how long the vector is. Then it is unmapped, and nobody has its address.
    unsafe {
        let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        let at = libc::mmap(std::ptr::null_mut(), size, read, shared, raw, 0);
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let done = libc::mincore(at, size, there.as_mut_ptr());
        let error = io::Error::last_os_error();
        libc::munmap(at, size);
        if done == -1 {
            return Err(error);
        }
    }
    Ok(there)
}

fn draw(pages: u64, each: u64, boxes: &[Part], dirty_known: bool) -> Picture {
    let sum = |of: fn(&Part) -> u64| boxes.iter().map(of).sum::<u64>();
    let (cached, dirty, writeback) = (sum(|b| b.cached), sum(|b| b.dirty), sum(|b| b.writeback));
    let dirty = if dirty_known {
        format!(", {} dirty", number::count(dirty))
    } else {
        ", dirty ones are not known".to_owned()
    };
    let title = format!(
        "{}: {} in memory{dirty}",
        number::things(pages as usize, "page"),
        number::count(cached)
    );
    let held = |at: usize| (pages - at as u64 * each).min(each);

    let mut table = Table::new([
        Column::Number("from page"),
        Column::Number("to page"),
        Column::Words("state"),
    ]);
    let mut at = 0;
    let mut runs = 0;
    while at < boxes.len() {
        let state = boxes[at].state(held(at)).1;
        let alike = (at..boxes.len()).take_while(|at| boxes[*at].state(held(*at)).1 == state);
        let last = at + alike.count() - 1;
        runs += 1;
        if runs <= 32 {
            let first = at as u64 * each;
            let end = last as u64 * each + held(last) - 1;
            table.row([first.to_string(), end.to_string(), state.to_owned()]);
        }
        at = last + 1;
    }
    if runs > 32 {
        table.note(format!("… {} more runs of pages", runs - 32));
    }
    let text = format!("{title}\n{}", table.text());

    let mut svg = Svg::default();
    svg.title(&title);
    let mut legend = vec![(SKY, "in memory, as on the disk")];
    if dirty_known {
        legend.push((VERMILION, "dirty: in memory only"));
    }
    if writeback > 0 {
        legend.push((PURPLE, "on its way to the disk"));
    }
    let top = svg.legend(0.0, 22.0, &legend) + 4.0;
    let side = WIDTH / COLUMNS as f64;
    for (index, held_pages) in boxes.iter().enumerate() {
        let (row, column) = (index as u64 / COLUMNS, index as u64 % COLUMNS);
        let (x, y) = (side * column as f64, top + side * row as f64);
        let (colour, state) = held_pages.state(held(index));
        let first = index as u64 * each;
        let tip = if each == 1 {
            format!("page {first}: {state}")
        } else {
            format!("pages {first}–{}: {state}", first + held(index) - 1)
        };
        // Every box has a floor, so that an empty one is seen.
        let floor = y + side - 1.5;
        svg.rule((x + 0.5, floor), (x + side - 1.5, floor), 0.4);
        if !colour.is_empty() {
            let share = held_pages.cached as f64 / held(index) as f64;
            let height = (side - 2.0) * share.clamp(0.1, 1.0);
            svg.rect((x, floor - height, side - 1.5, height), colour, &tip);
        }
    }
    let bottom = top + side * (boxes.len() as u64).div_ceil(COLUMNS) as f64 + 16.0;
    let key = match each {
        1 => "a box is a page; empty: not in memory".to_owned(),
        each => format!("a box is {each} pages; empty: not in memory"),
    };
    svg.text((0.0, bottom), Anchor::Start, Style::Faint, &key);
    let svg = svg.finish(&title, &text, WIDTH, bottom + 8.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::svg::tests::well_formed;

    fn cached(dirty: u64) -> Part {
        Part {
            cached: 1,
            dirty,
            writeback: 0,
        }
    }

    #[test]
    fn runs_of_pages() {
        let mut boxes = vec![Part::default(); 100];
        boxes[10..40].fill(cached(0));
        boxes[40..42].fill(cached(1));
        let picture = draw(100, 1, &boxes, true);
        insta::assert_snapshot!(picture.text(), @r"
        100 pages: 32 in memory, 2 dirty
        FROM PAGE  TO PAGE  STATE
                0        9  not in memory
               10       39  in memory
               40       41  dirty: in memory only
               42       99  not in memory
        ");
        well_formed(&picture);
    }

    #[test]
    fn a_big_file_and_an_empty_one() {
        let boxes = vec![
            Part {
                cached: 2,
                ..Part::default()
            };
            1000
        ];
        let picture = draw(3999, 4, &boxes, false);
        assert!(picture.text().contains("in memory, not all"));
        well_formed(&picture);
        well_formed(&draw(0, 1, &[], true));
    }

    #[test]
    fn what_was_written_is_in_memory() {
        let path = std::env::temp_dir().join(format!("lens-pages-{}", std::process::id()));
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&vec![1; 20 * 4096]).unwrap();
        let picture = page_cache(&file).unwrap();
        assert!(picture.title().contains("in memory"), "{picture:?}");
        assert!(!picture.title().contains(": 0 in memory"), "{picture:?}");
        let there = resident(file.as_fd(), 20 * 4096, 20).unwrap();
        assert!(there.iter().any(|page| page & 1 == 1));
        well_formed(&picture);
    }
}
