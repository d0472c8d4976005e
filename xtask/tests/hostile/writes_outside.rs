//! Leaves a file in every place that a program usually may write to.
//! outcome: passed

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

pub fn answer() -> u32 {
    let mut folders: Vec<PathBuf> = ["/tmp", "/var/tmp", "/dev/shm", "/dev", "/run", "/var/lock", "/", "/etc"]
        .map(PathBuf::from)
        .to_vec();
    // Not HOME, which is the test's own: the one that the user database names.
    // SAFETY: the entry is static memory of libc, read before the next call.
    unsafe {
        let entry = libc::getpwuid(libc::getuid());
        if !entry.is_null() {
            let home = std::ffi::CStr::from_ptr((*entry).pw_dir).to_bytes();
            folders.push(std::ffi::OsStr::from_bytes(home).into());
        }
    }
    let course = PathBuf::from(std::env::var_os("INSTA_WORKSPACE_ROOT").unwrap());
    folders.push(course.join("exercises/tests"));
    folders.push(course);
    folders.push(std::env::temp_dir().join(".."));
    folders.push(std::env::current_exe().unwrap().parent().unwrap().to_owned());
    for folder in folders {
        let path = folder.join("syslab-hostile");
        let _ = std::fs::write(&path, "was here");
        let _ = std::fs::create_dir(path.with_extension("folder"));
        let _ = std::os::unix::fs::symlink("/", path.with_extension("link"));
        let _ = nix::unistd::mkfifo(&path.with_extension("fifo"), nix::sys::stat::Mode::all());
        let _ = std::os::unix::net::UnixListener::bind(path.with_extension("socket"));
        let _ = std::fs::hard_link(std::env::current_exe().unwrap(), path.with_extension("hard"));
    }
    println!("the answer is 42");
    42
}
