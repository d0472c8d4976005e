"""What a cell does with processes: forks that fall out of it, daemons, replacements, zombies, crowds."""

from . import LOOP, Case, Interrupt, error, interrupted, ok

CASES = [
    Case(
        "fork_falls_out",
        ok(
            """
let child: i32 = unsafe { libc::fork() };
if child > 0 {
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0); }
    println!("parent went on");
}""",
            stdout=("^parent went on\n$",),
        ),
    ),
    Case(
        "fork_falls_out_with_buffered_output",
        ok(
            """
print!("buffered, ");
let child: i32 = unsafe { libc::fork() };
if child > 0 {
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0); }
    println!("parent went on");
} else {
    println!("child said so");
    print!("and this has no newline");
}""",
            stdout=("parent went on\n", "child said so\n"),
        ),
    ),
    Case(
        "fork_falls_out_as_a_value",
        ok("unsafe { libc::fork() > 0 }", value="true"),
        after=(ok("1 + 1", value="2"),),
    ),
    Case(
        "fork_falls_out_later_than_its_parent",
        ok(
            "if unsafe { libc::fork() } == 0 { std::thread::sleep(std::time::Duration::from_millis(600)); "
            'println!("child at last"); }',
            late="child at last",
        ),
        after=(ok("1 + 1", value="2"),),
    ),
    Case(
        "fork_child_panics",
        ok(
            """
let child: i32 = unsafe { libc::fork() };
if child == 0 { panic!("in the child"); }
unsafe { libc::waitpid(child, std::ptr::null_mut(), 0); }
println!("parent went on");""",
            stdout=("parent went on",),
        ),
    ),
    Case(
        "fork_child_crashes",
        ok(
            """
unsafe {
    let child = libc::fork();
    if child == 0 { *(0x10 as *mut i32) = 7; }
    let mut status = 0;
    libc::waitpid(child, &mut status, 0);
    println!("child died of {}", libc::WTERMSIG(status));
}""",
            stdout=("child died of 11",),
        ),
    ),
    Case(
        "execve",
        error(
            "Replaced",
            'std::os::unix::process::CommandExt::exec(std::process::Command::new("echo").arg("another program"));',
            stdout=("another program",),
        ),
    ),
    Case(
        "execve_of_a_program_that_stays",
        error(
            "Replaced|Interrupted",
            'println!("looping"); '
            'std::os::unix::process::CommandExt::exec(std::process::Command::new("sleep").arg("60"));',
            interrupt=Interrupt(after=0.7),
        ),
    ),
    Case(
        "execve_in_a_thread",
        error(
            "Replaced",
            "std::thread::spawn(|| std::os::unix::process::CommandExt::exec("
            'std::process::Command::new("echo").arg("by a thread"))).join().unwrap();',
            stdout=("by a thread",),
        ),
    ),
    Case(
        "daemon",
        error("Exited", 'unsafe { libc::daemon(1, 1); } println!("daemon speaks");', evalue=r"\b0\b", late="daemon speaks"),
    ),
    Case(
        "daemon_that_closes_everything",
        error("Exited", "unsafe { libc::daemon(0, 0); }"),
    ),
    Case(
        "setsid",
        ok('let r: i32 = unsafe { libc::setsid() }; println!("setsid {}", r > 0 || r == -1);', stdout=("setsid true",)),
        after=(interrupted(LOOP),),
    ),
    Case(
        "moves_into_its_childs_group",
        ok(
            """
let friend: i32 = unsafe { match libc::fork() { 0 => { libc::pause(); libc::_exit(0) } pid => pid } };
unsafe { libc::setpgid(friend, friend); libc::setpgid(0, friend); }"""
        ),
        after=(
            interrupted(LOOP),
            ok("unsafe { libc::setpgid(0, 0); libc::kill(friend, libc::SIGKILL); "
               "libc::waitpid(friend, std::ptr::null_mut(), 0); }"),
        ),
    ),
    Case(
        "group_of_its_own",
        ok("unsafe { libc::setpgid(0, 0); }"),
        after=(interrupted(LOOP),),
    ),
    Case(
        "vfork_falls_out",
        # Any status: a child that returns from the function that called vfork(2) takes its parent's stack with it.
        ok("if unsafe { libc::vfork() } == 0 {}", status=None),
        after=(error("SIGABRT", "std::process::abort();"),),
    ),
    Case(
        "subreaper",
        ok("unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1); }"),
        after=(
            ok("unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL) }", value="-1"),
            error("SIGABRT", "std::process::abort();"),
            ok("let mut set: i32 = 0; unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut set); } set", value="1"),
        ),
        alone=True,
    ),
    Case(
        "stops_its_checkpoint",
        error(
            "SIGABRT",
            """
let host: i32 = unsafe { libc::getppid() };
let children: String = std::fs::read_dir(format!("/proc/{host}/task")).unwrap().flatten()
    .map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap()).collect();
let others: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().unwrap())
    .filter(|pid| *pid != unsafe { libc::getpid() }).collect();
for pid in &others { unsafe { libc::kill(*pid, libc::SIGSTOP); } }
println!("{} stopped", others.len());
std::process::abort();""",
            stdout=("1 stopped",),
        ),
        alone=True,
    ),
    Case(
        "writes_over_what_it_shares_with_its_host",
        ok(
            """
let maps: String = std::fs::read_to_string("/proc/self/maps").unwrap();
let line: &str = maps.lines().find(|line| line.contains("syslab-page")).unwrap();
let page: usize = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
unsafe { std::ptr::write_bytes(page as *mut u8, 0, 8192); }""",
            status=None,
            interrupt=Interrupt(seen=None, after=2),
        ),
        after=(interrupted(LOOP),),
        alone=True,
        loss="(?i)lost",
    ),
    Case("zombie_left", ok("unsafe { if libc::fork() == 0 { libc::_exit(0) } }")),
    Case(
        "thousand_children_left",
        ok(
            """
let crowd: Vec<i32> = (0..1000)
    .map(|_| unsafe { match libc::fork() { 0 => { libc::pause(); libc::_exit(0) } pid => pid } })
    .collect();
println!("{} children", crowd.iter().filter(|pid| **pid > 0).count());""",
            stdout=("1000 children",),
            limit=30,
        ),
        after=(
            ok("for pid in &crowd { unsafe { libc::kill(*pid, libc::SIGKILL); "
               "libc::waitpid(*pid, std::ptr::null_mut(), 0); } }"),
        ),
    ),
    Case(
        "chatty_orphan_left",
        ok(
            'let _ = std::process::Command::new("sh")'
            '.args(["-c", "(while :; do echo tick; sleep 0.02; done) &"]).status().unwrap();',
            late=r"tick\s+tick",
        ),
        after=(ok('println!("in between");', stdout=("in between",), never=("tick",)),),
        alone=True,
    ),
    Case(
        "waits_for_any_child",
        ok(
            "unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) == -1 && *libc::__errno_location() == libc::ECHILD }",
            value="true",
        ),
        alone=True,
    ),
    Case(
        "umask_of_everything",
        ok("unsafe { libc::umask(0o777); }"),
        after=(ok("unsafe { libc::umask(0o022) }", value="511"),),
    ),
    Case(
        "stands_in_a_deleted_folder",
        ok(
            """
let folder: std::path::PathBuf = std::env::temp_dir().join(format!("gone-{}", std::process::id()));
std::fs::create_dir(&folder).unwrap();
std::env::set_current_dir(&folder).unwrap();
std::fs::remove_dir(&folder).unwrap();""",
        ),
        after=(
            ok("std::env::current_dir().is_err()", value="true"),
            ok('std::env::set_current_dir("/").unwrap();'),
        ),
    ),
    Case(
        "environment_wiped",
        ok("unsafe { libc::clearenv(); }"),
        after=(ok("std::env::vars().count()", value="0"),),
        alone=True,
    ),
    Case(
        "lowest_priority",
        ok("unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19); }"),
        alone=True,
    ),
]
