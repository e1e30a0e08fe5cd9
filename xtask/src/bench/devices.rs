//! What virtio devices of the contenders lead to: a disk's image and a tap, the same for all.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::process;

/// Bytes of the image, which is empty.
const DISK: u64 = 64 << 20;

/// Gone when dropped.
#[derive(Debug)]
pub(super) struct Devices {
    image: PathBuf,
    tap: String,
}

impl Devices {
    /// # Errors
    /// When no tap can be made: that takes the right to, which root has.
    pub(super) fn make() -> Result<Self> {
        let number = std::process::id();
        let devices = Self {
            image: std::env::temp_dir().join(format!("trivisor-bench-{number}.img")),
            tap: format!("tvbench{number}"),
        };
        let file = std::fs::File::create(&devices.image);
        let file = file.with_context(|| devices.image.display().to_string())?;
        file.set_len(DISK)?;
        let tap = devices.tap.as_str();
        let _silent = process::output(&mut process::command(
            "ip",
            &["tuntap", "add", "dev", tap, "mode", "tap"],
        ))?;
        Ok(devices)
    }

    /// The image's name.
    pub(super) fn image(&self) -> String {
        self.image.display().to_string()
    }

    /// The tap's name.
    pub(super) fn tap(&self) -> &str {
        &self.tap
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // What was not made cannot be removed either.
        let _gone = std::fs::remove_file(&self.image);
        let words = ["tuntap", "del", "dev", &self.tap, "mode", "tap"];
        let _gone = process::output(&mut process::command("ip", &words));
    }
}
