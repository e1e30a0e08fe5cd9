//! A PC's CD drive, whose disc is changed while the guest reads it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;
use std::process::Command;

use trivisor_tests::{Session, bootable_disk, kvm_wanted, trivisor};

/// Sends the packet at 0x7d00 to the second channel's master, then that at 0x7d10 again and again: what comes first of
/// its data goes to the serial port, after an error the sense key, where it is another than before.
const READ: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0xfc, 0xbe, 0x00, 0x7d, 0xe8, 0x14, 0x00, 0xbe, 0x10,
    0x7d, 0xe8, 0x0e, 0x00, 0x38, 0xdf, 0x74, 0xf6, 0x88, 0xdf, 0x88, 0xd8, 0xba, 0xf8, 0x03, 0xee,
    0xeb, 0xec, 0xe8, 0x49, 0x00, 0xba, 0x76, 0x01, 0xb0, 0xa0, 0xee, 0xba, 0x74, 0x01, 0xb0, 0x00,
    0xee, 0x42, 0xb0, 0x08, 0xee, 0xba, 0x77, 0x01, 0xb0, 0xa0, 0xee, 0xe8, 0x30, 0x00, 0xba, 0x70,
    0x01, 0xb9, 0x06, 0x00, 0xf3, 0x6f, 0xe8, 0x25, 0x00, 0xa8, 0x01, 0x75, 0x15, 0xa8, 0x08, 0x74,
    0x1c, 0xba, 0x70, 0x01, 0xb9, 0x00, 0x04, 0xbf, 0x00, 0x80, 0xf3, 0x6d, 0x8a, 0x1e, 0x00, 0x80,
    0xeb, 0xe4, 0xba, 0x71, 0x01, 0xec, 0xc0, 0xe8, 0x04, 0x04, 0x30, 0x88, 0xc3, 0xc3, 0xba, 0x77,
    0x01, 0xec, 0xa8, 0x80, 0x75, 0xfb, 0xc3,
];

/// PREVENT MEDIUM REMOVAL, READ (10) of the first block.
const PACKETS: [[u8; 16]; 2] = [
    [0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
];

/// A file in this folder.
fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().into()
}

/// A disk that boots into [`READ`].
fn disk(folder: &Path) -> String {
    let mut bytes = READ.to_vec();
    assert!(bytes.len() <= 0x100);
    bytes.resize(0x100, 0);
    bytes.extend(PACKETS.as_flattened());
    let disk = bootable_disk(folder, &bytes, 1 << 20);
    disk.to_str().unwrap().to_owned()
}

/// A disc whose blocks are full of this letter, but that it says that it is one (ECMA-119, 9.1.2).
fn disc(folder: &Path, letter: u8) -> String {
    let name = format!("{}.iso", char::from(letter));
    let mut bytes = vec![letter; 64 << 10];
    bytes[0x8001..][..5].copy_from_slice(b"CD001");
    file(folder, &name, &bytes)
}

/// What `trivisor cdrom` says, and with which status.
fn change(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(trivisor());
    let output = command.args(["cdrom", name]).args(arguments).output();
    let output = output.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), words)
}

fn changed(name: &str, arguments: &[&str]) {
    let (status, words) = change(name, arguments);
    assert_eq!(status, Some(0), "{arguments:?}: {words}");
}

fn refused(name: &str, arguments: &[&str], status: i32, wanted: &str) {
    let (found, words) = change(name, arguments);
    assert!(words.contains(wanted), "{arguments:?}: {words}");
    assert_eq!(found, Some(status), "{arguments:?}: {words}");
}

#[test]
fn a_disc_goes_and_comes_during_reads() {
    if !kvm_wanted("CD drive") {
        return;
    }
    for jail in ["default", "off"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (first, second) = (disc(folder, b'A'), disc(folder, b'B'));
        let name = format!("cdrom-{jail}-{}", std::process::id());
        let mut command = Command::new(trivisor());
        command.args(["run", "--timeout", "600", "--boot", "c", "--name", &name]);
        command.args(["--sandbox", jail, "--cdrom", &first]);
        let mut vm = Session::spawn(command.args(["--disk", &disk(folder)]));
        vm.expect("A");
        // The guest has locked the tray; and what cannot be read leaves the disc where it is.
        refused(&name, &["--eject"], 4, "the guest has locked the tray");
        refused(&name, &[&second], 4, "--force");
        let gone = folder.join("none.iso");
        refused(&name, &[gone.to_str().unwrap()], 2, "none.iso");
        let odd = file(folder, "odd.iso", &[0; 100]);
        refused(&name, &["--force", &odd], 2, "no whole sectors of 2048");
        refused(&name, &[], 2, "required arguments");
        refused(&name, &["--eject", &second], 2, "cannot be used with");
        // NOT READY, then UNIT ATTENTION once, then the other disc's data.
        changed(&name, &["--eject", "--force"]);
        assert_eq!(vm.expect("2"), "");
        changed(&name, &[&second]);
        vm.expect("6");
        assert_eq!(vm.expect("B"), "");
        for _ in 0..4 {
            changed(&name, &["--eject"]);
            assert_eq!(vm.expect("2"), "");
            changed(&name, &[&first]);
            assert_eq!(vm.expect("6A"), "");
            changed(&name, &[&second]);
            // A read under way has lost its disc.
            assert!(["", "2"].contains(&vm.expect("6B").as_str()));
        }
        // The first is nobody's any more: it can be written.
        let mut other = Command::new(trivisor());
        other.args(["run", "--mode", "hvm", "--boot", "c", "--disk", &first]);
        let mut other = Session::spawn(other.args(["--debug-console", "/dev/stdout"]));
        other.expect("SeaBIOS");
        drop(other);
        let mut stop = Command::new(trivisor());
        assert!(
            stop.args(["stop", "--force", &name])
                .status()
                .unwrap()
                .success()
        );
        vm.wait();
    }
}

#[test]
fn a_drive_that_is_empty_at_first_takes_a_disc() {
    if !kvm_wanted("empty CD drive") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let name = format!("cdrom-empty-{}", std::process::id());
    let mut command = Command::new(trivisor());
    command.args(["run", "--timeout", "600", "--name", &name]);
    command.args(["--cdrom", "none", "--disk", &disk(folder)]);
    let mut vm = Session::spawn(&mut command);
    // NOT READY; the guest has locked what is empty.
    vm.expect("2");
    refused(
        &name,
        &[&disc(folder, b'A')],
        4,
        "the guest has locked the tray",
    );
    changed(&name, &["--force", &disc(folder, b'A')]);
    assert_eq!(vm.expect("6A"), "");
    changed(&name, &["--eject"]);
    assert_eq!(vm.expect("2"), "");
    let mut stop = Command::new(trivisor());
    let stopped = stop.args(["stop", "--force", &name]).status();
    assert!(stopped.unwrap().success());
    vm.wait();
}

#[test]
fn a_machine_without_a_drive_says_so() {
    if !kvm_wanted("no CD drive") {
        return;
    }
    let name = format!("cdrom-none-{}", std::process::id());
    let mut vm = Session::guest("halt", &["--name", &name]);
    vm.expect("ok ");
    refused(&name, &["--eject"], 4, "this machine has no CD drive");
    let mut stop = Command::new(trivisor());
    assert!(
        stop.args(["stop", "--force", &name])
            .status()
            .unwrap()
            .success()
    );
    vm.wait();
}
