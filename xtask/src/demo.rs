//! `cargo xtask demo`: from a clone to the comparison table.

use anyhow::{Result, bail};

use crate::{process, setup, workspace};

pub(crate) fn run() -> Result<()> {
    setup::run()?;
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--package",
        "trivisor",
    ]))?;
    let trivisor = workspace::target().join("release/trivisor");
    let mut demo = std::process::Command::new(trivisor);
    // Its own process prints what went wrong and what to do, so nothing is added here.
    let status = demo.arg("demo").current_dir(workspace::root()).status()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => std::process::exit(code),
        None => bail!("`trivisor demo`: {status}"),
    }
}
