//! The kernel's program.
//!
//! ```text
//! syslab-kernel prepare DIR                        compile what notebooks use, once
//! syslab-kernel start --template DIR FILE          serve the front end of this connection file
//! ```
//!
//! # Layout
//! - [`engine`]: what the protocol asks of a kernel; [`commands`]: lines that begin with `:` or `!`;
//!   [`course`]: those about the exercises
//! - [`session`]: evcxr, and how a cell goes through it; [`cell_text`]: what is changed in a cell before;
//!   [`scanner`]: whether a text is complete; [`failure`]: how errors read
//! - [`hosting`]: the other end of the host's line; [`output`]: bytes that become text
//! - [`analysis`]: completion and documentation, in a process of their own
//! - [`place`]: the session's folder and environment; [`prepare`]: the template

mod analysis;
mod cell_text;
mod commands;
mod course;
mod engine;
mod failure;
mod hosting;
mod output;
mod place;
mod prepare;
mod scanner;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: syslab-kernel prepare DIR | start --template DIR CONNECTION_FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["prepare", folder] => prepare::run(&PathBuf::from(folder)),
        ["start", "--template", folder, file] => {
            engine::start(&PathBuf::from(folder), &PathBuf::from(file))
        }
        [analysis::COMMAND] => analysis::main(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("syslab-kernel: {why}");
            ExitCode::FAILURE
        }
    }
}
