//! Images that syslinux starts from, made by its own installer and mtools.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where packages put the code of the master boot record: Debian and Ubuntu, Fedora, Arch.
const MBR_CODE: [&str; 3] = [
    "/usr/lib/syslinux/mbr/mbr.bin",
    "/usr/share/syslinux/mbr.bin",
    "/usr/lib/syslinux/bios/mbr.bin",
];

/// Bytes of a disk.
const DISK_SIZE: u64 = 8 << 20;
/// Where its partition begins.
const PARTITION: u64 = 1 << 20;
/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Makes a disk of 8 MiB in `folder`: a master boot record, and an active FAT16 partition with syslinux and its
/// configuration.
///
/// # Panics
/// When the host lacks syslinux or mtools.
#[must_use]
pub fn syslinux_disk(folder: &Path, configuration: &str) -> PathBuf {
    let path = folder.join("syslinux.img");
    let code = MBR_CODE.iter().find_map(|path| fs::read(path).ok());
    let mut record = code.unwrap_or_else(|| panic!("syslinux's mbr.bin is nowhere"));
    record.resize(446, 0);
    let first = sectors(PARTITION);
    // Active, from 0/32/33 on, FAT16 with LBA.
    record.extend([0x80, 0x20, 0x21, 0x00, 0x0e, 0xff, 0xff, 0xff]);
    record.extend(first.to_le_bytes());
    record.extend((sectors(DISK_SIZE) - first).to_le_bytes());
    record.resize(510, 0);
    record.extend([0x55, 0xaa]);
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let made = file
        .set_len(DISK_SIZE)
        .and_then(|()| file.write_all_at(&record, 0));
    made.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    drop(file);
    let size = (sectors(DISK_SIZE) - first).to_string();
    // Its own boot sector has to know the heads and sectors that the BIOS has, and what stands in front of it.
    let hidden = first.to_string();
    let shape = [
        "-T", &size, "-h", "16", "-s", "63", "-H", &hidden, "-c", "1",
    ];
    make_file_system(&path, PARTITION, &shape);
    install_syslinux(&path, PARTITION, configuration);
    path
}

/// Makes a FAT file system in an image, from the byte `offset` on; `shape` are mformat's words for its size.
///
/// # Panics
/// When the host lacks mtools.
pub fn make_file_system(image: &Path, offset: u64, shape: &[&str]) {
    let mut mformat = mtool("mformat", image, offset);
    run(mformat.args(shape).arg("::"));
}

/// Installs syslinux in the FAT file system that begins at the byte `offset` of an image.
///
/// # Panics
/// When the host lacks syslinux or mtools.
pub fn install_syslinux(image: &Path, offset: u64, configuration: &str) {
    let mut syslinux = Command::new("syslinux");
    syslinux.args(["--install", "--offset", &offset.to_string()]);
    run(syslinux.arg(image));
    let file = image.with_extension("cfg");
    fs::write(&file, configuration).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut mcopy = mtool("mcopy", image, offset);
    run(mcopy.arg(&file).arg("::syslinux.cfg"));
}

fn sectors(bytes: u64) -> u32 {
    u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX)
}

/// A program of mtools on the file system at `offset`.
fn mtool(name: &str, image: &Path, offset: u64) -> Command {
    let mut command = Command::new(name);
    // Whatever the user has in a configuration, or the image as a geometry.
    command.env("MTOOLS_SKIP_CHECK", "1");
    command
        .arg("-i")
        .arg(format!("{}@@{offset}", image.display()));
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
}
