//! PCI configuration space (PCI 3.0, chapter 6), by ports and by memory, and virtio's structures in it
//! (VIRTIO 1.3, 4.1.4).

use core::iter;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};

use crate::acpi;
use crate::memory::{self, Unmapped};
use crate::port;
use crate::script::Failure;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const CONFIG_ENABLE: u32 = 1 << 31;

/// Offset of command and status.
const COMMAND: u8 = 0x04;
const BAR_0: u8 = 0x10;
const CAPABILITIES: u8 = 0x34;
const INTERRUPT: u8 = 0x3c;
/// The function answers in memory.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// The function may write to memory: its messages.
const COMMAND_MASTER: u16 = 1 << 2;
/// The pin is not used.
pub const COMMAND_INTERRUPT_DISABLE: u16 = 1 << 10;
/// The function would pull its pin.
pub const STATUS_INTERRUPT: u16 = 1 << 3;
const CAPABILITY_VENDOR: u8 = 0x09;
const CAPABILITY_MSIX: u8 = 0x11;
const MEMORY_64: u32 = 0b100;

/// `virtio_pci_cap.cfg_type` of the common configuration.
pub const COMMON: u8 = 1;
/// The same of notifications.
const NOTIFY: u8 = 2;

/// A way to configuration space.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// By the ports 0xcf8 and 0xcfc.
    Ports,
    /// By memory, from this address on.
    Ecam(u64),
}

impl Access {
    /// The MCFG's (PCI Firmware Specification 3.0, 4.1.2), if there is one.
    pub fn ecam() -> Option<Self> {
        let table = acpi::find("MCFG")?;
        let (address, last_bus) = (table.number(44, 8), table.number(55, 1));
        memory::map(address, (last_bus + 1) << 20).ok()?;
        Some(Self::Ecam(address))
    }

    /// By memory where it can be.
    pub fn best() -> Self {
        Self::ecam().unwrap_or(Self::Ports)
    }
}

fn routing_id(at: DeviceFunction) -> u32 {
    u32::from(at.bus) << 8 | u32::from(at.device) << 3 | u32::from(at.function)
}

impl ConfigurationAccess for Access {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        match self {
            Self::Ports => {
                let address = CONFIG_ENABLE | routing_id(at) << 8 | u32::from(register);
                port::write_u32(CONFIG_ADDRESS, address);
                port::read_u32(CONFIG_DATA)
            }
            Self::Ecam(base) => {
                let address = base + (u64::from(routing_id(at)) << 12) + u64::from(register);
                u32::try_from(memory::read(address, 4)).unwrap_or(u32::MAX)
            }
        }
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, data: u32) {
        match self {
            Self::Ports => {
                let address = CONFIG_ENABLE | routing_id(at) << 8 | u32::from(register);
                port::write_u32(CONFIG_ADDRESS, address);
                port::write_u32(CONFIG_DATA, data);
            }
            Self::Ecam(base) => {
                let address = *base + (u64::from(routing_id(at)) << 12) + u64::from(register);
                memory::write(address, 4, u64::from(data));
            }
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// The functions of bus 0.
pub fn functions(access: Access) -> impl Iterator<Item = Function> {
    let root = PciRoot::new(access);
    root.enumerate_bus(0)
        .map(move |(at, _)| Function { access, at })
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    access: Access,
    /// Its place on the bus.
    pub at: DeviceFunction,
}

impl Function {
    /// Reads an aligned double word.
    pub fn read(self, register: u8) -> u32 {
        self.access.read_word(self.at, register)
    }

    /// Writes an aligned double word.
    pub fn write(mut self, register: u8, value: u32) {
        self.access.write_word(self.at, register, value);
    }

    /// Vendor and device.
    pub fn identity(self) -> (u16, u16) {
        let [a, b, c, d] = self.read(0).to_le_bytes();
        (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
    }

    /// The command register.
    pub fn command(self) -> u16 {
        let [low, high, ..] = self.read(COMMAND).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// The status register.
    pub fn status(self) -> u16 {
        let [.., low, high] = self.read(COMMAND).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Sets the command register, by a word: some machines take nothing else there.
    pub fn set_command(self, command: u16) {
        match self.access {
            Access::Ports => {
                let address = CONFIG_ENABLE | routing_id(self.at) << 8 | u32::from(COMMAND);
                port::write_u32(CONFIG_ADDRESS, address);
                port::write_u16(CONFIG_DATA, command);
            }
            Access::Ecam(base) => {
                let address = base + (u64::from(routing_id(self.at)) << 12) + u64::from(COMMAND);
                memory::write(address, 2, u64::from(command));
            }
        }
    }

    /// Lets it answer in memory and send messages.
    pub fn enable(self) {
        self.set_command(self.command() | COMMAND_MEMORY | COMMAND_MASTER);
    }

    /// The pin of the I/O APIC that its interrupt pin leads to, as whoever assigned it left it.
    pub fn line(self) -> u8 {
        self.read(INTERRUPT).to_le_bytes()[0]
    }

    /// Where a base address register of memory points.
    pub fn bar(self, index: u8) -> u64 {
        let low = self.read(BAR_0 + 4 * index);
        let high = if low & 0b111 == MEMORY_64 {
            self.read(BAR_0 + 4 * index + 4)
        } else {
            0
        };
        u64::from(low & !0xf) | u64::from(high) << 32
    }

    /// Moves what a base address register of ports stands for.
    pub fn set_ports(self, index: u8, base: u16) {
        self.write(BAR_0 + 4 * index, u32::from(base));
    }

    /// Moves what a 64-bit base address register of memory stands for.
    pub fn set_bar(self, index: u8, address: u64) {
        let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
        self.write(BAR_0 + 4 * index, u32::from_le_bytes([a, b, c, d]));
        self.write(BAR_0 + 4 * index + 4, u32::from_le_bytes([e, f, g, h]));
    }

    /// Its capabilities: offset and number. A list that runs in a circle ends.
    pub fn capabilities(self) -> impl Iterator<Item = (u8, u8)> {
        let mut next = self.read(CAPABILITIES).to_le_bytes()[0] & !3;
        let mut left = 48;
        iter::from_fn(move || {
            if next == 0 || left == 0 {
                return None;
            }
            left -= 1;
            let at = next;
            let [id, following, ..] = self.read(at).to_le_bytes();
            next = following & !3;
            Some((at, id))
        })
    }

    /// Where the capability of one of virtio's structures is.
    fn capability(self, kind: u8) -> Result<u8, Failure> {
        let mut capabilities = self.capabilities();
        let found = capabilities
            .find(|(at, id)| *id == CAPABILITY_VENDOR && self.read(*at).to_le_bytes()[3] == kind);
        let (at, _) = found.ok_or(Failure::Absent("structure"))?;
        Ok(at)
    }

    /// Register and offset of one of virtio's structures.
    pub fn structure(self, kind: u8) -> Result<(u8, u64), Failure> {
        let at = self.capability(kind)?;
        Ok((
            self.read(at + 4).to_le_bytes()[0],
            u64::from(self.read(at + 8)),
        ))
    }

    /// Where a queue with this offset is notified.
    pub fn notification(self, queue_notify_off: u64) -> Result<u64, Failure> {
        let (bar, offset) = self.structure(NOTIFY)?;
        let multiplier = u64::from(self.read(self.capability(NOTIFY)? + 16));
        let address = self.bar(bar) + offset + queue_notify_off * multiplier;
        memory::map(address, 4)?;
        Ok(address)
    }

    /// Its MSI-X capability.
    pub fn msix(self) -> Result<Msix, Failure> {
        let mut capabilities = self.capabilities();
        let found = capabilities.find(|(_, id)| *id == CAPABILITY_MSIX);
        let (at, _) = found.ok_or(Failure::Absent("msix"))?;
        let place = |word: u32| self.bar(word.to_le_bytes()[0] & 7) + u64::from(word & !7);
        let msix = Msix {
            function: self,
            at,
            table: place(self.read(at + 4)),
            pending: place(self.read(at + 8)),
        };
        memory::map(msix.table, 0x1000)?;
        memory::map(msix.pending, 0x1000)?;
        Ok(msix)
    }
}

/// The MSI-X capability of a function (PCI 3.0, 6.8.2).
#[derive(Clone, Copy, Debug)]
pub struct Msix {
    function: Function,
    at: u8,
    table: u64,
    pending: u64,
}

impl Msix {
    /// Switches it on or off, and masks the whole function.
    pub fn control(self, enable: bool, mask: bool) {
        self.function
            .write(self.at, u32::from(enable) << 31 | u32::from(mask) << 30);
    }

    /// Vectors.
    pub fn vectors(self) -> u32 {
        (self.function.read(self.at) >> 16 & 0x7ff) + 1
    }

    /// Sends a vector to this processor.
    pub fn set(self, index: u64, apic_id: u8, vector: u8) {
        let entry = self.table + 16 * index;
        memory::write(entry, 4, 0xfee0_0000 | u64::from(apic_id) << 12);
        memory::write(entry + 4, 4, 0);
        memory::write(entry + 8, 4, u64::from(vector));
    }

    /// Masks a vector or lets it through.
    pub fn mask(self, index: u64, masked: bool) {
        memory::write(self.table + 16 * index + 12, 4, u64::from(masked));
    }

    /// Whether a masked vector has something to say.
    pub fn is_pending(self, index: u64) -> bool {
        memory::read(self.pending + index / 64 * 8, 8) & 1 << (index % 64) != 0
    }
}

/// The common configuration of a virtio function, as far as virtio-drivers leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Common(u64);

impl Common {
    /// Where it is now.
    ///
    /// # Errors
    /// When the function has none.
    pub fn of(function: Function) -> Result<Self, Failure> {
        let (bar, offset) = function.structure(COMMON)?;
        Ok(Self::at(function.bar(bar) + offset)?)
    }

    /// At an address where it may be or not.
    ///
    /// # Errors
    /// [`Unmapped`].
    pub fn at(address: u64) -> Result<Self, Unmapped> {
        memory::map(address, 0x1000)?;
        Ok(Self(address))
    }

    /// Queues, all ones where nothing answers.
    pub fn queues(self) -> u64 {
        memory::read(self.0 + 0x12, 2)
    }

    /// The MSI-X vector of a queue.
    pub fn vector(self, queue: u64) -> u64 {
        memory::write(self.0 + 0x16, 2, queue);
        memory::read(self.0 + 0x1a, 2)
    }

    /// Gives a queue an MSI-X vector; 0xffff is none. Returns what the device made of it.
    pub fn set_vector(self, queue: u64, vector: u16) -> u64 {
        memory::write(self.0 + 0x16, 2, queue);
        memory::write(self.0 + 0x1a, 2, u64::from(vector));
        self.vector(queue)
    }

    /// `queue_notify_off` of a queue.
    pub fn notify_offset(self, queue: u16) -> u64 {
        memory::write(self.0 + 0x16, 2, u64::from(queue));
        memory::read(self.0 + 0x1e, 2)
    }

    /// Enables a queue of `size` descriptors, which stands at these addresses.
    pub fn enable_queue(self, queue: u16, size: u32, areas: [u64; 3]) {
        memory::write(self.0 + 0x16, 2, u64::from(queue));
        memory::write(self.0 + 0x18, 2, u64::from(size));
        for (offset, address) in [0x20, 0x28, 0x30].into_iter().zip(areas) {
            memory::write(self.0 + offset, 4, address & 0xffff_ffff);
            memory::write(self.0 + offset + 4, 4, address >> 32);
        }
        memory::write(self.0 + 0x1c, 2, 1);
    }
}
