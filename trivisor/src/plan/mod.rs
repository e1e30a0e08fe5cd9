//! Settings to a plan: everything that has a name on the host is opened here, by the control process.

pub(crate) mod pc;
pub(crate) mod served;
#[cfg(test)]
mod tests;
pub(crate) mod virtio;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trivisor_backends::image::{self, ImageError};
use trivisor_kvm::{HostKind, Kvm, KvmError};
use trivisor_memory::{Backing, HugePages, RamLayout, RamOptions};

use trivisor_vmm_core::Mode;

use self::pc::{Named, Pc, has_boot_sector};
use self::served::Served;
use self::virtio::Virtio;
use crate::arguments::{
    BackingArgument, DiskArgument, DiskBus, DiskCache, DiskFormat, NetLink, ShareArgument,
};
use crate::control::registry;
use crate::failure::{Failure, chain};
use crate::settings::{
    ModeSetting, SandboxSetting, SerialSetting, Settings, TransportSetting, VmSettings,
};

/// The most processors of a machine.
const MAX_CPUS: u32 = trivisor_vmm_core::MAX_VCPUS as u32;

/// An open disk image with the name that the user knows it by.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) read_only: bool,
}

/// Where the guest's output goes.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdio,
    File(File),
    None,
}

/// A VM with all that it needs, ready to be started as often as it resets.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// The user chose the name.
    pub(crate) named: bool,
    pub(crate) kvm: File,
    pub(crate) cpus: u8,
    pub(crate) memory_bytes: u64,
    pub(crate) ram: RamOptions,
    /// Without one, firmware finds it.
    pub(crate) kernel: Option<Named>,
    pub(crate) initrd: Option<File>,
    pub(crate) cmdline: String,
    /// The command line is to name the virtio devices as well.
    pub(crate) names_devices: bool,
    pub(crate) mode: Mode,
    pub(crate) pmem: Vec<Disk>,
    pub(crate) virtio: Virtio,
    pub(crate) pc: Pc,
    pub(crate) transport: TransportSetting,
    pub(crate) packed: bool,
    /// Where the serial port's output goes.
    pub(crate) serial: Sink,
    /// Where that of the virtio console goes; `None`: there is none.
    pub(crate) console: Sink,
    pub(crate) debug_exit: Option<u16>,
    pub(crate) jailed: bool,
    pub(crate) reboot: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) metrics: Option<File>,
    /// Where the screen's last picture goes.
    pub(crate) last_picture: Option<File>,
    /// The firmware will find nothing to boot.
    pub(crate) nothing_boots: bool,
}

impl Plan {
    /// Whether the guest finds this image behind virtio-pmem, which knows no read-only memory: an NVDIMM does.
    pub(crate) fn is_virtio_pmem(&self, disk: &Disk) -> bool {
        self.mode == Mode::Pv && !disk.read_only
    }

    /// Whether the guest has standard input and output.
    pub(crate) const fn has_stdio(&self) -> bool {
        matches!(
            (&self.serial, &self.console),
            (Sink::Stdio, _) | (_, Sink::Stdio)
        )
    }

    /// Checks the settings and opens what they name.
    pub(crate) fn new(mut settings: Settings) -> Result<Self, Failure> {
        let mode = resolve(&mut settings)?;
        let nothing_boots = mode == Mode::Hvm && pc::finds_nothing(&settings.boot, &settings.disk);
        let (vm, boot) = (settings.vm, settings.boot);
        let own = own_cmdline(mode, &vm);
        let cpus = check_cpus(vm.cpus)?;
        RamLayout::new(vm.memory.bytes)
            .map_err(|error| Failure::usage(chain(&error), "--memory takes a size such as 256M"))?;
        let given = vm.name.is_some();
        let name = vm
            .name
            .unwrap_or_else(|| format!("vm-{}", std::process::id()));
        check_name(&name)?;
        if given {
            // Before anything is created; one that was made from our number is ours.
            registry::check_free(&name)?;
        }
        let mut pc = match mode {
            Mode::Hvm => Pc::new(&boot, vm.debug_console.as_ref())?,
            _ => Pc::default(),
        };
        let kernel = boot.kernel.map(|path| {
            let file = open("kernel", &path)?;
            Ok::<_, Failure>(Named { path, file })
        });
        let kernel = kernel.transpose()?;
        if kernel.is_none() && pc.firmware.is_none() {
            return Err(Failure::usage(
                "no kernel",
                "name one with --kernel FILE, or a disk that boots with --disk FILE and --mode hvm",
            ));
        }
        let initrd = boot.initrd.map(|path| open("initrd", &path)).transpose()?;
        let kvm = Kvm::open_node(Path::new("/dev/kvm")).map_err(|error| no_kvm(&error))?;
        let (pmem, disks) = settings
            .disk
            .into_iter()
            .partition::<Vec<_>, _>(|disk| disk.bus == Some(DiskBus::Pmem));
        let pmem = pmem.into_iter().map(open_pmem);
        let pmem = pmem.collect::<Result<_, _>>()?;
        let (ide, disks) = disks
            .into_iter()
            .partition::<Vec<_>, _>(|disk| disk.bus == Some(DiskBus::Ide));
        let ide = ide.into_iter().map(virtio::open_image);
        pc.connect(ide.collect::<Result<_, _>>()?)?;
        let cards = settings.net.iter().enumerate();
        let cards = cards.map(|(index, net)| virtio::open_card(&net.link, &name, index));
        let virtio = Virtio {
            disks: disks
                .into_iter()
                .map(virtio::open_disk)
                .collect::<Result<_, _>>()?,
            cards: cards
                .filter_map(Result::transpose)
                .collect::<Result<_, _>>()?,
            shares: open_shares(&settings.share)?,
            sockets: vm.vsock.as_ref().map(virtio::open_sockets).transpose()?,
            rng: vm.rng == Some(true),
            balloon: vm.balloon,
        };
        Ok(Self {
            name,
            named: given,
            kvm,
            cpus,
            memory_bytes: vm.memory.bytes,
            ram: RamOptions {
                backing: open_backing(&vm.memory.backing)?,
                huge_pages: match vm.memory.huge_pages {
                    None => None,
                    Some(0x20_0000) => Some(HugePages::Size2M),
                    Some(_) => Some(HugePages::Size1G),
                },
                transparent_huge_pages: vm.memory.transparent_huge_pages,
            },
            kernel,
            initrd,
            names_devices: vm.transport == TransportSetting::Mmio
                && boot.cmdline.as_deref().is_some_and(switches_acpi_off),
            cmdline: cmdline(&own, boot.cmdline, boot.cmdline_only),
            mode,
            pmem,
            virtio,
            pc,
            transport: vm.transport,
            packed: vm.packed,
            serial: open_sink(vm.serial)?,
            console: open_sink(vm.console)?,
            debug_exit: vm.debug_exit,
            jailed: vm.sandbox == SandboxSetting::Default,
            reboot: vm.reboot,
            timeout: vm.timeout.map(Duration::from_secs),
            metrics: vm.metrics.map(|path| create(&path)).transpose()?,
            nothing_boots,
            last_picture: settings
                .display
                .screenshot_on_exit
                .map(|path| create(&path))
                .transpose()?,
        })
    }
}

/// What a console leads to.
fn open_sink(setting: Option<SerialSetting>) -> Result<Sink, Failure> {
    Ok(match setting {
        Some(SerialSetting::Stdio) => Sink::Stdio,
        Some(SerialSetting::File(path)) => Sink::File(create(&path)?),
        Some(SerialSetting::None) | None => Sink::None,
    })
}

/// The mode's own command line, with Linux' console where the terminal is.
fn own_cmdline(mode: Mode, vm: &VmSettings) -> String {
    let own = mode.cmdline();
    if vm.console == Some(SerialSetting::Stdio) {
        own.replace("console=ttyS0", "console=hvc0")
    } else {
        own.into()
    }
}

impl Plan {
    /// The file that the guest's first instructions come from.
    pub(crate) fn boots(&self) -> &Path {
        let named = self.kernel.as_ref().or(self.pc.firmware.as_ref());
        named.map_or_else(|| Path::new(""), |named| &named.path)
    }
}

/// The mode that was asked for, or the first that has all that was asked for.
fn resolve_mode(settings: &Settings) -> Result<Mode, Failure> {
    let vm = &settings.vm;
    let virtio = |disk: &DiskArgument| match disk.bus {
        Some(bus) => bus == DiskBus::Virtio,
        None => vm.mode != ModeSetting::Basic,
    };
    let needs = [
        ("--disk", settings.disk.iter().any(virtio)),
        ("--net", !settings.net.is_empty()),
        ("--share", !settings.share.is_empty()),
        ("--vsock", vm.vsock.is_some()),
        ("--rng", vm.rng == Some(true)),
        ("--balloon", vm.balloon),
        (
            "--console",
            vm.console
                .as_ref()
                .is_some_and(|one| *one != SerialSetting::None),
        ),
        ("--packed", vm.packed),
        ("--transport", vm.transport != TransportSetting::Pci),
    ];
    let need = needs.iter().find(|(_, needed)| *needed);
    let boot = &settings.boot;
    let ide = |disk: &DiskArgument| disk.bus == Some(DiskBus::Ide);
    let pc = [
        ("--firmware", "firmware", boot.firmware.is_some()),
        ("--boot", "firmware", boot.boot.is_some()),
        ("--cdrom", "a CD drive", boot.cdrom.is_some()),
        ("--floppy", "floppy drives", !boot.floppy.is_empty()),
        ("--serial-screen", "firmware", boot.serial_screen),
        ("--disk bus=ide", "it", settings.disk.iter().any(ide)),
        ("--debug-console", "firmware", vm.debug_console.is_some()),
        (
            "--screenshot-on-exit",
            "a screen",
            settings.display.screenshot_on_exit.is_some(),
        ),
    ];
    let pc = pc.iter().find(|(_, _, needed)| *needed);
    let boots_itself = || boot.kernel.is_none() && settings.disk.iter().any(has_boot_sector);
    match (vm.mode, pc) {
        (ModeSetting::Basic | ModeSetting::Pv, Some((flag, what, _))) => {
            return Err(Failure::usage(
                format!("{flag}: only mode hvm has {what}"),
                "choose --mode hvm",
            ));
        }
        (ModeSetting::Hvm, _) | (ModeSetting::Auto, Some(_)) => return check_pc(settings),
        (ModeSetting::Auto, None) if boots_itself() => return check_pc(settings),
        _ => {}
    }
    match (vm.mode, need) {
        (ModeSetting::Basic, Some((flag, _))) => Err(Failure::usage(
            format!("{flag}: mode basic has no virtio devices"),
            "choose --mode pv, or for a disk bus=pmem",
        )),
        (ModeSetting::Basic | ModeSetting::Auto, None) => Ok(Mode::Basic),
        _ => Ok(Mode::Pv),
    }
}

/// What a PC has no place for.
fn check_pc(settings: &Settings) -> Result<Mode, Failure> {
    if settings.vm.transport != TransportSetting::Pci {
        return Err(Failure::usage(
            "--transport mmio: mode hvm has its virtio devices on PCI",
            "leave it out, or choose --mode pv",
        ));
    }
    let pmem = |disk: &DiskArgument| disk.bus == Some(DiskBus::Pmem);
    if settings.disk.iter().any(pmem) {
        return Err(Failure::usage(
            "--disk bus=pmem: mode hvm has no persistent memory",
            "choose bus=virtio, or --mode basic",
        ));
    }
    Ok(Mode::Hvm)
}

/// Fills in what is the mode's to say, and the mode.
pub(crate) fn resolve(settings: &mut Settings) -> Result<Mode, Failure> {
    let mode = resolve_mode(settings)?;
    let (named, bus) = match mode {
        Mode::Pv => (ModeSetting::Pv, DiskBus::Virtio),
        Mode::Hvm => (ModeSetting::Hvm, DiskBus::Ide),
        _ => (ModeSetting::Basic, DiskBus::Pmem),
    };
    settings.vm.mode = named;
    settings.vm.rng.get_or_insert(mode == Mode::Pv);
    resolve_consoles(&mut settings.vm)?;
    for disk in &mut settings.disk {
        disk.bus.get_or_insert(bus);
    }
    // Who serves queues has to map the guest's memory.
    let served = !settings.share.is_empty()
        || (settings.disk.iter()).any(|disk| disk.vhost_user.is_some())
        || (settings.net.iter()).any(|net| matches!(net.link.link, NetLink::VhostUser(_)));
    if served && settings.vm.memory.backing == BackingArgument::Anonymous {
        settings.vm.memory.backing = BackingArgument::Memfd;
    }
    Ok(mode)
}

/// One of both has standard input and output.
fn resolve_consoles(vm: &mut VmSettings) -> Result<(), Failure> {
    let stdio = SerialSetting::Stdio;
    let taken = vm.console == Some(stdio.clone());
    if taken && vm.serial == Some(stdio.clone()) {
        return Err(Failure::usage(
            "--serial and --console: both lead to standard input and output",
            "choose another of stdio, file:PATH and none for one of them",
        ));
    }
    let serial = if taken { SerialSetting::None } else { stdio };
    vm.serial.get_or_insert(serial);
    Ok(())
}

/// The mode's own command line with what the user adds, or what replaces it.
fn cmdline(own: &str, added: Option<String>, only: Option<String>) -> String {
    if let Some(only) = only {
        return only;
    }
    let host = HostKind::of_this_host().linux_cmdline();
    let parts = [own, host, added.as_deref().unwrap_or_default()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// Whether a Linux with these words on its command line takes nothing from ACPI's tables. Those behind `--` are not the
/// kernel's.
fn switches_acpi_off(added: &str) -> bool {
    let mut words = added.split_whitespace().take_while(|word| *word != "--");
    words.any(|word| word == "acpi=off")
}

fn check_cpus(cpus: u32) -> Result<u8, Failure> {
    u8::try_from(cpus)
        .ok()
        .filter(|cpus| (1..=MAX_CPUS).contains(&u32::from(*cpus)))
        .ok_or_else(|| {
            Failure::usage(
                format!("{cpus} processors: a machine has 1 to {MAX_CPUS}"),
                "choose another number with --cpus",
            )
        })
}

/// Names become names of directories.
fn check_name(name: &str) -> Result<(), Failure> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(letter) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{name:?} is no name for a VM"),
        "use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '.'",
    ))
}

fn open(role: &str, path: &Path) -> Result<File, Failure> {
    image::open_plain(path).map_err(|error| {
        Failure::usage(
            format!("{role} {}", chain(&error)),
            format!("name a readable file with --{role}"),
        )
    })
}

/// Starts to share each folder; no two under one tag.
fn open_shares(shares: &[ShareArgument]) -> Result<Vec<Served>, Failure> {
    let mut opened = Vec::new();
    for (index, share) in shares.iter().enumerate() {
        let before = shares.iter().take(index);
        if before.into_iter().any(|other| other.tag == share.tag) {
            return Err(Failure::usage(
                format!("--share: two folders have the tag {:?}", share.tag),
                "give each a tag of its own",
            ));
        }
        opened.push(served::open_share(share)?);
    }
    Ok(opened)
}

fn open_pmem(disk: DiskArgument) -> Result<Disk, Failure> {
    let has_more = disk.cache != DiskCache::default()
        || disk.queues.is_some()
        || disk.queue_size.is_some()
        || disk.serial.is_some()
        || disk.bps.is_some()
        || disk.iops.is_some()
        || disk.vhost_user.is_some();
    if has_more || !matches!(disk.format, None | Some(DiskFormat::Raw)) {
        return Err(Failure::usage(
            format!(
                "disk {}: persistent memory has no such option",
                disk.file.display()
            ),
            "leave out all but ro, or choose bus=virtio",
        ));
    }
    let file = open_image(&disk.file, disk.ro)?;
    Ok(Disk {
        path: disk.file,
        file,
        read_only: disk.ro,
    })
}

/// Opens and locks an image.
fn open_image(path: &Path, read_only: bool) -> Result<File, Failure> {
    image::open(path, read_only).map_err(|error| {
        let advice = image_advice(&error);
        Failure::usage(format!("disk {}", chain(&error)), advice)
    })
}

/// What the user can do about an image's file.
const fn image_advice(error: &ImageError) -> &'static str {
    match error {
        ImageError::Locked { .. } => {
            "stop the VM that has it (trivisor ps), or give it to both with ,ro"
        }
        ImageError::Missing { .. } => "make one, for example: trivisor disk create FILE 1G",
        _ => "--disk takes a file that this user may read and write, or FILE,ro",
    }
}

fn open_backing(backing: &BackingArgument) -> Result<Backing, Failure> {
    Ok(match backing {
        BackingArgument::Anonymous => Backing::Anonymous,
        BackingArgument::Memfd => Backing::Memfd,
        BackingArgument::File(path) => {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = options
                .open(path)
                .map_err(|error| cannot_create(path, &error))?;
            Backing::File(Arc::new(file))
        }
    })
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(
        format!("{} cannot be created: {error}", path.display()),
        "name a file in a folder that this user may write",
    )
}

/// What to do where there is no KVM.
pub(crate) fn no_kvm(error: &KvmError) -> Failure {
    Failure::host(
        chain(error),
        match error {
            KvmError::Missing => {
                "load the module (modprobe kvm_intel or kvm_amd), or switch virtualisation on in the firmware"
            }
            KvmError::Permission => "add this user to the group of /dev/kvm, or run as root",
            _ => "see `trivisor check`",
        },
    )
}
