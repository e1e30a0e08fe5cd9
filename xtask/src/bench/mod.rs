//! `cargo xtask bench`.

mod bios;
mod block;
mod contenders;
mod devices;
mod document;
mod exits;
mod ide;
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
    let mode = arguments.value::<String>("--mode")?;
    let which = arguments.word();
    let is_bios = which.as_deref() == Some("bios");
    let more = bios::More {
        grub: is_bios && arguments.flag("--grub"),
        places: is_bios && arguments.flag("--where"),
    };
    arguments.end()?;
    match (which.as_deref(), mode.as_deref()) {
        (Some("block"), None | Some("pv")) => block::run(&options),
        (Some("block"), Some("hvm")) => ide::run(&options),
        (_, Some(mode)) => bail!("no benchmark of mode {mode:?}"),
        (Some("bios"), None) => bios::run(&options, more),
        (Some("net"), None) => net::run(&options),
        (Some("exits"), None) => exits::run(),
        (Some("start"), None) => start::run(&options),
        _ => bail!("which benchmark? `start`, `block`, `net`, `bios` or `exits`"),
    }
}
