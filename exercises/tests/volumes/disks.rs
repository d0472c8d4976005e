//! Which bytes do devices hold after a volume was written to?

use super::model::{CHUNK, DEVICE, EXTENT, Model, Row};
use crate::logical_volume::{Area, Layout, LogicalVolume};
use Row::{Linear, Striped};
use observe::{Failure, Scratch};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Three devices of the same size, zeros all over.
pub struct Disks {
    scratch: Scratch,
}

impl Disks {
    pub fn new() -> Disks {
        let scratch = Scratch::new();
        for name in ["a", "b", "c"] {
            scratch.write(name, vec![0; (DEVICE * EXTENT) as usize]);
        }
        Disks { scratch }
    }

    pub fn open(&self, name: char) -> File {
        let path = self.scratch.join(name.to_string());
        File::options().read(true).write(true).open(path).unwrap()
    }

    /// Opened anew each time: a device is not known by its descriptor.
    pub fn area(&self, name: char, first: u64) -> Area {
        let device = Arc::new(self.open(name));
        Area { device, first }
    }

    /// Only called in a child.
    pub fn volume(&self, rows: &[Row]) -> LogicalVolume {
        let volume = LogicalVolume::new(EXTENT);
        for row in rows {
            let (layout, extents) = match *row {
                Linear(name, first, extents) => (Layout::Linear(self.area(name, first)), extents),
                Striped(areas, extents) => {
                    let areas = areas.iter().map(|(name, first)| self.area(*name, *first));
                    (
                        Layout::Striped {
                            chunk: CHUNK,
                            areas: areas.collect(),
                        },
                        extents,
                    )
                }
            };
            if let Err(error) = volume.grow(layout, extents) {
                panic!(
                    "a volume could not grow by {extents} free extents: {}",
                    Failure::from(error)
                );
            }
        }
        volume
    }

    pub fn bytes(&self, name: char) -> Vec<u8> {
        fs::read(self.scratch.join(name.to_string())).unwrap()
    }

    pub fn fill(&self, model: &Model) {
        for (name, bytes) in "abc".chars().zip(&model.0) {
            self.open(name).write_all_at(bytes, 0).unwrap();
        }
    }

    #[track_caller]
    pub fn assert_as(&self, case: &str, model: &Model) {
        for (name, expected) in "abc".chars().zip(&model.0) {
            let bytes = self.bytes(name);
            let at = bytes
                .iter()
                .zip(expected)
                .position(|(one, other)| one != other);
            if let Some(at) = at {
                panic!(
                    "{case}: byte {at} of device {name} is {} instead of {}",
                    byte(bytes[at]),
                    byte(expected[at])
                );
            }
            assert!(
                bytes.len() == expected.len(),
                "{case}: device {name} has {} bytes instead of {}",
                bytes.len(),
                expected.len()
            );
        }
    }
}

fn byte(byte: u8) -> String {
    match byte {
        0 => "0, as nobody wrote it".to_owned(),
        byte => byte.to_string(),
    }
}

/// A device chunk by chunk, an extent a word: the letter that fills it, `.` for zeros.
pub fn chunks(bytes: &[u8]) -> String {
    let words = bytes.chunks(EXTENT as usize).map(|extent| {
        let chunks = extent.chunks(CHUNK as usize).map(|chunk| match chunk {
            [0, rest @ ..] if rest.iter().all(|byte| *byte == 0) => '.',
            [one, rest @ ..] if rest.iter().all(|byte| byte == one) => *one as char,
            _ => '?',
        });
        chunks.collect::<String>()
    });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end_matches([' ', '.'])
        .to_owned()
}
