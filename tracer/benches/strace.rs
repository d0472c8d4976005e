//! What tracing costs, beside strace(1) in the same run: `cargo bench -p tracer --bench strace [-- REPEATS]`.
//!
//! Every program is run untraced, by this crate and by strace, in turn, so that a change of the machine's mood
//! meets all of them; the table has medians in milliseconds, and the medians of the ratios of each round.

use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tracer::Tracer;

/// Calls that the first program makes.
const CALLS: u32 = 100_000;
/// What the second program runs.
const PIPELINE: &str = "for i in 1 2 3 4 5 6 7 8; do seq 20000 | sort | uniq -c | wc -l; done";
/// Threads of the third program, and the calls that each makes.
const THREADS: (usize, u32) = (4, 20_000);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match words.first().map(String::as_str) {
        Some("getppid") => getppid(CALLS),
        Some("threads") => threads(),
        repeats => match measure(repeats.and_then(|number| number.parse().ok()).unwrap_or(9)) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("strace bench: {error}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}

fn getppid(calls: u32) {
    for _ in 0..calls {
        // SAFETY: takes nothing and touches no memory.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}

fn threads() {
    thread::scope(|scope| {
        for _ in 0..THREADS.0 {
            scope.spawn(|| {
                let Ok(null) = std::fs::File::create("/dev/null") else {
                    return;
                };
                for _ in 0..THREADS.1 {
                    // SAFETY: writes eight bytes of a literal to a descriptor that `null` keeps open.
                    unsafe { libc::write(null.as_raw_fd(), b"measured".as_ptr().cast(), 8) };
                }
            });
        }
    });
}

/// One way to run a program.
struct Way {
    name: &'static str,
    run: fn(&mut Command) -> io::Result<()>,
    /// The way it is compared with, by place.
    against: Option<usize>,
}

const WAYS: &[Way] = &[
    Way {
        name: "untraced",
        run: |command| command.status().map(drop),
        against: None,
    },
    Way {
        name: "tracer",
        run: |command| Tracer::new().command(command).map(drop),
        against: Some(2),
    },
    Way {
        name: "strace -f",
        run: |command| strace(command, &[]),
        against: None,
    },
    Way {
        name: "tracer, counted",
        run: |command| {
            Tracer::new()
                .decode(false)
                .command(command)
                .map(|trace| drop(trace.summary()))
        },
        against: Some(4),
    },
    Way {
        name: "strace -f -c",
        run: |command| strace(command, &["-c"]),
        against: None,
    },
];

fn strace(command: &Command, more: &[&str]) -> io::Result<()> {
    let mut strace = Command::new("strace");
    strace
        .arg("-f")
        .args(more)
        .args(["-o", "/dev/null"])
        .arg(command.get_program())
        .args(command.get_args());
    strace.stdout(Stdio::null()).status().map(drop)
}

fn measure(repeats: usize) -> io::Result<()> {
    let itself = std::env::current_exe()?;
    let itself = itself.to_string_lossy();
    let programs = [
        (format!("{CALLS} getppid"), vec![&*itself, "getppid"]),
        (
            "8 shell pipelines of 4".to_owned(),
            vec!["sh", "-c", PIPELINE],
        ),
        (
            format!("{} threads, {} writes each", THREADS.0, THREADS.1),
            vec![&*itself, "threads"],
        ),
    ];
    let installed = Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !installed {
        println!("strace is not installed: tracer alone is measured.\n");
    }
    let mut out = io::stdout().lock();
    write!(out, "| ms, median of {repeats} |")?;
    WAYS.iter()
        .try_for_each(|way| write!(out, " {} |", way.name))?;
    writeln!(
        out,
        " tracer / strace | counted / strace -c |\n|---|{}---|---|",
        "---|".repeat(WAYS.len())
    )?;
    for (name, words) in programs {
        let times = times(&words, repeats, installed)?;
        write!(out, "| {name} |")?;
        for times in &times {
            match median(times.iter().map(Duration::as_secs_f64)) {
                Some(seconds) => write!(out, " {:.1} |", seconds * 1e3)?,
                None => write!(out, " – |")?,
            }
        }
        for (way, ours) in WAYS.iter().zip(&times) {
            let Some(against) = way.against else { continue };
            let ratios = ours
                .iter()
                .zip(&times[against])
                .map(|(a, b)| a.as_secs_f64() / b.as_secs_f64());
            match median(ratios) {
                Some(ratio) => write!(out, " {ratio:.2} |")?,
                None => write!(out, " – |")?,
            }
        }
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

/// One list for each way, its n-th time from the n-th round.
fn times(words: &[&str], repeats: usize, strace: bool) -> io::Result<Vec<Vec<Duration>>> {
    let mut times = vec![Vec::new(); WAYS.len()];
    for _ in 0..repeats {
        for (way, times) in WAYS.iter().zip(&mut times) {
            if way.name.starts_with("strace") && !strace {
                continue;
            }
            let start = Instant::now();
            (way.run)(
                Command::new(words[0])
                    .args(&words[1..])
                    .stdout(Stdio::null()),
            )?;
            times.push(start.elapsed());
        }
    }
    Ok(times)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
