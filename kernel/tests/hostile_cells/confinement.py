"""Where a cell locks itself in: namespaces, roots, users, filters. None of it can be undone: a kernel each."""

from dataclasses import replace

from . import LOOP, SEGV, Case, error, interrupted, ok, undone

# A normal user needs a user namespace around the others.
UNSHARE = """
unsafe {{
    let user = if libc::geteuid() == 0 {{ 0 }} else {{ libc::CLONE_NEWUSER }};
    assert_eq!(libc::unshare(user | {flags}), 0, "{{}}", std::io::Error::last_os_error());
}}
"""


def unshare(flags: str) -> str:
    return UNSHARE.format(flags=flags)


CHROOT = """
unsafe {
    if libc::geteuid() != 0 { assert_eq!(libc::unshare(libc::CLONE_NEWUSER), 0); }
    let folder = std::env::temp_dir().join(format!("root-{}", libc::getpid()));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chroot(&folder).unwrap();
    std::env::set_current_dir("/").unwrap();
}
"""

NOBODY = """
unsafe {
    assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
    assert_eq!(libc::setgid(65534), 0);
    assert_eq!(libc::setuid(65534), 0);
}
"""

UNDUMPABLE = "unsafe { assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 0), 0); }\n"

# Load the call's number; write and writev are fatal.
NO_WRITES = """
unsafe {
    let filter = [
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: 0x15, jt: 1, jf: 0, k: libc::SYS_write as u32 },
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_writev as u32 },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: 5, filter: filter.as_ptr().cast_mut() };
    assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
}
"""

# Handles every access to files and allows none.
LANDLOCK = """
unsafe {
    let handled: u64 = (1 << 13) - 1;
    let rules = libc::syscall(libc::SYS_landlock_create_ruleset, &handled, 8usize, 0u32);
    assert!(rules >= 0);
    assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_eq!(libc::syscall(libc::SYS_landlock_restrict_self, rules, 0u32), 0);
}
"""

TRACES_ITS_CHILD = """
unsafe {
    let child = libc::fork();
    if child == 0 {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        libc::raise(libc::SIGSTOP);
        libc::_exit(7);
    }
    let mut status = 0;
    libc::waitpid(child, &mut status, 0);
    println!("child stopped: {}", libc::WIFSTOPPED(status));
    libc::ptrace(libc::PTRACE_CONT, child, 0, 0);
    libc::waitpid(child, &mut status, 0);
    println!("child exited: {}", libc::WEXITSTATUS(status));
}"""

FIRST_OF_ITS_NAMESPACE = """
unsafe {
    let child = libc::fork();
    if child == 0 { println!("child is {}", libc::getpid()); libc::_exit(0); }
    libc::waitpid(child, std::ptr::null_mut(), 0);
}"""

ALL = [
    Case("user_namespace", ok("unsafe { assert_eq!(libc::unshare(libc::CLONE_NEWUSER), 0); }"), needs=("userns",)),
    Case(
        "user_namespace_and_a_crash",
        error("SIGSEGV", SEGV),
        before=(ok("unsafe { assert_eq!(libc::unshare(libc::CLONE_NEWUSER), 0); }"),),
        needs=("userns",),
    ),
    Case(
        "pid_namespace",
        ok(unshare("libc::CLONE_NEWPID")),
        after=(ok(FIRST_OF_ITS_NAMESPACE, stdout=("child is 1",)),),
        needs=("namespaces",),
    ),
    Case(
        "pid_namespace_and_a_crash",
        error("SIGSEGV", SEGV),
        before=(ok(unshare("libc::CLONE_NEWPID")),),
        needs=("namespaces",),
        loss="(?i)(variables|state|everything).*lost|lost:? .*variables",
    ),
    Case(
        "mount_namespace",
        undone(
            unshare("libc::CLONE_NEWNS")
            + """
unsafe {
    let none = std::ptr::null();
    assert_eq!(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()), 0);
    for over in [c"/tmp", c"/dev/shm", c"/proc"] {
        assert_eq!(libc::mount(c"none".as_ptr(), over.as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()), 0);
    }
}""",
            "no other cell can be found",
        ),
        after=(interrupted(LOOP),),
        needs=("namespaces",),
    ),
    Case("net_namespace", ok(unshare("libc::CLONE_NEWNET")), needs=("namespaces",)),
    Case(
        "net_namespace_and_a_crash",
        error("SIGSEGV", SEGV),
        before=(ok(unshare("libc::CLONE_NEWNET")),),
        needs=("namespaces",),
    ),
    Case("chroot", undone(CHROOT, "another root directory"), after=(interrupted(LOOP),), needs=("namespaces",)),
    Case("chroot_and_a_crash", error("SIGSEGV", CHROOT + SEGV), needs=("namespaces",)),
    Case("setuid_nobody", ok(NOBODY), after=(ok("unsafe { libc::getuid() }", value="65534"),), needs=("root",)),
    Case("setuid_nobody_and_a_crash", error("SIGSEGV", SEGV), before=(ok(NOBODY),), needs=("root",)),
    Case("setuid_nobody_in_the_crashing_cell", error("SIGSEGV", NOBODY + SEGV), needs=("root",)),
    Case("not_dumpable", ok(UNDUMPABLE), after=(ok("unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }", value="0"),)),
    Case("not_dumpable_and_a_crash", error("SIGSEGV", SEGV), before=(ok(UNDUMPABLE),)),
    Case("not_dumpable_in_the_crashing_cell", error("SIGSEGV", UNDUMPABLE + SEGV)),
    Case("write_is_fatal", error("SIGSYS", NO_WRITES + 'println!("never");', never=("never",))),
    Case("write_is_fatal_later", ok(NO_WRITES), follow="assert_eq!(keep, 41);"),
    Case(
        "strict_seccomp",
        error("SIGKILL|SIGSYS", "unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT); }"),
    ),
    Case(
        "landlock_denies_all_files",
        undone(LANDLOCK, "may not read the next cell"),
        after=(ok('std::fs::read("/proc/version").is_ok()', value="true"),),
        needs=("landlock",),
    ),
    Case("landlock_and_a_crash", error("SIGSEGV", LANDLOCK + SEGV), needs=("landlock",)),
    Case("ptrace_of_its_own_child", ok(TRACES_ITS_CHILD, stdout=("child stopped: true\nchild exited: 7",))),
    Case("asks_to_be_traced", ok("unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0); }", status=None)),
]

CASES = [replace(case, alone=True) for case in ALL]
