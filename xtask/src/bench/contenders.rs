//! Who is measured: each gets the bare-metal guest, one processor, 256 MiB and a serial port on standard output.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::devices::Devices;
use crate::process::{self, cargo};
use crate::{guests, release, workspace};

/// Guest RAM in bytes; the floor has it built in.
pub(super) const RAM: u64 = 256 << 20;
const ALIOTH: &str = "0.12.0";

/// A way to start the guest.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) version: String,
    program: PathBuf,
    arguments: Vec<String>,
    /// How a command line for the guest is given; the floor has none.
    command_line: Option<&'static str>,
    /// Whether it refuses to start without a terminal.
    terminal: bool,
}

impl Contender {
    /// It is ours, whose failures are no peer's.
    pub(super) fn is_ours(&self) -> bool {
        self.name.starts_with("trivisor")
    }

    /// The command that starts the guest, which greets and resets.
    pub(super) fn command(&self) -> Result<Command> {
        self.complete(Command::new(&self.program), "")
    }

    /// The same under another program, which takes it behind `--`.
    pub(super) fn command_under(&self, mut outer: Command) -> Result<Command> {
        outer.arg("--").arg(&self.program);
        self.complete(outer, "")
    }

    /// Without a script, the guest lives its shortest life: a VMM's own command line must not count as one.
    fn complete(&self, mut command: Command, script: &str) -> Result<Command> {
        command.args(&self.arguments);
        if let Some(flag) = self.command_line {
            command.args([flag, script]);
        }
        command.stdin(if self.terminal {
            Stdio::from(terminal()?)
        } else {
            Stdio::null()
        });
        Ok(command)
    }

    /// The command that starts the guest, which does what `script` says; under `outer`, if there is one.
    pub(super) fn doing(&self, script: &str, outer: Option<Command>) -> Result<Command> {
        // One word in front tells all VMMs that it is a value, and the guest where the script begins.
        let script = format!("script=1 {script}");
        match outer {
            Some(mut outer) => {
                outer.arg("--").arg(&self.program);
                self.complete(outer, &script)
            }
            None => self.complete(Command::new(&self.program), &script),
        }
    }

    /// The command that starts the guest, which greets and waits.
    pub(super) fn waiting(&self) -> Result<Option<Command>> {
        if self.command_line.is_none() {
            return Ok(None);
        }
        self.complete(Command::new(&self.program), "wait=1 halt")
            .map(Some)
    }
}

/// The names that the report compares.
pub(super) const BASIC: &str = "trivisor";
pub(super) const PV: &str = "trivisor pv";
pub(super) const HVM: &str = "trivisor hvm";
pub(super) const QEMU: &str = "QEMU pc";
pub(super) const ALIOTH_WITH_DEVICES: &str = "alioth, disk and NIC";

/// The address of the peers' network cards: locally administered. Ours has its own.
const MAC: &str = "52:54:00:12:34:56";

/// What all are made of.
#[derive(Debug)]
struct Programs {
    guest: String,
    trivisor: PathBuf,
    qemu: String,
}

impl Programs {
    fn build() -> Result<Self> {
        let guest = guests::bare_metal()?;
        Ok(Self {
            guest: guest
                .to_str()
                .context("the target folder's name")?
                .to_owned(),
            trivisor: release::trivisor()?,
            qemu: qemu_version()?,
        })
    }

    fn ours(&self, name: &'static str, more: &[&str]) -> Contender {
        let common = ["run", "--memory", "256M", "--kernel", &self.guest];
        Contender {
            name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: self.trivisor.clone(),
            arguments: words(&[&common, more].concat()),
            command_line: Some("--cmdline-only"),
            terminal: false,
        }
    }

    fn qemu(&self, name: &'static str, machine: &[&str]) -> Contender {
        let common = [
            "-accel",
            "kvm",
            "-m",
            "256M",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
            "-kernel",
            &self.guest,
        ];
        Contender {
            name,
            version: self.qemu.clone(),
            program: "qemu-system-x86_64".into(),
            arguments: words(&[machine, &common].concat()),
            command_line: Some("-append"),
            terminal: false,
        }
    }
}

/// The guest ends by the keyboard controller's reset, which a microvm has to be given.
const MICROVM: [&str; 4] = ["-machine", "microvm", "-device", "i8042"];
/// Modern on both buses, as ours is.
const MODERN: [&str; 2] = ["-global", "virtio-mmio.force-legacy=false"];

/// Builds, installs and lists all; those with virtio devices only where there are some.
///
/// # Errors
/// When a build fails.
pub(super) fn all(devices: Option<&Devices>) -> Result<Vec<Contender>> {
    let programs = Programs::build()?;
    let guest = programs.guest.as_str();
    let floor = release::build(&["--package", "trivisor-kvm", "--example", "floor"])?;
    let mut all = vec![
        Contender {
            name: "floor",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: floor.join("examples/floor"),
            arguments: words(&[guest]),
            command_line: None,
            terminal: false,
        },
        programs.ours(
            "trivisor --sandbox off",
            &["--mode", "basic", "--sandbox", "off"],
        ),
        programs.ours(BASIC, &["--mode", "basic"]),
        alioth("alioth", guest, &[])?,
        programs.qemu("QEMU microvm", &MICROVM),
        programs.qemu(QEMU, &["-machine", "pc"]),
    ];
    if let Some(devices) = devices {
        let (image, tap) = (devices.image(), devices.tap());
        let link = format!("tap={tap}");
        let plugged = ["--mode", "pv", "--no-rng", "--disk", &image, "--net", &link];
        all.push(programs.ours(PV, &plugged));
        let (image, link) = (
            format!("file,path={image}"),
            format!("tap,mac={MAC},mtu=1500,if={tap}"),
        );
        let plugged = ["--blk", &image, "--net", &link];
        all.push(alioth(ALIOTH_WITH_DEVICES, guest, &plugged)?);
    }
    Ok(all)
}

/// Builds, installs and lists all that a disk can be given to; each gets this raw image, and no other device.
///
/// # Errors
/// When a build fails.
pub(super) fn with_disk(image: &str) -> Result<Vec<Contender>> {
    let drive = format!("if=none,id=disk,file={image},format=raw,aio=io_uring");
    with(&Device {
        ours: ["--disk", image],
        backend: &["-object", "iothread,id=thread", "-drive", &drive],
        pci: "virtio-blk-pci,drive=disk,iothread=thread,disable-legacy=on",
        mmio: "virtio-blk-device,drive=disk,iothread=thread",
        alioth: ["--blk", &format!("file,path={image}")],
    })
}

/// Builds and lists all that have a PIIX's IDE; each gets this raw image, and no other device.
///
/// # Errors
/// When a build fails.
pub(super) fn with_ide_disk(image: &str) -> Result<Vec<Contender>> {
    let programs = Programs::build()?;
    let disk = format!("{image},bus=ide");
    let ours = ["--mode", "hvm", "--disk", &disk];
    let drive = format!("if=ide,file={image},format=raw");
    let by_ring = format!("{drive},aio=io_uring");
    let pc = ["-machine", "pc", "-drive"];
    Ok(vec![
        programs.ours(HVM, &ours),
        programs.ours(
            "trivisor hvm --sandbox off",
            &[&ours[..], &["--sandbox", "off"]].concat(),
        ),
        programs.qemu(QEMU, &[&pc[..], &[&by_ring]].concat()),
        programs.qemu("QEMU pc, threads", &[&pc[..], &[&drive]].concat()),
    ])
}

/// Builds, installs and lists all that can be given this tap; each gets no other device.
///
/// # Errors
/// When a build fails.
pub(super) fn with_tap(tap: &str) -> Result<Vec<Contender>> {
    let cable = format!("tap,id=cable,ifname={tap},script=no,downscript=no,vhost=off");
    with(&Device {
        ours: ["--net", &format!("tap={tap}")],
        backend: &["-netdev", &cable],
        pci: "virtio-net-pci,netdev=cable,disable-legacy=on,romfile=",
        mmio: "virtio-net-device,netdev=cable",
        alioth: ["--net", &format!("tap,mac={MAC},mtu=1500,if={tap}")],
    })
}

/// A virtio device, in the words of each.
struct Device<'a> {
    ours: [&'a str; 2],
    /// QEMU's back-end.
    backend: &'a [&'a str],
    /// QEMU's device on that: of its PC, ...
    pci: &'a str,
    /// ... and of its microvm.
    mmio: &'a str,
    alioth: [&'a str; 2],
}

/// All of them with this device and no other.
fn with(device: &Device<'_>) -> Result<Vec<Contender>> {
    let programs = Programs::build()?;
    let ours = [&["--mode", "pv", "--no-rng"], &device.ours[..]].concat();
    let device_words = [device.backend, &["-device"]].concat();
    let pc = [&["-machine", "pc"], &device_words[..], &[device.pci]].concat();
    let microvm = [&MICROVM[..], &MODERN, &device_words, &[device.mmio]].concat();
    let alioth = |name, more| {
        let [flag, value] = device.alioth;
        alioth(name, &programs.guest, &[flag, &format!("{value}{more}")])
    };
    Ok(vec![
        programs.ours(PV, &ours),
        programs.ours(
            "trivisor pv --sandbox off",
            &[&ours[..], &["--sandbox", "off"]].concat(),
        ),
        programs.qemu(QEMU, &pc),
        programs.qemu("QEMU microvm", &microvm),
        alioth("alioth", "")?,
        alioth("alioth, io_uring", ",api=iouring")?,
    ])
}

fn alioth(name: &'static str, guest: &str, more: &[&str]) -> Result<Contender> {
    let folder = workspace::cache()?.join(format!("alioth-{ALIOTH}"));
    let program = folder.join("bin/alioth");
    if !program.exists() {
        let mut install = cargo(&["install", "--locked", "alioth-cli", "--version", ALIOTH]);
        // As its users get it: without what this workspace tells cargo.
        install.current_dir(workspace::cache()?);
        install.arg("--root").arg(&folder);
        // Its own build folder goes with the process; ours is another workspace's.
        install.env_remove("CARGO_TARGET_DIR");
        process::run(&mut install)?;
    }
    Ok(Contender {
        name,
        version: ALIOTH.to_owned(),
        program,
        arguments: words(&[&["boot", "--memory", "size=256M", "--pvh", guest], more].concat()),
        command_line: Some("--cmdline"),
        terminal: true,
    })
}

/// A terminal that nobody types at. Its other end stays open with this process: a read of it waits.
fn terminal() -> Result<OwnedFd> {
    static OTHER_END: OnceLock<OwnedFd> = OnceLock::new();
    let other_end = match OTHER_END.get() {
        Some(end) => end,
        None => {
            let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            grantpt(&end)?;
            unlockpt(&end)?;
            OTHER_END.get_or_init(|| end)
        }
    };
    let name = ptsname(other_end, Vec::new())?;
    let name = name.to_str().context("the terminal's name")?;
    let file = File::options().read(true).write(true).open(name);
    Ok(file.with_context(|| name.to_owned())?.into())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(str::to_owned).collect()
}

/// The version of the host's QEMU.
///
/// # Errors
/// When there is none.
pub(super) fn qemu_version() -> Result<String> {
    first_line(&mut Command::new("qemu-system-x86_64"))
}

/// What `--version` says.
fn first_line(command: &mut Command) -> Result<String> {
    let text = process::output(command.arg("--version"))?;
    let line = text.lines().next().unwrap_or_default();
    let version = line.split("version ").nth(1).unwrap_or(line);
    Ok(version
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Whether the host has PVM's kind of KVM, which emulates the guest's ring 0.
pub(super) fn is_pvm() -> bool {
    Path::new("/sys/module/kvm_pvm").exists()
}
