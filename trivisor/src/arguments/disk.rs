//! `FILE|vhost-user=SOCKET[,ro][,format=..][,bus=..][,cache=..][,queues=N][,queue-size=N][,serial=TEXT][,bps=N][,iops=N]`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use trivisor_devices_pv::block::{ID_LEN, LEAST_QUEUE_SIZE, MAX_QUEUES};

use super::memory::parse_size;

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskBus {
    /// A virtio block device.
    Virtio,
    /// Persistent memory: the image's pages in the guest's address space.
    Pmem,
    /// A disk of a PC, on one of its two IDE cables.
    Ide,
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
    /// Empty where another program has the image.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(crate) file: PathBuf,
    /// The socket of a program that serves the disk's queues.
    #[serde(default)]
    pub(crate) vhost_user: Option<PathBuf>,
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
    #[serde(default, deserialize_with = "checked_queues")]
    pub(crate) queues: Option<u16>,
    #[serde(default, deserialize_with = "checked_queue_size")]
    pub(crate) queue_size: Option<u16>,
    #[serde(default, deserialize_with = "checked_serial")]
    pub(crate) serial: Option<String>,
    /// Bytes a second.
    #[serde(default)]
    pub(crate) bps: Option<u64>,
    /// Requests a second.
    #[serde(default)]
    pub(crate) iops: Option<u64>,
}

/// Descriptors of a queue at most (virtio 1.3, 2.7).
const MAX_QUEUE_SIZE: u16 = 32768;

const OPTIONS: &str = "ro, format=raw|qcow2|vmdk, bus=virtio|pmem|ide, cache=writeback|none|unsafe, queues=N, \
                       queue-size=N, serial=TEXT, bps=N or iops=N";

impl DiskArgument {
    /// An image without options.
    pub(crate) fn of(file: &Path) -> Self {
        Self {
            file: file.into(),
            vhost_user: None,
            ro: false,
            format: None,
            bus: None,
            cache: DiskCache::default(),
            queues: None,
            queue_size: None,
            serial: None,
            bps: None,
            iops: None,
        }
    }
}

impl FromStr for DiskArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let (file, vhost_user) = match name.strip_prefix("vhost-user=") {
            Some("") => return Err("the socket's name is missing".into()),
            Some(socket) => (Path::new(""), Some(socket.into())),
            None => (Path::new(name), None),
        };
        let mut disk = Self {
            vhost_user,
            ..Self::of(file)
        };
        if disk.vhost_user.is_none() && is_empty(&disk.file) {
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
                ("bus", "ide") => disk.bus = Some(DiskBus::Ide),
                ("cache", "writeback") => disk.cache = DiskCache::Writeback,
                ("cache", "none") => disk.cache = DiskCache::None,
                ("cache", "unsafe") => disk.cache = DiskCache::Unsafe,
                ("queues", count) => disk.queues = Some(number(part, count, 1..=MAX_QUEUES)?),
                ("queue-size", size) => disk.queue_size = Some(queue_size(part, size)?),
                ("serial", serial) => disk.serial = Some(check_serial(part, serial)?),
                ("bps", rate) => disk.bps = Some(parse_size(rate)?),
                ("iops", rate) => disk.iops = Some(parse_size(rate)?),
                _ => return Err(format!("{part:?}: {OPTIONS}")),
            }
        }
        Ok(disk)
    }
}

fn is_empty(name: &Path) -> bool {
    name.as_os_str().is_empty()
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
    let size = digits.parse().ok().filter(|size: &u16| {
        (LEAST_QUEUE_SIZE..=MAX_QUEUE_SIZE).contains(size) && size.is_power_of_two()
    });
    size.ok_or_else(|| {
        format!("{part:?}: a power of two from {LEAST_QUEUE_SIZE} to {MAX_QUEUE_SIZE}")
    })
}

fn check_serial(part: &str, serial: &str) -> Result<String, String> {
    let is_printable = serial.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if (1..=ID_LEN).contains(&serial.len()) && is_printable {
        Ok(serial.into())
    } else {
        Err(format!(
            "{part:?}: 1 to {ID_LEN} letters, digits and other characters of ASCII"
        ))
    }
}

// The keys of a file are checked as the flag's options are.

fn checked<'de, D, T>(
    deserializer: D,
    check: impl Fn(&T) -> Result<T, String>,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let given = T::deserialize(deserializer)?;
    check(&given).map(Some).map_err(serde::de::Error::custom)
}

fn checked_queues<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    checked(deserializer, |count: &u16| {
        number(
            &format!("queues={count}"),
            &count.to_string(),
            1..=MAX_QUEUES,
        )
    })
}

fn checked_queue_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    checked(deserializer, |size: &u16| {
        queue_size(&format!("queue-size={size}"), &size.to_string())
    })
}

fn checked_serial<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |serial: &String| {
        check_serial(&format!("serial={serial}"), serial)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, wanted) in [
            ("", "name is missing"),
            ("vhost-user=", "name is missing"),
            ("a,queues=0", "1 to 64"),
            ("a,queues=65", "1 to 64"),
            ("a,queue-size=3", "a power of two from 4 to 32768"),
            ("a,queue-size=2", "a power of two from 4 to 32768"),
            ("a,queue-size=65536", "a power of two from 4 to 32768"),
            ("a,serial=", "1 to 20 letters"),
            ("a,serial=123456789012345678901", "1 to 20 letters"),
            ("a,serial=\u{fc}", "1 to 20 letters"),
            ("a,format=vdi", "format=raw|qcow2|vmdk"),
            ("a,bus=scsi", "bus=virtio|pmem|ide"),
            ("a,cache=writethrough", "cache=writeback|none|unsafe"),
            ("a,bps=fast", "is no size"),
            ("a,readonly", "ro, format="),
        ] {
            let error = text.parse::<DiskArgument>().unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
