//! Prints what a program asks of the kernel, like strace(1):
//! `cargo run -p tracer --example trace -- [-c] [-e NAME,NAME…] [--] PROGRAM [ARGUMENT]…`
//!
//! The exit status is the program's: 128 + N if signal N killed it, 127 if it could not be run.

use std::io::{self, Write};
use std::process::{Command, ExitCode};

use tracer::{Event, Trace, Tracer};

fn main() -> ExitCode {
    let mut tracer = Tracer::new();
    let mut count = false;
    let mut words = std::env::args_os().skip(1).peekable();
    while let Some(option) = words.next_if(|word| word.to_string_lossy().starts_with('-')) {
        match option.to_str() {
            Some("-c") => count = true,
            Some("-e") if words.peek().is_some() => {
                let names = words.next().unwrap_or_default();
                tracer = tracer.only(names.to_string_lossy().split(','));
            }
            Some("--") => break,
            _ => return usage(),
        }
    }
    let Some(program) = words.next() else {
        return usage();
    };
    let trace = match tracer
        .decode(!count)
        .command(Command::new(&program).args(words))
    {
        Ok(trace) => trace,
        Err(error) => {
            eprintln!("trace: {}: {error}", program.to_string_lossy());
            return ExitCode::from(127);
        }
    };
    let mut out = io::BufWriter::new(io::stderr().lock());
    let printed = if count {
        table(&mut out, &trace)
    } else {
        lines(&mut out, &trace)
    }
    .and_then(|()| out.flush());
    if let Err(error) = printed {
        eprintln!("trace: stderr: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(trace.status.map_or(127, |status| status.code() as u8))
}

fn usage() -> ExitCode {
    eprintln!("usage: trace [-c] [-e NAME,NAME...] [--] PROGRAM [ARGUMENT]...");
    ExitCode::from(2)
}

fn lines(out: &mut impl Write, trace: &Trace) -> io::Result<()> {
    for event in &trace.events {
        let tid = match event {
            Event::Call(call) => call.tid,
            Event::Signal(signal) => signal.tid,
            Event::Spawn { tid, .. } | Event::Exit { tid, .. } => *tid,
            Event::Exec { pid, .. } => *pid,
        };
        write!(out, "[{tid}] {:>11.6} {event}", event.time().as_secs_f64())?;
        match event {
            Event::Call(call) => writeln!(out, " <{:.6}>", call.duration.as_secs_f64())?,
            _ => writeln!(out)?,
        }
    }
    if trace.dropped > 0 {
        writeln!(out, "{} more events", trace.dropped)?;
    }
    Ok(())
}

fn table(out: &mut impl Write, trace: &Trace) -> io::Result<()> {
    writeln!(
        out,
        "{:>11} {:>11} {:>9} {:>9} system call",
        "seconds", "µs/call", "calls", "errors"
    )?;
    for count in trace.summary() {
        let seconds = count.time.as_secs_f64();
        let each = seconds * 1e6 / count.calls as f64;
        let errors = if count.errors > 0 {
            count.errors.to_string()
        } else {
            String::new()
        };
        writeln!(
            out,
            "{seconds:>11.6} {each:>11.1} {:>9} {errors:>9} {}",
            count.calls, count.name
        )?;
    }
    Ok(())
}
