//! From an image to a boot state: which format is it, and who loads it.

use vm_memory::GuestMemory;

use crate::boot_state::BootState;
use crate::bzimage::{self, Setup};
use crate::error::LoadError;
use crate::linux::{self, ZeroPage};
use crate::source::{Fields, Source};
use crate::{elf, multiboot1, multiboot2, pvh};

/// What a range of guest-physical addresses is, by e820 types (ACPI specification 6.5, 15.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// For the kernel to use.
    Ram,
    /// Not to be touched.
    Reserved,
    /// ACPI tables: RAM once they have been read.
    AcpiReclaimable,
    /// Persistent memory.
    Persistent,
}

impl MemoryKind {
    /// The number of its type.
    #[must_use]
    pub const fn e820(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiReclaimable => 3,
            Self::Persistent => 7,
        }
    }
}

/// A range of the memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First guest-physical address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub kind: MemoryKind,
}

/// By which protocol a kernel is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootProtocol {
    /// The first of the following that an ELF image offers; a bzImage is started as Linux.
    #[default]
    Auto,
    /// PVH.
    Pvh,
    /// Multiboot 2.
    Multiboot2,
    /// Multiboot 1.
    Multiboot1,
    /// The Linux boot protocol.
    Linux,
}

/// What the kernel is told.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// The command line: printable ASCII.
    pub cmdline: &'a str,
    /// The memory map, sorted, without overlaps.
    pub regions: &'a [MemoryRegion],
    /// Address of the ACPI root pointer.
    pub rsdp: Option<u64>,
    /// Entropy for the kernel's random number generator.
    pub random_seed: &'a [u8; 32],
    /// How to start it.
    pub protocol: BootProtocol,
}

impl Guest<'_> {
    /// Bytes of RAM below 4 GiB: no kernel is larger.
    pub(crate) fn ram_below_4g(&self) -> u64 {
        let ram = self
            .regions
            .iter()
            .filter(|region| region.kind == MemoryKind::Ram && region.start < 1 << 32);
        ram.map(|region| region.size.min((1 << 32) - region.start))
            .fold(0, u64::saturating_add)
    }
}

/// Loads a kernel with its initial RAM disk, and says in which registers it starts.
///
/// Memory that the kernel expects to be zero is not cleared: give it fresh RAM.
///
/// # Errors
/// What is wrong with the image, which part does not fit, or what the host said.
pub fn load<M: GuestMemory>(
    memory: &M,
    mut kernel: Source<'_>,
    mut initrd: Option<Source<'_>>,
    guest: &Guest<'_>,
) -> Result<BootState, LoadError> {
    let size = kernel.size();
    if size == 0 {
        return Err(LoadError::Empty { what: "kernel" });
    }
    let mut start = [0; 4];
    kernel.read("first bytes", 0, &mut start)?;
    let (kernel, initrd) = (&mut kernel, initrd.as_mut());
    let magic = Fields(&start).u32(0);
    if magic == elf::MAGIC {
        return load_elf(memory, kernel, initrd, guest);
    }
    let missing = missing_header(guest.protocol);
    if missing.is_none()
        && let Some(setup) = Setup::parse(kernel)?
    {
        return bzimage::load(memory, kernel, &setup, initrd, guest);
    }
    let state = load_multiboot(memory, kernel, None, initrd, guest)?;
    state.ok_or_else(|| missing.unwrap_or(LoadError::Format { magic }))
}

/// What to say where nothing but multiboot is wanted, and its header is not there.
fn missing_header(protocol: BootProtocol) -> Option<LoadError> {
    let (format, missing) = match protocol {
        BootProtocol::Multiboot2 => ("multiboot 2", "header in the first 32 KiB"),
        BootProtocol::Multiboot1 => ("multiboot", "header in the first 8 KiB"),
        BootProtocol::Auto | BootProtocol::Pvh | BootProtocol::Linux => return None,
    };
    Some(LoadError::Missing { format, missing })
}

fn load_elf<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    mut initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
) -> Result<BootState, LoadError> {
    let image = elf::parse(kernel)?;
    let wants = |protocol| guest.protocol == BootProtocol::Auto || guest.protocol == protocol;
    if let Some(entry) = image.pvh_entry.filter(|_| wants(BootProtocol::Pvh)) {
        return pvh::load(memory, kernel, &image, initrd, guest, entry);
    }
    if let Some(state) = load_multiboot(memory, kernel, Some(&image), initrd.as_deref_mut(), guest)?
    {
        return Ok(state);
    }
    let missing = |missing| LoadError::Missing {
        format: "ELF",
        missing,
    };
    if let Some(missing) = missing_header(guest.protocol) {
        return Err(missing);
    }
    match guest.protocol {
        BootProtocol::Pvh => return Err(missing("PVH note")),
        // Not every 32-bit image is a Linux: it has to be asked for.
        BootProtocol::Auto if !image.is_64_bit => {
            return Err(missing("PVH note or multiboot header in a 32-bit image"));
        }
        _ => {}
    }
    linux::load_elf(memory, kernel, &image, initrd, guest, ZeroPage::for_elf())
}

/// Loads an image that has a multiboot header; `None` when it has none of the wanted kind.
fn load_multiboot<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    image: Option<&elf::Image>,
    initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
) -> Result<Option<BootState>, LoadError> {
    let wants = |protocol| guest.protocol == BootProtocol::Auto || guest.protocol == protocol;
    if wants(BootProtocol::Multiboot2)
        && let Some(header) = multiboot2::find(kernel)?
    {
        return multiboot2::load(memory, kernel, &header, image, initrd, guest).map(Some);
    }
    if wants(BootProtocol::Multiboot1)
        && let Some(header) = multiboot1::find(kernel)?
    {
        return multiboot1::load(memory, kernel, &header, image, initrd, guest).map(Some);
    }
    Ok(None)
}
