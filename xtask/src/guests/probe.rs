//! The probe: the program of our own in the initial RAM disk, linked without libraries.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::elf;
use crate::{process, workspace};

/// Its manifest, from the workspace's root.
pub(crate) const MANIFEST: &str = "guests/linux/probe/Cargo.toml";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it and returns what it is.
pub(super) fn make() -> Result<Vec<u8>> {
    let target = workspace::target().join("guests");
    let mut cargo = process::cargo(&["build", "--release", "--manifest-path", MANIFEST]);
    cargo
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(&target);
    // Of the C library too. With the target named, build scripts are linked as ever.
    let flags = "-C target-feature=+crt-static -C relocation-model=static";
    process::run(
        cargo
            .env("RUSTFLAGS", flags)
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )?;
    let place: PathBuf = [TARGET, "release", "probe"].iter().collect();
    let place = target.join(place);
    let probe = std::fs::read(&place).with_context(|| place.display().to_string())?;
    ensure!(
        elf::is_static(&probe)?,
        "{} needs libraries",
        place.display()
    );
    Ok(probe)
}
