//! `cargo xtask demo`: from a clone to the comparison table.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{release, setup, workspace};

pub(crate) fn run() -> Result<()> {
    setup::run()?;
    let mut demo = Command::new(release::trivisor()?);
    // Its own process prints what went wrong and what to do, so nothing is added here.
    let status = demo.arg("demo").current_dir(workspace::root()).status()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => std::process::exit(code),
        None => bail!("`trivisor demo`: {status}"),
    }
}
