//! What a machine is made of. Everything that has a name on the host is already open.

use std::fs::File;
use std::sync::Arc;

use trivisor_buses::CharOutput;
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
    /// The kernel.
    pub boot: BootConfig,
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
    /// The kernel.
    pub boot: BootConfig,
    /// Where the first serial port writes to; `None`: nowhere.
    pub serial: Option<Box<dyn CharOutput>>,
    /// Files that the guest sees as persistent memory.
    pub pmem: Vec<Arc<FileMapping>>,
    /// The port of a debug-exit device.
    pub debug_exit: Option<u16>,
    /// A number that no other machine, and no other start of this one, has.
    pub generation_id: [u8; 16],
    /// What the pv board has beside; no other board has room for it.
    #[cfg(feature = "pv")]
    pub virtio: VirtioConfig,
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
