//! # Which number is a fair die?
//!
//! One whose wheel is divided evenly. 2⁶⁴ draws go into `count` numbers so and so often, and what is left
//! over has to be drawn again. The traps: the remainder that is dealt out to the first few numbers, or
//! to every other one (`x * count >> 64` is as biased as `x % count`); a `count` of 2⁶⁴, which
//! is 0 in a u64; and a getrandom(2) that gives fewer bytes, so that zeros are taken for chance.

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
    let mut filled = 0;
    while filled < buf.len() {
        match getrandom(&mut buf[filled..]) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    let (start, end) = range.into_inner();
    if start > end {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let Some(count) = (end - start).checked_add(1) else {
        return word();
    };
    // 2⁶⁴ mod count, in 64 bits: so many draws are left over. The first ones are given back.
    let left_over = count.wrapping_neg() % count;
    loop {
        let draw = word()?;
        if draw >= left_over {
            return Ok(start + draw % count);
        }
    }
}

fn word() -> io::Result<u64> {
    let mut bytes = [0; size_of::<u64>()];
    fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// getrandom(2), past libc. `EINTR` is returned as it is: the loop above asks again.
fn getrandom(buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes at `buf`, which is borrowed exclusively until
    // the call returns.
    let count = unsafe { libc::syscall(libc::SYS_getrandom, buf.as_mut_ptr(), buf.len(), 0) };
    if count == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(count as usize)
    }
}
