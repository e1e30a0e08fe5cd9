//! Where the guests and the binary under test are: `cargo xtask test` makes them and says so.

use std::path::PathBuf;

fn path(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    let path = path
        .unwrap_or_else(|| panic!("{variable} is not set: run these tests by `cargo xtask test`"));
    assert!(
        path.exists(),
        "{variable}: {} does not exist",
        path.display()
    );
    path
}

/// The `trivisor` binary under test.
#[must_use]
pub fn trivisor() -> PathBuf {
    path("TRIVISOR_BIN")
}

/// An example of a crate, which is built beside the binary under test.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let binary = trivisor();
    let folder = binary.parent().map(|folder| folder.join("examples"));
    let path = folder.unwrap_or_default().join(name);
    assert!(
        path.exists(),
        "{} is not built: run by `cargo xtask test`",
        path.display()
    );
    path
}

/// The bare-metal guest: an ELF with a PVH note.
#[must_use]
pub fn bare_metal() -> PathBuf {
    path("TRIVISOR_TEST_BARE_METAL")
}

/// An unpatched Linux as ELF.
#[must_use]
pub fn linux_vmlinux() -> PathBuf {
    path("TRIVISOR_TEST_VMLINUX")
}

/// The same Linux as bzImage.
#[must_use]
pub fn linux_bzimage() -> PathBuf {
    path("TRIVISOR_TEST_BZIMAGE")
}

/// An initial RAM disk whose first process is a busybox shell.
#[must_use]
pub fn initramfs() -> PathBuf {
    path("TRIVISOR_TEST_INITRAMFS")
}

/// Debian's kernel for clouds, a bzImage.
#[must_use]
pub fn debian_kernel() -> PathBuf {
    path("TRIVISOR_TEST_DEBIAN_KERNEL")
}

/// Xen: an ELF image with headers of multiboot 1 and 2.
#[must_use]
pub fn xen() -> PathBuf {
    path("TRIVISOR_TEST_XEN")
}

/// Xen as a guest of Xen: a 32-bit ELF image with a PVH note.
#[must_use]
pub fn xen_shim() -> PathBuf {
    path("TRIVISOR_TEST_XEN_SHIM")
}

/// GRUB Invaders: an image of multiboot 1, with address fields.
#[must_use]
pub fn invaders() -> PathBuf {
    path("TRIVISOR_TEST_INVADERS")
}

/// Memtest86+: a bzImage without a payload.
#[must_use]
pub fn memtest() -> PathBuf {
    path("TRIVISOR_TEST_MEMTEST")
}

/// GRUB 2 on a CD, which is a disk with a boot sector as well.
#[must_use]
pub fn grub_rescue() -> PathBuf {
    path("TRIVISOR_TEST_GRUB_RESCUE")
}

/// Memtest86+ on a CD.
#[must_use]
pub fn memtest_cd() -> PathBuf {
    path("TRIVISOR_TEST_MEMTEST_CD")
}

/// iPXE on a CD, started by isolinux.
#[must_use]
pub fn ipxe_cd() -> PathBuf {
    path("TRIVISOR_TEST_IPXE_CD")
}
