"""How a cell dies: by a signal of the processor, by its own hand, in another thread, or as an ordinary error."""

from . import SEGV, Case, error, ok

# Deep enough for any stack, opaque enough not to become a loop.
OVERFLOW = """
fn deeper(n: u64) -> u64 {
    let pad = std::hint::black_box([n; 64]);
    deeper(n + 1) + pad[(n % 64) as usize]
}
"""

STOPPED_BY_OVERFLOW = "SIGSEGV|SIGABRT"

CASES = [
    Case(
        "sigsegv",
        error("SIGSEGV", f'println!("before");\nlet _shadow: i32 = 1;\n{SEGV}', evalue="0x10", stdout=("before",)),
    ),
    Case("sigsegv_names_its_code", error("SIGSEGV", SEGV, evalue="SEGV_MAPERR")),
    Case("sigsegv_names_its_line", error("SIGSEGV", f"let a: i32 = 1;\nlet b: i32 = 2;\n{SEGV}", evalue="line 3")),
    Case("sigsegv_ignored", error("SIGSEGV", "unsafe { libc::signal(libc::SIGSEGV, libc::SIG_IGN); }" + SEGV)),
    Case(
        "write_to_read_only_page",
        error(
            "SIGSEGV",
            """
unsafe {
    let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
    *page.cast::<u8>() = 1;
}""",
            evalue="SEGV_ACCERR",
        ),
    ),
    Case(
        "sigbus",
        error(
            "SIGBUS",
            """
unsafe {
    let file = libc::syscall(libc::SYS_memfd_create, c"empty".as_ptr(), 0u32) as i32;
    let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0);
    println!("{}", page.cast::<u8>().read_volatile());
}""",
            evalue="BUS_ADRERR",
        ),
    ),
    Case(
        "sigfpe",
        error(
            "SIGFPE",
            'unsafe { std::arch::asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _); }',
            evalue="FPE_INTDIV",
        ),
        needs=("x86_64",),
    ),
    Case(
        "sigill",
        error(
            "SIGILL",
            """
#[cfg(target_arch = "x86_64")]
unsafe { std::arch::asm!("ud2"); };
#[cfg(target_arch = "aarch64")]
unsafe { std::arch::asm!("udf #0"); };""",
        ),
    ),
    Case("abort", error("SIGABRT", "std::process::abort();")),
    Case("exit", error("Exited", "std::process::exit(3);", evalue=r"\b3\b")),
    Case("underscore_exit", error("Exited", "unsafe { libc::_exit(4); }", evalue=r"\b4\b")),
    Case("exit_zero", error("Exited", "std::process::exit(0);", evalue=r"\b0\b")),
    Case(
        "exit_in_a_thread",
        error("Exited", "std::thread::spawn(|| std::process::exit(5)).join().unwrap();", evalue=r"\b5\b"),
    ),
    Case(
        "exit_of_the_main_thread_only",
        error("", "unsafe { libc::syscall(libc::SYS_exit, 6); }"),
    ),
    Case("stack_overflow", error(STOPPED_BY_OVERFLOW, OVERFLOW + "println!(\"{}\", deeper(0));", evalue="(?i)stack")),
    Case(
        "stack_overflow_in_a_thread",
        error(
            STOPPED_BY_OVERFLOW,
            OVERFLOW + "println!(\"{}\", std::thread::spawn(|| deeper(0)).join().unwrap());",
            evalue="(?i)stack",
        ),
    ),
    Case("crash_in_a_thread", error("SIGSEGV", "std::thread::spawn(|| " + SEGV + ").join().unwrap();", evalue="0x10")),
    Case(
        "thread_crashes_between_cells",
        ok(
            "std::thread::spawn(|| { std::thread::sleep(std::time::Duration::from_millis(400));" + SEGV + "});",
            late="SIGSEGV",
        ),
    ),
    Case(
        "thread_of_an_earlier_cell_crashes",
        error("SIGSEGV", "std::thread::sleep(std::time::Duration::from_secs(4));"),
        before=(
            ok("std::thread::spawn(|| { std::thread::sleep(std::time::Duration::from_millis(1500));" + SEGV + "});"),
        ),
    ),
    Case(
        "moved_and_shadowed_variables_come_back",
        error("SIGSEGV", "let shadowed: i32 = 8; drop(moved);" + SEGV),
        before=(ok('let moved: String = String::from("here"); let shadowed: i32 = 7;'),),
        after=(ok('format!("{moved} {shadowed}")', value='"here 7"'),),
    ),
    Case(
        "changed_variable_comes_back",
        error("SIGABRT", "numbers.push(4); std::process::abort();"),
        before=(ok("let mut numbers: Vec<i32> = vec![1, 2, 3];"),),
        after=(ok("numbers.len()", value="3"),),
    ),
    Case("ten_crashes_in_a_row", error("SIGSEGV", SEGV), before=(error("SIGSEGV", SEGV),) * 9),
    Case(
        "threads_lost_are_told",
        error("SIGSEGV", SEGV, traceback=r"threads lost: 2\b"),
        before=(ok("for _ in 0..2 { std::thread::spawn(|| loop { std::thread::park(); }); }"),),
    ),
    Case(
        "children_lost_are_told",
        error("SIGSEGV", SEGV, traceback=r"children lost: 1\b"),
        before=(ok('let nap: std::process::Child = std::process::Command::new("sleep").arg("100").spawn().unwrap();'),),
        after=(ok("unsafe { libc::kill(nap.id() as i32, libc::SIGKILL) }", value="0"),),
    ),
    Case(
        "timers_and_locks_lost_are_told",
        error("SIGSEGV", SEGV, traceback=r"(?s)timers lost: 1\b.*record locks lost: 1\b"),
        before=(
            ok(
                """
let held: std::fs::File = std::fs::File::create(std::env::temp_dir().join("held")).unwrap();
unsafe {
    let lock = libc::flock { l_type: libc::F_WRLCK as i16, ..std::mem::zeroed() };
    assert_eq!(libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&held), libc::F_SETLK, &lock), 0);
    libc::alarm(1000);
}"""
            ),
        ),
    ),
    Case(
        "open_files_survive",
        error("SIGSEGV", SEGV),
        before=(
            ok('let hostname: std::fs::File = std::fs::File::open("/proc/sys/kernel/ostype").unwrap();'),
            ok("let ends: (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) = "
               "std::os::unix::net::UnixStream::pair().unwrap();"),
        ),
        after=(
            ok("std::io::read_to_string(&hostname).unwrap()", value=r'"Linux\\n"'),
            ok('use std::io::Write as _; (&ends.0).write_all(b"over").unwrap();'),
            ok("drop(ends);"),
        ),
    ),
    Case("heap_corruption", error("SIGABRT|SIGSEGV", "unsafe { libc::free(0x12340 as *mut _); }")),
    Case(
        "panic",
        error("Panic", 'let n: usize = 7; panic!("number {n} is up");', evalue="number 7 is up"),
    ),
    Case("panic_names_its_line", error("Panic", "let v: Vec<i32> = vec![];\nlet i: usize = 3;\nv[i];", traceback="line 3|:3:")),
    Case("panic_with_an_odd_payload", error("Panic", "std::panic::panic_any(42u64);")),
    Case("panic_in_a_thread_is_not_the_cells", ok('let _ = std::thread::spawn(|| panic!("elsewhere")).join();')),
    Case(
        "panic_behind_a_hook_of_its_own",
        error("Panic", 'panic!("for the hook");', evalue="panic hook"),
        before=(ok('static HOOK: std::sync::Mutex<Option<Box<dyn Fn(&std::panic::PanicHookInfo) + Sync + Send>>> = '
                   'std::sync::Mutex::new(None);\n'
                   '*HOOK.lock().unwrap() = Some(std::panic::take_hook()); std::panic::set_hook(Box::new(|_| {}));'),),
        after=(ok("std::panic::set_hook(HOOK.lock().unwrap().take().unwrap());"),
               error("Panic", 'panic!("told again");', evalue="told again")),
    ),
    Case(
        "panic_keeps_earlier_variables",
        error("Panic", 'let later: i32 = 2; panic!("now");'),
        before=(ok("let earlier: i32 = 1;"),),
        after=(ok("earlier", value="1"),),
    ),
    Case(
        "panic_in_drop",
        error("Panic", "{ let _bomb = Bomb; }", evalue="dropped a bomb"),
        before=(ok('struct Bomb; impl Drop for Bomb { fn drop(&mut self) { panic!("dropped a bomb") } }'),),
    ),
    Case(
        "panic_in_drop_while_panicking",
        error("SIGABRT", '{ let _bomb = Second; panic!("first"); }'),
        before=(ok('struct Second; impl Drop for Second { fn drop(&mut self) { panic!("second") } }'),),
    ),
    Case(
        "variable_that_panics_in_drop",
        error("Panic", "drop(armed);"),
        before=(
            ok('struct Armed; impl Drop for Armed { fn drop(&mut self) { panic!("armed") } }'),
            ok("let armed: Armed = Armed;"),
        ),
    ),
    Case(
        "question_mark",
        error("QuestionMark", 'let n: i32 = "x".parse::<i32>()?;', evalue="invalid digit"),
    ),
    Case(
        "compile_error_names_its_line",
        error("E0308", 'let a: i32 = 1;\nlet b: i32 = "text";\n', traceback=r"line 2|:2:"),
    ),
    Case("nested_too_deep", error("TooDeep", "(" * 100_000 + "1" + ")" * 100_000)),
    Case("chained_too_long", error("TooDeep", "let sum: i32 = " + "1+" * 100_000 + "1;")),
    Case("nested_deep", ok("(" * 300 + "1" + ")" * 300, value="1")),
    Case("text_of_a_megabyte", ok(f'"{"a" * 1_000_000}".len()', value="1000000")),
    Case("byte_order_mark_and_crlf", ok("\ufefflet one: i32 = 1;\r\nlet two = 2;\r\none + two\r\n", value="3")),
    Case("unknown_name", error("E0425", "no_such_thing + 1")),
    Case("unbalanced", error(".+", "fn f( {")),
]
