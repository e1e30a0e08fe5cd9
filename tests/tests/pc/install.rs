//! An installation: a CD that starts a Linux, which puts another one onto an empty disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use trivisor_tests::linux_bzimage;

use crate::disk::{MBR, succeeds};
use crate::userland::{self, WORDS};

/// The power button does what it says, and so does the installer at its end.
const ON_POWER_BUTTON: &str = "poweroff";

/// The first process of the CD's Linux.
const INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /cd
mount -t iso9660 -o ro /dev/sr0 /cd
sh /cd/install
# After a failure, whose last words stay on the screen.
while :; do sh; done
";

/// Extlinux, which is not static, has its own libraries beside it.
const INSTALL: &str = "set -e
echo partitioning
printf 'o\\nn\\np\\n1\\n2048\\n\\na\\n1\\nw\\n' | fdisk -u /dev/sda >/dev/null
dd if=/cd/loader/mbr.bin of=/dev/sda conv=notrunc 2>/dev/null
echo making a file system
mke2fs -b 4096 -i 16384 -L system /dev/sda1 >/dev/null
mount -t ext2 /dev/sda1 /mnt
echo copying
cp -a /cd/system/. /mnt
mkdir -p /mnt/boot/extlinux
cp /cd/loader/extlinux.conf /mnt/boot/extlinux
echo installing a boot loader
/cd/loader/ld.so --library-path /cd/loader /cd/loader/extlinux --install /mnt/boot/extlinux
umount /mnt
echo installed
poweroff -f
";

/// A CD with an installer: ISOLINUX, kernel, initial RAM disk; the system that it copies; extlinux.
pub(crate) fn cd(folder: &Path) -> PathBuf {
    let cd = folder.join("cd");
    for name in ["isolinux", "loader", "system"] {
        fs::create_dir_all(cd.join(name)).unwrap();
    }
    userland::userland(&cd.join("system"), ON_POWER_BUTTON);
    fs::write(cd.join("install"), INSTALL).unwrap();

    let isolinux = cd.join("isolinux");
    let module = "/usr/lib/syslinux/modules/bios/ldlinux.c32";
    fs::copy(module, isolinux.join("ldlinux.c32")).unwrap();
    let first = isolinux.join("isolinux.bin");
    fs::copy("/usr/lib/ISOLINUX/isolinux.bin", first).unwrap();
    fs::copy(linux_bzimage(), isolinux.join("linux")).unwrap();
    initial_ram_disk(folder, &isolinux.join("initrd"));
    let words = WORDS.replace("init=/bin/linuxrc", "");
    let settings =
        format!("DEFAULT linux\nLABEL linux\nKERNEL linux\nAPPEND initrd=initrd {words}\n");
    fs::write(isolinux.join("isolinux.cfg"), settings).unwrap();

    let loader = cd.join("loader");
    fs::copy(MBR, loader.join("mbr.bin")).unwrap();
    let settings =
        format!("DEFAULT linux\nLABEL linux\nKERNEL /vmlinuz\nAPPEND root=/dev/sda1 {WORDS}\n");
    fs::write(loader.join("extlinux.conf"), settings).unwrap();
    fs::copy("/usr/bin/extlinux", loader.join("extlinux")).unwrap();
    for (name, library) in libraries("/usr/bin/extlinux") {
        fs::copy(library, loader.join(name)).unwrap();
    }

    let image = folder.join("installer.iso");
    let mut make = Command::new("xorriso");
    make.args(["-as", "mkisofs", "-quiet", "-R", "-o"])
        .arg(&image);
    make.args(["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"]);
    make.args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    succeeds(make.arg(cd));
    image
}

/// The libraries that a program names, and what loads them, as `ld.so`.
fn libraries(program: &str) -> Vec<(String, PathBuf)> {
    let said = Command::new("ldd").arg(program).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    let named = |path: &str| {
        let (_, name) = path.rsplit_once('/').unwrap();
        let is_loader = name.starts_with("ld-linux");
        let name = if is_loader { "ld.so" } else { name };
        (name.to_owned(), PathBuf::from(path))
    };
    paths.map(named).collect()
}

/// An archive of busybox and the first process.
fn initial_ram_disk(folder: &Path, place: &Path) {
    let root = folder.join("initrd");
    userland::busybox(&root);
    userland::program(&root.join("init"), INIT);
    let mut pack = Command::new("sh");
    pack.args([
        "-c",
        "busybox find . | busybox cpio -o -H newc -R 0:0 >\"$0\"",
    ]);
    succeeds(pack.arg(place).current_dir(root));
}
