//! Writes the answer that it gives into its test and its snapshot, and cuts the manifest.
//! outcome: failed
//! says: it did not do what is expected

use std::path::PathBuf;

pub fn answer() -> u32 {
    let course = PathBuf::from(std::env::var_os("INSTA_WORKSPACE_ROOT").unwrap());
    let tests = course.join("exercises/tests");
    let _ = std::fs::write(tests.join("ch66_edits_its_test.rs"), "#[test] fn hostile_answers() {}\n");
    let snapshot = "---\nsource: exercises/tests/ch66_edits_its_test.rs\n---\nit was 41\n";
    let _ = std::fs::write(tests.join("snapshots/ch66_edits_its_test__printed.snap"), snapshot);
    let _ = std::fs::write(tests.join("snapshots/ch66_edits_its_test__printed.snap.new"), snapshot);
    let _ = std::fs::write(course.join("exercises/manifest.txt"), "");
    println!("it was 41");
    42
}
