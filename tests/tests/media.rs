//! Media that others made boot as they would on the desk.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::process::Command;

use trivisor_tests::{
    Session, ipxe_cd, kvm_wanted, screen_with, slow_wanted, syslinux_disk, trivisor,
};

/// A PC in its jail.
fn pc(name: &str, options: &[&str]) -> Session {
    let mut command = Command::new(trivisor());
    command.args(["run", "--timeout", "1800", "--name", name]);
    Session::spawn(command.args(options))
}

/// 32-bit protected mode with segments that begin at 0x1000, as iPXE's have a base. Four interrupts of the timer come
/// while it loops in two places; each handler's IRET has to lead back, and the stack to be as it was. Then the debug
/// exit is told 3.
const INTERRUPTS: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0x31, 0xdb, 0x66, 0x0f, 0x01, 0x16, 0x82, 0x7c, 0x66, 0x0f,
    0x01, 0x1e, 0x88, 0x7c, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0xea, 0x21, 0x6c, 0x08,
    0x00, 0xb0, 0x10, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x50, 0x00, 0x00, 0xbf, 0x00,
    0x70, 0x00, 0x00, 0xb9, 0x00, 0x01, 0x00, 0x00, 0xb8, 0x64, 0x6c, 0x08, 0x00, 0xab, 0xb8, 0x00,
    0x8e, 0x00, 0x00, 0xab, 0xe2, 0xf2, 0x6a, 0x5a, 0xfb, 0x83, 0xfb, 0x02, 0x72, 0xfb, 0x83, 0xfb,
    0x04, 0x72, 0xfb, 0xfa, 0x59, 0x83, 0xf9, 0x5a, 0x75, 0x07, 0x66, 0xba, 0xf4, 0x00, 0xb0, 0x03,
    0xee, 0xf4, 0xeb, 0xfd, 0x43, 0xb0, 0x20, 0xe6, 0x20, 0xcf, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0xff, 0xff, 0x00, 0x10, 0x00, 0x9b, 0xcf, 0x00, 0xff, 0xff, 0x00, 0x10, 0x00, 0x93,
    0xcf, 0x00, 0x17, 0x00, 0x6a, 0x7c, 0x00, 0x00, 0xff, 0x07, 0x00, 0x80, 0x00, 0x00,
];

#[test]
fn interrupts_return_on_a_stack_with_a_base() {
    if !kvm_wanted("interrupts in protected mode") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = INTERRUPTS.to_vec();
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(1 << 20, 0);
    let disk = folder.path().join("disk.img");
    fs::write(&disk, bytes).unwrap();
    let options = ["--debug-exit", "0xf4", "--disk", disk.to_str().unwrap()];
    let ended = pc(&name("interrupts"), &options).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.output);
}

fn name(test: &str) -> String {
    format!("media-{test}-{}", std::process::id())
}

/// A line, and the key at its end.
fn type_line(name: &str, line: &str) {
    let mut typing = Command::new(trivisor());
    let typed = typing.args(["type", name, &format!("{line}\n")]).status();
    assert!(typed.unwrap().success(), "{line}");
}

#[test]
fn syslinux_comes_up_from_an_ide_disk() {
    if !kvm_wanted("syslinux") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let configuration = "prompt 1\ntimeout 0\nsay The configuration was read.\n";
    let disk = syslinux_disk(folder.path(), configuration);
    let name = name("syslinux");
    let _vm = pc(&name, &["--disk", disk.to_str().unwrap()]);
    let screen = screen_with(&name, "boot:");
    assert!(screen.contains("SYSLINUX 6.04"), "{screen}");
    assert!(screen.contains("The configuration was read."), "{screen}");
    // It reads the file system again, for a kernel of this name, and comes back.
    type_line(&name, "nowhere");
    let screen = screen_with(&name, "failed: No such file or directory");
    assert!(screen.contains("Loading nowhere..."), "{screen}");
}

#[test]
fn ipxe_comes_up_from_its_cd() {
    if !slow_wanted("iPXE") {
        return;
    }
    let name = name("ipxe");
    let cd = ipxe_cd();
    let _vm = pc(&name, &["--cdrom", cd.to_str().unwrap()]);
    // Its banner waits for two seconds; the BIOS keeps a key that comes earlier.
    let _loaded = screen_with(&name, "iPXE initialising devices");
    let mut key = Command::new(trivisor());
    assert!(
        key.args(["sendkey", &name, "ctrl-b"])
            .status()
            .unwrap()
            .success()
    );
    let screen = screen_with(&name, "iPXE>");
    assert!(
        screen.contains("Open Source Network Boot Firmware"),
        "{screen}"
    );
    type_line(&name, "show version");
    let _answer = screen_with(&name, "version:string");
}
