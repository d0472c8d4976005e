//! How does one quantity depend on another?

use crate::axis::Axis;
use crate::picture::Picture;
use crate::svg::{
    Anchor, BLUE, GREEN, ORANGE, PURPLE, SKY, Style, Svg, VERMILION, WIDTH, shorten, width,
};
use crate::table::{self, Column, Table};

const LEFT: f64 = 82.0;
const RIGHT: f64 = WIDTH - 12.0;
const HEIGHT: f64 = 300.0;

/// Characters of a name in the key.
const NAME: usize = 60;

/// Colours with dashes: lines can be told apart without colours, too.
const LOOKS: [(&str, &str); 6] = [
    (BLUE, ""),
    (VERMILION, "9 3"),
    (GREEN, "3 3"),
    (ORANGE, "9 3 3 3"),
    (PURPLE, "14 4"),
    (SKY, "2 5"),
];

/// Points with a name.
#[derive(Clone, Debug)]
pub struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// `points` in the order in which they are to be joined.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
        Line {
            name: name.into(),
            points: points.into_iter().collect(),
        }
    }
}

/// Lines in one pair of axes. A linear axis begins at 0; a point that an axis can't hold is left out.
///
/// ```
/// use lens::{Axis, Line, Unit, lines};
/// let copied = Line::new("read and write", [(4096.0, 900.0), (65536.0, 7100.0)]);
/// let size = Axis::new("bytes at a time").unit(Unit::Bytes).log();
/// let time = Axis::new("time of one copy").unit(Unit::Nanoseconds).log();
/// println!("{}", lines("Copying", &size, &time, &[copied]));
/// ```
pub fn lines(title: impl Into<String>, x: &Axis, y: &Axis, lines: &[Line]) -> Picture {
    let title = title.into();
    let text = format!("{title}\n{}", rows(x, y, lines).text());

    let mut svg = Svg::default();
    svg.title(&title);
    // The places of the key, in as many rows as it takes.
    let mut keys = Vec::new();
    let mut key = (LEFT, 36.0);
    for line in lines {
        let room = 54.0 + 6.8 * width(&shorten(&line.name, NAME)) as f64;
        if key.0 + room > WIDTH && key.0 > LEFT {
            key = (LEFT, key.1 + 18.0);
        }
        keys.push(key);
        key.0 += room;
    }
    let top = key.1 + 16.0;
    let bottom = top + HEIGHT;
    let points = |line: &Line| -> Vec<(f64, f64)> {
        let held = line.points.iter().copied();
        held.filter(|point| x.holds(point.0) && y.holds(point.1))
            .collect()
    };
    let all: Vec<(f64, f64)> = lines.iter().flat_map(points).collect();
    let across = x.scale(all.iter().map(|point| point.0), LEFT, RIGHT);
    let up = y.scale(all.iter().map(|point| point.1), bottom, top);
    across.horizontal(&mut svg, top, bottom, &scale_name(x));
    up.vertical(&mut svg, LEFT, RIGHT, &scale_name(y));
    if all.is_empty() {
        let middle = (f64::midpoint(LEFT, RIGHT), f64::midpoint(top, bottom));
        svg.text(middle, Anchor::Middle, Style::Faint, "there is no point");
    }
    for (index, (line, (key, height))) in lines.iter().zip(keys).enumerate() {
        // The seventh has the first one's colour, and another dash.
        let colour = LOOKS[index % LOOKS.len()].0;
        let dash = LOOKS[(index + index / LOOKS.len()) % LOOKS.len()].1;
        let points = points(line);
        let places: Vec<_> = points
            .iter()
            .map(|(a, b)| (across.at(*a), up.at(*b)))
            .collect();
        svg.path(&places, colour, dash);
        // Dots of many points would hide the line.
        if points.len() <= 100 {
            for ((a, b), place) in points.iter().zip(&places) {
                let tip = format!("{}: {} at {}", line.name, y.unit.read(*b), x.unit.read(*a));
                svg.dot(*place, 3.0, colour, true, &tip);
            }
        }
        svg.path(&[(key, height), (key + 26.0, height)], colour, dash);
        let (at, name) = ((key + 32.0, height + 4.0), shorten(&line.name, NAME));
        svg.text(at, Anchor::Start, Style::Normal, &name);
    }
    let svg = svg.finish(&title, &text, WIDTH, bottom + 44.0);
    let table = table::folded(&rows(x, y, lines).html(&title));
    let html = table::page(&format!("{svg}{table}"));
    Picture::new(title, text, svg, html)
}

fn scale_name(axis: &Axis) -> String {
    if axis.log {
        format!("{}, logarithmic", axis.label)
    } else {
        axis.label.clone()
    }
}

/// Of a long line every n-th point.
fn rows(x: &Axis, y: &Axis, lines: &[Line]) -> Table {
    let mut table = Table::new([
        Column::Words("line"),
        Column::Number("x"),
        Column::Number("y"),
    ]);
    table.note(format!("x: {}; y: {}", x.label, y.label));
    for line in lines {
        let held = line.points.iter();
        let held: Vec<_> = held.filter(|(a, b)| x.holds(*a) && y.holds(*b)).collect();
        let every = held.len() / 24 + 1;
        for (a, b) in held.iter().step_by(every) {
            table.row([line.name.clone(), x.unit.read(*a), y.unit.read(*b)]);
        }
        let left_out = line.points.len() - held.len();
        if left_out > 0 {
            table.note(format!("{}: {left_out} points have no place", line.name));
        }
        if every > 1 {
            let all = line.points.len();
            table.note(format!(
                "{}: {all} points, one of {every} is listed",
                line.name
            ));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Unit;
    use crate::svg::tests::well_formed;

    #[test]
    fn points_with_units() {
        let size = Axis::new("bytes & more").unit(Unit::Bytes).log();
        let time = Axis::new("time").unit(Unit::Nanoseconds);
        let picture = lines(
            "Copying <fast>",
            &size,
            &time,
            &[
                Line::new(
                    "read",
                    (10..16).map(|n| (f64::from(1 << n), f64::from(n) * 100.0)),
                ),
                Line::new("no place", [(0.0, 1.0), (f64::NAN, f64::INFINITY)]),
                Line::new("empty", []),
            ],
        );
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
    }

    #[test]
    fn a_long_line_is_listed_in_part() {
        let line = Line::new("long", (0..10_000).map(|n| (f64::from(n), f64::from(n))));
        let picture = lines("Many", &Axis::new("x"), &Axis::new("y"), &[line]);
        assert!(picture.text().lines().count() < 40);
        well_formed(&picture);
    }
}
