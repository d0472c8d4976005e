//! How long does one call of this closure take?
//!
//! A clock has a resolution, and reading it takes tens of nanoseconds. So a *batch* of calls is timed, long enough
//! that neither matters, and divided by the size of the batch. What the spread then shows is that between batches:
//! a single slow call among thousands is averaged away. Where single calls matter, time each and use
//! [`Series::from_durations`].

use std::fmt;
use std::time::{Duration, Instant};

use crate::number;

/// Reading the clock twice, about 50 ns, is 0.1 % of it.
const BATCH: Duration = Duration::from_micros(50);

/// Measurements of one thing, in nanoseconds a call.
#[derive(Clone, Debug)]
pub struct Series {
    name: String,
    /// In ascending order.
    ns: Vec<f64>,
    batch: u64,
    /// What one call moves.
    bytes: u64,
}

/// Measures `f` in `rounds` batches.
///
/// First the size of a batch is sought, which warms caches up; then each batch is timed with `CLOCK_MONOTONIC`
/// ([`Instant`]). What `f` computes must go through [`std::hint::black_box`], or an optimising compiler throws it
/// away. The loop around `f` costs about a nanosecond, which is in the result.
pub fn measure(name: impl Into<String>, rounds: usize, mut f: impl FnMut()) -> Series {
    // Not generic: compiled with this crate, however the caller is compiled.
    measure_dyn(name.into(), rounds, &mut f)
}

fn measure_dyn(name: String, rounds: usize, f: &mut dyn FnMut()) -> Series {
    let mut batch = 1;
    while time(batch, f) < BATCH && batch < 1 << 30 {
        batch *= 2;
    }
    let ns = (0..rounds).map(|_| time(batch, f).as_nanos() as f64 / batch as f64);
    Series {
        batch,
        ..Series::from_ns(name, ns)
    }
}

fn time(batch: u64, f: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    // An iterator would cost more than a function call when this isn't optimised.
    let mut left = batch;
    while left > 0 {
        f();
        left -= 1;
    }
    start.elapsed()
}

impl Series {
    /// Nanoseconds, each of one call. What isn't a number is left out.
    pub fn from_ns(name: impl Into<String>, ns: impl IntoIterator<Item = f64>) -> Series {
        let mut ns: Vec<f64> = ns.into_iter().filter(|ns| ns.is_finite()).collect();
        ns.sort_by(f64::total_cmp);
        Series {
            name: name.into(),
            ns,
            batch: 1,
            bytes: 0,
        }
    }

    /// Durations, each of one call.
    pub fn from_durations(
        name: impl Into<String>,
        times: impl IntoIterator<Item = Duration>,
    ) -> Series {
        Series::from_ns(name, times.into_iter().map(|time| time.as_nanos() as f64))
    }

    /// Says how many bytes one call moves, for [`throughput`](crate::throughput()).
    #[must_use]
    pub fn carrying(mut self, bytes: u64) -> Series {
        self.bytes = bytes;
        self
    }

    /// How many bytes one call moves; 0 if nobody said.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes a second, by the median.
    pub fn rate(&self) -> f64 {
        self.rate_at(0.5)
    }

    /// Bytes a second that the share `q` of the measurements reached or stayed below.
    pub(crate) fn rate_at(&self, q: f64) -> f64 {
        // The slowest call has the lowest rate. The clock counts whole nanoseconds.
        self.bytes as f64 * 1e9 / self.quantile(1.0 - q).max(1.0)
    }

    /// What was measured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many measurements there are.
    pub fn len(&self) -> usize {
        self.ns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ns.is_empty()
    }

    /// How many calls one measurement is the mean of.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The shortest, in ns: what it costs when nothing else interferes.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// Half of the measurements are below it, in ns.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// One in a hundred is above it, in ns.
    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// The longest, in ns.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The measurement that the share `q`, from 0 to 1, of them doesn't exceed (nearest rank), in ns; NaN if there
    /// are none.
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.ns.len() as f64).ceil() as usize;
        let index = rank.clamp(1, self.ns.len().max(1)) - 1;
        self.ns.get(index).copied().unwrap_or(f64::NAN)
    }

    /// How many times as long as `other`, by the medians.
    pub fn times(&self, other: &Series) -> f64 {
        self.median() / other.median()
    }
}

/// "getppid: 85 ns (median of 200 measurements, 1 024 calls each)".
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "{}: not measured", self.name);
        }
        write!(
            f,
            "{}: {} (median of {} measurements",
            self.name,
            number::nanoseconds_plain(self.median()),
            number::count(self.len() as u64)
        )?;
        match self.batch {
            1 => f.write_str(")"),
            calls => write!(f, ", {} calls each)", number::count(calls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let series = Series::from_ns("x", (1..=100).rev().map(f64::from));
        let read = [0.0, 0.25, 0.5, 0.75, 0.99, 1.0].map(|q| series.quantile(q));
        assert_eq!(read.map(|ns| ns as u32), [1, 25, 50, 75, 99, 100]);
        assert!(Series::from_ns("none", [f64::NAN]).median().is_nan());
    }

    #[test]
    fn a_rate_is_bytes_by_time() {
        let series = Series::from_ns("x", [100.0, 200.0, 400.0]).carrying(4096);
        let megabytes = |rate: f64| (rate / 1e6).round() as u64;
        assert_eq!(megabytes(series.rate()), 20_480);
        assert_eq!(megabytes(series.rate_at(0.0)), 10_240);
        assert_eq!(megabytes(series.rate_at(1.0)), 40_960);
        assert!(Series::from_ns("none", []).carrying(1).rate().is_finite());
    }

    #[test]
    fn a_batch_is_long_enough_for_the_clock() {
        let mut calls = 0u64;
        let quick = measure("count", 3, || calls = std::hint::black_box(calls + 1));
        assert!(quick.batch() >= 1000, "{quick:?}");
        assert!(calls > 3 * quick.batch());
        let slow = measure("sleep", 2, || std::thread::sleep(2 * BATCH));
        assert_eq!(slow.batch(), 1);
        assert!(slow.min() >= 2.0 * BATCH.as_nanos() as f64);
    }
}
