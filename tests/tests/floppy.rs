//! A PC that boots from its floppy drive.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use trivisor_tests::{Session, kvm_wanted, trivisor};

/// Reads cylinder 0's last sector by the BIOS to 0x8000, and prints what it holds to the serial port; then writes the
/// disk's second sector from there, reads that back to 0x9000 and prints it as well.
#[rustfmt::skip]
const READ_AND_WRITE: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // segments 0, stack
    0xb8, 0x01, 0x02, 0xb9, 0x12, 0x00, 0xba, 0x00, 0x01, 0xbb, 0x00, 0x80, 0xcd, 0x13, // ah=2: C 0, H 1, S 18
    0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00, 0xba, 0x00, 0x00, 0xbb, 0x00, 0x80, 0xcd, 0x13, // ah=3: C 0, H 0, S 2
    0xb8, 0x01, 0x02, 0xb9, 0x02, 0x00, 0xba, 0x00, 0x00, 0xbb, 0x00, 0x90, 0xcd, 0x13, // ah=2: the same
    0xbe, 0x00, 0x90, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // print
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, // off, by ACPI
];

const TEXT: &[u8] = b"floppy disk runs\r\n\0";

/// A disk of 1440 KiB whose boot sector reads and writes it.
fn disk(folder: &Path) -> PathBuf {
    let mut bytes = READ_AND_WRITE.to_vec();
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(1440 << 10, 0);
    bytes[35 * 512..35 * 512 + TEXT.len()].copy_from_slice(TEXT);
    let path = folder.join("a.img");
    fs::write(&path, bytes).unwrap();
    path
}

fn run(options: &[&str]) -> Session {
    let mut command = Command::new(trivisor());
    command.args(["run", "--timeout", "600"]);
    Session::spawn(command.args(options))
}

#[test]
fn a_boot_sector_reads_and_writes_its_disk_by_the_bios() {
    if !kvm_wanted("floppy disk") {
        return;
    }
    for jail in ["default", "off"] {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path());
        // No mode is named: a floppy disk means a PC.
        let mut vm = run(&[
            "--floppy",
            disk.to_str().unwrap(),
            "--boot",
            "a",
            "--sandbox",
            jail,
        ]);
        vm.expect("floppy disk runs");
        let ended = vm.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
        let written = fs::read(&disk).unwrap();
        assert_eq!(&written[512..512 + TEXT.len()], TEXT);
    }
}

/// What the screen shows when it shows `text`.
fn screen_with(name: &str, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        let mut screenshot = Command::new(trivisor());
        let said = screenshot.args(["screenshot", name, "--text"]).output();
        let screen = String::from_utf8(said.unwrap().stdout).unwrap();
        if screen.contains(text) {
            return screen;
        }
        assert!(
            Instant::now() < deadline,
            "no {text:?} on the screen:\n{screen}"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "a screen tells nobody that it has changed"
        )]
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {words}");
}

#[test]
fn syslinux_comes_up_to_its_prompt() {
    if !kvm_wanted("syslinux") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("syslinux.img");
    File::create(&disk).unwrap().set_len(1440 << 10).unwrap();
    let disk = disk.to_str().unwrap();
    tool("mformat", &["-i", disk, "-f", "1440", "::"]);
    tool("syslinux", &["--install", disk]);
    let name = format!("floppy-syslinux-{}", std::process::id());
    let options = ["--name", &name, "--display", "none"];
    let vm = run(&[&["--floppy", disk, "--boot", "a"], &options[..]].concat());
    let screen = screen_with(&name, "boot:");
    assert!(screen.contains("SYSLINUX 6"), "{screen}");
    let mut stop = Command::new(trivisor());
    assert!(
        stop.args(["stop", "--force", &name])
            .status()
            .unwrap()
            .success()
    );
    vm.wait();
}
