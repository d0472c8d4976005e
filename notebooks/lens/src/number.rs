//! How do durations and sizes read? Three significant digits, and always a unit.

use std::time::Duration;

/// "850 ns", "1.24 µs", "12.4 ms", "3.00 s".
pub(crate) fn duration(time: Duration) -> String {
    nanoseconds(time.as_nanos() as f64)
}

/// The same, of a number that may have a fraction: "0.83 ns".
pub(crate) fn nanoseconds(ns: f64) -> String {
    match scaled(ns) {
        (value, "ns") if value.fract() == 0.0 => format!("{value:.0} ns"),
        (value, unit) => format!("{} {unit}", three(value)),
    }
}

/// The same without trailing zeros, for an axis: "1 µs".
pub(crate) fn nanoseconds_plain(ns: f64) -> String {
    let (value, unit) = scaled(ns);
    format!("{} {unit}", plain(value))
}

/// In the unit that keeps the number short; judged after rounding, so that 999.7 ns are 1.00 µs.
fn scaled(ns: f64) -> (f64, &'static str) {
    match ns.abs() {
        size if size < 999.5 => (ns, "ns"),
        size if size < 999.5e3 => (ns / 1e3, "µs"),
        size if size < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    }
}

/// "512 B", "4 KiB", "1.5 MiB".
pub(crate) fn bytes(count: f64) -> String {
    let mut value = count;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    while value.abs() >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    format!("{} {unit}", plain(value))
}

/// "850 B/s", "120 MB/s", "3.4 GB/s": decimal, as rates of disks and networks are.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let mut value = bytes_per_second;
    let mut units = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"].into_iter();
    let mut unit = units.next().unwrap_or("B/s");
    while value.abs() >= 999.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, next);
    }
    format!("{} {unit}", plain(value))
}

/// "1 000 000" for a count.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut spaced = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            spaced.push(' ');
        }
        spaced.push(digit);
    }
    spaced
}

/// "no threads", "1 thread", "2 threads".
pub(crate) fn things(number: usize, name: &str) -> String {
    match number {
        0 => format!("no {name}s"),
        1 => format!("1 {name}"),
        several => format!("{} {name}s", count(several as u64)),
    }
}

/// "3", "0.25", "20 k", "1.5 M".
pub(crate) fn metric(value: f64) -> String {
    match value.abs() {
        v if v < 10_000.0 => plain(value),
        v if v < 1e6 => format!("{} k", plain(value / 1e3)),
        v if v < 1e9 => format!("{} M", plain(value / 1e6)),
        v if v < 1e15 => format!("{} G", plain(value / 1e9)),
        _ => format!("{value:.1e}"),
    }
}

/// Up to three significant digits, without trailing zeros.
pub(crate) fn plain(value: f64) -> String {
    let text = three(value);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Three significant digits, at most three after the point.
fn three(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        v if v >= 0.001 || v == 0.0 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let read: Vec<String> = [0.834, 7.0, 212.4, 999.7, 1240.0, 12.4e6, 3e9]
            .map(nanoseconds)
            .into();
        assert_eq!(
            read,
            [
                "0.83 ns", "7 ns", "212 ns", "1.00 µs", "1.24 µs", "12.4 ms", "3.00 s"
            ]
        );
    }

    #[test]
    fn sizes_are_binary_and_counts_are_spaced() {
        assert_eq!(
            [512.0, 4096.0, 1_572_864.0].map(bytes),
            ["512 B", "4 KiB", "1.5 MiB"]
        );
        assert_eq!(
            [0.0, 850.0, 999.6, 1.25e8, 3.4e9].map(rate),
            ["0 B/s", "850 B/s", "1 kB/s", "125 MB/s", "3.4 GB/s"]
        );
        assert_eq!([7, 1000, 1_234_567].map(count), ["7", "1 000", "1 234 567"]);
        assert_eq!(
            [3.0, 0.25, 20_000.0, 1.5e6].map(metric),
            ["3", "0.25", "20 k", "1.5 M"]
        );
    }
}
