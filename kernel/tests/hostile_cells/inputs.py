"""What a cell reads: standard input with and without a front end that answers, in the cell and in its children."""

from . import Case, Interrupt, error, interrupted, ok

READ_LINE = """
let mut line: String = String::new();
let n: usize = std::io::stdin().read_line(&mut line).unwrap();
println!("got {n} bytes: {}", line.trim());"""

CASES = [
    Case("answered", ok(READ_LINE, answers=("hello",), asked=1, stdout=("got 6 bytes: hello",))),
    Case("not_allowed", ok(READ_LINE, stdout=("got 0 bytes",))),
    Case(
        "to_the_end_not_allowed",
        ok("std::io::read_to_string(std::io::stdin()).unwrap().len()", value="0"),
    ),
    Case(
        "two_lines",
        ok(
            """
for _ in 0..2 {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("<{}>", line.trim());
}""",
            answers=("one", "two"),
            asked=2,
            stdout=("<one>\n<two>",),
        ),
    ),
    Case(
        "raw_read",
        ok(
            """
let mut bytes: [u8; 16] = [0; 16];
let n: isize = unsafe { libc::read(0, bytes.as_mut_ptr().cast(), 16) };
println!("read {n}");""",
            answers=("abc",),
            asked=1,
            stdout=("read 4",),
        ),
    ),
    Case(
        "asked_by_a_child",
        ok(
            'println!("{}", std::process::Command::new("head").args(["-n", "1"]).status().unwrap().success());',
            answers=("for the child",),
            asked=1,
            stdout=("for the child\n", "true"),
        ),
    ),
    Case(
        "polled",
        ok(
            "let mut wanted: libc::pollfd = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };\n"
            "let ready: i32 = unsafe { libc::poll(&mut wanted, 1, 10_000) };\n" + READ_LINE + "ready",
            answers=("hello",), asked=1, stdout=("got 6 bytes: hello",), value="1",
        ),
    ),
    Case(
        "selected",
        ok(
            "let ready: i32 = unsafe { let mut set: libc::fd_set = std::mem::zeroed(); libc::FD_SET(0, &mut set); "
            "let none = std::ptr::null_mut(); libc::select(1, &mut set, none, none, std::ptr::null_mut()) };\n" + READ_LINE + "ready",
            answers=("hello",), asked=1, stdout=("got 6 bytes: hello",), value="1",
        ),
    ),
    Case(
        "waited_for_by_epoll",
        ok(
            "let ready: i32 = unsafe { let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 }; "
            "let all = libc::epoll_create1(0); libc::epoll_ctl(all, libc::EPOLL_CTL_ADD, 0, &mut event); "
            "let ready = libc::epoll_wait(all, &mut event, 1, 10_000); libc::close(all); ready };\n" + READ_LINE + "ready",
            answers=("hello",), asked=1, stdout=("got 6 bytes: hello",), value="1",
        ),
    ),
    Case(
        "child_not_allowed",
        ok('let _ = std::process::Command::new("cat").status().unwrap();'),
    ),
    Case(
        "interrupted_while_asked",
        interrupted('println!("looping");' + READ_LINE, answers=(), interrupt=Interrupt(after=1.0)),
    ),
    Case(
        "crash_after_an_answer",
        error("SIGABRT", READ_LINE + "std::process::abort();", answers=("hello",), asked=1, stdout=("hello",)),
        after=(ok(READ_LINE, answers=("again",), asked=1, stdout=("got 6 bytes: again",)),),
    ),
    Case(
        "terminal",
        ok(":tty\nuse std::io::IsTerminal;" + READ_LINE + "std::io::stdin().is_terminal() && std::io::stderr().is_terminal()",
           answers=("hello",), asked=1, stdout=("got 6 bytes: hello",), value="true"),
        after=(ok("std::io::IsTerminal::is_terminal(&std::io::stdin())", value="false"),),
    ),
    Case("terminal_not_allowed", ok(":tty\n" + READ_LINE, stdout=("got 0 bytes",))),
    Case("terminal_and_a_crash", error("SIGABRT", ':tty\nprintln!("before"); std::process::abort();', stdout=("before",))),
]
