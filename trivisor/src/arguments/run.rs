//! `trivisor run`: each flag, and how it overrides the file's setting.

use std::path::PathBuf;

use clap::Args;

use crate::arguments::{
    BootArgument, CdromArgument, DiskArgument, FirmwareArgument, FloppyArgument, MemoryArgument,
    NetArgument, ShareArgument, VsockArgument,
};
use crate::settings::{
    DisplaySetting, ModeSetting, NetSetting, SandboxSetting, SerialSetting, Settings,
    TransportSetting,
};

#[derive(Debug, Args, Default)]
pub(crate) struct RunArguments {
    /// A file of settings that ends in .toml, or what a PC boots: an ISO image, a raw disk
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<PathBuf>,
    /// Which board: auto, basic, pv, hvm [default: auto]
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeSetting>,
    /// The VM's name, for the other verbs [default: vm- and the process's number]
    #[arg(long)]
    name: Option<String>,
    /// Processors, 1 to 64 [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    cpus: Option<u32>,
    /// RAM: SIZE[,backing=anon|memfd|file=PATH][,hugepages=2M|1G][,thp] [default: 256M]
    #[arg(long, value_name = "SIZE")]
    memory: Option<MemoryArgument>,
    /// ELF vmlinux, bzImage, PVH or multiboot image
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk, or multiboot module
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Added to the mode's own command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// Replaces the mode's own command line
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        conflicts_with = "cmdline"
    )]
    cmdline_only: Option<String>,
    /// What a PC runs first: seabios, or a file with a BIOS [default in mode hvm: seabios]
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    firmware: Option<FirmwareArgument>,
    /// What a PC boots from: up to three of a (floppy), c (disk), d (CD), n (network), first one first
    #[arg(long, value_name = "DRIVES")]
    boot: Option<BootArgument>,
    /// A disk image: FILE[,ro][,format=raw|qcow2|vmdk][,bus=virtio|pmem|ide][,cache=writeback|none|unsafe][,queues=N]
    /// [,queue-size=N][,serial=TEXT][,bps=N][,iops=N], or vhost-user=SOCKET[,queues=N][,queue-size=N]; may be given again
    #[arg(long, value_name = "FILE")]
    disk: Vec<DiskArgument>,
    /// A PC's firmware has its screen and its keys on the first serial port, too
    #[arg(long)]
    serial_screen: bool,
    /// A CD for a PC's drive: an ISO image; none: the drive is empty until `trivisor cdrom NAME FILE`
    #[arg(long, value_name = "FILE|none")]
    cdrom: Option<CdromArgument>,
    /// A floppy disk for a PC's drive A: a raw image of 160 to 2880 KiB, FILE[,ro]; a second one is for drive B
    #[arg(long, value_name = "FILE")]
    floppy: Vec<FloppyArgument>,
    /// A network card: user|tap=NAME|socket=PATH|vhost-user=SOCKET|none[,mac=..][,queues=N][,forward=tcp:8080:80]; may be
    /// given again
    #[arg(long, value_name = "LINK")]
    net: Vec<NetArgument>,
    /// A folder of the host that the guest mounts by a tag, as virtiofs: DIR,TAG[,ro]; may be given again
    #[arg(long, value_name = "DIR,TAG")]
    share: Vec<ShareArgument>,
    /// Sockets to the host: the guest's number, and where programs connect
    #[arg(long, value_name = "CID,PATH")]
    vsock: Option<VsockArgument>,
    /// A virtio entropy source, which mode pv has by itself
    #[arg(long, overrides_with = "no_rng")]
    rng: bool,
    /// No virtio entropy source
    #[arg(long, overrides_with = "rng")]
    no_rng: bool,
    /// A memory balloon
    #[arg(long)]
    balloon: bool,
    /// How virtio devices are connected: pci, mmio [default: pci]. With mmio and `acpi=off` in --cmdline, the command
    /// line names them too
    #[arg(long, value_name = "BUS")]
    transport: Option<TransportSetting>,
    /// Virtio devices offer packed queues
    #[arg(long)]
    packed: bool,
    /// A virtio console, and where it leads: stdio, file:PATH, none; with stdio it is Linux' console [default: none]
    #[arg(long, value_name = "WHERE")]
    console: Option<SerialSetting>,
    /// Where the first serial port leads: stdio, file:PATH, none [default: stdio, unless the console is that]
    #[arg(long, value_name = "WHERE")]
    serial: Option<SerialSetting>,
    /// Write counters to this file when the VM ends, as a line of JSON
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Return to the shell when the VM runs
    #[arg(long)]
    daemon: bool,
    /// A guest's reset starts it again instead of ending the VM
    #[arg(long)]
    reboot: bool,
    /// The VM process's jail: default, off [default: default]
    #[arg(long, value_name = "JAIL")]
    sandbox: Option<SandboxSetting>,
    /// End the VM after this time, with status 124
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// A port where a test guest ends the VM with a status of its own, such as 0xf4
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    debug_exit: Option<u16>,
    /// What a PC's firmware says of itself (port 0x402) goes to this file
    #[arg(long, value_name = "FILE")]
    debug_console: Option<PathBuf>,
    /// Who sees the screen: none, which leaves it to `trivisor screenshot` [default: none]
    #[arg(long, value_name = "WHERE")]
    display: Option<DisplaySetting>,
    /// The screen's last picture goes to this file
    #[arg(long, value_name = "FILE.png")]
    screenshot_on_exit: Option<PathBuf>,
    /// Print the resulting settings and start nothing
    #[arg(long)]
    pub(crate) print_config: bool,
}

fn parse_cpus(text: &str) -> Result<u32, String> {
    if text.contains(",max=") {
        return Err("max= needs processor hot-plug, which no mode of this version has".into());
    }
    text.parse()
        .map_err(|_| format!("{text:?} is no number of processors: 1 to 64"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("{text:?} is no port: 0 to 0xffff"))
}

impl RunArguments {
    /// What was typed beats what `settings` had.
    pub(crate) fn apply(self, settings: &mut Settings) {
        fn set<T>(setting: &mut T, typed: Option<T>) {
            if let Some(typed) = typed {
                *setting = typed;
            }
        }
        fn set_option<T>(setting: &mut Option<T>, typed: Option<T>) {
            if typed.is_some() {
                *setting = typed;
            }
        }
        let (vm, boot) = (&mut settings.vm, &mut settings.boot);
        set(&mut vm.mode, self.mode);
        set_option(&mut vm.name, self.name);
        set(&mut vm.cpus, self.cpus);
        set(&mut vm.memory, self.memory);
        set_option(&mut vm.serial, self.serial);
        set_option(&mut vm.console, self.console);
        set(&mut vm.sandbox, self.sandbox);
        set_option(&mut vm.metrics, self.metrics);
        set_option(&mut vm.timeout, self.timeout);
        set_option(&mut vm.debug_exit, self.debug_exit);
        set_option(&mut vm.debug_console, self.debug_console);
        set(&mut settings.display.display, self.display);
        set_option(
            &mut settings.display.screenshot_on_exit,
            self.screenshot_on_exit,
        );
        set(&mut vm.transport, self.transport);
        set_option(&mut vm.vsock, self.vsock);
        set_option(&mut vm.rng, (self.rng || self.no_rng).then_some(self.rng));
        vm.packed |= self.packed;
        vm.balloon |= self.balloon;
        vm.daemon |= self.daemon;
        vm.reboot |= self.reboot;
        set_option(&mut boot.kernel, self.kernel);
        set_option(&mut boot.initrd, self.initrd);
        set_option(&mut boot.firmware, self.firmware);
        set_option(&mut boot.boot, self.boot);
        set_option(&mut boot.cdrom, self.cdrom);
        if !self.floppy.is_empty() {
            boot.floppy = self.floppy;
        }
        boot.serial_screen |= self.serial_screen;
        if self.cmdline.is_some() || self.cmdline_only.is_some() {
            (boot.cmdline, boot.cmdline_only) = (self.cmdline, self.cmdline_only);
        }
        if !self.disk.is_empty() {
            settings.disk = self.disk;
        }
        if !self.share.is_empty() {
            settings.share = self.share;
        }
        if !self.net.is_empty() {
            let cards = self.net.into_iter();
            settings.net = cards.map(|link| NetSetting { link }).collect();
        }
    }
}
