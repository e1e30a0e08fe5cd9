//! Multiboot 1.
//!
//! Source: Multiboot Specification 0.6.96, chapters 3.1 (header), 3.2 (machine state), 3.3 (information).
//! Not modelled: drives, configuration table, APM, VBE and framebuffer information, symbols of the image.

use vm_memory::GuestMemory;

use crate::boot_state::BootState;
use crate::error::LoadError;
use crate::load::Guest;
use crate::multiboot::{self, Addresses, words};
use crate::room::Room;
use crate::source::{Fields, Source};
use crate::{cmdline, elf, initrd, layout};

const FORMAT: &str = "multiboot";
const MAGIC: u32 = 0x1bad_b002;

/// What EAX holds at the entry.
const LOADER_MAGIC: u32 = 0x2bad_b002;

/// The header lies within so many bytes (3.1).
const SEARCH: u64 = 8192;

/// Bits of the header's flags (3.1.2). The low half is a list of demands.
mod flag {
    pub(super) const MODULES_PAGE_ALIGNED: u32 = 1 << 0;
    pub(super) const MEMORY_INFORMATION: u32 = 1 << 1;
    pub(super) const VIDEO_MODE: u32 = 1 << 2;
    pub(super) const DEMANDS: u32 = 0xffff;
    pub(super) const ADDRESS_FIELDS: u32 = 1 << 16;
}

/// Bits of the information's flags (3.3), and where it and its lists stand behind [`layout::MULTIBOOT_INFO`].
mod info {
    pub(super) const MEMORY: u32 = 1 << 0;
    pub(super) const CMDLINE: u32 = 1 << 2;
    pub(super) const MODULES: u32 = 1 << 3;
    pub(super) const MEMORY_MAP: u32 = 1 << 6;
    pub(super) const LOADER_NAME: u32 = 1 << 9;

    pub(super) const MODULE_LIST: u32 = 0x80;
    pub(super) const NAME: u32 = 0x90;
    pub(super) const MAP: u32 = 0x100;
}

/// Bytes of an entry of the memory map, its size field included.
const MAP_ENTRY: u32 = 24;

/// A header, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    offset: u64,
    flags: u32,
    /// With the entry.
    addresses: Option<(Addresses, u32)>,
}

/// Looks for the header: on a multiple of four, within the first 8 KiB.
///
/// # Errors
/// When the file cannot be read, or ends in the header.
pub fn find(source: &Source<'_>) -> Result<Option<Header>, LoadError> {
    const WHAT: &str = "multiboot header";
    let mut start = vec![0; usize::try_from(source.size().min(SEARCH)).unwrap_or_default()];
    source.read(WHAT, 0, &mut start)?;
    let is_header = |words: &[u8]| {
        let (magic, flags, checksum) = (
            Fields(words).u32(0),
            Fields(words).u32(4),
            Fields(words).u32(8),
        );
        words.len() == 12 && magic == MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0
    };
    let Some((offset, words)) = (0..)
        .step_by(4)
        .zip(start.windows(12).step_by(4))
        .find(|(_, words)| is_header(words))
    else {
        return Ok(None);
    };
    let flags = Fields(words).u32(4);
    let mut addresses = None;
    if flags & flag::ADDRESS_FIELDS != 0 {
        let mut words = [0; 20];
        source.read(WHAT, offset + 12, &mut words)?;
        let word = |index: usize| Fields(&words).u32(4 * index);
        let fields = Addresses {
            header: word(0),
            load: word(1),
            load_end: word(2),
            bss_end: word(3),
        };
        addresses = Some((fields, word(4)));
    }
    Ok(Some(Header {
        offset,
        flags,
        addresses,
    }))
}

/// Loads the image and the information that its entry wants.
pub(crate) fn load<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    header: &Header,
    image: Option<&elf::Image>,
    initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
) -> Result<BootState, LoadError> {
    check_demands(header.flags)?;
    let mut room = Room::new(guest.regions);
    let entry = match (header.addresses, image) {
        (Some((addresses, entry)), _) => {
            addresses.load(FORMAT, memory, kernel, header.offset, &mut room)?;
            room.check_entry(FORMAT, "entry_addr", entry.into())?
        }
        (None, Some(image)) => {
            elf::load(memory, kernel, image, &mut room)?;
            room.check_entry("ELF", "e_entry", multiboot::elf_entry(image))?
        }
        (None, None) => {
            return Err(LoadError::Missing {
                format: FORMAT,
                missing: "address fields, and it is no ELF image",
            });
        }
    };
    let initrd = initrd
        .map(|initrd| initrd::load(memory, initrd, guest.regions, room.end(), 1 << 32))
        .transpose()?;
    let cmdline = cmdline::write(memory, guest.cmdline, u64::MAX)?;
    multiboot::write_info(memory, &information(guest, initrd, cmdline)?)?;
    multiboot::state(memory, guest, entry, LOADER_MAGIC)
}

/// Modules are always page-aligned and memory information is always given; nothing else can be demanded.
fn check_demands(flags: u32) -> Result<(), LoadError> {
    let wrong = |wanted| Err(LoadError::field(FORMAT, "flags", flags.into(), wanted));
    if flags & flag::VIDEO_MODE != 0 {
        return wrong("which demands a video mode (bit 2): there is no screen");
    }
    if flags & flag::DEMANDS & !(flag::MODULES_PAGE_ALIGNED | flag::MEMORY_INFORMATION) != 0 {
        return wrong("which demands what version 0.6.96 does not know (bits 3 to 15)");
    }
    Ok(())
}

/// The information structure, its module list and its memory map.
#[expect(
    clippy::cast_possible_truncation,
    reason = "structures and modules lie below 4 GiB, and the map's length is checked"
)]
fn information(
    guest: &Guest<'_>,
    initrd: Option<initrd::Placed>,
    cmdline: u64,
) -> Result<Vec<u8>, LoadError> {
    let base = layout::MULTIBOOT_INFO as u32;
    let map_size = guest.regions.len() as u64 * u64::from(MAP_ENTRY);
    if u64::from(info::MAP) + map_size > layout::MULTIBOOT_INFO_SIZE {
        return Err(LoadError::field(
            FORMAT,
            "mmap_length",
            map_size,
            "more than 16128 bytes",
        ));
    }
    let mut flags = info::MEMORY | info::CMDLINE | info::MEMORY_MAP | info::LOADER_NAME;
    if initrd.is_some() {
        flags |= info::MODULES;
    }
    let (lower, upper) = multiboot::memory_bounds(guest);
    let modules = u32::from(initrd.is_some());
    let mut data = Vec::with_capacity(4096);
    data.extend(words(&[flags, lower, upper, 0])); // boot_device
    data.extend(words(&[cmdline as u32, modules, base + info::MODULE_LIST]));
    data.extend(words(&[0; 4])); // syms
    data.extend(words(&[map_size as u32, base + info::MAP]));
    data.extend(words(&[0; 3])); // drives, config_table
    data.extend(words(&[base + info::NAME]));
    data.resize(info::MODULE_LIST as usize, 0);
    // mod_start, mod_end, string, reserved; the string is the NUL of the name: an empty one.
    let (start, size) = initrd.map_or((0, 0), |placed| (placed.address, placed.size));
    let empty = base + info::NAME + multiboot::LOADER_NAME.len() as u32 - 1;
    data.extend(words(&[start as u32, (start + size) as u32, empty, 0]));
    data.extend(multiboot::LOADER_NAME);
    data.resize(info::MAP as usize, 0);
    for region in guest.regions {
        data.extend((MAP_ENTRY - 4).to_le_bytes());
        data.extend(region.start.to_le_bytes());
        data.extend(region.size.to_le_bytes());
        data.extend(region.kind.e820().to_le_bytes());
    }
    Ok(data)
}
