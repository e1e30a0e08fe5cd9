//! What mode hvm does not take.

use std::process::Command;

use trivisor_tests::{kvm_wanted, trivisor};

use crate::{refused, run, write};

#[test]
fn options() {
    for (words, wanted) in [
        (&["--boot", "x"][..], "no boot order"),
        (&["--boot", "cc"], "no boot order"),
        (&["--firmware", ""], "no firmware is named"),
        (
            &["--mode", "pv", "--boot", "c"],
            "--boot: only mode hvm has firmware",
        ),
        (
            &["--mode", "basic", "--cdrom", "a.iso"],
            "--cdrom: only mode hvm has a CD drive",
        ),
        (
            &["--mode", "pv", "--floppy", "a.img"],
            "--floppy: only mode hvm has floppy drives",
        ),
        (&["--floppy", ",ro"], "no file is named"),
        (
            &["--mode", "pv", "--disk", "a,bus=ide"],
            "--disk bus=ide: only mode hvm has it",
        ),
        (
            &["--mode", "hvm", "--transport", "mmio"],
            "its virtio devices on PCI",
        ),
        (
            &["--mode", "hvm", "--disk", "a,bus=pmem"],
            "no persistent memory",
        ),
        (&["--firmware", "seabios", "--kernel", "a"], "--kernel"),
    ] {
        refused(&[&["run"], words].concat(), 2, wanted);
    }
}

#[test]
fn media() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes).display().to_string();
    let empty = file("empty.iso", &[]);
    refused(
        &["run", "--cdrom", &empty],
        2,
        "0 bytes are no whole sectors",
    );
    let odd = file("odd.iso", &[0; 2048 + 512]);
    refused(&["run", "--cdrom", &odd], 2, "no whole sectors of 2048");
    let none = file("none.iso", &[0; 0x10_000]);
    refused(
        &["run", "--cdrom", &none],
        2,
        "none.iso: it is no ISO image: sector 16 has no volume descriptor",
    );
    refused(
        &["run", "--cdrom", "/nonexistent.iso"],
        2,
        "/nonexistent.iso",
    );
    // What is no floppy disk, and more of them than drives.
    for (size, wanted) in [
        (0, "0 bytes are no floppy disk's: 160, 180"),
        (1_474_559, "1474559 bytes are no floppy disk's"),
        (2 << 20, "2097152 bytes are no floppy disk's"),
    ] {
        let odd = file("odd.img", &vec![0; size]);
        refused(&["run", "--floppy", &odd], 2, wanted);
        refused(&["run", "--floppy", &odd], 2, "truncate -s 1440K");
    }
    refused(&["run", "--floppy", "/nonexistent"], 2, "/nonexistent");
    let floppy = file("a.img", &vec![0; 1440 << 10]);
    let three = [&["run"][..], &["--floppy", &floppy].repeat(3)].concat();
    refused(&three, 2, "3 floppy disks: there are two drives");
    // A disk without a boot sector is no reason to start a PC.
    let blank = file("blank.img", &[0; 1024]);
    refused(&["run", "--disk", &blank], 2, "no kernel");
    refused(&["run", &blank], 2, "neither");
    refused(&["run", "/nonexistent.iso"], 2, "/nonexistent.iso");
    // Five disks, and four beside a CD.
    let shared = format!("{blank},ro");
    let disk = |count: usize| ["--disk", shared.as_str()].repeat(count);
    let five = [vec!["run", "--mode", "hvm"], disk(5)].concat();
    refused(&five, 2, "5 disks on IDE: there is room for 4");
    let cd = file("cd.iso", &cd());
    let four = [vec!["run", "--cdrom", &cd], disk(4)].concat();
    refused(&four, 2, "4 disks on IDE: there is room for 3");
}

/// A CD with nothing but the identifier of its volume descriptor.
fn cd() -> Vec<u8> {
    let mut cd = vec![0; 0x8001];
    cd.extend(b"CD001");
    cd.resize(0x9000, 0);
    cd
}

/// What is in a qcow2 decides, not how its file begins.
#[test]
fn a_qcow2_boots_by_what_it_holds() {
    if !kvm_wanted("qcow2") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let convert = |name: &str, sector: &[u8]| {
        write(folder.path(), "raw.img", sector);
        let (from, to) = (path("raw.img"), path(name));
        let (status, text) = run(&["disk", "convert", "--format", "qcow2", &from, &to]);
        assert_eq!(status, Some(0), "{text}");
        to
    };
    let boots = {
        // mov dx, 0x501; mov al, 21; out dx, al; hlt.
        let mut sector = vec![0xba, 0x01, 0x05, 0xb0, 0x15, 0xee, 0xf4];
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        sector.resize(4096, 0);
        convert("boots.qcow2", &sector)
    };
    let blank = convert("blank.qcow2", &[0; 4096]);
    refused(&["run", "--disk", &blank], 2, "no kernel");
    refused(
        &["run", &blank],
        2,
        "blank.qcow2 is neither an ISO image nor a disk that boots",
    );
    // One that is no qcow2 is called so.
    write(folder.path(), "not.qcow2", &[0; 1024]);
    refused(
        &["run", &path("not.qcow2")],
        2,
        "is named like a qcow2 image",
    );
    for words in [&["--disk", boots.as_str()][..], &[boots.as_str()]] {
        let start = ["run", "--timeout", "600", "--debug-exit", "0x501"];
        let (status, text) = run(&[&start, words].concat());
        assert_eq!(status, Some(43), "{words:?}: {text}");
        assert!(!text.contains("nothing to boot"), "{text}");
    }
}

/// The firmware says it on a screen that nobody may look at.
#[test]
fn nothing_to_boot() {
    if !kvm_wanted("nothing to boot") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let blank = write(folder.path(), "blank.img", &[0; 1024]);
    let blank = blank.to_str().unwrap();
    let start = ["run", "--mode", "hvm", "--timeout", "1"];
    for disks in [&[][..], &["--disk", blank], &["--cdrom", "none"]] {
        let (status, text) = run(&[&start, disks].concat());
        assert_eq!(status, Some(124), "{text}");
        let wanted =
            "nothing to boot: no disk has a boot sector, and there is neither a CD nor a floppy";
        assert!(text.contains(wanted), "{text}");
    }
}

/// A host without SeaBIOS: a folder that is empty stands where the packages put it.
#[test]
fn no_firmware_on_the_host() {
    if !kvm_wanted("a host without SeaBIOS") {
        return;
    }
    for (hidden, wanted) in [
        (
            "for place in seabios qemu qemu-kvm; do \
               if test -d /usr/share/$place; then mount -t tmpfs none /usr/share/$place; fi; \
             done",
            "this host has no SeaBIOS\n  install it (apt install seabios",
        ),
        (
            "mount --bind /dev/null /usr/share/seabios/vgabios-stdvga.bin",
            "option ROM /usr/share/seabios/vgabios-stdvga.bin",
        ),
    ] {
        let mut unshare = Command::new("unshare");
        let line = format!("{hidden} && exec \"$0\" run --mode hvm --timeout 60");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &line]);
        let output = unshare.arg(trivisor()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(wanted), "{hidden}: {text}");
        assert_eq!(output.status.code(), Some(2), "{text}");
    }
}

#[test]
fn firmware() {
    if !kvm_wanted("firmware") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let firmware = |size: usize| write(folder.path(), "bios.bin", &vec![0; size]);
    for (size, wanted) in [
        (0, "bios.bin"),
        (100, "positive multiple of the page"),
        (4096, "no firmware of a PC"),
        (0x1_1000, "no firmware of a PC"),
    ] {
        let path = firmware(size);
        let words = ["run", "--timeout", "60", "--firmware"];
        let words = [&words[..], &[path.to_str().unwrap()]].concat();
        refused(&words, 2, wanted);
    }
    refused(&["run", "--firmware", "/nonexistent"], 2, "/nonexistent");
}
