//! What virtio devices of the contenders lead to: a disk's image and a tap, the same for all.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::process;

/// Bytes of an image.
const DISK: usize = 64 << 20;

/// A raw image, gone when dropped.
#[derive(Debug)]
pub(super) struct Image(PathBuf);

impl Image {
    fn named() -> Self {
        let number = std::process::id();
        Self(std::env::temp_dir().join(format!("trivisor-bench-{number}.img")))
    }

    fn make(&self) -> Result<()> {
        // Without holes, which are read and written in ways of their own; and so all of it is in the page cache.
        std::fs::write(&self.0, vec![0xa5; DISK]).with_context(|| self.name())
    }

    /// # Errors
    /// When there is no room for it.
    pub(super) fn new() -> Result<Self> {
        let image = Self::named();
        image.make()?;
        Ok(image)
    }

    pub(super) fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // What was not made cannot be removed either.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Gone when dropped.
#[derive(Debug)]
pub(super) struct Devices {
    image: Image,
    tap: String,
}

impl Devices {
    /// # Errors
    /// When no tap can be made: that takes the right to, which root has.
    pub(super) fn make() -> Result<Self> {
        let number = std::process::id();
        let devices = Self {
            image: Image::named(),
            tap: format!("tvbench{number}"),
        };
        devices.image.make()?;
        let tap = devices.tap.as_str();
        let _silent = process::output(&mut process::command(
            "ip",
            &["tuntap", "add", "dev", tap, "mode", "tap"],
        ))?;
        Ok(devices)
    }

    /// The image's name.
    pub(super) fn image(&self) -> String {
        self.image.name()
    }

    /// The tap's name.
    pub(super) fn tap(&self) -> &str {
        &self.tap
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // What was not made cannot be removed either.
        let words = ["tuntap", "del", "dev", &self.tap, "mode", "tap"];
        let _gone = process::output(&mut process::command("ip", &words));
    }
}
