//! How many bytes a second do several ways move, spread included?

use crate::axis::{Axis, Unit};
use crate::measure::Series;
use crate::number::{self, rate};
use crate::picture::Picture;
use crate::spread::{self, LEFT, RIGHT, Spread};
use crate::svg::SKY;
use crate::table::Column;

/// One bar a series, as long as the median of its rates; across its end a line from the slowest to the fastest
/// measurement, and a thick one over the middle half of them.
///
/// How much one call moves is said by [`Series::carrying`].
pub fn throughput(title: impl Into<String>, series: &[Series]) -> Picture {
    let table = spread::rows(
        [
            Column::Words("by"),
            Column::Number("slowest"),
            Column::Number("quartile"),
            Column::Number("median"),
            Column::Number("quartile"),
            Column::Number("fastest"),
            Column::Number("measured"),
            Column::Number("bytes each"),
        ],
        series,
        &[0.0, 0.25, 0.5, 0.75, 1.0],
        |series, q| rate(series.rate_at(q)),
        moved,
    );
    let measured = series.iter().filter(|series| !series.is_empty());
    let fastest = measured.map(|series| series.rate_at(1.0));
    let axis = Axis::new("").unit(Unit::BytesPerSecond);
    let spread = Spread {
        title: title.into(),
        scale: axis.scale(fastest, LEFT, RIGHT),
        label: "bytes a second",
        key: "bar and number: median · thick line: half of the measurements · thin line: slowest to fastest · \
              measurements × bytes",
        table,
    };
    let median = |series: &Series| rate(series.rate());
    spread.draw(series, median, |svg, scale, y, series| {
        let at = |q: f64| scale.at(series.rate_at(q));
        let tip = format!("{}: {}", series.name(), rate(series.rate()));
        svg.rect((LEFT, y - 9.0, at(0.5) - LEFT, 18.0), SKY, &tip);
        svg.rule((at(0.0), y), (at(1.0), y), 0.9);
        for end in [at(0.0), at(1.0)] {
            svg.rule((end, y - 5.0), (end, y + 5.0), 0.9);
        }
        let (first, third) = (at(0.25), at(0.75));
        let middle_half = (first, y - 2.0, (third - first).max(2.0), 4.0);
        svg.rect(middle_half, "currentColor", &tip);
        moved(series)
    })
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
