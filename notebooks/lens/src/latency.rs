//! How do several measured things compare, spread included?

use crate::axis::{Axis, Unit};
use crate::measure::Series;
use crate::number::{self, nanoseconds_plain};
use crate::picture::Picture;
use crate::svg::{Anchor, SKY, Style, Svg, VERMILION, WIDTH, shorten};
use crate::table::{self, Column, Table};

const LEFT: f64 = 210.0;
const RIGHT: f64 = WIDTH - 100.0;
const ROW: f64 = 34.0;

/// One row a series on a logarithmic axis of time: a box from the first to the third quartile, the median in it, a
/// line from the shortest measurement to the 99th percentile, a ring at the longest.
///
/// In the order given: put first what the others are compared with.
pub fn latency(title: impl Into<String>, series: &[Series]) -> Picture {
    let title = title.into();
    let table = rows(series);
    let text = format!("{title}\n{}", table.text());

    let mut svg = Svg::default();
    svg.text((0.0, 14.0), Anchor::Start, Style::Bold, &title);
    let top = 26.0;
    let bottom = top + ROW * series.len().max(1) as f64;
    let axis = Axis::new("").unit(Unit::Nanoseconds).log();
    let ends = series
        .iter()
        .flat_map(|series| [series.min(), series.max()]);
    // The clock counts whole nanoseconds: a measured 0 is drawn as a tenth.
    let scale = axis.scale(ends.map(|ns| ns.max(0.1)), LEFT, RIGHT);
    scale.horizontal(&mut svg, top, bottom, "time of one call, logarithmic");
    for (index, series) in series.iter().enumerate() {
        let y = top + ROW * (index as f64 + 0.5);
        let name = shorten(series.name(), 32);
        svg.text((LEFT - 12.0, y + 4.0), Anchor::End, Style::Normal, &name);
        if series.is_empty() {
            svg.text(
                (LEFT + 6.0, y + 4.0),
                Anchor::Start,
                Style::Faint,
                "not measured",
            );
            continue;
        }
        let at = |q: f64| scale.at(series.quantile(q));
        svg.rule((at(0.0), y), (at(0.99), y), 0.8);
        svg.rule((at(0.0), y - 5.0), (at(0.0), y + 5.0), 0.8);
        svg.rule((at(0.99), y - 5.0), (at(0.99), y + 5.0), 0.8);
        let (first, third) = (at(0.25), at(0.75));
        svg.rect(
            (first, y - 9.0, (third - first).max(2.0), 18.0),
            SKY,
            &series.to_string(),
        );
        svg.rect(
            (at(0.5) - 1.0, y - 11.0, 2.0, 22.0),
            "currentColor",
            &series.to_string(),
        );
        let longest = format!("longest: {}", nanoseconds_plain(series.max()));
        svg.dot((at(1.0), y), 3.0, VERMILION, false, &longest);
        let median = nanoseconds_plain(series.median());
        svg.text((RIGHT + 14.0, y - 2.0), Anchor::Start, Style::Bold, &median);
        let count = number::count(series.len() as u64);
        let count = format!("{count} × {}", number::count(series.batch()));
        svg.text(
            (RIGHT + 14.0, y + 12.0),
            Anchor::Start,
            Style::Faint,
            &count,
        );
    }
    let y = bottom + 56.0;
    let key = "box: half of the measurements · bar in it and number: median · line: shortest to 99 % · ring: longest · n × calls each";
    svg.text((WIDTH, y), Anchor::End, Style::Faint, key);
    let svg = svg.finish(&title, &text, WIDTH, y + 8.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

fn rows(series: &[Series]) -> Table {
    let mut table = Table::new([
        Column::Words("one call of"),
        Column::Number("shortest"),
        Column::Number("quartile"),
        Column::Number("median"),
        Column::Number("quartile"),
        Column::Number("99 %"),
        Column::Number("longest"),
        Column::Number("measured"),
        Column::Number("calls each"),
    ]);
    for series in series {
        let mut cells = vec![series.name().to_owned()];
        cells.extend([0.0, 0.25, 0.5, 0.75, 0.99, 1.0].map(|q| {
            if series.is_empty() {
                String::new()
            } else {
                nanoseconds_plain(series.quantile(q))
            }
        }));
        cells.push(number::count(series.len() as u64));
        cells.push(number::count(series.batch()));
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    #[test]
    fn spread_and_counts_are_shown() {
        let series = [
            Series::from_ns(
                "function call",
                (0..100).map(|n| 1.0 + f64::from(n) / 100.0),
            ),
            Series::from_ns(
                "read <1 byte>",
                (0..200).map(|n| 150.0 + f64::from(n * n) / 40.0),
            ),
            Series::from_ns("nothing", []),
            Series::from_ns("too quick for the clock", [0.0]),
        ];
        let picture = latency("Crossing", &series);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
        well_formed(&latency("empty", &[]));
    }
}
