//! What both versions of multiboot share: images without ELF headers, entries, memory bounds.

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::boot_state::BootState;
use crate::elf;
use crate::error::LoadError;
use crate::layout;
use crate::load::{Guest, MemoryKind};
use crate::room::Room;
use crate::source::Source;

/// Name of the boot loader, as images are told.
pub(crate) const LOADER_NAME: &[u8] = b"trivisor\0";

/// The address fields of a header: they say where an image without ELF headers goes, and outrank these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Where the header goes.
    pub(crate) header: u32,
    /// Where the text begins.
    pub(crate) load: u32,
    /// Where the data ends; 0: with the file.
    pub(crate) load_end: u32,
    /// Where the bss ends; 0: there is none.
    pub(crate) bss_end: u32,
}

impl Addresses {
    /// Loads an image whose header is at `offset` of the file.
    pub(crate) fn load<M: GuestMemory>(
        self,
        format: &'static str,
        memory: &M,
        kernel: &mut Source<'_>,
        offset: u64,
        room: &mut Room<'_>,
    ) -> Result<(), LoadError> {
        let load = u64::from(self.load);
        let distance = u64::from(self.header).checked_sub(load);
        let distance = distance
            .ok_or_else(|| LoadError::field(format, "load_addr", load, "above header_addr"))?;
        let start = offset.checked_sub(distance);
        let start = start.ok_or_else(|| {
            LoadError::field(format, "load_addr", load, "before the file's beginning")
        })?;
        let size = match self.load_end {
            0 => kernel.size().checked_sub(start),
            end => u64::from(end).checked_sub(load),
        };
        let wrong = || {
            LoadError::field(
                format,
                "load_end_addr",
                self.load_end.into(),
                "not above load_addr",
            )
        };
        let size = size.filter(|size| *size > 0).ok_or_else(wrong)?;
        let room_size = match self.bss_end {
            0 => size,
            end => u64::from(end)
                .checked_sub(load)
                .filter(|wanted| *wanted >= size)
                .ok_or_else(|| {
                    LoadError::field(
                        format,
                        "bss_end_addr",
                        end.into(),
                        "below the end of the data",
                    )
                })?,
        };
        room.take(memory, "multiboot image", load, room_size)?;
        kernel.copy_to("multiboot image", start, size, memory, load)
    }
}

/// Where an ELF image is entered. `e_entry` is a virtual address for some linker scripts and a physical one
/// for others: it is translated if a segment has it.
pub(crate) fn elf_entry(image: &elf::Image) -> u64 {
    let translate = |segment: &elf::Loadable| {
        let offset = image.entry.checked_sub(segment.virtual_address)?;
        (offset < segment.memory_size).then(|| segment.address + offset)
    };
    image
        .segments
        .iter()
        .find_map(translate)
        .unwrap_or(image.entry)
}

/// KiB of RAM from 0, at most 640, and from 1 MiB up to the first hole.
pub(crate) fn memory_bounds(guest: &Guest<'_>) -> (u32, u32) {
    let kib_from = |start: u64| {
        let ram = guest
            .regions
            .iter()
            .filter(|region| region.kind == MemoryKind::Ram);
        let end = ram.fold(start, |end, region| {
            let region_end = region.start.saturating_add(region.size);
            if region.start <= end {
                end.max(region_end)
            } else {
                end
            }
        });
        u32::try_from((end - start) >> 10).unwrap_or(u32::MAX)
    };
    (kib_from(0).min(640), kib_from(layout::HIGH_MEMORY))
}

/// Values as they stand in the information structure.
pub(crate) fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Writes the information structure.
pub(crate) fn write_info<M: GuestMemory>(memory: &M, info: &[u8]) -> Result<(), LoadError> {
    let written = memory.write_slice(info, GuestAddress(layout::MULTIBOOT_INFO));
    written.map_err(|source| {
        LoadError::structure("multiboot information", layout::MULTIBOOT_INFO, source)
    })
}

/// The words of the BIOS data area that say where low memory ends. Such images come from the world of the BIOS, and
/// some believe it more than the memory map: Xen puts its trampoline below the smaller of what the two say.
fn write_bios_data<M: GuestMemory>(memory: &M, guest: &Guest<'_>) -> Result<(), LoadError> {
    const EBDA_SEGMENT: u64 = layout::BDA + 0xe;
    const BASE_MEMORY: u64 = layout::BDA + 0x13;
    let (kib, _) = memory_bounds(guest);
    // It takes the rest of the 640 KiB; without a rest there is none.
    let segment = if kib < 640 { kib << 6 } else { 0 };
    for (address, value) in [(EBDA_SEGMENT, segment), (BASE_MEMORY, kib)] {
        let [low, high, ..] = value.to_le_bytes();
        let written = memory.write_slice(&[low, high], GuestAddress(address));
        written.map_err(|source| LoadError::structure("BIOS data area", address, source))?;
    }
    Ok(())
}

/// The registers in which an image starts: the boot loader's magic in EAX, the information in EBX.
pub(crate) fn state<M: GuestMemory>(
    memory: &M,
    guest: &Guest<'_>,
    entry: u64,
    magic: u32,
) -> Result<BootState, LoadError> {
    write_bios_data(memory, guest)?;
    Ok(BootState {
        rax: magic.into(),
        rbx: layout::MULTIBOOT_INFO,
        ..BootState::protected(memory, entry)?
    })
}
