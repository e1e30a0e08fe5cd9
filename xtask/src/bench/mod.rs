//! `cargo xtask bench`.

mod block;
mod contenders;
mod devices;
mod document;
mod exits;
mod load;
mod measure;
mod memory;
mod net;
mod report;
mod start;

use anyhow::{Result, bail};

use crate::arguments::Arguments;

/// # Errors
/// Unknown or wrong arguments, or a benchmark that cannot run.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let options = start::Options::parse(&mut arguments)?;
    let which = arguments.word();
    arguments.end()?;
    match which.as_deref() {
        Some("block") => block::run(&options),
        Some("net") => net::run(&options),
        Some("exits") => exits::run(),
        Some("start") => start::run(&options),
        _ => bail!("which benchmark? `start`, `block`, `net` or `exits`"),
    }
}
