//! The host: it holds the process in which cells run, and brings it back when it dies.
//!
//! ```text
//! kernel ⇄ host (this program: reads output, traces, waits) ⇄ cell process (loads and runs cells)
//!                                                         └── checkpoint (a sleeping copy of the cell process)
//! ```
//!
//! # Layout
//! - [`page`]: the memory that host and cell process share; no descriptor is left for a cell to close
//! - [`cell`]: this program as the cell process; [`checkpoint`]: its sleeping copy, and how that takes over;
//!   [`stdio`]: how it gets fresh standard descriptors; [`fitness`]: whether it could load another cell
//! - [`host`]: what happens when (below it: stops and ends, the burial, what a cell left, what no copy has); [`inbox`]: what it waits for; [`spawn`]: how a cell process comes to be;
//!   [`death`]: what killed it; [`traced`]: a cell under `:trace`; [`sys`]: the calls that are used everywhere
//! - [`pump`]: output on its way to the notebook; [`content`]: rich content and prompts inside it;
//!   [`reading`]: whether somebody waits for input
//! - [`tree`]: who belongs to the session

mod cell;
mod checkpoint;
mod content;
mod death;
mod fitness;
mod host;
mod inbox;
mod page;
mod pump;
mod reading;
mod spawn;
mod stdio;
mod sys;
mod traced;
mod tree;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some(spawn::AS_CELL), Some(memory)) => {
            let memory = memory.parse().expect("the descriptor of the shared page");
            cell::main(memory)
        }
        _ => host::main(),
    }
}
