//! How is a directory made unreadable, whoever runs the test?

/// Takes from a child what root has: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH read whatever they like.
pub fn drop_capabilities() {
    // _LINUX_CAPABILITY_VERSION_3, and this process; effective, permitted, inheritable, twice 32 bits each.
    let header = [0x2008_0522_u32, 0];
    let none = [0_u32; 6];
    // SAFETY: capset(2) reads these two arrays during the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(done, 0, "capset(2)");
}
