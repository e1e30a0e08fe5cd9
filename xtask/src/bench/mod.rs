//! `cargo xtask bench`.

mod bios;
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
    let is_bios = which.as_deref() == Some("bios");
    let more = bios::More {
        grub: is_bios && arguments.flag("--grub"),
        places: is_bios && arguments.flag("--where"),
    };
    arguments.end()?;
    match which.as_deref() {
        Some("bios") => bios::run(&options, more),
        Some("block") => block::run(&options),
        Some("net") => net::run(&options),
        Some("exits") => exits::run(),
        Some("start") => start::run(&options),
        _ => bail!("which benchmark? `start`, `block`, `net`, `bios` or `exits`"),
    }
}
