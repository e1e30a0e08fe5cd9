//! What users run: built for release and linked statically.

use std::path::PathBuf;

use anyhow::Result;

use crate::{process, workspace};

/// Named so that the flags below do not reach build scripts and macros, which cannot be static.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Position-independent as ever, but without the dynamic linker, whose work is a fifth of the time to a guest's
/// first output.
const STATIC: &str = "-C target-feature=+crt-static";

/// Builds with these words beside; the folder that holds the result.
///
/// # Errors
/// When the build fails.
pub(crate) fn build(words: &[&str]) -> Result<PathBuf> {
    let mut build = process::cargo(&["build", "--release", "--target", TARGET]);
    build.args(words).env("RUSTFLAGS", STATIC);
    process::run(&mut build)?;
    Ok(workspace::target().join(TARGET).join("release"))
}

/// Builds the VMM; its path.
///
/// # Errors
/// When the build fails.
pub(crate) fn trivisor() -> Result<PathBuf> {
    Ok(build(&["--package", "trivisor"])?.join("trivisor"))
}
