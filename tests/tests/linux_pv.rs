//! An unpatched Linux in mode pv: disk, network and entropy over PCI in one session.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;
use std::process::Command;

use trivisor_tests::{Session, initramfs, kvm_wanted, linux_vmlinux, trivisor};

/// What the guest fetches.
const FILE: &str = "served to the guest\n";

/// A network of the test's own: passt gives the guest the address of one interface, and a web server listens at
/// that of another, which is not the guest's.
fn in_a_network(folder: &Path, arguments: &[&str]) -> Session {
    let served = folder.join("served");
    fs::create_dir(&served).unwrap();
    fs::write(served.join("file"), FILE).unwrap();
    let script = "set -e
        ip link set lo up
        ip link add guest0 type veth peer name server0
        ip addr add 10.10.0.2/24 dev guest0 && ip link set guest0 up
        ip addr add 10.20.0.1/24 dev server0 && ip link set server0 up
        ip route add default via 10.10.0.1
        busybox httpd -p 10.20.0.1:80 -h \"$1\"
        shift
        exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    command.arg(&served).arg(trivisor()).args(arguments);
    Session::spawn(&mut command)
}

#[test]
fn a_disk_a_network_and_entropy() {
    if !kvm_wanted("Linux in mode pv") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status();
    assert!(made.expect("mkfs.ext4 is installed").success());

    let (kernel, initrd) = (linux_vmlinux(), initramfs());
    let disk = format!("{},serial=TRIVISOR-1", image.display());
    let mut vm = in_a_network(
        folder.path(),
        &[
            "run",
            "--name",
            "test-linux-pv",
            "--kernel",
            kernel.to_str().unwrap(),
            "--initrd",
            initrd.to_str().unwrap(),
            "--disk",
            &disk,
            "--net",
            "user",
        ],
    );
    vm.expect("trivisor-guest: ready");

    // Entropy.
    assert_eq!(
        vm.shell("cat /sys/class/misc/hw_random/rng_current"),
        "virtio_rng.0"
    );
    let random = vm.shell("head -c 16 /dev/hwrng | hexdump -v -e '1/1 \"%02x\"'");
    assert!(random.len() == 32 && random != "0".repeat(32), "{random}");

    // Disk.
    assert_eq!(vm.shell("cat /sys/block/vda/serial"), "TRIVISOR-1");
    let write = "mkdir /m; mount /dev/vda /m && head -c 300000 /bin/busybox > /m/file && umount /m";
    assert!(
        vm.shell(&format!("{write} && echo written"))
            .ends_with("written")
    );

    // Network.
    vm.shell(
        "printf '#!/bin/sh\\n[ \"$ip\" ] && ip addr add $ip/24 dev $interface && \
         ip route add default via $router\\n' > /lease; chmod +x /lease; ip link set eth0 up",
    );
    let lease = vm.shell("udhcpc -i eth0 -n -q -s /lease 2>&1 | grep obtained");
    assert!(lease.contains("10.10.0.2"), "{lease}");
    assert_eq!(
        vm.shell("wget -q -O - http://10.20.0.1/file"),
        FILE.trim_end()
    );

    vm.type_line("poweroff -f");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);

    // What was flushed is in the image.
    let check = Command::new("e2fsck")
        .args(["-f", "-n"])
        .arg(&image)
        .output();
    assert!(check.unwrap().status.success());
    let read = Command::new("debugfs")
        .args(["-R", "cat /file"])
        .arg(&image)
        .output();
    let busybox = fs::read("/bin/busybox").unwrap();
    assert!(
        read.unwrap().stdout == busybox[..300_000],
        "the file differs"
    );
}
