//! How do several measured things compare, spread included?

use crate::axis::{Axis, Unit};
use crate::measure::Series;
use crate::number::{self, nanoseconds_plain};
use crate::picture::Picture;
use crate::spread::{self, LEFT, RIGHT, Spread};
use crate::svg::{SKY, VERMILION};
use crate::table::Column;

/// One row a series on a logarithmic axis of time: a box from the first to the third quartile, the median in it, a
/// line from the shortest measurement to the 99th percentile, a ring at the longest.
///
/// `one` is what takes that time, as the axis says it: "call", "round trip". In the order given: put first what the
/// others are compared with.
pub fn latency(title: impl Into<String>, one: &str, series: &[Series]) -> Picture {
    let table = spread::rows(
        [
            Column::Words("what"),
            Column::Number("shortest"),
            Column::Number("quartile"),
            Column::Number("median"),
            Column::Number("quartile"),
            Column::Number("99 %"),
            Column::Number("longest"),
            Column::Number("measured"),
            Column::Number("in a row"),
        ],
        series,
        &[0.0, 0.25, 0.5, 0.75, 0.99, 1.0],
        |series, q| nanoseconds_plain(series.quantile(q)),
        |series| number::count(series.batch()),
    );
    let ends = series
        .iter()
        .flat_map(|series| [series.min(), series.max()]);
    // The clock counts whole nanoseconds: a measured 0 is drawn as a tenth.
    let ends = ends.map(|ns| ns.max(0.1));
    let axis = Axis::new("").unit(Unit::Nanoseconds).log();
    let spread = Spread {
        title: title.into(),
        scale: axis.scale(ends, LEFT, RIGHT),
        label: &format!("time of one {one}, logarithmic"),
        key: "box: half of the measurements · bar in it and number: median · line: shortest to 99 % · ring: longest · \
              measurements × in a row",
        table,
    };
    let median = |series: &Series| nanoseconds_plain(series.median());
    spread.draw(series, median, |svg, scale, y, series| {
        let at = |q: f64| scale.at(series.quantile(q));
        svg.rule((at(0.0), y), (at(0.99), y), 0.8);
        for end in [at(0.0), at(0.99)] {
            svg.rule((end, y - 5.0), (end, y + 5.0), 0.8);
        }
        let tip = series.to_string();
        let (first, third) = (at(0.25), at(0.75));
        let middle_half = (first, y - 9.0, (third - first).max(2.0), 18.0);
        svg.rect(middle_half, SKY, &tip);
        svg.rect((at(0.5) - 1.0, y - 11.0, 2.0, 22.0), "currentColor", &tip);
        let longest = format!("longest: {}", nanoseconds_plain(series.max()));
        svg.dot((at(1.0), y), 3.0, VERMILION, false, &longest);
        number::count(series.batch())
    })
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
        let picture = latency("Crossing", "call", &series);
        insta::assert_snapshot!(picture.text());
        assert!(picture.svg().contains(">time of one call, logarithmic<"));
        well_formed(&picture);
        well_formed(&latency("empty", "call", &[]));
    }
}
