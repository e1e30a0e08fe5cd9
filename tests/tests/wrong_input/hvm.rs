//! What mode hvm does not take.

use trivisor_tests::kvm_wanted;

use crate::{refused, write};

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
    let cd = file("cd.iso", &[0; 2048]);
    let four = [vec!["run", "--cdrom", &cd], disk(4)].concat();
    refused(&four, 2, "4 disks on IDE: there is room for 3");
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
