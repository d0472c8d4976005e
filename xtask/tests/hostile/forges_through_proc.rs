//! Writes libtest's lines, and a note that the machine lacks something, to every descriptor of every process
//! it sees, and kills its test so that it can't say otherwise.
//! outcome: crashed
//! says: SIGKILL

use std::io::Write as _;

const LINES: &str = "\ntest hostile_answers ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";
const NOTE: &str = "{\"note\":\"skipped\",\"needs\":\"nothing\"}\n";
const ANSWER: &str = "[{\"Exited\":0},[],[]]";

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
}

pub fn answer() -> u32 {
    // Its line of ancestors only: elsewhere there may be a terminal.
    let mut above = parent(std::process::id() as i32);
    let mut line = Vec::new();
    while let Some(pid) = above.filter(|pid| *pid > 0) {
        line.push(pid);
        above = parent(pid);
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        for fd in 0..64 {
            let path = format!("/proc/{pid}/fd/{fd}");
            if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(path) {
                let text = if fd == 3 { NOTE } else { LINES };
                let _ = file.write_all(if name.contains("xtask") { ANSWER } else { text }.as_bytes());
            }
        }
    }
    // Its keeper is the first, its test the second.
    // SAFETY: kill takes two integers.
    unsafe { libc::kill(line[1], libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}
