"""When does the person press stop? In a loop, in a child, while compiling, in a shell command, when nothing runs."""

from . import LOOP, Case, Interrupt, error, interrupted, ok

# Never done compiling, yet small.
SLOW_TO_COMPILE = """
#[allow(long_running_const_eval)]
const NEVER: u64 = { let mut i = 0u64; while i < u64::MAX { i += 1; } i };
println!("{NEVER}");"""

CASES = [
    Case("sleeping", interrupted(LOOP)),
    Case("spinning", interrupted('println!("looping"); loop { std::hint::spin_loop(); }')),
    Case(
        "waiting_for_a_child",
        interrupted('println!("looping"); std::process::Command::new("sleep").arg("60").status().unwrap();'),
    ),
    Case(
        "waiting_for_a_child_that_ignores_it",
        interrupted('println!("looping"); std::process::Command::new("sh").args(["-c", "trap \'\' INT; sleep 60"])'
                    '.status().unwrap();'),
    ),
    Case(
        "waiting_for_a_thread",
        interrupted('println!("looping"); let _ = std::thread::spawn(|| loop { std::thread::park(); }).join();'),
    ),
    Case("parked", interrupted('println!("looping"); loop { std::thread::park(); }')),
    Case("flooding", interrupted('println!("looping"); loop { println!("x"); }')),
    Case(
        "new_variables_are_not_there",
        interrupted("let half: i32 = 1;" + LOOP),
        after=(error("E0425", "half"),),
    ),
    Case(
        "while_compiling",
        error("Interrupted", SLOW_TO_COMPILE, interrupt=Interrupt(seen=None, after=1.5)),
    ),
    Case(
        "while_a_shell_command_runs",
        ok("!sleep 60", status=None, interrupt=Interrupt(seen=None, after=0.7), limit=10),
    ),
    Case("when_idle", ok("1 + 1", value="2"), idle_interrupts=1),
    Case("fifty_when_idle", ok("1 + 1", value="2"), idle_interrupts=50),
    Case("fifty_at_once", interrupted(LOOP, interrupt=Interrupt(times=50))),
    Case(
        "fifty_while_compiling",
        error("Interrupted", SLOW_TO_COMPILE, interrupt=Interrupt(seen=None, after=1.5, times=50)),
    ),
    Case("twenty_loops_in_a_row", interrupted(LOOP), before=(interrupted(LOOP, interrupt=Interrupt(after=0)),) * 19),
]
