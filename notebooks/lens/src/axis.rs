//! How are scales written: where a value lies, which ticks there are, how they read?

use crate::number;
use crate::svg::{Anchor, Style, Svg};

/// What an axis counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Things: 1, 20 k, 3 M.
    #[default]
    Count,
    /// 4 KiB, 1 MiB.
    Bytes,
    /// 850 ns, 1.2 µs, 3 ms.
    Nanoseconds,
    /// 120 MB/s, 3.4 GB/s.
    BytesPerSecond,
}

impl Unit {
    /// A value in this unit.
    pub(crate) fn read(self, value: f64) -> String {
        match self {
            Unit::Count => number::metric(value),
            Unit::Bytes => number::bytes(value),
            Unit::Nanoseconds => number::nanoseconds_plain(value),
            Unit::BytesPerSecond => number::rate(value),
        }
    }
}

/// An axis of [`lines`](crate::lines): what it shows, in which unit, and whether its steps are factors.
///
/// ```
/// use lens::{Axis, Unit};
/// let size = Axis::new("size of a read").unit(Unit::Bytes).log();
/// ```
#[derive(Clone, Debug)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) unit: Unit,
    pub(crate) log: bool,
}

impl Axis {
    /// A linear axis that counts things.
    pub fn new(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            unit: Unit::Count,
            log: false,
        }
    }

    /// What its numbers are.
    #[must_use]
    pub fn unit(mut self, unit: Unit) -> Axis {
        self.unit = unit;
        self
    }

    /// Logarithmic: equal steps are equal factors. Values that aren't positive have no place on it and are left out.
    #[must_use]
    pub fn log(mut self) -> Axis {
        self.log = true;
        self
    }

    /// Whether a value has a place on it.
    pub(crate) fn holds(&self, value: f64) -> bool {
        value.is_finite() && (!self.log || value > 0.0)
    }

    /// From values to places: `from` and `to` are the places of the lowest and the highest value shown.
    pub(crate) fn scale(&self, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (low, high) = values
            .filter(|value| self.holds(*value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let (low, high) = match (low <= high, self.log) {
            (false, true) => (1.0, 10.0),
            (false, false) => (0.0, 1.0),
            // Some room on both sides.
            (true, true) => (low / 1.3, high * 1.3),
            // A length is judged from 0.
            (true, false) => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
        };
        Scale {
            low,
            high,
            log: self.log,
            unit: self.unit,
            from,
            to,
        }
    }
}

/// An axis with its values known.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    unit: Unit,
    from: f64,
    to: f64,
}

impl Scale {
    /// Where a value lies. Beyond an end is at the end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values, about as many as `count`.
    pub(crate) fn ticks(&self, count: usize) -> Vec<f64> {
        let ticks = match (self.log, self.unit) {
            (false, unit) => even(self.low, self.high, count, unit),
            (true, Unit::Bytes) => powers(self.low, self.high, 2.0, &[1.0], count),
            (true, _) if self.high / self.low > 300.0 => {
                powers(self.low, self.high, 10.0, &[1.0], count)
            }
            (true, _) => powers(self.low, self.high, 10.0, &[1.0, 2.0, 5.0], count),
        };
        let within = |ticks: Vec<f64>| -> Vec<f64> {
            let within = ticks.into_iter();
            within
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect()
        };
        let ticks = within(ticks);
        // One number is no scale.
        if self.log && ticks.len() < 3 && self.high / self.low < 20.0 {
            return within(even(self.low, self.high, count.min(5), self.unit));
        }
        ticks
    }

    /// Draws it as a horizontal axis below `bottom`, with grid lines up to `top`.
    pub(crate) fn horizontal(&self, svg: &mut Svg, top: f64, bottom: f64, label: &str) {
        for tick in self.ticks(9) {
            let x = self.at(tick);
            svg.rule((x, top), (x, bottom), 0.15);
            svg.rule((x, bottom), (x, bottom + 4.0), 0.7);
            let text = self.unit.read(tick);
            svg.text((x, bottom + 17.0), Anchor::Middle, Style::Normal, &text);
        }
        svg.rule((self.from, bottom), (self.to, bottom), 0.7);
        let middle = f64::midpoint(self.from, self.to);
        svg.text(
            (middle, bottom + 35.0),
            Anchor::Middle,
            Style::Normal,
            label,
        );
    }

    /// Draws it as a vertical axis left of `left`, with grid lines up to `right`.
    pub(crate) fn vertical(&self, svg: &mut Svg, left: f64, right: f64, label: &str) {
        for tick in self.ticks(7) {
            let y = self.at(tick);
            svg.rule((left, y), (right, y), 0.15);
            svg.rule((left - 4.0, y), (left, y), 0.7);
            let text = self.unit.read(tick);
            svg.text((left - 8.0, y + 4.0), Anchor::End, Style::Normal, &text);
        }
        svg.rule((left, self.from), (left, self.to), 0.7);
        let middle = f64::midpoint(self.from, self.to);
        svg.text_upwards((14.0, middle), label);
    }
}

/// Multiples of 1, 2 or 5 times a power of ten; of a power of two for bytes.
fn even(low: f64, high: f64, count: usize, unit: Unit) -> Vec<f64> {
    let raw = (high - low) / count.max(1) as f64;
    let step = if unit == Unit::Bytes {
        raw.log2().ceil().exp2()
    } else {
        let power = 10f64.powf(raw.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|factor| factor * power >= raw);
        factor.unwrap_or(10.0) * power
    };
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// `factors` times powers of `base`; only each n-th power if there would be too many.
fn powers(low: f64, high: f64, base: f64, factors: &[f64], count: usize) -> Vec<f64> {
    let first = low.log(base).floor() as i32;
    let last = high.log(base).ceil() as i32;
    let every = ((last - first) as usize).div_ceil(count.max(1)).max(1);
    (first..=last)
        .step_by(every)
        .flat_map(|power| factors.iter().map(move |factor| factor * base.powi(power)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis, low: f64, high: f64) -> Vec<String> {
        let scale = axis.scale([low, high].into_iter(), 0.0, 100.0);
        let ticks = scale.ticks(6);
        ticks.into_iter().map(|tick| axis.unit.read(tick)).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Axis::new("x");
        assert_eq!(ticks(&linear, 0.0, 9.7), ["0", "2", "4", "6", "8", "10"]);
        let log = Axis::new("x").unit(Unit::Nanoseconds).log();
        assert_eq!(
            ticks(&log, 2.0, 9000.0),
            ["10 ns", "100 ns", "1 µs", "10 µs"]
        );
        assert_eq!(ticks(&log, 80.0, 700.0), ["100 ns", "200 ns", "500 ns"]);
        assert_eq!(ticks(&log, 104.0, 107.0), ["80 ns", "100 ns", "120 ns"]);
        let bytes = Axis::new("x").unit(Unit::Bytes).log();
        assert_eq!(
            ticks(&bytes, 1024.0, 8192.0),
            ["1 KiB", "2 KiB", "4 KiB", "8 KiB"]
        );
        assert_eq!(ticks(&bytes, 1024.0, 1e9).len(), 5);
    }

    #[test]
    fn nothing_and_one_value_have_an_axis_too() {
        for axis in [Axis::new("x"), Axis::new("x").log()] {
            let scale = axis.scale(std::iter::empty(), 0.0, 100.0);
            assert!(!scale.ticks(5).is_empty());
            let scale = axis.scale([f64::NAN, -1.0, 0.0].into_iter(), 0.0, 100.0);
            assert!(scale.at(0.0).is_finite());
            let scale = axis.scale([5.0, 5.0].into_iter(), 0.0, 100.0);
            assert!((0.0..=100.0).contains(&scale.at(5.0)));
        }
    }
}
