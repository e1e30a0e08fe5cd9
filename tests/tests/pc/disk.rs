//! Disks that a PC starts from: a boot loader, and a small Linux.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::userland::{self, WORDS};

/// A sector, in bytes.
const SECTOR: usize = 512;

/// Where the first partition begins, in sectors: at 1 MiB, as partitioning programs have it.
const FIRST_SECTOR: usize = 2048;

/// The size of a partition with Linux, in bytes.
const LINUX: usize = 24 << 20;

/// Partitions' kinds in the table.
const FAT16: u8 = 0x06;
const EXT: u8 = 0x83;

/// Where GRUB's parts are.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// The boot sector of SYSLINUX and EXTLINUX, which starts the active partition.
pub(crate) const MBR: &str = "/usr/lib/syslinux/mbr/mbr.bin";

/// Runs a program to its end, with nothing said but by itself.
///
/// # Panics
/// When it fails.
pub(crate) fn succeeds(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
}

/// An ext4 image with the files of `root`.
pub(crate) fn ext4(image: &Path, size: usize, root: Option<&Path>) {
    let file = fs::File::create(image).unwrap();
    file.set_len(size.try_into().unwrap()).unwrap();
    let mut make = Command::new("mkfs.ext4");
    make.arg("-q");
    if let Some(root) = root {
        make.arg("-d").arg(root);
    }
    succeeds(make.arg(image));
}

/// A partition with the Linux that [`userland`] makes. `on_power_button` is a line of its shell's.
fn linux(folder: &Path, on_power_button: &str) -> Vec<u8> {
    let root = folder.join("root");
    userland::userland(&root, on_power_button);
    let image = folder.join("linux.img");
    ext4(&image, LINUX, Some(&root));
    fs::read(image).unwrap()
}

/// A disk from which SYSLINUX starts it: its own partition, which has the kernel, and Linux' one.
pub(crate) fn by_syslinux(folder: &Path, on_power_button: &str) -> PathBuf {
    let linux = linux(folder, on_power_button);
    let partition = folder.join("syslinux.img");
    let settings = folder.join("syslinux.cfg");
    let words =
        format!("DEFAULT linux\nLABEL linux\nKERNEL vmlinuz\nAPPEND root=/dev/sda2 {WORDS}\n");
    fs::write(&settings, words).unwrap();
    // 8 MiB in clusters of 1 KiB, so that it is FAT16; it tells its boot sector where it is.
    let mut format = Command::new("mformat");
    format.args(["-C", "-T", "16384", "-h", "16", "-s", "63", "-c", "2"]);
    format.arg("-H").arg(FIRST_SECTOR.to_string());
    succeeds(format.arg("-i").arg(&partition).arg("::"));
    succeeds(Command::new("syslinux").arg("--install").arg(&partition));
    for (file, name) in [
        (settings, "::syslinux.cfg"),
        (folder.join("root/vmlinuz"), "::vmlinuz"),
    ] {
        let mut copy = Command::new("mcopy");
        succeeds(copy.arg("-i").arg(&partition).arg(file).arg(name));
    }
    let partitions = [(FAT16, fs::read(partition).unwrap()), (EXT, linux)];
    disk(folder, &fs::read(MBR).unwrap(), &[], &partitions)
}

/// A disk from which GRUB starts it, from the one partition.
pub(crate) fn by_grub(folder: &Path, on_power_button: &str) -> PathBuf {
    let linux = linux(folder, on_power_button);
    // Without a menu: its core does what stands here.
    let script = folder.join("grub.cfg");
    let words = format!("linux (hd0,msdos1)/vmlinuz root=/dev/sda1 {WORDS}\nboot\n");
    fs::write(&script, words).unwrap();
    let core = folder.join("core.img");
    let mut make = Command::new("grub-mkimage");
    make.args(["-O", "i386-pc", "-d", GRUB, "-p", "(hd0,msdos1)/"]);
    make.arg("-o").arg(&core).arg("-c").arg(&script);
    succeeds(make.args(["biosdisk", "part_msdos", "ext2", "linux"]));
    let first = fs::read(format!("{GRUB}/boot.img")).unwrap();
    // Its boot sector reads the core from the sector behind it, unless told of another.
    let core = fs::read(core).unwrap();
    disk(folder, &first, &core, &[(EXT, linux)])
}

/// A disk of these partitions, the first of them active, with what the boot sector reads in front of them.
fn disk(folder: &Path, boot: &[u8], loader: &[u8], partitions: &[(u8, Vec<u8>)]) -> PathBuf {
    let mut first = boot[..440].to_vec();
    first.resize(446, 0);
    let mut rest = vec![0; (FIRST_SECTOR - 1) * SECTOR];
    rest[..loader.len()].copy_from_slice(loader);
    for (kind, contents) in partitions {
        let at = (SECTOR + rest.len()) / SECTOR;
        let active = if at == FIRST_SECTOR { 0x80 } else { 0 };
        // Addresses of cylinders, heads and sectors that say nothing.
        first.extend([active, 0xfe, 0xff, 0xff, *kind, 0xfe, 0xff, 0xff]);
        for number in [at, contents.len() / SECTOR] {
            first.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        rest.extend(contents);
    }
    first.resize(SECTOR - 2, 0);
    first.extend([0x55, 0xaa]);
    first.extend(rest);
    let disk = folder.join("disk.img");
    fs::write(&disk, first).unwrap();
    disk
}

/// Linux' partition, the last one of a disk, is clean; its image.
pub(crate) fn check(folder: &Path, disk: &Path) -> PathBuf {
    let bytes = fs::read(disk).unwrap();
    let mut entries = bytes[446..510].chunks(16).filter(|entry| entry[4] == EXT);
    let entry = entries.next_back().unwrap();
    let first = u32::from_le_bytes(*entry[8..].first_chunk().unwrap());
    let partition = folder.join("after.img");
    fs::write(&partition, &bytes[first as usize * SECTOR..]).unwrap();
    succeeds(Command::new("e2fsck").args(["-f", "-n"]).arg(&partition));
    partition
}
