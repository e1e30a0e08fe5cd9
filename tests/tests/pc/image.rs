//! What a PC is started from: a disk with a boot loader and a small Linux on it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trivisor_tests::linux_bzimage;

/// What Linux is told on every disk here. Hosts whose KVM emulates ring 0 want the last three; on others they cost nothing.
pub(crate) const WORDS: &str = "rw quiet init=/bin/linuxrc mitigations=off nofsgsbase \
                                clearcpuid=308,295,141,151,137";

/// Root's password.
pub(crate) const PASSWORD: &str = "Sesame-1";

/// A sector, in bytes.
const SECTOR: usize = 512;

/// Where the one partition begins, in sectors: at 1 MiB, as partitioning programs have it.
pub(crate) const FIRST_SECTOR: u32 = 2048;

/// The partition's size, in bytes.
const PARTITION: u64 = 24 << 20;

/// Where GRUB's parts are.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// Programs of busybox's that the guest's scripts and the tests call by their names.
const PROGRAMS: &[&str] = &[
    "acpid",
    "cat",
    "chmod",
    "clear",
    "date",
    "getty",
    "grep",
    "head",
    "hostname",
    "ip",
    "linuxrc",
    "login",
    "ls",
    "mount",
    "poweroff",
    "readlink",
    "sh",
    "sha256sum",
    "sync",
    "udhcpc",
    "umount",
    "uname",
    "wget",
];

/// What init does: a login on the screen, and a daemon that hears the power button.
const INITTAB: &str = "::sysinit:/etc/start
tty1::respawn:/bin/getty 38400 tty1 linux
::once:/bin/acpid -f -l /dev/null
::shutdown:/bin/umount -a -r
";

const START: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
hostname pc
";

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

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The files of a Linux that asks for a name and a password on its screen. `on_power_button` is a shell's line.
pub(crate) fn userland(root: &Path, on_power_button: &str) {
    for folder in [
        "bin",
        "dev",
        "etc/acpi/PWRF",
        "mnt",
        "proc",
        "root",
        "sys",
        "tmp",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in PROGRAMS {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::copy(linux_bzimage(), root.join("vmlinuz")).unwrap();
    let mut hash = Command::new("busybox");
    let hash = hash.args(["mkpasswd", "-m", "sha256", PASSWORD]).output();
    let hash = String::from_utf8(hash.unwrap().stdout).unwrap();
    assert!(hash.starts_with("$5$"), "{hash:?} is no hash");
    let user = format!("root:{}:0:0:root:/root:/bin/sh\n", hash.trim());
    fs::write(root.join("etc/passwd"), user).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    fs::write(root.join("etc/inittab"), INITTAB).unwrap();
    program(&root.join("etc/start"), START);
    let button = format!("#!/bin/sh\n{on_power_button}\n");
    // By the name that ACPI's driver gives the event.
    program(&root.join("etc/acpi/PWRF/00000080"), &button);
}

/// An ext4 image with the files of `root`.
pub(crate) fn ext4(image: &Path, size: u64, root: Option<&Path>) {
    fs::File::create(image).unwrap().set_len(size).unwrap();
    let mut make = Command::new("mkfs.ext4");
    make.arg("-q");
    if let Some(root) = root {
        make.arg("-d").arg(root);
    }
    succeeds(make.arg(image));
}

/// A disk from which GRUB starts the Linux that [`userland`] makes: boot sector, GRUB's core, one partition.
pub(crate) fn grub_disk(folder: &Path, on_power_button: &str) -> PathBuf {
    let root = folder.join("root");
    userland(&root, on_power_button);
    let partition = folder.join("partition.img");
    ext4(&partition, PARTITION, Some(&root));

    // Without a menu: its core does what stands here.
    let script = folder.join("grub.cfg");
    let linux = format!("linux (hd0,msdos1)/vmlinuz root=/dev/sda1 {WORDS}\nboot\n");
    fs::write(&script, linux).unwrap();
    let core = folder.join("core.img");
    let mut make = Command::new("grub-mkimage");
    make.args(["-O", "i386-pc", "-d", GRUB, "-p", "(hd0,msdos1)/"]);
    make.arg("-o").arg(&core).arg("-c").arg(&script);
    succeeds(make.args(["biosdisk", "part_msdos", "ext2", "linux"]));

    // Its boot sector reads the core from the sector behind it, unless told of another.
    let mut bytes = fs::read(format!("{GRUB}/boot.img")).unwrap();
    bytes.truncate(440);
    bytes.resize(446, 0);
    bytes.extend(partition_entry());
    bytes.resize(SECTOR - 2, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.extend(fs::read(core).unwrap());
    let first = FIRST_SECTOR as usize * SECTOR;
    assert!(bytes.len() <= first, "the core reaches into the partition");
    bytes.resize(first, 0);
    bytes.extend(fs::read(partition).unwrap());
    let disk = folder.join("disk.img");
    fs::write(&disk, bytes).unwrap();
    disk
}

/// The table's entry of the partition: active, of Linux's kind, with addresses of cylinders that say nothing.
fn partition_entry() -> [u8; 16] {
    let sectors = u32::try_from(PARTITION).unwrap() / SECTOR as u32;
    let mut entry = [
        0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    entry[8..12].copy_from_slice(&FIRST_SECTOR.to_le_bytes());
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
    entry
}

/// The file system in the disk's partition is clean.
pub(crate) fn check_partition(folder: &Path, disk: &Path) {
    let bytes = fs::read(disk).unwrap();
    let partition = folder.join("after.img");
    fs::write(&partition, &bytes[FIRST_SECTOR as usize * SECTOR..]).unwrap();
    succeeds(Command::new("e2fsck").args(["-f", "-n"]).arg(partition));
}
