//! A volume is known by the bytes on its devices, which a second, slow and obvious volume says too, and by the
//! calls that put them there.

#[rustfmt::skip]
#[cfg_attr(feature = "solutions", path = "../../solutions/ch04_file_systems/logical_volume.rs")]
#[cfg_attr(not(feature = "solutions"), path = "../ch04_file_systems/logical_volume.rs")]
mod logical_volume;

#[path = "replacing/gate.rs"]
mod gate;
mod volumes;

use gate::Gate;
use libc::{EBUSY, EINTR, EINVAL, EIO, ENOSPC};
use logical_volume::{Area, Layout, LogicalVolume};
use observe::{
    Action, Calls, Child, End, Errno, Failure, Fault, assert_failed, assert_seen, errno,
};
use std::collections::BTreeMap;
use std::thread::{scope, sleep};
use std::time::Duration;
use volumes::{CHUNK, DEVICE, Disks, EXTENT, Model, Row, Transfer, chunks, pieces, size};

const READS: [&str; 2] = ["pread", "preadv"];
const WRITES: [&str; 2] = ["pwrite", "pwritev"];

use Row::{Linear, Striped};

/// Every kind of neighbour: one device twice, two devices, stripes beside stripes.
const MIXED: [Row; 5] = [
    Linear('a', 3, 2),
    Linear('b', 0, 1),
    Striped(&[('a', 8), ('b', 4), ('c', 1)], 6),
    Linear('a', 12, 1),
    Striped(&[('c', 10), ('a', 0)], 4),
];

#[test]
fn linear_rows_lie_one_behind_the_other() {
    let rows = [Linear('a', 3, 2), Linear('b', 0, 1), Linear('a', 7, 1)];
    let size = 4 * EXTENT;
    for (offset, len) in [(0, 1), (700, 300), (0, size), (1100, 200), (1799, 2)] {
        assert_written_and_read(&rows, &[(offset, len)]);
    }
}

#[test]
fn stripes_take_turns() {
    let rows = [Striped(&[('a', 2), ('b', 0), ('c', 5)], 3)];
    let size = 3 * EXTENT;
    for (offset, len) in [(0, CHUNK), (250, 10), (CHUNK - 1, 2), (0, size)] {
        assert_written_and_read(&rows, &[(offset, len)]);
    }
    // Each chunk of the volume is filled with its number.
    let disks = Disks::new();
    let written = Child::new()
        .run(|| {
            let volume = disks.volume(&rows);
            let bytes: Vec<u8> = (0..size).map(|at| b'A' + (at / CHUNK) as u8).collect();
            errno(volume.write_at(&bytes, 0))
        })
        .returned();
    assert_count("a whole volume was written", &written, size);
    let picture: BTreeMap<String, String> = "abc"
        .chars()
        .map(|name| (format!("device {name}"), chunks(&disks.bytes(name))))
        .collect();
    assert_seen!("ch04_logical_volume__stripes", picture);
}

#[test]
fn every_offset_and_length_is_right() {
    let size = size(&MIXED);
    // Around every place where something ends, and anywhere.
    let mut jobs = Vec::new();
    for border in (0..=size).step_by(CHUNK as usize) {
        for (offset, len) in [(border, 1), (border.saturating_sub(1), 2), (border, CHUNK)] {
            jobs.push((offset, len.min(size.saturating_sub(offset))));
        }
    }
    let mut random = 1_u64;
    for _ in 0..200 {
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let offset = next(size);
        jobs.push((offset, next(size - offset + 1)));
    }
    jobs.push((0, size));
    assert_written_and_read(&MIXED, &jobs);
}

#[test]
fn volume_ends_where_its_last_row_does() {
    let disks = Disks::new();
    let rows = [Linear('a', 3, 1), Striped(&[('b', 0), ('c', 0)], 2)];
    let end = size(&rows);
    let (sizes, writes, reads) = Child::new()
        .run(|| {
            let empty = LogicalVolume::new(EXTENT);
            let volume = disks.volume(&rows);
            let at = |count: u64| end - 50 + count;
            let sizes = [empty.size(), volume.size()];
            let writes = [
                errno(volume.write_at(&[b'w'; 80], at(0))),
                errno(volume.write_at(b"w", at(50))),
                errno(volume.write_at(b"w", u64::MAX)),
                errno(empty.write_at(b"w", 0)),
                errno(volume.write_at(b"", at(50))),
            ];
            let mut buf = [b'?'; 80];
            let reads = [
                errno(volume.read_at(&mut buf, at(0))),
                errno(volume.read_at(&mut buf, at(50))),
                errno(volume.read_at(&mut buf, u64::MAX)),
                errno(empty.read_at(&mut buf, 0)),
            ];
            (sizes, writes, reads)
        })
        .returned();
    assert!(
        sizes == [0, end],
        "a volume of 0 and one of {end} bytes say they have {} and {}",
        sizes[0],
        sizes[1]
    );
    let [across, at_end, far, empty, nothing] = writes;
    assert_count("80 bytes were written where 50 have room", &across, 50);
    assert_count("no byte was written at the end", &nothing, 0);
    for (case, result) in [
        ("a byte was written at the end", at_end),
        ("a byte was written at offset 2^64 - 1", far),
        ("a byte was written to an empty volume", empty),
    ] {
        assert_failed(case, result, ENOSPC);
    }
    for ((case, expected), result) in [
        ("80 bytes were read where 50 are left", 50),
        ("80 bytes were read at the end", 0),
        ("80 bytes were read at offset 2^64 - 1", 0),
        ("80 bytes were read from an empty volume", 0),
    ]
    .into_iter()
    .zip(&reads)
    {
        assert_count(case, result, expected);
    }
    let mut model = Model::new();
    model.write(&rows, &[b'w'; 50], end - 50);
    disks.assert_as("80 bytes were written where 50 have room", &model);
}

#[test]
fn one_call_for_each_piece() {
    if !observe::needs("ptrace") {
        return;
    }
    let disks = Disks::new();
    let (from, len) = (300, 1900);
    let (mut bytes, mut reads) = (Vec::new(), Vec::new());
    for (calls, write) in [(WRITES, true), (READS, false)] {
        let run = Child::new().traced().run(|| {
            let volume = disks.volume(&MIXED);
            if write {
                errno(volume.write_at(&vec![b'w'; len as usize], from))
            } else {
                errno(volume.read_at(&mut vec![0; len as usize], from))
            }
        });
        let all = run.calls.clone();
        assert_count(&format!("{len} bytes of a volume"), &run.returned(), len);
        let [expected, seen] = [pieces(&MIXED, from, len), transfers(&all.only(&calls))];
        let moves = all.filter(|call| {
            ["read", "write", "readv", "writev", "lseek"]
                .iter()
                .any(|name| call.is(name))
                && device(call).is_some()
        });
        assert!(
            moves.is_empty(),
            "the offset of a descriptor, which other threads use too, was moved: {}",
            first(&moves)
        );
        for transfer in &seen {
            assert!(
                expected.contains(transfer),
                "a call transferred {}, which is no piece; the pieces are {}",
                told(transfer),
                expected.iter().map(told).collect::<Vec<_>>().join(", ")
            );
        }
        assert!(
            seen.len() == expected.len(),
            "there are {} pieces, and {} calls were made for them",
            expected.len(),
            seen.len()
        );
        if write {
            assert!(
                seen == expected,
                "the pieces were not written in the order of the volume's bytes"
            );
            bytes = seen;
        } else {
            reads = seen;
            reads.sort_unstable();
        }
    }
    bytes.sort_unstable();
    assert!(
        reads == bytes,
        "what was written to and what was read from are different pieces"
    );
    let shown: Vec<String> = pieces(&MIXED, from, len).iter().map(told).collect();
    assert_seen!("ch04_logical_volume__pieces", shown);
}

#[test]
fn short_counts_and_errors_lose_nothing() {
    if !observe::needs("ptrace") {
        return;
    }
    let rows = [Linear('a', 0, 1), Linear('b', 0, 1), Linear('c', 0, 1)];
    let (from, len) = (500, 900);
    let model = |count: u64| {
        let mut model = Model::new();
        model.write(&rows, &numbers(len)[..count as usize], from);
        model
    };
    let cases: [(&str, Action, u32, u32, Returned); 6] = [
        (
            "each call does 7 bytes at most",
            Action::Short(7),
            1,
            u32::MAX,
            Ok(len),
        ),
        (
            "the first call is interrupted",
            Action::Fail(EINTR),
            1,
            1,
            Ok(len),
        ),
        (
            "the second call is interrupted twice",
            Action::Fail(EINTR),
            2,
            2,
            Ok(len),
        ),
        ("the first call fails", Action::Fail(EIO), 1, 1, Err(EIO)),
        ("the second call fails", Action::Fail(EIO), 2, 1, Ok(100)),
        ("the third call fails", Action::Fail(EIO), 3, 1, Ok(700)),
    ];
    let mut seen = BTreeMap::new();
    for (case, action, nth, times, expected) in cases {
        let disks = Disks::new();
        let fault =
            |calls: &[&str]| Child::new().fault(Fault::new(calls, action).nth(nth).times(times));
        let written = fault(&WRITES)
            .run(|| errno(disks.volume(&rows).write_at(&numbers(len), from)))
            .returned();
        disks.assert_as(
            &format!("written while {case}"),
            &model(expected.unwrap_or(0)),
        );
        let full = Disks::new();
        full.fill(&model(len));
        let (read, buf) = fault(&READS)
            .run(|| {
                let mut buf = vec![0; len as usize];
                (errno(full.volume(&rows).read_at(&mut buf, from)), buf)
            })
            .returned();
        for (what, result) in [("written", written), ("read", read)] {
            match expected {
                Ok(count) => assert_count(
                    &format!("{len} bytes are {what}, and {case}"),
                    &result,
                    count,
                ),
                Err(errno) => assert_failed(
                    &format!("{len} bytes are {what}, and {case}"),
                    result,
                    errno,
                ),
            }
        }
        let count = expected.unwrap_or(0) as usize;
        assert!(
            buf[..count] == numbers(len)[..count],
            "read while {case}: other bytes than are there"
        );
        seen.insert(
            case,
            expected.map_or_else(
                |errno| Errno(errno).name(),
                |count| format!("{count} of {len} bytes"),
            ),
        );
    }
    assert_seen!("ch04_logical_volume__failures", seen);

    let disks = Disks::new();
    let lost = Child::new()
        .run(|| {
            let volume = disks.volume(&rows);
            disks.open('a').set_len(550).unwrap();
            [550, 500].map(|from| errno(volume.read_at(&mut [0; 100], from)))
        })
        .returned();
    let [behind, across] = lost;
    assert_failed(
        "a device was cut, and bytes behind the cut were read",
        behind,
        EIO,
    );
    assert_count(
        "a device was cut, and 100 bytes were read 50 before the cut",
        &across,
        50,
    );
}

#[test]
fn refused_row_changes_nothing() {
    let stripes = |chunk: u64, areas: &[(char, u64)]| (chunk, areas.to_vec());
    // What is wrong, what is asked for (a chunk of 0 is a linear row), how many extents; the volume is MIXED.
    let cases = [
        ("no extent", (u64::MAX, vec![('b', 9)]), 0, EINVAL),
        ("no stripe", stripes(CHUNK, &[]), 2, EINVAL),
        (
            "3 extents on 2 stripes",
            stripes(CHUNK, &[('b', 9), ('c', 4)]),
            3,
            EINVAL,
        ),
        (
            "a chunk of 0 bytes",
            stripes(0, &[('b', 9), ('c', 4)]),
            2,
            EINVAL,
        ),
        (
            "a chunk that does not divide an extent",
            stripes(90, &[('b', 9), ('c', 4)]),
            2,
            EINVAL,
        ),
        (
            "a chunk of two extents",
            stripes(2 * EXTENT, &[('b', 9), ('c', 4)]),
            4,
            EINVAL,
        ),
        (
            "one extent more than the device has",
            (u64::MAX, vec![('b', 9)]),
            8,
            ENOSPC,
        ),
        (
            "an extent behind 2^64 bytes",
            (u64::MAX, vec![('b', u64::MAX)]),
            1,
            ENOSPC,
        ),
        (
            "a stripe behind the end",
            stripes(CHUNK, &[('b', 9), ('c', 15)]),
            4,
            ENOSPC,
        ),
        (
            "an extent of a linear row, its device opened once more",
            (u64::MAX, vec![('a', 4)]),
            1,
            EBUSY,
        ),
        (
            "an extent before one that is used",
            (u64::MAX, vec![('c', 8)]),
            3,
            EBUSY,
        ),
        (
            "an extent of a stripe",
            stripes(CHUNK, &[('b', 9), ('c', 11)]),
            2,
            EBUSY,
        ),
        (
            "the same extent for both stripes",
            stripes(CHUNK, &[('b', 9), ('b', 10)]),
            4,
            EBUSY,
        ),
    ];
    for (case, (chunk, areas), extents, expected) in cases {
        let disks = Disks::new();
        let (result, size_after, next) = Child::new()
            .run(|| {
                let volume = disks.volume(&MIXED);
                let areas: Vec<Area> = areas
                    .iter()
                    .map(|(name, first)| disks.area(*name, *first))
                    .collect();
                let layout = match chunk {
                    u64::MAX => Layout::Linear(areas[0].clone()),
                    chunk => Layout::Striped { chunk, areas },
                };
                let result = errno(volume.grow(layout, extents));
                let size = volume.size();
                // Next to what is used, and to the end of the device.
                let next = errno(volume.grow(Layout::Linear(disks.area('b', 6)), DEVICE - 6));
                (result, size, next)
            })
            .returned();
        assert_failed(&format!("a row with {case}"), result, expected);
        assert!(
            size_after == size(&MIXED),
            "a row with {case} was refused, and the volume has {size_after} bytes instead of {}",
            size(&MIXED)
        );
        if let Err(failure) = next {
            panic!("after a row with {case} was refused, a good one failed with {failure}");
        }
    }
}

#[test]
fn grows_while_a_device_works() {
    if !observe::needs("ptrace") {
        return;
    }
    let rows = [Linear('a', 0, 1), Linear('b', 0, 1)];
    let disks = Disks::new();
    let bytes = numbers(1000);
    // The first who writes is held up at his first pwrite(2) until others have grown the volume and used it.
    let run = Child::new()
        .fault(Fault::new(&WRITES[..], Action::Signal(libc::SIGUSR1)))
        .run(|| {
            let volume = disks.volume(&rows);
            let mut gate = Gate::shut();
            scope(|scope| {
                let slow = scope.spawn(|| errno(volume.write_at(&bytes, 100)));
                gate.reached(|| slow.is_finished());
                let mut grown = Vec::new();
                for first in 0..3 {
                    let layout = Layout::Striped {
                        chunk: CHUNK,
                        areas: vec![disks.area('c', 3 * first), disks.area('a', 3 * first + 3)],
                    };
                    grown.push(errno(
                        volume.grow(layout, 4).map(|()| volume.size() as usize),
                    ));
                    grown.push(errno(volume.write_at(&[b'q'; 50], volume.size() - 50)));
                }
                gate.open();
                (slow.join().unwrap(), grown)
            })
        });
    assert!(
        !matches!(run.end, End::TimedOut(_)),
        "while a device works on one thread's pwrite, others wait for it in grow, size or write_at: is a lock held there?"
    );
    let (slow, grown) = run.returned();
    assert_count("a write began before the volume grew", &slow, 1000);
    let mut model = Model::new();
    let mut all = rows.to_vec();
    let added: [&[(char, u64)]; 3] = [
        &[('c', 0), ('a', 3)],
        &[('c', 3), ('a', 6)],
        &[('c', 6), ('a', 9)],
    ];
    for (row, results) in added.into_iter().zip(grown.chunks(2)) {
        all.push(Striped(row, 4));
        assert_count(
            "a volume grew while a device worked; its size",
            &results[0],
            size(&all),
        );
        assert_count(
            "50 bytes were written to what was added while a device worked",
            &results[1],
            50,
        );
        model.write(&all, &[b'q'; 50], size(&all) - 50);
    }
    model.write(&rows, &bytes, 100);
    disks.assert_as("written while the volume grew", &model);
}

#[test]
fn two_grow_at_the_same_time() {
    if !observe::needs("ptrace") {
        return;
    }
    let rows = [Linear('a', 0, 1), Linear('b', 0, 1), Linear('c', 0, 1)];
    // One is held up where it asks for a device's size or number, until the other has grown the volume or waits for it.
    for nth in 1..=4 {
        let disks = Disks::new();
        let (grown, size_after) = Child::new()
            .fault(Fault::new("stat", Action::Signal(libc::SIGUSR1)).nth(nth))
            .run(|| {
                observe::region::end();
                let volume = disks.volume(&rows[..1]);
                let mut gate = Gate::shut();
                let grow = |name| {
                    let layout = Layout::Linear(disks.area(name, 0));
                    errno(volume.grow(layout, 1))
                };
                observe::region::begin();
                let grown = scope(|scope| {
                    let one = scope.spawn(|| grow('b'));
                    gate.reached(|| one.is_finished());
                    let other = scope.spawn(|| grow('c'));
                    for _ in 0..20 {
                        if other.is_finished() {
                            break;
                        }
                        sleep(Duration::from_millis(5));
                    }
                    gate.open();
                    [one.join().unwrap(), other.join().unwrap()]
                });
                observe::region::end();
                (grown, volume.size())
            })
            .returned();
        for result in grown {
            if let Err(failure) = result {
                panic!("two threads grew a volume at the same time, and one failed with {failure}");
            }
        }
        assert!(
            size_after == size(&rows),
            "two threads grew a volume of {EXTENT} bytes at the same time by {EXTENT} each, and it has {size_after}"
        );
    }
}

/// What must be returned: a count or an errno.
type Returned = Result<u64, i32>;

/// What calls have done: the offset is their fourth argument.
fn transfers(calls: &Calls) -> Vec<Transfer> {
    let done = calls.iter().filter_map(|call| {
        let count = call.result?.ok()?;
        Some((device(call)?, call.args[3], count as u64))
    });
    done.collect()
}

fn device(call: &observe::Call) -> Option<char> {
    call.on.as_deref()?.strip_prefix("$TMPDIR/")?.chars().next()
}

fn told((name, offset, len): &Transfer) -> String {
    format!("{len} bytes at {offset} of device {name}")
}

fn first(calls: &Calls) -> String {
    calls.first().map(ToString::to_string).unwrap_or_default()
}

/// Bytes that are different from their neighbours, and never 0.
fn numbers(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}

/// Writes one job after the other, each with bytes of its own, and reads it back; then holds the devices against the
/// model.
#[track_caller]
fn assert_written_and_read(rows: &[Row], jobs: &[(u64, u64)]) {
    let disks = Disks::new();
    let bytes = |job: usize, len: u64| -> Vec<u8> {
        (0..len)
            .map(|at| ((at as usize * 7 + job * 31) % 251) as u8 + 1)
            .collect()
    };
    let results = Child::new()
        .run(|| {
            let volume = disks.volume(rows);
            let jobs = jobs.iter().enumerate().map(|(job, &(offset, len))| {
                let written = errno(volume.write_at(&bytes(job, len), offset));
                let mut buf = vec![0; len as usize];
                let read = errno(volume.read_at(&mut buf, offset));
                (written, read, buf == bytes(job, len))
            });
            jobs.collect::<Vec<_>>()
        })
        .returned();
    let mut model = Model::new();
    for (job, (&(offset, len), (written, read, same))) in jobs.iter().zip(results).enumerate() {
        let case = format!("{len} bytes at {offset}");
        assert_count(&format!("{case} were written"), &written, len);
        assert_count(&format!("{case} were read"), &read, len);
        assert!(
            same,
            "{case} were read and are not those that had been written there"
        );
        model.write(rows, &bytes(job, len), offset);
    }
    disks.assert_as(
        &format!(
            "{} written",
            if let [(offset, len)] = jobs {
                format!("{len} bytes at {offset} were")
            } else {
                "many rows of bytes were".to_owned()
            }
        ),
        &model,
    );
}

#[track_caller]
fn assert_count(case: &str, result: &Result<usize, Failure>, expected: u64) {
    match result {
        Ok(count) => assert!(
            *count as u64 == expected,
            "{case}: {count} was returned instead of {expected}"
        ),
        Err(failure) => panic!("{case}: it failed with {failure} instead of returning {expected}"),
    }
}
