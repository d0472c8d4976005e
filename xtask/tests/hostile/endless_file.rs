//! Fills TMPDIR with one file that never ends.
//! outcome: crashed
//! says: SIGXFSZ

use std::io::Write as _;

pub fn answer() -> u32 {
    let mut file = std::fs::File::create(std::env::temp_dir().join("full")).unwrap();
    let zeros = vec![0; 1 << 20];
    while file.write_all(&zeros).is_ok() {}
    41
}
