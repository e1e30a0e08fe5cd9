#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod guests;
mod session;

pub use guests::{bare_metal, initramfs, linux_bzimage, linux_vmlinux, trivisor};
pub use session::{Ended, Session};

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
