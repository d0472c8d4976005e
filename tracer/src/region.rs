//! How a tracee says "from here" and "to here".
//!
//! A marker is a `prctl(2)` with an option no kernel knows: it fails with EINVAL and changes nothing, traced or
//! not. A tracer of this crate recognises it and leaves it out of the record.
//!
//! A tracee that may not be trusted must not be able to say "to here" itself, and hide what comes next. So a marker
//! carries a number that is another in each run; a tracer makes it up before it forks its tracee.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The `prctl(2)` option of a marker: "TRAC".
pub(crate) const OPTION: u64 = 0x5452_4143;

/// The third argument of this process and its forks; 0 until [`agree`].
static COOKIE: AtomicU64 = AtomicU64::new(0);

/// Makes up the number by which a tracer and the processes forked from here on know each other's markers.
pub(crate) fn agree() -> u64 {
    let fresh = RandomState::new().build_hasher().finish() | 1;
    match COOKIE.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(agreed) => agreed,
    }
}

/// The number by which this process and its forks know each other's markers, for a tracee that is another program.
pub fn cookie() -> u64 {
    agree()
}

/// In a tracee that is another program than its tracer: the tracer's [`cookie`], before the first marker.
pub fn join(cookie: u64) {
    COOKIE.store(cookie, Ordering::Relaxed);
}

/// What a marker asks for: the second argument of the `prctl(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Begin,
    End,
    /// Until `Back` this thread's calls are not the tracee's own.
    Outside,
    Back,
}

impl Marker {
    /// The marker that these arguments of `prctl(2)` are, if any.
    pub(crate) fn of(args: &[u64; 6]) -> Option<Marker> {
        match args {
            [OPTION, which, cookie, ..] if *cookie == agree() => match which {
                1 => Some(Marker::Begin),
                2 => Some(Marker::End),
                3 => Some(Marker::Outside),
                4 => Some(Marker::Back),
                _ => None,
            },
            _ => None,
        }
    }
}

/// From here on the calls of this thread are recorded, and those of the processes and threads it makes.
///
/// Matters only to a [`Tracer`](crate::Tracer) that is told [`region_only`](crate::Tracer::region_only).
pub fn begin() {
    mark(1);
}

/// To here.
pub fn end() {
    mark(2);
}

/// Runs `f`, whose calls are neither recorded nor counted for faults, in a region or not: for an observer that looks at
/// the tracee from inside. What `f` starts is recorded if the region is.
pub fn outside<T>(f: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            mark(4);
        }
    }
    mark(3);
    let _back = Back;
    f()
}

fn mark(which: u64) {
    // SAFETY: prctl(2) rejects an unknown option before it looks at the other arguments, which are plain numbers.
    unsafe { libc::prctl(OPTION as i32, which, agree(), 0u64, 0u64) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_only_who_knows_the_number() {
        let of = |which, cookie| Marker::of(&[OPTION, which, cookie, 0, 0, 0]);
        assert_eq!(of(1, agree()), Some(Marker::Begin));
        assert_eq!(of(2, agree()), Some(Marker::End));
        assert_eq!(of(5, agree()), None);
        assert_eq!(of(2, agree() ^ 2), None);
        assert_eq!(of(2, 0), None);
    }
}
