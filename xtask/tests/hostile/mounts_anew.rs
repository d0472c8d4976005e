//! Takes a user namespace of its own, where it is root, and makes the mounts writable again.
//! outcome: passed

pub fn answer() -> u32 {
    let course = std::env::var("INSTA_WORKSPACE_ROOT").unwrap();
    let here = std::ffi::CString::new(course.clone()).unwrap();
    let none = std::ptr::null();
    // SAFETY: integers, and C strings that live across the calls.
    unsafe {
        libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID);
        for target in [c"/", here.as_c_str()] {
            libc::umount2(target.as_ptr(), libc::MNT_DETACH);
            libc::mount(none, target.as_ptr(), none, libc::MS_REMOUNT | libc::MS_BIND, none.cast());
            libc::mount(target.as_ptr(), target.as_ptr(), none, libc::MS_BIND | libc::MS_REC, none.cast());
            libc::mount(none, target.as_ptr(), none, libc::MS_REMOUNT | libc::MS_BIND, none.cast());
        }
    }
    let written = std::fs::write(format!("{course}/syslab-hostile"), "was here");
    assert!(written.is_err(), "it made the course writable");
    println!("the answer is 42");
    42
}
