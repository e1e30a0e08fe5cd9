//! What a machine is made of. Everything that has a name on the host is already open.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use trivisor_buses::CharOutput;
#[cfg(feature = "hvm")]
use trivisor_devices_hvm::board::{BootDevice, Card, DrivePlug, FloppyPlug};
#[cfg(feature = "pv")]
use trivisor_devices_pv::board::{Plug, TransportKind};
use trivisor_kvm::IrqchipKind;
use trivisor_memory::{FileMapping, RamOptions};

/// How a machine is connected to its host. The mode picks the board and nothing else asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Memory, vCPUs, serial port, clock, power; no PCI, no virtio.
    #[cfg(feature = "basic")]
    Basic,
    /// The same, and virtio devices.
    #[cfg(feature = "pv")]
    Pv,
    /// A PC, whose firmware boots an operating system from its disks.
    #[cfg(feature = "hvm")]
    Hvm,
}

impl Mode {
    /// What users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "basic")]
            Self::Basic => "basic",
            #[cfg(feature = "pv")]
            Self::Pv => "pv",
            #[cfg(feature = "hvm")]
            Self::Hvm => "hvm",
        }
    }

    /// What its board asks of a Linux: where the console is, and a panic or reset that ends the machine.
    #[must_use]
    pub const fn cmdline(self) -> &'static str {
        match self {
            #[cfg(feature = "basic")]
            Self::Basic => "console=ttyS0 reboot=k panic=-1",
            #[cfg(feature = "pv")]
            Self::Pv => "console=ttyS0 reboot=k panic=-1",
            #[cfg(feature = "hvm")]
            Self::Hvm => "console=ttyS0 reboot=p panic=-1",
        }
    }
}

/// The kernel and what goes with it.
#[derive(Debug)]
pub struct BootConfig {
    /// ELF, bzImage, PVH or multiboot.
    pub kernel: File,
    /// The initial RAM disk, or the first multiboot module.
    pub initrd: Option<File>,
    /// Its command line, complete.
    pub cmdline: String,
    /// Entropy for the guest's random number generator, where the boot protocol takes it.
    pub random_seed: [u8; 32],
}

/// What every machine has, whatever its board.
#[derive(Debug)]
pub struct CoreConfig {
    /// vCPUs, 1 to 64.
    pub cpus: u8,
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// What RAM is made of.
    pub ram: RamOptions,
    /// Which interrupt controllers live in the kernel; the board decides.
    pub irqchip: IrqchipKind,
    /// Addresses below 1 MiB that a chip of the board switches between RAM and the bus; empty on most boards.
    pub switched: Range<u64>,
    /// The kernel; `None`: the first vCPU starts at its reset vector, where the board has firmware.
    pub boot: Option<BootConfig>,
}

/// A machine of one of our modes.
pub struct MachineConfig {
    /// Which board.
    pub mode: Mode,
    /// vCPUs, 1 to 64.
    pub cpus: u8,
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// What RAM is made of.
    pub ram: RamOptions,
    /// The kernel; `None`: the board's firmware finds one.
    pub boot: Option<BootConfig>,
    /// Where the first serial port writes to; `None`: nowhere.
    pub serial: Option<Box<dyn CharOutput>>,
    /// Files that the guest sees as persistent memory.
    pub pmem: Vec<Arc<FileMapping>>,
    /// The port of a debug-exit device.
    pub debug_exit: Option<u16>,
    /// A number that no other machine, and no other start of this one, has.
    pub generation_id: [u8; 16],
    /// Virtio devices; the basic board has no room for them.
    #[cfg(feature = "pv")]
    pub virtio: VirtioConfig,
    /// What the hvm board has beside.
    #[cfg(feature = "hvm")]
    pub pc: PcConfig,
}

/// What a PC has beside all other machines.
#[cfg(feature = "hvm")]
#[derive(Default)]
pub struct PcConfig {
    /// Its firmware, a read-only mapping; without it, there must be a kernel.
    pub firmware: Option<Arc<FileMapping>>,
    /// What it boots from, best first; empty: as the firmware likes.
    pub boot_order: Vec<BootDevice>,
    /// Further files for the firmware.
    pub files: Vec<(String, Vec<u8>)>,
    /// Where the firmware's debug console writes to; `None`: there is none.
    pub debug_console: Option<Box<dyn CharOutput>>,
    /// What is on the two IDE cables: by channel, the master first.
    pub drives: [[Option<Box<dyn DrivePlug>>; 2]; 2],
    /// Disks in the floppy drives A and B.
    pub floppies: [Option<Box<dyn FloppyPlug>>; 2],
    /// PCI functions, before the virtio devices.
    pub cards: Vec<Box<dyn Card>>,
}

#[cfg(feature = "hvm")]
impl std::fmt::Debug for PcConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcConfig")
            .field("boot_order", &self.boot_order)
            .finish_non_exhaustive()
    }
}

/// Virtio devices of a machine.
#[cfg(feature = "pv")]
#[derive(Debug, Default)]
pub struct VirtioConfig {
    /// The devices, in the order in which the guest finds them.
    pub devices: Vec<Box<dyn Plug>>,
    /// How they are connected.
    pub transport: TransportKind,
    /// They offer packed virtqueues.
    pub packed: bool,
}

impl std::fmt::Debug for MachineConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineConfig")
            .field("mode", &self.mode)
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}
