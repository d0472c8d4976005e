//! Where must each byte of a volume lie?

/// Bytes of an extent: no power of two, so that nothing fits by accident.
pub const EXTENT: u64 = 600;

/// Bytes of a chunk.
pub const CHUNK: u64 = 100;

/// Extents of each device.
pub const DEVICE: u64 = 16;

/// A row as the tests write it down: devices by their letters, extents by their numbers.
#[derive(Clone, Copy)]
pub enum Row {
    Linear(char, u64, u64),
    Striped(&'static [(char, u64)], u64),
}
use Row::{Linear, Striped};

/// The devices as they must be: each byte of the volume goes its way alone.
pub struct Model(pub [Vec<u8>; 3]);

impl Model {
    pub fn new() -> Model {
        Model(['a', 'b', 'c'].map(|_| vec![0; (DEVICE * EXTENT) as usize]))
    }

    pub fn write(&mut self, rows: &[Row], bytes: &[u8], offset: u64) {
        for (at, byte) in (offset..).zip(bytes) {
            let (name, at) = place(rows, at);
            self.0[(name as u8 - b'a') as usize][at as usize] = *byte;
        }
    }
}

/// Where a byte of the volume lies: on which device, at which of its bytes.
fn place(rows: &[Row], mut at: u64) -> (char, u64) {
    for row in rows {
        if at >= size(&[*row]) {
            at -= size(&[*row]);
            continue;
        }
        return match *row {
            Linear(name, first, _) => (name, first * EXTENT + at),
            Striped(areas, _) => {
                let (name, first) = areas[(at / CHUNK) as usize % areas.len()];
                let turn = at / CHUNK / areas.len() as u64;
                (name, first * EXTENT + turn * CHUNK + at % CHUNK)
            }
        };
    }
    panic!("the test asks for a byte behind the volume's end")
}

pub fn size(rows: &[Row]) -> u64 {
    let extents = rows.iter().map(|row| match row {
        Linear(_, _, extents) | Striped(_, extents) => extents,
    });
    extents.sum::<u64>() * EXTENT
}

/// Device, offset, length.
pub type Transfer = (char, u64, u64);

/// What `len` bytes at `from` are cut into: at the end of a row and of a chunk.
pub fn pieces(rows: &[Row], from: u64, len: u64) -> Vec<Transfer> {
    let mut pieces: Vec<Transfer> = Vec::new();
    let mut before = None;
    for at in from..from + len {
        let (name, byte) = place(rows, at);
        let mut end = 0;
        let row = rows.iter().position(|row| {
            end += size(&[*row]);
            at < end
        });
        let chunk = match row.map(|row| rows[row]) {
            Some(Striped(..)) => at / CHUNK,
            _ => 0,
        };
        match pieces.last_mut() {
            Some(piece) if before == Some((row, chunk)) => piece.2 += 1,
            _ => pieces.push((name, byte, 1)),
        }
        before = Some((row, chunk));
    }
    pieces
}
