"""What a cell does to the descriptors it was given, and to those the kernel may have hidden in it."""

from . import Case, ok

SEEN = ok('println!("seen again"); eprintln!("too");', stdout=("seen again",), stderr=("too",))

CASES = [
    Case(
        "stdout_into_the_void",
        ok(
            """
unsafe {
    let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
    libc::dup2(null, 1);
    libc::close(null);
}
println!("for nobody");""",
            never=("for nobody",),
        ),
        after=(SEEN,),
    ),
    Case(
        "stderr_into_stdout",
        ok('unsafe { libc::dup2(1, 2); } eprintln!("by way of stdout");', stdout=("by way of stdout",)),
        after=(SEEN,),
    ),
    Case(
        "stdin_from_the_void",
        ok('unsafe { libc::dup2(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR), 0); }'),
        after=(SEEN,),
    ),
    *(
        Case(f"close_{fd}", ok(f'unsafe {{ libc::close({fd}); }} println!("a"); eprintln!("b");'), after=(SEEN,))
        for fd in (0, 1, 2)
    ),
    Case(
        "close_all_three",
        ok('for fd in 0..3 { unsafe { libc::close(fd); } } println!("a"); eprintln!("b");'),
        after=(SEEN,),
    ),
    Case(
        "close_range_of_everything",
        ok("unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32); }"),
        after=(SEEN,),
    ),
    Case(
        "close_range_but_three",
        ok(
            'unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32); } println!("still here");',
            stdout=("still here",),
        ),
        after=(SEEN,),
    ),
    Case(
        "stdout_is_a_file_now",
        ok(
            """
unsafe {
    libc::close(1);
    libc::syscall(libc::SYS_memfd_create, c"in-its-place".as_ptr(), 0u32);
}
println!("into the file");""",
            never=("into the file",),
        ),
        after=(SEEN,),
    ),
    Case(
        "stdout_is_a_broken_pipe",
        ok(
            """
unsafe {
    libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    let mut ends = [0i32; 2];
    libc::pipe(ends.as_mut_ptr());
    libc::dup2(ends[1], 1);
    libc::close(ends[0]);
    libc::close(ends[1]);
    assert_eq!(libc::write(1, b"x".as_ptr().cast(), 1), -1);
}""",
        ),
        after=(SEEN,),
    ),
    Case(
        "stdout_made_nonblocking",
        ok("unsafe { libc::fcntl(1, libc::F_SETFL, libc::O_NONBLOCK); libc::fcntl(0, libc::F_SETFL, libc::O_NONBLOCK); }"),
        after=(SEEN,),
    ),
    Case(
        "every_descriptor_used",
        ok(
            """
let old_limit: (u64, u64) = unsafe {
    let mut l: libc::rlimit = std::mem::zeroed();
    libc::getrlimit(libc::RLIMIT_NOFILE, &mut l);
    let old = (l.rlim_cur, l.rlim_max);
    l.rlim_cur = 64;
    assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &l), 0);
    while libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) >= 0 {}
    old
};""",
        ),
        after=(
            ok(
                """
unsafe {
    for fd in 3..64 {
        let mut name = [0u8; 64];
        let n = libc::readlink(format!("/proc/self/fd/{fd}\\0").as_ptr().cast(), name.as_mut_ptr().cast(), 64);
        if n > 0 && name.starts_with(b"/dev/null") { libc::close(fd); }
    }
    let l = libc::rlimit { rlim_cur: old_limit.0, rlim_max: old_limit.1 };
    assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &l), 0);
}"""
            ),
            SEEN,
        ),
    ),
]
