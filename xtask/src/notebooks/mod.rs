//! `cargo xtask notebooks`: does every notebook still show what it says?
//!
//! # Layout
//! - [`form`]: how git keeps a notebook; [`execute`]: what it shows when a client runs it
//! - [`redact`]: what differs every time; [`snapshot`]: what is expected
//! - [`mod@judge`]: whether it is that; [`mod@select`]: which notebooks are meant
//!
//! A cell with the tag `raises-exception` must fail, every other must not. One with the
//! tag `volatile` must show something. One that prints a line `skipped: …` asks for
//! something this machine lacks: that is counted, and is no failure.

mod execute;
mod form;
mod judge;
mod redact;
mod select;
mod snapshot;

use anstream::println;

use crate::fail::{About as _, Failure, Result, exit_code};
use crate::flags::Notebooks;
use crate::lab;
use crate::lab::place::Place;
use crate::paint::{BAD, BOLD, CALM, DIM, GOOD, In, WARN};
use crate::progress::Spinner;
use crate::{interrupt, sandbox};
use judge::judge;
pub(crate) use select::select;

pub(crate) fn run(root: &std::path::Path, flags: &Notebooks) -> Result<u8> {
    interrupt::watch().about("cannot watch for Ctrl-C")?;
    let notebooks = select(root, &flags.wanted)?;
    let place = match lab::prepare(root) {
        Err(_) if interrupt::requested() => return Ok(exit_code::INTERRUPTED),
        other => other?,
    };
    let summary = all(&place, &notebooks, flags.bless)?;
    if interrupt::requested() {
        return Ok(exit_code::INTERRUPTED);
    }
    println!();
    println!("  {}", summary.line());
    Ok(if summary.broken == 0 {
        exit_code::PASSED
    } else {
        exit_code::NOT_PASSED
    })
}

/// What became of all notebooks.
#[derive(Default)]
pub(crate) struct Summary {
    notebooks: usize,
    cells: usize,
    skipped: usize,
    pub(crate) broken: usize,
}

impl Summary {
    pub(crate) fn line(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped on this machine"),
        };
        let (notebooks, cells) = (self.notebooks, self.cells);
        match self.broken {
            0 => format!("{notebooks} notebooks with {cells} cells show what they say{skipped}"),
            broken => {
                format!("{broken} of {notebooks} notebooks fail or show something else{skipped}")
            }
        }
    }
}

/// Executes `notebooks` and prints a line of each as it is done.
pub(crate) fn all(place: &Place, notebooks: &[String], bless: bool) -> Result<Summary> {
    // Orphans of kernels come to us, and are ended with the rest.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let mut summary = Summary::default();
    for name in notebooks {
        let started = std::time::Instant::now();
        let answer = one(place, name, bless);
        sandbox::end_adopted(&interrupt::wardens());
        if interrupt::requested() {
            break;
        }
        let Answer {
            cells,
            run,
            skipped,
            complaints,
            notes,
        } = answer?;
        summary.notebooks += 1;
        summary.cells += run;
        summary.skipped += skipped.len();
        summary.broken += usize::from(!complaints.is_empty());
        let mark = if complaints.is_empty() {
            In(GOOD, "✓")
        } else {
            In(BAD.bold(), "✗")
        };
        let run = if run == cells {
            format!("{run} cells")
        } else {
            format!("{run} of {cells} cells")
        };
        println!(
            "  {mark} {} {run} {}",
            In(BOLD, format_args!("{:24}", name.trim_end_matches(".ipynb"))),
            In(
                DIM,
                format_args!("{:.1} s", started.elapsed().as_secs_f64())
            )
        );
        for reason in skipped {
            println!("      {} {reason}", In(CALM, "skipped:"));
        }
        for note in notes {
            println!("      {} {note}", In(WARN, "note:"));
        }
        for complaint in complaints {
            for line in complaint.lines() {
                println!("      {line}");
            }
        }
    }
    Ok(summary)
}

/// What is to be said of one notebook.
struct Answer {
    cells: usize,
    run: usize,
    skipped: Vec<String>,
    complaints: Vec<String>,
    notes: Vec<String>,
}

fn one(place: &Place, name: &str, bless: bool) -> Result<Answer> {
    let path = place.notebooks().join(name);
    let about = || format!("cannot read {}", path.display());
    let mut text = std::fs::read_to_string(&path).about(about())?;
    let mut answer = Answer {
        cells: 0,
        run: 0,
        skipped: Vec::new(),
        complaints: form::problems(&text),
        notes: Vec::new(),
    };
    if !answer.complaints.is_empty() {
        return Ok(answer);
    }
    if bless {
        let stripped = form::stripped(&text).map_err(Failure::new)?;
        if stripped != text {
            std::fs::write(&path, &stripped)
                .about(format_args!("cannot write {}", path.display()))?;
            answer.notes.push("outputs are stripped now".into());
            text = stripped;
        }
    } else if !form::is_stripped(&text) {
        let what = format!(
            "holds outputs, which git does not keep (authors: cargo xtask notebooks --bless {name})"
        );
        // Whoever opens a notebook and runs it has outputs in it; that is what it is for.
        if std::env::var_os("CI").is_some() {
            answer.complaints.push(what);
        } else {
            answer.notes.push(what);
        }
    }
    let cells = form::cells(&text).map_err(Failure::new)?;
    answer.cells = cells.len();
    let stem = name.trim_end_matches(".ipynb");
    let spinner = Spinner::new(&format!("{stem}: starting the kernel"));
    let showed = execute::execute(place, name, &cells, |done| {
        spinner.say(&format!("{stem}: {done} of {} cells", cells.len()));
    })?;
    drop(spinner);
    answer.run = showed.len();
    judge(place, stem, &cells, &showed, bless, &mut answer)?;
    Ok(answer)
}
