//! An unpatched Linux in mode pv. A boot is dear, so each checks many things.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod memory;
mod network;
mod sockets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use network::Network;
use trivisor_tests::{Session, initramfs, kvm_wanted, linux_vmlinux, slow_wanted, trivisor};

/// A file's SHA-256, in hexadecimal digits.
fn sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

fn succeeds(program: &str, words: &[&str]) {
    let mut command = Command::new(program);
    let status = command.args(words).stdout(Stdio::null()).status();
    assert!(status.unwrap().success(), "{program} {words:?}");
}

/// An ext4 image of 32 MiB.
fn ext4(folder: &Path) -> PathBuf {
    let image = folder.join("disk.img");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    succeeds("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    image
}

/// Starts Linux in mode pv on a network, and waits for its shell.
fn linux(network: Network, folder: &Path, name: &str, more: &[&str]) -> Session {
    let (kernel, initrd) = (linux_vmlinux(), initramfs());
    let (kernel, initrd) = (kernel.to_str().unwrap(), initrd.to_str().unwrap());
    let mut arguments = vec!["run", "--mode", "pv", "--name", name];
    arguments.extend(["--kernel", kernel, "--initrd", initrd]);
    arguments.extend(["--net", network.option()]);
    arguments.extend(more);
    let mut vm = network.start(folder, &arguments);
    vm.expect("trivisor-guest: ready");
    vm
}

fn end_by(command: &str, mut vm: Session) {
    vm.type_line(command);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

/// Mounts a disk, writes a file of 300,000 bytes to it with its sum beside it, and unmounts.
fn write(vm: &mut Session, disk: &str) {
    let write = format!(
        "mkdir -p /m; mount /dev/{disk} /m && cd /m && head -c 300000 /bin/busybox > file && \
         sha256sum file > sums; cd /; umount /m && echo written"
    );
    let answer = vm.shell(&write);
    assert!(answer.ends_with("written"), "{answer}");
}

/// Mounts a disk that was written to, and checks the sum.
fn check(vm: &mut Session, disk: &str) {
    let check =
        format!("mkdir -p /m; mount /dev/{disk} /m && cd /m && sha256sum -c sums; cd /; umount /m");
    let answer = vm.shell(&check);
    assert!(answer.contains("file: OK"), "{answer}");
}

fn draw_entropy(vm: &mut Session) {
    let current = vm.shell("cat /sys/class/misc/hw_random/rng_current");
    assert_eq!(current, "virtio_rng.0");
    let random = vm.shell("head -c 16 /dev/hwrng | hexdump -v -e '1/1 \"%02x\"'");
    assert!(random.len() == 32 && random != "0".repeat(32), "{random}");
}

/// What of KVM's leaf 0x40000001 the kernel found is switched on in the register that belongs to it.
fn use_what_kvm_offers(vm: &mut Session) {
    let read = |vm: &mut Session, device: &str, at: u32, size: u32| {
        let read =
            format!("dd if=/dev/cpu/0/{device} bs={size} count=1 iflag=skip_bytes skip={at}");
        let number = vm.shell(&format!(
            "{read} 2>/dev/null | hexdump -n 4 -v -e '1/4 \"%u\"'"
        ));
        number.parse::<u32>().unwrap()
    };
    let features = read(vm, "cpuid", 0x4000_0001, 16);
    for (feature, bit, register) in [("steal time", 5, 0x4b56_4d03), ("PV EOI", 6, 0x4b56_4d04)] {
        let value = read(vm, "msr", register, 8);
        let is_offered = features >> bit & 1;
        eprintln!("{feature}: offered {is_offered}, register {value:#x}");
        assert_eq!(value & 1, is_offered, "{feature}");
    }
}

#[test]
fn what_was_written_is_there_after_a_second_start() {
    if !kvm_wanted("Linux in mode pv") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let raw = ext4(folder);
    let qcow2 = folder.join("disk.qcow2");
    let (raw, qcow2) = (raw.to_str().unwrap(), qcow2.to_str().unwrap());
    let convert = ["disk", "convert", raw, qcow2, "--format", "qcow2"];
    succeeds(trivisor().to_str().unwrap(), &convert);
    let serial = format!("{raw},serial=TRIVISOR-1");
    let socket = folder.join("vsock");
    let sockets = format!("3,{}", socket.display());
    let disks = ["--disk", &serial, "--disk", qcow2];

    let more = [&disks[..], &["--vsock", &sockets]].concat();
    let mut vm = linux(Network::Passt, folder, "test-linux-pv-1", &more);
    draw_entropy(&mut vm);
    use_what_kvm_offers(&mut vm);
    assert_eq!(vm.shell("cat /sys/block/vda/serial"), "TRIVISOR-1");
    write(&mut vm, "vda");
    write(&mut vm, "vdb");
    Network::Passt.use_from(&mut vm, folder);
    sockets::call_each_other(&mut vm, &socket);
    end_by("poweroff -f", vm);

    // What was flushed is in the images.
    succeeds("e2fsck", &["-f", "-n", raw]);
    let cat = Command::new("debugfs")
        .args(["-R", "cat /file", raw])
        .output();
    let busybox = fs::read("/bin/busybox").unwrap();
    assert!(
        cat.unwrap().stdout == busybox[..300_000],
        "the file differs"
    );
    succeeds("qemu-img", &["check", "-q", qcow2]);

    let more = [&disks[..], &["--balloon", "--memory", "64M"]].concat();
    let mut vm = linux(Network::Tap, folder, "test-linux-pv-2", &more);
    check(&mut vm, "vda");
    check(&mut vm, "vdb");
    Network::Tap.use_from(&mut vm, folder);
    memory::give_back(&mut vm, "test-linux-pv-2", 64);
    // What it has is as it was.
    check(&mut vm, "vda");
    end_by("poweroff -f", vm);
}

/// One disk, one card, entropy.
fn over(name: &str, options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let raw = ext4(folder);
    let more = [options, &["--disk", raw.to_str().unwrap()]].concat();
    let mut vm = linux(Network::Passt, folder, name, &more);
    draw_entropy(&mut vm);
    write(&mut vm, "vda");
    check(&mut vm, "vda");
    Network::Passt.use_from(&mut vm, folder);
    // Only ACPI can switch off.
    end_by("reboot -f", vm);
    succeeds("e2fsck", &["-f", "-n", raw.to_str().unwrap()]);
}

#[test]
fn over_mmio() {
    if slow_wanted("Linux over MMIO") {
        over("test-linux-mmio", &["--transport", "mmio"]);
    }
}

#[test]
fn over_pci_with_packed_queues() {
    if slow_wanted("Linux over PCI with packed queues") {
        over("test-linux-packed", &["--packed"]);
    }
}

#[test]
fn over_mmio_with_packed_queues() {
    if slow_wanted("Linux over MMIO with packed queues") {
        let options = ["--transport", "mmio", "--packed"];
        over("test-linux-mmio-packed", &options);
    }
}

/// The kernel has its processors and interrupts from the MP table, its devices from the command line.
#[test]
fn over_mmio_without_acpi() {
    if slow_wanted("Linux over MMIO without ACPI") {
        let options = ["--transport", "mmio", "--cmdline", "acpi=off"];
        over(
            "test-linux-no-acpi",
            &[&options[..], &["--cpus", "2"]].concat(),
        );
    }
}
