//! Mode hvm: a PC whose firmware comes up, and boots what it finds.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use trivisor_tests::{
    Ended, Session, bootable_disk, kvm_wanted, memtest_cd, screen_with, slow_wanted, trivisor,
};

/// `trivisor run` of a PC with little memory.
fn run(options: &[&str]) -> Session {
    let mut command = Command::new(trivisor());
    command.args(["run", "--timeout", "600"]);
    Session::spawn(command.args(options))
}

/// A PC whose firmware's own words come on standard output.
fn firmware(options: &[&str]) -> Session {
    let mut all = vec!["--serial", "none", "--debug-console", "/dev/stdout"];
    all.extend(["--mode", "hvm"]);
    all.extend(options);
    run(&all)
}

/// Real mode code that prints to the serial port: DS and SI on the text, DX on the port, out until the zero.
const PRINT: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x80, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03,
    0xee, 0xeb, 0xf8,
];

/// A disk of 1 MiB whose boot sector prints a line and then does `more`.
fn disk(folder: &Path, more: &[u8]) -> PathBuf {
    const TEXT: usize = 0x80;
    let mut bytes = [PRINT, more].concat();
    assert!(bytes.len() <= TEXT);
    bytes.resize(TEXT, 0x90);
    bytes.extend(b"boot sector runs\r\n\0");
    bootable_disk(folder, &bytes, 1 << 20)
}

fn boot(more: &[u8], options: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path(), more);
    // No mode is named: a disk that boots and no kernel mean a PC.
    let mut all = vec!["--disk", disk.to_str().unwrap()];
    all.extend(options);
    let mut vm = run(&all);
    vm.expect("boot sector runs");
    vm.wait()
}

#[test]
fn firmware_comes_up_and_finds_nothing_to_boot() {
    if !kvm_wanted("SeaBIOS") {
        return;
    }
    let name = format!("hvm-{}", std::process::id());
    let mut vm = firmware(&["--name", &name]);
    // What it looks for, in its order: configuration, RAM, the chipset, processors, tables.
    vm.expect("Found QEMU fw_cfg");
    vm.expect("DMA interface supported");
    vm.expect("addr 0x0000000000000000 len 0x0000000010000000 [RAM]");
    vm.expect("PCI: init bdf=00:00.0 id=8086:1237");
    vm.expect("PIIX3/PIIX4 init: elcr=00 0c");
    vm.expect("PCI: init bdf=00:01.1 id=8086:7010");
    vm.expect("PCI: init bdf=00:01.3 id=8086:7113");
    vm.expect("Found 1 cpu(s) max supported 1 cpu(s)");
    vm.expect("Copying SMBIOS 3.0");
    vm.expect("(via xsdt)");
    vm.expect("ACPI: parse DSDT");
    vm.expect("ATA controller 1 at 1f0/3f4/");
    vm.expect("Found 1 serial ports");
    vm.expect("No bootable device.");
    let mut stop = Command::new(trivisor());
    let stopped = stop.args(["stop", "--force", &name]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(vm.wait().status.code(), Some(0));
}

#[test]
fn a_boot_sector_ends_the_run_with_a_status_of_its_own() {
    if !kvm_wanted("boot sector") {
        return;
    }
    // mov dx, 0xf4; mov al, 3; out dx, al
    let exit = [0xba, 0xf4, 0x00, 0xb0, 0x03, 0xee, 0xf4];
    let ended = boot(&exit, &["--debug-exit", "0xf4"]);
    assert_eq!(ended.status.code(), Some(7), "{}", ended.output);
}

#[test]
fn reset_and_soft_off_end_the_run() {
    if !kvm_wanted("reset") {
        return;
    }
    // mov dx, 0xcf9; mov al, 6; out dx, al
    let reset = [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4];
    let ended = boot(&reset, &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    // mov dx, 0x604; mov ax, 0x2000; out dx, ax
    let off = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4];
    let ended = boot(&off, &["--boot", "c"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn a_reset_starts_firmware_again_when_asked_to() {
    if !kvm_wanted("reboot") {
        return;
    }
    // The clock's RAM is as the board made it, each time.
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path(), &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4]);
    let mut vm = run(&["--reboot", "--disk", disk.to_str().unwrap()]);
    vm.expect("boot sector runs");
    vm.expect("boot sector runs");
}

#[test]
fn a_triple_fault_is_a_crash_with_registers() {
    if !kvm_wanted("triple fault") {
        return;
    }
    // lidt of six zeros at 0:7c60; into protected mode; ud2
    let fault = [
        0x0f, 0x01, 0x1e, 0x60, 0x7c, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0x0f, 0x0b,
    ];
    let mut more = fault.to_vec();
    more.resize(0x60 - PRINT.len(), 0x90);
    more.extend([0; 6]);
    let ended = boot(&more, &[]);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.output);
    assert!(ended.output.contains("triple fault"), "{}", ended.output);
}

#[test]
fn firmware_starts_the_other_processors() {
    if !kvm_wanted("several processors") {
        return;
    }
    let mut vm = firmware(&["--cpus", "3", "--memory", "16M"]);
    vm.expect("len 0x0000000001000000 [RAM]");
    vm.expect("Found 3 cpu(s) max supported 3 cpu(s)");
    vm.expect("No bootable device.");
}

#[test]
fn memtest_finds_its_memory_and_no_errors() {
    if !slow_wanted("Memtest86+ from its CD") {
        return;
    }
    let name = format!("hvm-memtest-{}", std::process::id());
    let cd = memtest_cd();
    let _vm = run(&[cd.to_str().unwrap(), "--memory", "16M", "--name", &name]);
    let title = screen_with(&name, "Memtest86+ v6");
    assert!(title.contains("Memory  :   16MB"), "{title}");
    // Those of addresses are behind it, when those of patterns begin.
    let screen = screen_with(&name, "Test #3");
    assert!(screen.contains("Errors: 0\n"), "{screen}");
}
