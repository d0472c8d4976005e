//! Leaves folders in TMPDIR that are hard to remove: nobody may enter them, or they are very deep.
//! outcome: leaked
//! says: closed | deep

use std::os::unix::fs::PermissionsExt as _;

pub fn answer() -> u32 {
    println!("the answer is 42");
    let folder = std::env::temp_dir();
    let closed = folder.join("closed");
    std::fs::create_dir_all(closed.join("inner")).unwrap();
    std::fs::write(closed.join("inner/file"), "x").unwrap();
    std::fs::set_permissions(closed.join("inner"), std::fs::Permissions::from_mode(0)).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0)).unwrap();
    std::env::set_current_dir(&folder).unwrap();
    for _ in 0..3000 {
        std::fs::create_dir("deep").unwrap();
        std::env::set_current_dir("deep").unwrap();
    }
    42
}
