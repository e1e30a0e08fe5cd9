//! `FILE[,ro][,format=raw][,bus=pmem]`.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskBus {
    /// Persistent memory: the image's pages in the guest's address space.
    #[default]
    Pmem,
}

/// What an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskFormat {
    /// The disk's bytes.
    #[default]
    Raw,
}

/// A disk as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DiskArgument {
    pub(crate) file: PathBuf,
    /// The guest cannot write it.
    #[serde(default)]
    pub(crate) ro: bool,
    #[serde(default)]
    pub(crate) format: DiskFormat,
    #[serde(default)]
    pub(crate) bus: DiskBus,
}

/// Options that only disks of modes to come have.
const LATER: [&str; 6] = ["cache", "queues", "queue-size", "serial", "bps", "iops"];

impl FromStr for DiskArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut disk = Self {
            file: parts.next().unwrap_or_default().into(),
            ro: false,
            format: DiskFormat::Raw,
            bus: DiskBus::Pmem,
        };
        if disk.file.as_os_str().is_empty() {
            return Err("the image's name is missing".into());
        }
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("ro", "") => disk.ro = true,
                ("format", "raw") => disk.format = DiskFormat::Raw,
                ("bus", "pmem") => disk.bus = DiskBus::Pmem,
                ("bus", bus @ ("virtio" | "ide")) => {
                    return Err(format!(
                        "bus={bus} needs a mode that this version does not have: bus=pmem"
                    ));
                }
                ("format", format @ ("qcow2" | "vmdk")) => {
                    return Err(format!(
                        "format={format} needs a mode that this version does not have: format=raw"
                    ));
                }
                (name, _) if LATER.contains(&name) => {
                    return Err(format!("{name}: persistent memory has no such option"));
                }
                _ => return Err(format!("{part:?}: ro, format=raw or bus=pmem")),
            }
        }
        Ok(disk)
    }
}
