//! A PC's screen, as those who look at it see it: characters and pictures.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use trivisor_tests::{Session, bootable_disk, kvm_wanted, trivisor};

/// Prints the text at 0x7c80 by the BIOS's teletype.
const TELETYPE: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x80, 0x7c, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x09, 0xb4, 0x0e, 0xbb,
    0x07, 0x00, 0xcd, 0x10, 0xeb, 0xf2,
];

/// Mode 0x13 by the BIOS, and colour 15 for the first dot.
const MODE_13: &[u8] = &[
    0xb8, 0x13, 0x00, 0xcd, 0x10, 0xb8, 0x00, 0xa0, 0x8e, 0xc0, 0x26, 0xc6, 0x06, 0x00, 0x00, 0x0f,
];

/// VBE mode 0x118, 1024 by 768 with 24 bits, and white for the first dot by way of bank 0.
const VBE: &[u8] = &[
    0xb8, 0x02, 0x4f, 0xbb, 0x18, 0x01, 0xcd, 0x10, 0xb8, 0x00, 0xa0, 0x8e, 0xc0, 0x26, 0xc7, 0x06,
    0x00, 0x00, 0xff, 0xff, 0x26, 0xc6, 0x06, 0x02, 0x00, 0xff,
];

/// Prints the same text to the serial port.
const PRINT: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x80, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03,
    0xee, 0xeb, 0xf8,
];

/// Stays; or powers off by ACPI.
const STAY: &[u8] = &[0xf4, 0xeb, 0xfd];
const OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4];

/// A disk whose boot sector does `first`, tells so on the serial port, and goes on with `last`.
fn disk(folder: &Path, first: &[u8], last: &[u8]) -> PathBuf {
    let mut bytes = [first, PRINT, last].concat();
    assert!(bytes.len() <= 0x80);
    bytes.resize(0x80, 0x90);
    bytes.extend(b"seen by all\r\n\0");
    bootable_disk(folder, &bytes, 1 << 20)
}

/// A PC that has done `first`, in its jail.
fn pc(folder: &Path, name: &str, first: &[u8]) -> Session {
    let disk = disk(folder, first, STAY);
    let mut command = Command::new(trivisor());
    command.args([
        "run",
        "--timeout",
        "600",
        "--name",
        name,
        "--display",
        "none",
    ]);
    let mut vm = Session::spawn(command.arg("--disk").arg(disk));
    vm.expect("seen by all");
    vm
}

fn name(test: &str) -> String {
    format!("screen-{test}-{}", std::process::id())
}

fn ask(arguments: &[&str]) -> Output {
    Command::new(trivisor()).args(arguments).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Width, height, and the three bytes of the first dot.
fn picture(file: &Path) -> (u32, u32, [u8; 3]) {
    let file = BufReader::new(File::open(file).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let first = pixels.first_chunk().unwrap();
    (info.width, info.height, *first)
}

#[test]
fn a_text_screen_is_read_and_drawn() {
    if !kvm_wanted("screen") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = name("text");
    let vm = pc(folder.path(), &name, TELETYPE);
    let shown = ask(&["screenshot", &name, "--text"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert_eq!((shown.status.code(), text.lines().count()), (Some(0), 25));
    let bios = text.lines().position(|line| line.contains("SeaBIOS"));
    let ours = text.lines().position(|line| line == "seen by all");
    assert!(bios < ours && bios.is_some(), "{text}");

    let file = folder.path().join("a.png");
    // Also of a VM that stands still.
    assert!(ask(&["pause", &name]).status.success());
    let shown = ask(&["screenshot", &name, file.to_str().unwrap()]);
    assert!(shown.status.success(), "{}", words(&shown));
    assert!(shown.stdout.is_empty());
    let (width, height, _) = picture(&file);
    assert_eq!((width, height), (720, 400));
    // It goes on as before.
    assert!(ask(&["resume", &name]).status.success());

    let gone = ask(&["screenshot", &name, "/nowhere/a.png"]);
    assert_eq!(gone.status.code(), Some(4));
    assert!(words(&gone).contains("/nowhere/a.png cannot be written"));
    let jpeg = ask(&["screenshot", &name, "a.jpg"]);
    assert_eq!(jpeg.status.code(), Some(2));
    assert!(words(&jpeg).contains("a.jpg: pictures are PNG files"));
    assert_eq!(ask(&["screenshot", &name]).status.code(), Some(2));
    assert_eq!(
        ask(&["screenshot", &name, "a.png", "--text"]).status.code(),
        Some(2)
    );
    assert!(ask(&["stop", "--force", &name]).status.success());
    vm.wait();
}

#[test]
fn graphics_are_drawn_and_have_no_text() {
    if !kvm_wanted("screen") {
        return;
    }
    for (mode, first, size) in [("vga", MODE_13, (320, 200)), ("vbe", VBE, (1024, 768))] {
        let folder = tempfile::tempdir().unwrap();
        let name = name(mode);
        let vm = pc(folder.path(), &name, first);
        let file = folder.path().join("a.PNG");
        let shown = ask(&["screenshot", &name, file.to_str().unwrap()]);
        assert!(shown.status.success(), "{mode}: {}", words(&shown));
        let (width, height, dot) = picture(&file);
        assert_eq!(((width, height), dot), (size, [0xff; 3]), "{mode}");
        let refused = ask(&["screenshot", &name, "--text"]);
        assert_eq!(refused.status.code(), Some(4));
        assert!(
            words(&refused).contains("its screen shows graphics"),
            "{}",
            words(&refused)
        );
        assert!(ask(&["stop", "--force", &name]).status.success());
        vm.wait();
    }
}

#[test]
fn the_last_picture_is_kept() {
    if !kvm_wanted("screen") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("last.png");
    fs::write(&file, [0; 100_000]).unwrap();
    for jail in ["default", "off"] {
        let disk = disk(folder.path(), MODE_13, OFF);
        let mut command = Command::new(trivisor());
        command.args([
            "run",
            "--timeout",
            "600",
            "--sandbox",
            jail,
            "--screenshot-on-exit",
        ]);
        command.arg(&file).arg("--disk").arg(disk);
        let ended = Session::spawn(&mut command).wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
        assert_eq!(picture(&file), (320, 200, [0xff; 3]), "{jail}");
        assert!(
            file.metadata().unwrap().len() < 10_000,
            "nothing is behind it"
        );
    }
}

#[test]
fn a_machine_without_a_screen_says_so() {
    if !kvm_wanted("screen") {
        return;
    }
    let name = name("none");
    let mut vm = Session::guest("halt", &["--name", &name]);
    vm.expect("ok ");
    for what in ["--text", "/tmp/never.png"] {
        let refused = ask(&["screenshot", &name, what]);
        assert_eq!(refused.status.code(), Some(4));
        assert!(
            words(&refused).contains("this machine has no screen"),
            "{}",
            words(&refused)
        );
    }
    assert!(ask(&["stop", "--force", &name]).status.success());
    vm.wait();
}

#[test]
fn what_cannot_be_shown_is_refused_before_a_start() {
    let kernel = trivisor();
    let kernel = kernel.to_str().unwrap();
    for (options, wanted) in [
        (&["--display", "sdl"][..], "is no display: none"),
        (
            &["--display", "vnc=127.0.0.1:5900"],
            "vnc is not in this version",
        ),
        (
            &["--mode", "basic", "--screenshot-on-exit", "/tmp/never.png"],
            "--screenshot-on-exit: only mode hvm has a screen",
        ),
    ] {
        let arguments = [&["run", "--kernel", kernel], options].concat();
        let refused = ask(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{options:?}");
        assert!(words(&refused).contains(wanted), "{}", words(&refused));
    }
}
