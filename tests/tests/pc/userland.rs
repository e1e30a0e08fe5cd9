//! The files of the Linux that a PC starts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use trivisor_tests::linux_bzimage;

/// What Linux is told on every disk here. Hosts whose KVM emulates ring 0 want the last three; on others they cost nothing.
pub(crate) const WORDS: &str = "rw quiet init=/bin/linuxrc mitigations=off nofsgsbase \
                                clearcpuid=308,295,141,151,137";

/// Root's password.
pub(crate) const PASSWORD: &str = "Sesame-1";

/// Programs of busybox's that the guest's scripts and the tests call by their names.
const PROGRAMS: &str = "acpid cat chmod clear cp date dd fdisk getty grep head hostname ip \
                        linuxrc login ls mkdir mke2fs mount poweroff readlink sh sha256sum sync udhcpc umount uname wget";

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

/// Writes a script.
pub(crate) fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Busybox under all the names that are needed, and folders for what the kernel mounts.
pub(crate) fn busybox(root: &Path) {
    for folder in ["bin", "dev", "mnt", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in PROGRAMS.split(' ') {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}

/// The files of a Linux that asks for a name and a password on its screen. `on_power_button` is a shell's line.
pub(crate) fn userland(root: &Path, on_power_button: &str) {
    busybox(root);
    fs::create_dir_all(root.join("etc/acpi/PWRF")).unwrap();
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
