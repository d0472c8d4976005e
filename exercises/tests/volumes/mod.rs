//! What the tests of volumes stand on: devices in files, and a volume that looks up each byte alone.

mod disks;
mod model;

pub use disks::{Disks, chunks};
pub use model::{CHUNK, DEVICE, EXTENT, Model, Row, Transfer, pieces, size};
