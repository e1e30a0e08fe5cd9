//! Media that others made boot as they would on the desk.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::Command;

use trivisor_tests::{
    Session, ipxe_cd, kvm_wanted, screen_with, slow_wanted, syslinux_disk, trivisor,
};

/// A PC in its jail.
fn pc(name: &str, options: &[&str]) -> Session {
    let mut command = Command::new(trivisor());
    command.args(["run", "--timeout", "600", "--name", name]);
    Session::spawn(command.args(options))
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
    let screen = screen_with(&name, "iPXE>");
    assert!(
        screen.contains("Open Source Network Boot Firmware"),
        "{screen}"
    );
}
