//! # Which number is a fair die?
//!
//! A program computes, and what is computed can be foretold. Chance comes from outside: the kernel
//! gathers it and gives it away in bytes, by getrandom(2). As with every read, you may get fewer bytes
//! than you asked for.
//!
//! From bytes to a number between 1 and 6 there is a second trap. `x % 6` favours small numbers, since
//! 2⁶⁴ is no multiple of 6: what is left over at the end is dealt out to the first few.
//! For a die nobody would notice. In the range `0..=3 * 2⁶² - 1` every number of the first
//! third comes up twice as often as the others, and keys have been broken for less.
//!
//! Build [`fill`], and on it [`random_range`]. No table, no state, no seed: only the kernel.
//!
//! Man pages: getrandom(2), syscall(2), random(7), signal(7).
//! Notebook: `01-system-calls.ipynb#everything-is-a-descriptor`.

use std::io;
use std::ops::RangeInclusive;

/// Fills `buf` with random bytes by getrandom(2), flags 0, with as many calls as it takes.
///
/// - The kernel itself is asked, by syscall(2) and `SYS_getrandom`. libc's function of that name need not:
///   since glibc 2.41 it has a generator in the process, and asks the kernel for its seed (vdso(7)).
/// - Each call asks for exactly the bytes that are still missing. An empty `buf` makes no call.
/// - The kernel may give fewer: up to 256 bytes come at once, of more a part when a signal comes, and
///   older kernels never give more than 33554431. Bytes that have come are kept.
/// - A call that ended with `EINTR` is made again, as often as that happens.
///
/// # Errors
/// Any other errno, as the kernel gave it: `ENOSYS` from an old kernel or a sandbox. No other source is
/// tried: better no number than one that can be guessed.
pub fn fill(buf: &mut [u8]) -> io::Result<()> {
    // TODO: 1. While bytes are missing: getrandom(2) into the part of `buf` that isn't filled.
    //       2. A count: so much further. EINTR: again. Any other errno is the caller's.
    todo!("ask getrandom(2) for all of buf")
}

/// A number of `range`, each with the same chance; all randomness comes from [`fill`].
///
/// - Both ends are in the range. `0..=u64::MAX` is one, too: 2⁶⁴ numbers, which no u64 can count.
/// - Nothing is kept from one call to the next: after fork(2) parent and child draw different numbers.
///
/// # Errors
/// - `EINVAL`: the range is empty, its start behind its end. The kernel is not asked.
/// - those of [`fill`].
pub fn random_range(range: RangeInclusive<u64>) -> io::Result<u64> {
    // TODO: 1. How many numbers are there? What if there are too many to count?
    //       2. Draw 64 bits.
    //       3. Is this a draw that would favour somebody? Draw again.
    //       4. Otherwise map it into the range.
    todo!("refuse an empty range")
}
