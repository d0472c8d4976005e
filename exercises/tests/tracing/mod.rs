//! How is a trace of one run held against a trace of another?
//!
//! Without addresses, pids, and the calls that depend on the moment in which a signal comes.

use observe::Child;
use std::process::Command;
use std::time::Duration;

/// The calls of each process of a command, from when its program is loaded. `shape` gives the name of a call and a
/// letter for each argument: `d` an int, `l` 64 bits, `s` a string, `x` bits.
pub fn kernel_saw(
    mut command: Command,
    shape: impl Fn(u64) -> Option<(&'static str, &'static str)>,
) -> Vec<Vec<String>> {
    let run = Child::new()
        .limit(Duration::from_secs(20))
        .traced()
        .run(|| command.status().is_ok());
    let mut processes: Vec<Vec<String>> = Vec::new();
    let calls = run.calls.clone();
    assert!(run.returned(), "the test cannot run {command:?}");
    for (process, calls) in calls.by_process().values().skip(1).enumerate() {
        // What the process that becomes the command does before is std's.
        let loaded = calls
            .iter()
            .position(|call| call.is("exec") && call.errno().is_none());
        let start = match process {
            0 => loaded.map_or(0, |at| at + 1),
            _ => 0,
        };
        let lines = calls.iter().skip(start).filter_map(|call| {
            let shape = shape(call.number);
            let (name, kinds) = match shape {
                Some((name, kinds)) => (name.to_owned(), kinds),
                None => (format!("syscall_{}", call.number), "xxxxxx"),
            };
            assert!(
                shape.is_none() || name == call.name,
                "the call with number {} is {}, and shape says {name}",
                call.number,
                call.name
            );
            let args = kinds
                .chars()
                .zip(call.args)
                .map(|(kind, value)| match kind {
                    'd' => (value as i32).to_string(),
                    'l' => (value as i64).to_string(),
                    's' if value != 0 => quoted(call.path().unwrap_or_default().as_bytes()),
                    _ => format!("{value:#x}"),
                });
            line(&name, &args.collect::<Vec<_>>(), call.result)
        });
        processes.push(lines.collect());
    }
    processes
}

/// A call in words that are the same in each run; none where the moment of a signal decides about it.
pub fn line(name: &str, args: &[String], result: Option<Result<i64, i32>>) -> Option<String> {
    const CHANCE: [&str; 7] = [
        "rt_sigprocmask",
        "rt_sigreturn",
        "rt_sigsuspend",
        "restart_syscall",
        "wait4",
        "waitid",
        "futex",
    ];
    const OF_PROCESSES: [&str; 14] = [
        "clone",
        "clone3",
        "fork",
        "vfork",
        "getpid",
        "getppid",
        "gettid",
        "getpgid",
        "getpgrp",
        "setpgid",
        "setsid",
        "kill",
        "tgkill",
        "set_tid_address",
    ];
    if CHANCE.contains(&name) {
        return None;
    }
    // Registers that a call may leave unused hold whatever was in them before.
    const OPTIONAL: [&str; 4] = ["clone", "fcntl", "ioctl", "prctl"];
    let certain = match name {
        name if name.starts_with("syscall_") => 0,
        name if OPTIONAL.contains(&name) => 2,
        _ => args.len(),
    };
    let of_processes = OF_PROCESSES.contains(&name);
    let address = |value: u64| value >= 0x40_0000;
    let args = args.iter().take(certain).map(|arg| {
        let bits = arg
            .strip_prefix("0x")
            .and_then(|bits| u64::from_str_radix(bits, 16).ok());
        match bits {
            Some(bits) if address(bits) => "an address".to_owned(),
            None if of_processes => "a process".to_owned(),
            _ => arg.clone(),
        }
    });
    let result = match result {
        None => "?".to_owned(),
        Some(Err(errno)) => observe::Errno(errno).name(),
        Some(Ok(1..)) if of_processes => "a process".to_owned(),
        Some(Ok(value)) if address(value as u64) => "an address".to_owned(),
        Some(Ok(value)) => value.to_string(),
    };
    Some(format!(
        "{name}({}) = {result}",
        args.collect::<Vec<_>>().join(", ")
    ))
}

/// A string as an argument.
pub fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
