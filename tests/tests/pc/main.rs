//! An unpatched Linux that a PC starts by itself, with no kernel on the command line, used by screen and keyboard alone.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod disk;
mod install;
mod login;
mod userland;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use login::Login;
use trivisor_tests::{Session, kvm_wanted, slow_wanted, trivisor};

/// In a network of its own, where passt gives the guest the address of one interface, and a web server listens at
/// that of another.
const NETWORK: &str = "set -e
    ip link set lo up
    ip link add guest0 type veth peer name server0
    ip addr add 10.10.0.2/24 dev guest0 && ip link set guest0 up
    ip addr add 10.20.0.1/24 dev server0 && ip link set server0 up
    ip route add default via 10.10.0.1
    busybox httpd -p 10.20.0.1:80 -h served
    exec \"$@\"";

/// Hosts that emulate ring 0 are slow, and shared.
const START: Duration = Duration::from_secs(1200);

/// Seconds since 1970, of the host.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// A PC that only its power's end ends: a reset would start it again.
const PC: &[&str] = &[
    "run",
    "--reboot",
    "--memory",
    "128M",
    "--display",
    "none",
    "--serial",
    "none",
    "--name",
];

fn pc(name: &str, options: &[&str]) -> Session {
    Session::start([PC, &[name], options].concat())
}

/// The same on the network.
fn pc_on_network(folder: &Path, name: &str, options: &[&str]) -> Session {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", NETWORK, "sh"]).arg(trivisor());
    command.args([PC, &[name], options].concat());
    Session::spawn(command.current_dir(folder))
}

#[test]
fn syslinux_starts_a_linux_from_a_disk() {
    if !kvm_wanted("Linux on a PC's disk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let disk = disk::by_syslinux(folder, "echo the button was pressed >/dev/tty1");
    let data = folder.join("data.img");
    disk::ext4(&data, 16 << 20, None);
    let served = folder.join("served");
    fs::create_dir(&served).unwrap();
    let contents: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(served.join("file"), contents).unwrap();

    let name = format!("pc-{}", std::process::id());
    let data = format!("{},bus=virtio", data.display());
    let options = ["--disk", disk.to_str().unwrap(), "--disk", &data];
    let vm = pc_on_network(folder, &name, &[&options[..], &["--net", "user"]].concat());
    let mut login = Login::new(&name, START);

    // Who started it, and from where.
    let words = login.ask("cat /proc/cmdline");
    assert!(
        words.contains("BOOT_IMAGE=vmlinuz root=/dev/sda2"),
        "{words}"
    );
    assert!(login.ask("uname -r").starts_with("6.1."));
    let root = login.ask("grep ' / ' /proc/mounts");
    assert!(root.contains(" / ext4 rw"), "{root}");
    let driver = login.ask("readlink /sys/bus/pci/devices/0000:00:01.1/driver");
    assert!(driver.ends_with("/ata_piix"), "{driver}");
    let way = login.ask("readlink /sys/block/sda");
    assert!(way.contains("/0000:00:01.1/ata1/host0/"), "{way}");

    // PCI's interrupts, as ACPI tells of them.
    let link = login.ask("cat /sys/bus/acpi/devices/PNP0C0F:03/path");
    assert_eq!(link, "\\_SB_.LNKD");

    // Its own clock, which it has set by the PC's, and the PC's again.
    for (what, early, late) in [
        ("date +%s", 1, 1),
        ("cat /sys/class/rtc/rtc0/since_epoch", 0, 0),
    ] {
        let before = now();
        let said = login.ask(what).parse::<u64>().unwrap();
        let after = now();
        let right = before - early..=after + late;
        assert!(
            right.contains(&said),
            "{what}: {said}, and it was {right:?}"
        );
    }

    // What is of virtio beside it.
    let busybox = sum(Path::new("/bin/busybox"));
    let copied = login.ask(
        "mount /dev/vda /mnt && cat /bin/busybox >/mnt/copy && umount /mnt && \
         mount /dev/vda /mnt && sha256sum /mnt/copy && umount /mnt",
    );
    assert!(copied.starts_with(&busybox), "{copied}");
    let lease = login.ask(
        "printf '#!/bin/sh\\n[ \"$ip\" ] && ip addr add $ip/24 dev $interface && \
         ip route add default via $router\\n' >/lease; chmod +x /lease; ip link set eth0 up; \
         udhcpc -i eth0 -n -q -s /lease 2>&1 | grep obtained",
    );
    assert!(lease.contains("10.10.0.2"), "{lease}");
    let fetched = login.ask("wget -q -O - http://10.20.0.1/file | sha256sum");
    assert!(fetched.starts_with(&sum(&served.join("file"))), "{fetched}");

    // A write to the disk that it runs from is there after its end.
    assert_eq!(login.ask("echo written >/note; sync; cat /note"), "written");
    login.press_power_button();
    let _pressed = login.wait_for("the button was pressed");
    login.type_line("poweroff");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let partition = disk::check(folder, &disk);
    let note = Command::new("debugfs")
        .args(["-R", "cat /note"])
        .arg(partition)
        .output();
    assert_eq!(note.unwrap().stdout, b"written\n");
}

#[test]
fn grub_starts_a_linux_from_a_disk() {
    if !slow_wanted("GRUB and Linux on a PC's disk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = disk::by_grub(folder.path(), "poweroff");
    let name = format!("pc-grub-{}", std::process::id());
    let vm = pc(&name, &["--disk", disk.to_str().unwrap()]);
    let mut login = Login::new(&name, START);
    let words = login.ask("cat /proc/cmdline");
    let ours = "BOOT_IMAGE=(hd0,msdos1)/vmlinuz root=/dev/sda1";
    assert!(words.contains(ours), "{words}");
    login.press_power_button();
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let _image = disk::check(folder.path(), &disk);
}

/// From a CD onto an empty disk of this kind, and then from that.
fn install(format: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cd = install::cd(folder);
    let disk = folder.join(format!("disk.{format}"));
    let disk = disk.to_str().unwrap();
    let mut create = Command::new(trivisor());
    disk::succeeds(create.args(["disk", "create", disk, "40M", "--format", format]));

    let name = format!("pc-install-{format}-{}", std::process::id());
    let options = ["--cdrom", cd.to_str().unwrap(), "--disk", disk];
    let ended = pc(&name, &options).wait_within(2 * START);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);

    let vm = pc(&name, &["--disk", disk]);
    let mut login = Login::new(&name, START);
    let words = login.ask("cat /proc/cmdline");
    assert!(
        words.contains("BOOT_IMAGE=/vmlinuz root=/dev/sda1"),
        "{words}"
    );
    let root = login.ask("grep ' / ' /proc/mounts");
    assert!(root.contains(" / ext2 rw"), "{root}");
    let copied = login.ask("sha256sum /bin/busybox");
    assert!(
        copied.starts_with(&sum(Path::new("/bin/busybox"))),
        "{copied}"
    );
    // What is on the disk hears the power button, and switches off.
    login.press_power_button();
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    if format == "qcow2" {
        disk::succeeds(Command::new("qemu-img").args(["check", "-q", disk]));
    } else {
        let _image = disk::check(folder, Path::new(disk));
    }
}

#[test]
fn a_cd_installs_a_linux_onto_a_raw_disk() {
    if slow_wanted("installation onto a raw disk") {
        install("raw");
    }
}

#[test]
fn a_cd_installs_a_linux_onto_a_qcow2_disk() {
    if slow_wanted("installation onto a qcow2 disk") {
        install("qcow2");
    }
}
