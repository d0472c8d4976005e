"""Which cell makes a kernel do what a test needs?

The tests are about the protocol and hold for any kernel; `SYSLAB_SNIPPETS=echo` runs them against the toy kernel of
`wire/examples/echo.rs`, without a compiler. A snippet that is None has no way of being said there: its test is skipped.
"""

from __future__ import annotations

import os

# The same place for whatever is shown: the second time it is changed.
SHOWN = (
    'println!("EVCXR_BEGIN_CONTENT text/plain\\n{0}\\nEVCXR_END_CONTENT\\n'
    'EVCXR_BEGIN_CONTENT syslab/display_id\\nplace\\nEVCXR_END_CONTENT");'
)

RUST = {
    "print": 'println!("{0}");',
    # Two pipes have no common order; somebody who reads them has one, given time to look.
    "streams": 'let pause: fn() = || std::thread::sleep(std::time::Duration::from_millis(50)); '
    'println!("one"); pause(); eprintln!("two"); pause(); println!("three");',
    "value": "{0}",
    "fail": 'panic!("told to fail");',
    "refused": 'let number: i32 = "text";',
    "sleep": "std::thread::sleep(std::time::Duration::from_millis({0}));",
    "forever": "loop {{}}",
    "sleep_fail": 'std::thread::sleep(std::time::Duration::from_millis({0})); panic!("told to fail");',
    "input": '{{ let mut line = String::new(); std::io::stdin().read_line(&mut line).unwrap(); print!("{{line}}"); }}',
    "password": '{{ println!("EVCXR_INPUT_REQUEST_PASSWORD:secret? "); let mut line = String::new(); '
    'std::io::stdin().read_line(&mut line).unwrap(); print!("{{line}}"); }}',
    "lines": 'for number in 0..{0} {{ println!("{{number}}"); }}',
    "flood": 'loop {{ println!("the same line again"); }}',
    "big": 'println!("{{}}", "x".repeat({0}));',
    "late": 'std::process::Command::new("sh").args(["-c", "sleep 0.3; echo {0}"]).spawn().unwrap();',
    "display": SHOWN,
    "update": SHOWN,
    "clear": "lens::clear_output(true);",
    "sum": "1 + 1",
    "unknown": "no_such_name",
    "panic_inside": None,
    "counts_only": "let counted = {0};",
}

ECHO = {
    "print": "{0}",
    "streams": "one\n!err two\nthree",
    "value": "!value {0}",
    "fail": "!fail",
    "refused": "!fail",
    "sleep": "!sleep {0}",
    "forever": "!sleep 600000",
    "sleep_fail": "!sleep {0}\n!fail",
    "input": "!input ",
    "password": "!password secret? ",
    "lines": "!lines {0}",
    "flood": "!flood",
    "big": "!big {0}",
    "late": "!late {0}",
    "display": "!display {0}",
    "update": "!update {0}",
    "clear": "!clear wait",
    "sum": "1 + 1",
    "unknown": "no_such_name",
    "panic_inside": "!panic",
    "counts_only": "!value {0}",
}

ECHOES = os.environ.get("SYSLAB_SNIPPETS") == "echo"
TABLE = ECHO if ECHOES else RUST


def snippet(name: str, *values: object) -> str | None:
    """The cell, with its values put in."""
    code = TABLE[name]
    return code and code.format(*values)
