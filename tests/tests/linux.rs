//! An unpatched Linux in basic mode: one scripted session checks many things, for a boot is dear.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use trivisor_tests::{Session, initramfs, kvm_wanted, linux_bzimage, linux_vmlinux};

/// An ext4 image of 16 MiB.
fn ext4(folder: &Path) -> PathBuf {
    let image = folder.join("disk.img");
    std::fs::File::create(&image)
        .unwrap()
        .set_len(16 << 20)
        .unwrap();
    let made = Command::new("mkfs.ext4")
        .arg("-q")
        .arg(&image)
        .status()
        .expect("mkfs.ext4 is installed");
    assert!(made.success());
    image
}

fn linux(kernel: &Path, name: &str, more: &[&str]) -> Session {
    let (kernel, initrd) = (
        kernel.to_str().unwrap().to_owned(),
        initramfs().to_str().unwrap().to_owned(),
    );
    let mut arguments = vec![
        "run", "--mode", "basic", "--name", name, "--kernel", &kernel, "--initrd", &initrd,
    ];
    arguments.extend(more);
    let mut vm = Session::start(arguments);
    vm.expect("trivisor-guest: ready");
    vm
}

/// The number behind `key` in the text, as in /proc/meminfo.
fn number_after(text: &str, key: &str) -> u64 {
    let rest = text
        .split(key)
        .nth(1)
        .unwrap_or_else(|| panic!("no {key} in {text}"));
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number behind {key} in {text}"))
}

#[test]
fn a_shell_two_cpus_a_disk_that_keeps_what_was_written() {
    if !kvm_wanted("Linux in basic mode") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = format!("{},bus=pmem", ext4(folder.path()).display());

    let mut vm = linux(
        &linux_vmlinux(),
        "test-linux-1",
        &["--cpus", "2", "--memory", "192M", "--disk", &disk],
    );
    assert_eq!(vm.shell("nproc"), "2");
    let memory = number_after(&vm.shell("cat /proc/meminfo"), "MemTotal:");
    assert!(
        (160 << 10..192 << 10).contains(&memory),
        "{memory} KiB of 192 MiB"
    );
    let time: u64 = vm.shell("date +%s").parse().unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        now.abs_diff(time) <= 5,
        "the guest's clock shows {time}, the host's {now}"
    );
    let written = "mount /dev/pmem0 /mnt && echo kept > /mnt/file && umount /mnt && echo written";
    assert!(
        vm.shell(&format!("mkdir -p /mnt; {written}"))
            .ends_with("written")
    );
    vm.type_line("poweroff -f");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);

    let mut vm = linux(
        &linux_vmlinux(),
        "test-linux-2",
        &["--memory", "256M", "--disk", &disk],
    );
    assert_eq!(vm.shell("nproc"), "1");
    // The kernel's own words on mounting may come first.
    let kept = vm.shell("mkdir -p /mnt; mount /dev/pmem0 /mnt; cat /mnt/file");
    assert!(kept.ends_with("kept"), "{kept}");
    assert!(
        vm.shell("umount /mnt; echo unmounted")
            .ends_with("unmounted")
    );
    // The shell waits for the power button as an init would, and shuts down. Only who has the button's
    // device open hears of it.
    vm.type_line(
        "exec 3</dev/input/event0; echo WAIT''ING; head -c 24 <&3 >/dev/null; poweroff -f",
    );
    vm.expect("WAITING");
    let stop = Session::start(["stop", "test-linux-2"]).wait();
    assert_eq!(stop.status.code(), Some(0), "{}", stop.output);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn a_bzimage_boots_and_reboots() {
    if !kvm_wanted("Linux as bzImage") {
        return;
    }
    let mut vm = linux(&linux_bzimage(), "test-linux-3", &["--memory", "128M"]);
    assert!(vm.shell("cat /proc/cmdline").contains("console=ttyS0"));
    vm.type_line("reboot -f");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}
