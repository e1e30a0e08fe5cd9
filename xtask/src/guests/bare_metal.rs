//! The bare-metal guest: a workspace of its own, for it has no standard library and aborts on panic.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{process, workspace};

/// Its manifest, from the workspace's root.
pub(crate) const MANIFEST: &str = "guests/bare-metal/Cargo.toml";

pub(super) fn make() -> Result<PathBuf> {
    let target = workspace::target().join("guests");
    let mut cargo = process::cargo(&["build", "--release", "--manifest-path", MANIFEST]);
    process::run(cargo.arg("--target-dir").arg(&target))?;
    let guest = target.join("release/trivisor-guest");
    let file = std::fs::read(&guest).with_context(|| guest.display().to_string())?;
    super::ring0::check(&file)?;
    Ok(guest)
}
