//! Virtio devices (VIRTIO 1.3), found on PCI or at addresses of their own and driven by the crate virtio-drivers.
//!
//! That crate has split virtqueues only.

use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::PciRoot;
use virtio_drivers::transport::{DeviceType, SomeTransport};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::acpi;
use crate::cpu;
use crate::memory;
use crate::pages;
use crate::pci::{self, Access, Function};
use crate::pvh;
use crate::script::{self, Failure, Words};

const VENDOR: u16 = 0x1af4;
const FIRST_DEVICE: u16 = 0x1040;
/// "virt"
const MAGIC: u64 = 0x7472_6976;
/// What Linux calls a device in its command line.
const ARGUMENT: &str = "virtio_mmio.device=";
const HID: &[u8] = b"LNRO0005\0";
/// Longest `_CRS` of one of them.
const RESOURCES: usize = 64;
const COMMAND_LINE: usize = 2048;
/// TSC cycles after which nothing will come any more.
const PATIENCE: u64 = 1 << 38;

/// The transport of any device.
pub type Bus = SomeTransport<'static>;

/// Where a device is.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// On PCI.
    Pci(Function),
    /// Its registers: address and bytes.
    Mmio(u64, u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(function) => write!(f, "bus=pci at={}", function.at),
            Self::Mmio(address, _) => write!(f, "bus=mmio at={address:#x}"),
        }
    }
}

/// A device.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// The specification's number of what it is.
    pub kind: u64,
    /// Where it is.
    pub place: Place,
    /// Its pin of the I/O APIC.
    pub pin: u8,
}

impl Device {
    fn on_pci(function: Function) -> Option<Self> {
        let (vendor, device) = function.identity();
        let kind = device.checked_sub(FIRST_DEVICE)?;
        (vendor == VENDOR).then_some(Self {
            kind: u64::from(kind),
            place: Place::Pci(function),
            pin: function.line(),
        })
    }

    fn at(address: u64, size: u64, pin: u8) -> Option<Self> {
        memory::map(address, size).ok()?;
        let kind = memory::read(address + 8, 4);
        (memory::read(address, 4) == MAGIC && kind != 0).then_some(Self {
            kind,
            place: Place::Mmio(address, size),
            pin,
        })
    }

    /// The function that it is on PCI.
    ///
    /// # Errors
    /// [`Failure::Absent`] when it is none.
    pub fn function(&self) -> Result<Function, Failure> {
        match self.place {
            Place::Pci(function) => Ok(function),
            Place::Mmio(..) => Err(Failure::Absent("function")),
        }
    }

    /// Its transport.
    ///
    /// # Errors
    /// When it is not as the specification says.
    pub fn open(&self) -> Result<Bus, Failure> {
        match self.place {
            Place::Pci(function) => {
                function.enable();
                let mut root = PciRoot::new(Access::best());
                PciTransport::new::<Identity, _>(&mut root, function.at)
                    .map(Bus::from)
                    .map_err(|_| Failure::Absent("transport"))
            }
            Place::Mmio(address, size) => {
                let size = usize::try_from(size).unwrap_or(0);
                let header = Identity::pointer(address);
                // SAFETY: `at` mapped the registers, which nothing else uses as long as a command runs.
                let transport = unsafe { MmioTransport::new(header.cast(), size) };
                transport
                    .map(Bus::from)
                    .map_err(|_| Failure::Absent("transport"))
            }
        }
    }
}

/// All devices, and what told of them: PCI, else the command line, else the DSDT.
pub fn find() -> (&'static str, Vec<Device>) {
    let found: Vec<_> = pci::functions(Access::best())
        .filter_map(Device::on_pci)
        .collect();
    if !found.is_empty() {
        return ("pci", found);
    }
    let mut buffer = [0; COMMAND_LINE];
    let line = pvh::command_line(&mut buffer).unwrap_or_default();
    let found = named_in(script::text(line));
    if !found.is_empty() {
        return ("command-line", found);
    }
    let dsdt = acpi::fadt().and_then(|fadt| fadt.dsdt());
    let aml = dsdt.map(|dsdt| dsdt.bytes).unwrap_or_default();
    ("dsdt", described_in(aml))
}

/// All devices.
pub fn devices() -> Vec<Device> {
    find().1
}

/// The devices that a command line names, each as `virtio_mmio.device=SIZE@ADDRESS:PIN`.
fn named_in(line: &str) -> Vec<Device> {
    let mut words = Words::of(line);
    let mut found = Vec::new();
    while let Some(word) = words.word() {
        let device = word.strip_prefix(ARGUMENT).and_then(|text| {
            let (size, rest) = text.split_once('@')?;
            let (address, pin) = rest.split_once(':')?;
            let pin = u8::try_from(script::parse(pin)?).ok()?;
            Device::at(script::parse(address)?, script::parse(size)?, pin)
        });
        found.extend(device);
    }
    found
}

/// The devices that the namespace describes, found by their identification without an interpreter: the resources
/// behind it are a fixed range of 32-bit memory (ACPI 6.5, 6.4.3.4) and an interrupt (6.4.3.6).
fn described_in(aml: &[u8]) -> Vec<Device> {
    let mut found = Vec::new();
    let mut rest = aml;
    while let Some(at) = rest.windows(HID.len()).position(|bytes| bytes == HID) {
        rest = rest.get(at + HID.len()..).unwrap_or_default();
        let resources = rest.get(..RESOURCES.min(rest.len())).unwrap_or_default();
        let device = resources.windows(21).find_map(|bytes| match bytes {
            [
                0x86,
                9,
                0,
                _,
                a,
                b,
                c,
                d,
                e,
                f,
                g,
                h,
                0x89,
                6,
                0,
                _,
                1,
                pin,
                0,
                0,
                0,
            ] => {
                let address = u32::from_le_bytes([*a, *b, *c, *d]);
                let size = u32::from_le_bytes([*e, *f, *g, *h]);
                Device::at(u64::from(address), u64::from(size), *pin)
            }
            _ => None,
        });
        found.extend(device);
    }
    found
}

/// The device of this kind that the next word counts, from 0.
///
/// # Errors
/// When there are not as many.
pub fn device(kind: DeviceType, words: &mut Words<'_>) -> Result<Device, Failure> {
    device_of(kind as u64, words)
}

/// The same by the specification's number of the kind.
///
/// # Errors
/// As [`device`].
pub fn device_of(kind: u64, words: &mut Words<'_>) -> Result<Device, Failure> {
    let index = words.number()?;
    devices()
        .into_iter()
        .filter(|device| device.kind == kind)
        .nth(index)
        .ok_or(Failure::Absent("device"))
}

/// Asks until there is an answer.
///
/// # Errors
/// [`Failure::Timeout`], or the first error of `ask`.
pub fn poll<T>(
    what: &'static str,
    mut ask: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let start = cpu::tsc();
    while cpu::tsc().wrapping_sub(start) < PATIENCE {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        core::hint::spin_loop();
    }
    Err(Failure::Timeout(what))
}

/// Memory as devices see it: where ring 3 sees it.
#[derive(Debug)]
pub struct Identity;

impl Identity {
    fn pointer(address: u64) -> NonNull<u8> {
        let address = usize::try_from(address).unwrap_or(0);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
    }
}

// SAFETY: the pages are whole, zeroed, in no other use until they are given back, and their physical address is the
// one that ring 3 has them at; so is that of all other memory.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match pages::take(pages) {
            Some(start) => (start.as_ptr().expose_provenance() as u64, start),
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_physical: PhysAddr, start: NonNull<u8>, pages: usize) -> i32 {
        pages::give_back(start, pages);
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, size: usize) -> NonNull<u8> {
        // What is beyond the map faults when it is used, which ends the command.
        let _ = memory::map(physical, size as u64);
        Self::pointer(physical)
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_physical: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
