//! Linux' driver of the legacy interface, told to use no other, at transitional devices.

use std::process::Command;

use trivisor_kvm::HostKind;
use trivisor_tests::{example, initramfs, linux_vmlinux, slow_wanted};

/// What the first process does: bytes onto the disk and back from there, and random ones.
const SCRIPT: &str = "cd /bin; for f in mount cat head dd md5sum poweroff wc; do ./busybox ln -s busybox $f; done; \
    cd /; mount -t devtmpfs d /dev; mount -t sysfs s /sys; mount -t proc p /proc; \
    cat /proc/ioports; echo serial=$(cat /sys/block/vda/serial); \
    head -c 1000000 /bin/busybox > /tmp/f; dd if=/tmp/f of=/dev/vda bs=4096 conv=fsync; \
    echo 3 > /proc/sys/vm/drop_caches; head -c 1000000 /dev/vda > /tmp/g; \
    echo out=$(md5sum < /tmp/f); echo back=$(md5sum < /tmp/g); \
    head -c 100 /dev/hwrng > /tmp/r; echo random=$(wc -c < /tmp/r); poweroff -f";

#[test]
fn linux_by_the_legacy_interface() {
    if !slow_wanted("Linux at transitional devices") {
        return;
    }
    let own = HostKind::of_this_host().linux_cmdline();
    let cmdline = format!(
        "console=ttyS0 reboot=k panic=-1 {own} virtio_pci.force_legacy=1 \
         rdinit=/bin/busybox -- sh -c \"{SCRIPT}\""
    );
    let output = Command::new("timeout")
        .arg("600")
        .arg(example("transitional"))
        .args([linux_vmlinux(), initramfs()])
        .arg(cmdline)
        .output()
        .expect("the example runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim_end().strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}"))
    };
    // Both have their ports, and the driver is the old one.
    assert_eq!(text.matches("virtio-pci-legacy").count(), 2, "{text}");
    assert_eq!(value("serial="), "IN-MEMORY");
    assert_eq!(value("out="), value("back="));
    assert_eq!(value("random="), "100");
    assert!(text.trim_end().ends_with("PowerOff"), "{text}");
}
