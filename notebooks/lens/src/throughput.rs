//! How many bytes a second do several ways move, spread included?

use crate::axis::{Axis, Unit};
use crate::measure::Series;
use crate::number::{self, rate};
use crate::picture::Picture;
use crate::svg::{Anchor, SKY, Style, Svg, WIDTH, shorten};
use crate::table::{self, Column, Table};

const LEFT: f64 = 210.0;
const RIGHT: f64 = WIDTH - 130.0;
const ROW: f64 = 34.0;

/// One bar a series, as long as the median of its rates; across its end a line from the slowest to the fastest
/// measurement, and a thick one over the middle half of them.
///
/// How much one call moves is said by [`Series::carrying`].
pub fn throughput(title: impl Into<String>, series: &[Series]) -> Picture {
    let title = title.into();
    let table = rows(series);
    let text = format!("{title}\n{}", table.text());

    let mut svg = Svg::default();
    svg.text((0.0, 14.0), Anchor::Start, Style::Bold, &title);
    let top = 26.0;
    let bottom = top + ROW * series.len().max(1) as f64;
    let axis = Axis::new("").unit(Unit::BytesPerSecond);
    let measured = series.iter().filter(|series| !series.is_empty());
    let scale = axis.scale(measured.map(|series| series.rate_at(1.0)), LEFT, RIGHT);
    scale.horizontal(&mut svg, top, bottom, "bytes a second");
    for (index, series) in series.iter().enumerate() {
        let y = top + ROW * (index as f64 + 0.5);
        let name = shorten(series.name(), 32);
        svg.text((LEFT - 12.0, y + 4.0), Anchor::End, Style::Normal, &name);
        if series.is_empty() {
            let at = (LEFT + 6.0, y + 4.0);
            svg.text(at, Anchor::Start, Style::Faint, "not measured");
            continue;
        }
        let at = |q: f64| scale.at(series.rate_at(q));
        let tip = format!("{}: {}", series.name(), rate(series.rate()));
        svg.rect((LEFT, y - 9.0, at(0.5) - LEFT, 18.0), SKY, &tip);
        svg.rule((at(0.0), y), (at(1.0), y), 0.9);
        for end in [at(0.0), at(1.0)] {
            svg.rule((end, y - 5.0), (end, y + 5.0), 0.9);
        }
        let (first, third) = (at(0.25), at(0.75));
        let middle = (first, y - 2.0, (third - first).max(2.0), 4.0);
        svg.rect(middle, "currentColor", &tip);
        let beside = (RIGHT + 14.0, y - 2.0);
        svg.text(beside, Anchor::Start, Style::Bold, &rate(series.rate()));
        let count = number::count(series.len() as u64);
        let count = format!("{count} × {}", moved(series));
        let beside = (RIGHT + 14.0, y + 12.0);
        svg.text(beside, Anchor::Start, Style::Faint, &count);
    }
    let y = bottom + 56.0;
    let key = "bar and number: median · thick line: half of the measurements · thin line: slowest to fastest · n × bytes each";
    svg.text((WIDTH, y), Anchor::End, Style::Faint, key);
    let svg = svg.finish(&title, &text, WIDTH, y + 8.0);
    let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
    Picture::new(title, text, svg, html)
}

fn rows(series: &[Series]) -> Table {
    let mut table = Table::new([
        Column::Words("by"),
        Column::Number("slowest"),
        Column::Number("quartile"),
        Column::Number("median"),
        Column::Number("quartile"),
        Column::Number("fastest"),
        Column::Number("measured"),
        Column::Number("bytes each"),
    ]);
    for series in series {
        let mut cells = vec![series.name().to_owned()];
        cells.extend([0.0, 0.25, 0.5, 0.75, 1.0].map(|q| {
            if series.is_empty() {
                String::new()
            } else {
                rate(series.rate_at(q))
            }
        }));
        cells.push(number::count(series.len() as u64));
        cells.push(moved(series));
        table.row(cells);
    }
    table
}

/// In one measurement.
fn moved(series: &Series) -> String {
    number::bytes(series.bytes() as f64 * series.batch() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    #[test]
    fn rates_and_their_spread_are_shown() {
        let series = [
            Series::from_ns("pipe", (0..20).map(|n| 1e6 + 1e4 * f64::from(n))).carrying(1 << 20),
            Series::from_ns("<memory>", (0..20).map(|n| 1e5 + 5e3 * f64::from(n)))
                .carrying(1 << 20),
            Series::from_ns("nothing", []),
            Series::from_ns("no bytes", [1.0]),
        ];
        let picture = throughput("Moving a mebibyte", &series);
        insta::assert_snapshot!(picture.text());
        well_formed(&picture);
        well_formed(&throughput("empty", &[]));
    }
}
