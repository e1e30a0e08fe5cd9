//! `FILE[,ro][,format=..][,bus=..][,cache=..][,queues=N][,queue-size=N][,serial=TEXT][,bps=N][,iops=N]`.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::memory::parse_size;

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskBus {
    /// A virtio block device.
    Virtio,
    /// Persistent memory: the image's pages in the guest's address space.
    Pmem,
}

/// What an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskFormat {
    /// The disk's bytes.
    Raw,
    /// QEMU's, with backing files.
    Qcow2,
    /// VMware's.
    Vmdk,
}

/// What a guest's flush means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskCache {
    /// The host caches; a flush is fdatasync.
    #[default]
    Writeback,
    /// Past the host's cache.
    None,
    /// Nothing: what was written is lost with the host.
    Unsafe,
}

/// A disk as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DiskArgument {
    pub(crate) file: PathBuf,
    /// The guest cannot write it.
    #[serde(default)]
    pub(crate) ro: bool,
    /// Default: what its first bytes say.
    #[serde(default)]
    pub(crate) format: Option<DiskFormat>,
    /// Default: the mode's.
    #[serde(default)]
    pub(crate) bus: Option<DiskBus>,
    #[serde(default)]
    pub(crate) cache: DiskCache,
    #[serde(default)]
    pub(crate) queues: Option<u16>,
    #[serde(default)]
    pub(crate) queue_size: Option<u16>,
    #[serde(default)]
    pub(crate) serial: Option<String>,
    /// Bytes a second.
    #[serde(default)]
    pub(crate) bps: Option<u64>,
    /// Requests a second.
    #[serde(default)]
    pub(crate) iops: Option<u64>,
}

const OPTIONS: &str = "ro, format=raw|qcow2|vmdk, bus=virtio|pmem, cache=writeback|none|unsafe, queues=N, \
                       queue-size=N, serial=TEXT, bps=N or iops=N";

impl FromStr for DiskArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut disk = Self {
            file: parts.next().unwrap_or_default().into(),
            ro: false,
            format: None,
            bus: None,
            cache: DiskCache::default(),
            queues: None,
            queue_size: None,
            serial: None,
            bps: None,
            iops: None,
        };
        if disk.file.as_os_str().is_empty() {
            return Err("the image's name is missing".into());
        }
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("ro", "") => disk.ro = true,
                ("format", "raw") => disk.format = Some(DiskFormat::Raw),
                ("format", "qcow2") => disk.format = Some(DiskFormat::Qcow2),
                ("format", "vmdk") => disk.format = Some(DiskFormat::Vmdk),
                ("bus", "pmem") => disk.bus = Some(DiskBus::Pmem),
                ("bus", "virtio") => disk.bus = Some(DiskBus::Virtio),
                ("bus", "ide") => {
                    return Err("bus=ide needs mode hvm, which is not in this version".into());
                }
                ("cache", "writeback") => disk.cache = DiskCache::Writeback,
                ("cache", "none") => disk.cache = DiskCache::None,
                ("cache", "unsafe") => disk.cache = DiskCache::Unsafe,
                ("queues", count) => disk.queues = Some(number(part, count, 1..=64)?),
                ("queue-size", size) => disk.queue_size = Some(queue_size(part, size)?),
                ("serial", serial) if (1..=20).contains(&serial.len()) => {
                    disk.serial = Some(serial.into());
                }
                ("serial", _) => return Err(format!("{part:?}: 1 to 20 bytes")),
                ("bps", rate) => disk.bps = Some(parse_size(rate)?),
                ("iops", rate) => disk.iops = Some(parse_size(rate)?),
                _ => return Err(format!("{part:?}: {OPTIONS}")),
            }
        }
        Ok(disk)
    }
}

/// A number of queues.
pub(super) fn number(
    part: &str,
    digits: &str,
    range: std::ops::RangeInclusive<u16>,
) -> Result<u16, String> {
    let number = digits.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{part:?}: {} to {}", range.start(), range.end()))
}

fn queue_size(part: &str, digits: &str) -> Result<u16, String> {
    let size: u16 = number(part, digits, 2..=32768)?;
    if size.is_power_of_two() {
        Ok(size)
    } else {
        Err(format!("{part:?}: a power of two"))
    }
}
