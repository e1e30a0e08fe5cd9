//! Who is measured: one processor, 256 MiB, SeaBIOS from the host's package, one IDE disk, no network, no serial port used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::super::contenders;
use crate::release;

const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";

/// A PC.
#[derive(Debug)]
pub(super) struct Pc {
    pub(super) name: &'static str,
    pub(super) version: String,
    program: PathBuf,
    arguments: Vec<&'static str>,
    /// What stands before and behind the name of the disk's image.
    disk: [&'static str; 3],
    /// What leads the serial port to standard output, and what is said where it leads nowhere.
    serial: [&'static [&'static str]; 2],
}

/// The one that others are compared to: it has the same devices as ours.
pub(super) const WITH_VGA: &str = "QEMU pc -vga std";

/// Builds and lists all: ours, QEMU with the same devices, QEMU without any that can be left out.
///
/// # Errors
/// When a build fails.
pub(super) fn all() -> Result<Vec<Pc>> {
    let qemu = contenders::qemu_version()?;
    let pc = |name, more: &[&'static str]| Pc {
        name,
        version: qemu.clone(),
        program: "qemu-system-x86_64".into(),
        arguments: [
            &[
                "-accel",
                "kvm",
                "-machine",
                "pc",
                "-m",
                "256M",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-bios",
                SEABIOS,
                "-device",
                "isa-debug-exit,iobase=0xf4,iosize=4",
            ],
            more,
        ]
        .concat(),
        disk: ["-drive", "if=ide,format=raw,file=", ""],
        serial: [&["-serial", "stdio"], &[]],
    };
    Ok(vec![
        Pc {
            name: contenders::HVM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: release::trivisor()?,
            arguments: vec![
                "run",
                "--mode",
                "hvm",
                "--memory",
                "256M",
                "--firmware",
                SEABIOS,
                "--debug-exit",
                "0xf4",
            ],
            disk: ["--disk", "", ",bus=ide"],
            serial: [&[], &["--serial", "none"]],
        },
        pc(WITH_VGA, &["-vga", "std"]),
        pc("QEMU pc", &[]),
    ])
}

impl Pc {
    /// The command that boots this image.
    pub(super) fn command(&self, image: &Path) -> Command {
        let [_, nowhere] = self.serial;
        self.complete(Command::new(&self.program), image, nowhere)
    }

    /// The same with the serial port on standard output.
    pub(super) fn command_with_serial(&self, image: &Path) -> Command {
        let [there, _] = self.serial;
        self.complete(Command::new(&self.program), image, there)
    }

    /// The command that boots it under another program, which takes it behind `--`.
    pub(super) fn command_under(&self, mut outer: Command, image: &Path) -> Command {
        let [_, nowhere] = self.serial;
        outer.arg("--").arg(&self.program);
        self.complete(outer, image, nowhere)
    }

    fn complete(&self, mut command: Command, image: &Path, serial: &[&str]) -> Command {
        let [flag, before, behind] = self.disk;
        let disk = format!("{before}{}{behind}", image.display());
        command.args(&self.arguments).args(serial);
        command.args([flag, &disk]).stdin(Stdio::null());
        command
    }
}
