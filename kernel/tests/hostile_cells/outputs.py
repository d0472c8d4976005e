"""What a cell writes: bytes without a newline, bytes that are no text, and the lines evcxr speaks to itself with."""

from . import SEGV, Case, error, ok

CASES = [
    Case(
        "raw_write_without_newline",
        ok('unsafe { libc::write(1, "no newline here".as_ptr().cast(), 15); }', stdout=("no newline here$",)),
    ),
    Case(
        "print_without_newline",
        ok('print!("still in the buffer of libstd");', stdout=("still in the buffer of libstd$",)),
    ),
    Case(
        "libc_printf",
        ok('unsafe { libc::printf(c"printed by libc: %d\\n".as_ptr(), 42); }', stdout=("printed by libc: 42\n",)),
    ),
    Case(
        "invalid_utf8",
        ok(
            r"""
use std::io::Write as _;
std::io::stdout().write_all(b"left \xff\xfe\x80 right\n").unwrap();
std::io::stderr().write_all(b"\xc3(\n").unwrap();""",
            stdout=("left \ufffd+ right\n",),
            stderr=("\ufffd",),
        ),
    ),
    Case(
        "utf8_torn_in_two",
        ok(
            r"""
unsafe {
    libc::write(1, b"caf\xc3".as_ptr().cast(), 4);
    std::thread::sleep(std::time::Duration::from_millis(100));
    libc::write(1, b"\xa9\n".as_ptr().cast(), 2);
}""",
            stdout=("caf\u00e9\n",),
        ),
    ),
    Case(
        "zero_bytes",
        ok(r'println!("a\0b\0c");', stdout=("a.?b.?c",)),
    ),
    Case(
        "ten_megabytes_in_one_line",
        ok('print!("{}", "x".repeat(10_000_000)); eprintln!("written");', stderr=("written",)),
    ),
    Case("value_too_large", ok('"x".repeat(70_000_000)', stderr=("a value of 66 MiB is not shown",))),
    Case(
        "magic_execution_complete",
        ok('println!("EVCXR_EXECUTION_COMPLETE"); println!("and after it");', stdout=("and after it",)),
    ),
    Case(
        "magic_panic_notification",
        ok('println!("EVCXR_PANIC_NOTIFICATION"); println!("and after it");', stdout=("and after it",)),
    ),
    Case(
        "magic_variable_changed_type",
        ok('println!("EVCXR_VARIABLE_CHANGED_TYPE:keep"); println!("and after it");', stdout=("and after it",)),
    ),
    Case(
        "magic_error_occurred",
        ok('println!("EVCXR_ERROR_OCCURRED"); println!("and after it");', stdout=("and after it",)),
    ),
    Case(
        "magic_new_variable_is_not_dropped",
        ok('let fresh: i32 = 6; println!("EVCXR_ERROR_OCCURRED"); println!("EVCXR_PANIC_NOTIFICATION");'),
        after=(ok("fresh * 7", value="42"),),
    ),
    Case(
        "magic_content_without_end",
        ok('println!("EVCXR_BEGIN_CONTENT text/plain\\nnever ended");'),
        after=(ok('println!("words of the next cell");', stdout=("words of the next cell",)),),
    ),
    Case(
        "magic_end_without_content",
        ok('println!("EVCXR_END_CONTENT"); println!("and after it");', stdout=("and after it",)),
    ),
    Case(
        "magic_content_torn_by_a_crash",
        error("SIGSEGV", 'println!("EVCXR_BEGIN_CONTENT text/html\\n<b>torn");' + SEGV),
    ),
    Case(
        "magic_line_on_stderr_and_without_newline",
        ok('eprint!("EVCXR_EXECUTION_COMPLETE\\n"); print!("EVCXR_EXECUTION_COMPLETE");'),
    ),
    Case(
        "process_outlives_its_cell",
        ok(
            'let _ = std::process::Command::new("sh").args(["-c", "sleep 0.5; echo late words"]).spawn().unwrap();',
            late="late words",
        ),
    ),
    Case(
        "thread_outlives_its_cell",
        ok(
            """
std::thread::spawn(|| {
    std::thread::sleep(std::time::Duration::from_millis(500));
    println!("late thread");
});""",
            late="late thread",
        ),
    ),
    Case(
        "output_of_a_crash_is_not_lost",
        error("SIGSEGV", 'println!("famous"); print!("last words"); ' + SEGV, stdout=("famous\n",)),
    ),
]
