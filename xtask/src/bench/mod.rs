//! `cargo xtask bench`.

mod contenders;
mod devices;
mod exits;
mod measure;
mod memory;
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
        Some("exits") => exits::run(),
        Some("start") => start::run(&options),
        _ => bail!("which benchmark? `start` or `exits`"),
    }
}
