//! The PVH boot protocol: 32-bit entry with a pointer to `struct hvm_start_info` in EBX.
//!
//! Sources: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h (version 1).

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::boot_state::BootState;
use crate::error::LoadError;
use crate::load::Guest;
use crate::room::Room;
use crate::source::Source;
use crate::{cmdline, elf, initrd, layout};

/// XEN_HVM_START_MAGIC_VALUE.
const MAGIC: u32 = 0x336e_c578;

/// Offset of the module list behind the start info.
const MODULES: u64 = 0x40;

/// Offset of the memory map.
const MEMORY_MAP: u64 = 0x80;

/// The entries of the memory map that fit behind it.
const MAX_REGIONS: usize = 160;

/// Loads an ELF image and the structures that its PVH entry wants.
pub(crate) fn load<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    image: &elf::Image,
    initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
    entry: u32,
) -> Result<BootState, LoadError> {
    let mut room = Room::new(guest.regions);
    elf::load(memory, kernel, image, &mut room)?;
    let entry = room.check_entry("PVH", "PHYS32_ENTRY", entry.into())?;
    let initrd = initrd
        .map(|initrd| initrd::load(memory, initrd, guest.regions, room.end(), 1 << 32))
        .transpose()?;
    let cmdline = cmdline::write(memory, guest.cmdline, u64::MAX)?;
    if guest.regions.len() > MAX_REGIONS {
        return Err(LoadError::field(
            "PVH",
            "memmap_entries",
            guest.regions.len() as u64,
            "more than 160",
        ));
    }

    let mut page = Vec::with_capacity(4096);
    page.extend(MAGIC.to_le_bytes());
    page.extend(1_u32.to_le_bytes()); // version
    page.extend(0_u32.to_le_bytes()); // flags
    page.extend(u32::from(initrd.is_some()).to_le_bytes()); // nr_modules
    let modules = if initrd.is_some() {
        layout::PVH_INFO + MODULES
    } else {
        0
    };
    for address in [
        modules,
        cmdline,
        guest.rsdp.unwrap_or(0),
        layout::PVH_INFO + MEMORY_MAP,
    ] {
        page.extend(address.to_le_bytes());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked above to be at most 160"
    )]
    page.extend((guest.regions.len() as u32).to_le_bytes());
    page.resize(0x40, 0);
    // hvm_modlist_entry: address, size, command line, reserved.
    let (address, size) = initrd.map_or((0, 0), |placed| (placed.address, placed.size));
    [address, size, 0, 0]
        .iter()
        .for_each(|word: &u64| page.extend(word.to_le_bytes()));
    page.resize(0x80, 0);
    // hvm_memmap_table_entry: address, size, type, reserved.
    for region in guest.regions {
        page.extend(region.start.to_le_bytes());
        page.extend(region.size.to_le_bytes());
        page.extend(region.kind.e820().to_le_bytes());
        page.extend(0_u32.to_le_bytes());
    }
    let written = memory.write_slice(&page, GuestAddress(layout::PVH_INFO));
    written.map_err(|source| LoadError::structure("PVH start info", layout::PVH_INFO, source))?;
    Ok(BootState {
        rbx: layout::PVH_INFO,
        ..BootState::protected(memory, entry)?
    })
}
