//! An unpatched Linux that a PC starts by itself, with no kernel on the command line, used by screen and keyboard alone.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod image;
mod login;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use login::Login;
use trivisor_tests::{Session, kvm_wanted, trivisor};

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

/// Seconds since 1970, of the host.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn start(folder: &Path, name: &str, options: &[&str]) -> Session {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", NETWORK, "sh"]).arg(trivisor());
    command.args(["run", "--name", name, "--memory", "128M"]);
    command.args(["--display", "none", "--serial", "none"]);
    // A reset would start it again, and only its power's end ends it.
    command.arg("--reboot").args(options);
    Session::spawn(command.current_dir(folder))
}

#[test]
fn grub_starts_a_linux_from_a_disk() {
    if !kvm_wanted("Linux on a PC's disk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let disk = image::grub_disk(folder, "echo the button was pressed >/dev/tty1");
    let data = folder.join("data.img");
    image::ext4(&data, 16 << 20, None);
    let served = folder.join("served");
    fs::create_dir(&served).unwrap();
    let contents: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(served.join("file"), contents).unwrap();

    let name = format!("pc-{}", std::process::id());
    let data = format!("{},bus=virtio", data.display());
    let options = ["--disk", disk.to_str().unwrap(), "--disk", &data];
    let vm = start(folder, &name, &[&options[..], &["--net", "user"]].concat());
    let mut login = Login::new(&name);

    // Who started it, and from where.
    let words = login.ask("cat /proc/cmdline");
    assert!(
        words.contains("BOOT_IMAGE=(hd0,msdos1)/vmlinuz root=/dev/sda1"),
        "{words}"
    );
    assert!(login.ask("uname -r").starts_with("6.1."));
    let root = login.ask("grep ' / ' /proc/mounts");
    assert!(root.contains(" / ext4 rw"), "{root}");
    let driver = login.ask("readlink /sys/bus/pci/devices/0000:00:01.1/driver");
    assert!(driver.ends_with("/ata_piix"), "{driver}");
    let way = login.ask("readlink /sys/block/sda");
    assert!(way.contains("/0000:00:01.1/ata1/host0/"), "{way}");

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
    assert_eq!(
        login.ask("echo written >/root/note; sync; cat /root/note"),
        "written"
    );
    login.press_power_button();
    let _pressed = login.wait_for("the button was pressed");
    login.type_line("poweroff");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    image::check_partition(folder, &disk);
    let note = Command::new("debugfs")
        .args(["-R", "cat /root/note"])
        .arg(folder.join("after.img"))
        .output();
    assert_eq!(note.unwrap().stdout, b"written\n");
}
