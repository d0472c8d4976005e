//! How a tracee says "from here" and "to here".
//!
//! A marker is a `prctl(2)` with an option no kernel knows: it fails with EINVAL and changes nothing, traced or
//! not. A tracer of this crate recognises it and leaves it out of the record.

/// The `prctl(2)` option of a marker: "TRAC".
pub(crate) const OPTION: u64 = 0x5452_4143;
/// The third argument, so that a fuzzer's random option is no marker.
pub(crate) const COOKIE: u64 = 0x6167_696f_6e21;

/// What a marker asks for: the second argument of the `prctl(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Begin,
    End,
}

impl Marker {
    /// The marker that these arguments of `prctl(2)` are, if any.
    pub(crate) fn of(args: &[u64; 6]) -> Option<Marker> {
        match args {
            [OPTION, 1, COOKIE, ..] => Some(Marker::Begin),
            [OPTION, 2, COOKIE, ..] => Some(Marker::End),
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

fn mark(which: u64) {
    // SAFETY: prctl(2) rejects an unknown option before it looks at the other arguments, which are plain numbers.
    unsafe { libc::prctl(OPTION as i32, which, COOKIE, 0u64, 0u64) };
}
