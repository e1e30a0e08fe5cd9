//! The initial RAM disk: the first process, a static busybox and our probe, in a `newc` archive that the guest need not inflate.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::key::Key;
use super::{probe, publish};
use crate::elf;

/// The host's busybox.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
const RECIPE: &str = "initramfs 2";

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const TERMINAL: u32 = 0o020_600;

/// Whether the host's busybox is one that runs without libraries.
pub(crate) fn has_static_busybox() -> bool {
    let file = std::fs::read(BUSYBOX);
    file.is_ok_and(|file| elf::is_static(&file).unwrap_or(false))
}

pub(super) fn make(cache: &Path) -> Result<PathBuf> {
    let init = crate::workspace::root().join("guests/linux/init");
    let init = std::fs::read(&init).with_context(|| init.display().to_string())?;
    let busybox = std::fs::read(BUSYBOX).context(BUSYBOX)?;
    ensure!(
        elf::is_static(&busybox).context(BUSYBOX)?,
        "{BUSYBOX} needs libraries: install the package busybox-static"
    );
    let probe = probe::make().context("probe")?;
    let key = Key::new(RECIPE)
        .with(&init)
        .with(&busybox)
        .with(&probe)
        .name();
    let place = cache.join(format!("initramfs-{key}.cpio"));
    if !place.exists() {
        publish(&archive(&init, &busybox, &probe), &place)?;
    }
    Ok(place)
}

fn archive(init: &[u8], busybox: &[u8], probe: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp"] {
        archive.entry(folder, DIRECTORY, (0, 0), &[]);
    }
    // The kernel opens it for the first process before anybody mounts a devtmpfs.
    archive.entry("dev/console", TERMINAL, (5, 1), &[]);
    archive.entry("bin/busybox", PROGRAM, (0, 0), busybox);
    archive.entry("bin/probe", PROGRAM, (0, 0), probe);
    archive.entry("init", PROGRAM, (0, 0), init);
    archive.finish()
}

/// An archive as `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux describes it.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a file of root's. `device` are the numbers of a device node.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        self.record(name, self.entries, mode, links, device, contents);
    }

    fn record(
        &mut self,
        name: &str,
        inode: u32,
        mode: u32,
        links: u32,
        device: (u32, u32),
        contents: &[u8],
    ) {
        let (size, name_size) = (contents.len(), name.len() + 1);
        let (major, minor) = device;
        // Magic, inode, mode, user, group, links, time, size, the file system's device, the node's, name, checksum.
        let header = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{major:08x}{minor:08x}{name_size:08x}{0:08x}",
            0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.record("TRAILER!!!", 0, 0, 1, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive as the kernel does.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let digits = &bytes[6 + 8 * index..][..8];
                u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&bytes[110..110 + name_size - 1]).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0);
            let data = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(bytes.len(), data);
                return entries;
            }
            entries.push((name.to_owned(), mode, bytes[data..data + size].to_vec()));
            bytes = &bytes[(data + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn the_archive_holds_what_the_first_process_needs() {
        let archive = archive(b"#!init", b"busybox", b"probe");
        let entries = entries(&archive);
        let find = |name: &str| entries.iter().find(|entry| entry.0 == name).unwrap();
        assert_eq!(find("init").1, 0o100_755);
        assert_eq!(find("init").2, b"#!init");
        assert_eq!(find("bin/busybox").2, b"busybox");
        assert_eq!(find("bin/probe").1, 0o100_755);
        assert_eq!(find("bin/probe").2, b"probe");
        assert_eq!(find("dev/console").1, 0o020_600);
        assert_eq!(find("proc").1, 0o040_755);
        let at = |name: &str| entries.iter().position(|entry| entry.0 == name).unwrap();
        assert!(at("dev") < at("dev/console") && at("bin") < at("bin/busybox"));
    }
}
