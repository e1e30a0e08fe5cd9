#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod boot_sector;
mod guests;
mod screen;
mod session;
mod syslinux;

pub use boot_sector::bootable_disk;
pub use guests::{
    bare_metal, debian_kernel, example, grub_rescue, initramfs, invaders, ipxe_cd, linux_bzimage,
    linux_vmlinux, memtest, memtest_cd, trivisor, xen, xen_shim,
};
pub use screen::{screen, screen_with, screen_within};
pub use session::{Ended, Session};
pub use syslinux::{install_syslinux, make_file_system, syslinux_disk};

/// Tells whether tests that need /dev/kvm are to run. They do, and fail where it is missing, unless the
/// whole run was told to leave them out; then each says so in its output, where they are counted.
#[must_use]
pub fn kvm_wanted(test: &str) -> bool {
    let wanted = std::env::var_os("TRIVISOR_NO_KVM").is_none();
    if !wanted {
        eprintln!("skipped without /dev/kvm: {test}");
    }
    wanted
}

/// Tells whether a test that takes long is to run: it also needs /dev/kvm. One that is left out says so.
#[must_use]
pub fn slow_wanted(test: &str) -> bool {
    let wanted = std::env::var_os("TRIVISOR_SLOW").is_some();
    if !wanted {
        eprintln!("skipped without --slow: {test}");
    }
    wanted && kvm_wanted(test)
}
