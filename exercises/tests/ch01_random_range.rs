//! Chance is told from its imitations by counting, with bounds that a fair draw misses once in a billion runs.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch01_system_calls/random_range.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch01_system_calls/random_range.rs")]
mod random_range;

use libc::{EINTR, EINVAL, ENOSYS};
use observe::{Action, Calls, Child, Failure, Fault, assert_seen};
use random_range::{fill, random_range};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::process::abort;

/// More than kernels before 5.18 give at once: 33554431 bytes.
const LARGE: usize = 40 << 20;

#[test]
fn one_call_fills_a_buffer() {
    if !observe::needs("ptrace") {
        return;
    }
    let run = Child::new().traced().run(|| (filled(0), filled(16)));
    let calls = run.calls.of("getrandom");
    let (nothing, sixteen) = run.returned();
    assert_eq!(nothing, Ok(0), "an empty buffer");
    assert!(
        !calls.iter().any(|call| call.args[1] == 0),
        "an empty buffer asks for nothing, yet the kernel was asked: {}",
        calls.in_a_line()
    );
    assert!(
        asked(&calls) != [32],
        "for a buffer of 16 bytes the kernel was asked for 32: is that the seed of a generator, libc's own for example?"
    );
    assert!(
        asked(&calls) == [16],
        "for a buffer of 16 bytes the kernel was asked: {}",
        calls.in_a_line()
    );
    assert!(
        calls.iter().all(|call| call.args[2] == 0),
        "getrandom was called with other flags than 0: {}",
        calls.in_a_line()
    );
    assert_filled(sixteen, 16, "a buffer of 16 bytes");
}

#[test]
fn short_answers_are_continued() {
    if !observe::needs("ptrace") {
        return;
    }
    let run = Child::new()
        .fault(Fault::new("getrandom", Action::Short(50)).always())
        .run(|| filled(120));
    let calls = run.calls.of("getrandom");
    let asked = asked(&calls);
    assert_filled(
        run.returned(),
        120,
        "a buffer of 120 bytes that come by 50 and 50 and 20",
    );
    assert!(
        asked == [120, 70, 20],
        "120, 70 and 20 bytes were missing, and {asked:?} were asked for"
    );
    assert_seen!("ch01_random_range__short", calls);

    let large = Child::new().run(|| filled(LARGE)).returned();
    assert_filled(large, LARGE, "a buffer of 40 MiB");
}

#[test]
fn interrupted_calls_are_made_again() {
    if !observe::needs("ptrace") {
        return;
    }
    let run = Child::new()
        .fault(Fault::new("getrandom", Action::Fail(EINTR)).times(2))
        .fault(Fault::new("getrandom", Action::Short(30)).nth(3))
        .fault(Fault::new("getrandom", Action::Fail(EINTR)).nth(4))
        .run(|| filled(100));
    let calls = run.calls.of("getrandom");
    assert_filled(
        run.returned(),
        100,
        "a buffer of 100 bytes and three interrupted calls",
    );
    assert_seen!("ch01_random_range__interrupted", calls);
}

#[test]
fn every_number_of_a_range_comes_up() {
    let rolls = draw(1..=6, 6000);
    for face in (1..=6).rev() {
        let count = rolls.iter().filter(|roll| **roll == face).count();
        assert!(
            (750..=1250).contains(&count),
            "of 6000 numbers from 1 to 6, {count} were a {face}, not about 1000"
        );
    }
    let (all, alone, last) = (0..=u64::MAX, 7..=7, u64::MAX - 1..=u64::MAX);
    let numbers = draw(all, 1000);
    let ones = numbers.iter().fold(0, |ones, number| ones | number);
    let zeros = numbers.iter().fold(0, |zeros, number| zeros | !number);
    assert!(
        ones & zeros == u64::MAX,
        "in 1000 numbers of 64 bits some bits were always the same: {:#018x}",
        !(ones & zeros)
    );
    assert_eq!(draw(alone, 3), [7; 3], "numbers from 7 to 7");
    let ends: HashSet<u64> = draw(last, 200).into_iter().collect();
    assert_eq!(ends.len(), 2, "how many of the two largest numbers came up");
}

#[test]
fn no_number_is_favoured() {
    // Three quarters of 2^64: a draw that is not given back makes some numbers twice as likely.
    let range = 0..=(3 << 62) - 1;
    let numbers = draw(range, 12_000);
    let thirds = |third: fn(u64) -> u64| {
        let count = |wanted| numbers.iter().filter(|it| third(**it) == wanted).count();
        [count(0), count(1), count(2)]
    };
    let (parts, remainders) = (thirds(|number| number >> 62), thirds(|number| number % 3));
    assert!(
        even(&parts),
        "of 12000 numbers from 0 to 3·2^62 - 1, {parts:?} were in the first, second and last third"
    );
    let bits: Vec<u32> = (0..62)
        .filter(|bit| {
            let ones = numbers
                .iter()
                .filter(|number| *number >> bit & 1 == 1)
                .count();
            !(5500..=6500).contains(&ones)
        })
        .collect();
    assert!(
        bits.is_empty(),
        "in 12000 numbers from 0 to 3·2^62 - 1 these bits were not 1 half the time: {bits:?}"
    );
    assert!(
        even(&remainders),
        "of 12000 numbers from 0 to 3·2^62 - 1, divided by three {remainders:?} left 0, 1 and 2"
    );
    // The worst case: almost every other draw is given back.
    let halves = draw(10..=10 + (1 << 63), 12_000);
    let low = halves.iter().filter(|it| **it < 10 + (1 << 62)).count();
    assert!(
        (5500..=6500).contains(&low),
        "of 12000 numbers from 10 to 10 + 2^63, {low} were in the lower half"
    );
}

#[test]
fn empty_range_is_einval() {
    if !observe::needs("ptrace") {
        return;
    }
    #[allow(clippy::reversed_empty_ranges, reason = "what is to be refused")]
    let empty = [6..=1, 1..=0, u64::MAX..=0];
    for range in empty {
        let answer = Child::new()
            .fault(Fault::new("getrandom", Action::Fail(ENOSYS)).always())
            .run(|| observe::errno(random_range(range.clone())))
            .returned();
        let refused = matches!(&answer, Err(failure) if failure.is(EINVAL));
        assert!(
            refused,
            "random_range({range:?}) gave {} instead of EINVAL",
            words(&answer)
        );
    }
}

#[test]
fn no_chance_is_an_error() {
    if !observe::needs("ptrace") {
        return;
    }
    let refuse = Fault::new("getrandom", Action::Fail(ENOSYS)).always();
    let (filled, number) = Child::new()
        .fault(refuse)
        .run(|| {
            (
                filled(16).map(|count| count as u64),
                observe::errno(random_range(1..=6)),
            )
        })
        .returned();
    for (what, answer) in [("fill", filled), ("random_range", number)] {
        let refused = matches!(&answer, Err(failure) if failure.is(ENOSYS));
        assert!(
            refused,
            "the kernel answered ENOSYS, and {what} gave {}",
            words(&answer)
        );
    }
    // Eight bytes, in three pieces: what a number is made of comes from `fill` too.
    let numbers = Child::new()
        .fault(Fault::new("getrandom", Action::Short(3)).always())
        .run(|| numbers(0..=u64::MAX, 100))
        .returned();
    let seen = numbers.unwrap().iter().fold(0, |seen, it| seen | it);
    assert!(
        seen == u64::MAX,
        "when getrandom gave 3 bytes at once, these bits of a number were never 1: {:#018x}",
        !seen
    );
}

#[test]
fn fork_shares_no_numbers() {
    let all = 0..=u64::MAX;
    let run = Child::new().to_the_last().run(|| {
        let before = numbers(all.clone(), 1)?;
        // SAFETY: a child of a test has one thread.
        match unsafe { libc::fork() } {
            -1 => abort(),
            0 => {}
            pid => {
                let mut status = 0;
                // SAFETY: an integer of this stack, written by the call.
                unsafe { libc::waitpid(pid, &raw mut status, 0) };
            }
        }
        Ok([before, numbers(all.clone(), 20)?].concat())
    });
    let mut drawn: Vec<Result<Vec<u64>, Failure>> =
        run.elsewhere.iter().map(|it| it.value.clone()).collect();
    drawn.push(run.returned());
    let drawn: Vec<Vec<u64>> = drawn.into_iter().map(Result::unwrap).collect();
    assert_eq!(drawn.len(), 2, "the processes that drew numbers");
    let common = drawn[0][1..]
        .iter()
        .filter(|it| drawn[1][1..].contains(it))
        .count();
    assert!(
        common == 0,
        "after a fork parent and child drew 20 numbers each, and {common} were the same"
    );
}

/// Fills a buffer in the child; how many of its bytes were touched, in pieces of 10.
fn filled(len: usize) -> Result<usize, Failure> {
    let mut buf = vec![0; len];
    observe::errno(fill(&mut buf))?;
    // All zero is what no 10 random bytes are: once in 10^24.
    let touched = buf
        .chunks(10)
        .filter(|piece| piece.len() < 5 || piece.iter().any(|byte| *byte != 0));
    Ok(touched.map(<[u8]>::len).sum())
}

#[track_caller]
fn assert_filled(filled: Result<usize, Failure>, len: usize, what: &str) {
    match filled {
        Ok(count) => assert!(
            count == len,
            "{what}: fill returned Ok, and {} bytes are still zero",
            len - count
        ),
        Err(failure) => panic!("{what}: fill gave up: {failure}"),
    }
}

/// In the child.
fn numbers(range: RangeInclusive<u64>, count: usize) -> Result<Vec<u64>, Failure> {
    let draws = (0..count).map(|_| random_range(range.clone()));
    observe::errno(draws.collect())
}

/// So many numbers, each of the range.
#[track_caller]
fn draw(range: RangeInclusive<u64>, count: usize) -> Vec<u64> {
    let drawn = Child::new().run(|| numbers(range.clone(), count));
    let drawn = drawn.returned();
    let drawn = drawn.unwrap_or_else(|failure| panic!("random_range({range:?}) gave {failure}"));
    if let Some(stray) = drawn.iter().find(|number| !range.contains(number)) {
        panic!("random_range({range:?}) gave {stray}");
    }
    drawn
}

/// Whether a third of 12000 is in each: 4000, give or take seven standard deviations.
fn even(thirds: &[usize; 3]) -> bool {
    thirds.iter().all(|count| (3640..=4360).contains(count))
}

/// How many bytes each call asked for.
fn asked(calls: &Calls) -> Vec<u64> {
    calls.iter().map(|call| call.args[1]).collect()
}

fn words(result: &Result<u64, Failure>) -> String {
    match result {
        Ok(value) => format!("Ok({value})"),
        Err(failure) => failure.to_string(),
    }
}
