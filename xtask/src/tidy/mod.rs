//! `cargo xtask tidy`: what the architecture promises and the compiler does not check.

mod devices;
mod edges;
mod lexer;
mod licences;
mod sizes;
mod sources;
mod unsafety;

use anyhow::{Result, bail};

use crate::{metadata, workspace};

/// Prints every finding.
///
/// # Errors
/// When there is one. Sizes and doubled versions are listed only, so that somebody looks.
pub(crate) fn run() -> Result<()> {
    let packages = metadata::read()?;
    let sources = sources::read(workspace::root())?;
    let mut findings = edges::check(&packages);
    findings.extend(licences::check(&packages));
    findings.extend(unsafety::check(&sources));
    findings.extend(devices::check(&sources));
    findings.extend(sources::check_words(&sources));
    for line in licences::doubled(&packages)
        .iter()
        .chain(&sizes::list(&sources))
    {
        println!("note: {line}");
    }
    for finding in &findings {
        println!("wrong: {finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} findings"),
    }
}
