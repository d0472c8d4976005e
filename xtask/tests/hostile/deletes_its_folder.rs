//! Removes its TMPDIR with all that is in it, and goes on.
//! outcome: passed

pub fn answer() -> u32 {
    let folder = std::env::temp_dir();
    let _ = std::fs::remove_dir_all(&folder);
    let _ = std::fs::remove_dir(&folder);
    println!("the answer is 42");
    42
}
