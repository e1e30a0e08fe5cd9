//! Multiboot 2.
//!
//! Source: Multiboot2 Specification 2.0, chapters 3.1 (header), 3.3 (machine state of i386), 3.6 (information).
//! Not modelled: relocation (an image is loaded where it was linked to), ELF symbols, SMBIOS, and what only a
//! firmware could tell: EFI, VBE, framebuffer, APM, boot device, network.

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::boot_state::BootState;
use crate::error::LoadError;
use crate::load::Guest;
use crate::multiboot::{self, Addresses, words};
use crate::room::Room;
use crate::source::{Fields, Source};
use crate::{cmdline, elf, initrd, layout};

const FORMAT: &str = "multiboot 2";
const MAGIC: u32 = 0xe852_50d6;

/// What EAX holds at the entry.
const LOADER_MAGIC: u32 = 0x36d7_6289;

/// The header lies within so many bytes (3.1).
const SEARCH: u64 = 32768;

/// Architecture: protected mode of i386.
const I386: u32 = 0;

/// Tags of the header (3.1.3 and following).
mod tag {
    pub(super) const END: u16 = 0;
    pub(super) const INFORMATION_REQUEST: u16 = 1;
    pub(super) const ADDRESS: u16 = 2;
    pub(super) const ENTRY_ADDRESS: u16 = 3;
    pub(super) const CONSOLE_FLAGS: u16 = 4;
    pub(super) const FRAMEBUFFER: u16 = 5;
    pub(super) const MODULE_ALIGNMENT: u16 = 6;
    pub(super) const EFI_BOOT_SERVICES: u16 = 7;
    pub(super) const EFI_I386_ENTRY: u16 = 8;
    pub(super) const EFI_AMD64_ENTRY: u16 = 9;
    pub(super) const RELOCATABLE: u16 = 10;

    /// Flag: who does not know the tag may go on.
    pub(super) const OPTIONAL: u16 = 1;
}

/// Tags of the information (3.6).
mod info {
    pub(super) const END: u32 = 0;
    pub(super) const CMDLINE: u32 = 1;
    pub(super) const LOADER_NAME: u32 = 2;
    pub(super) const MODULE: u32 = 3;
    pub(super) const MEMORY_BOUNDS: u32 = 4;
    pub(super) const MEMORY_MAP: u32 = 6;
    pub(super) const ELF_SYMBOLS: u32 = 9;
    pub(super) const SMBIOS: u32 = 13;
    pub(super) const ACPI_OLD_RSDP: u32 = 14;
    pub(super) const ACPI_NEW_RSDP: u32 = 15;
    pub(super) const LOAD_BASE: u32 = 21;
}

/// A header, found; what it demands can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    offset: u64,
    addresses: Option<Addresses>,
    entry: Option<u32>,
    relocatable: bool,
}

/// Looks for the header: on a multiple of eight, within the first 32 KiB.
///
/// # Errors
/// When the file cannot be read or ends in the header, when a tag is impossible, or demands what this machine
/// does not have.
pub fn find(source: &Source<'_>) -> Result<Option<Header>, LoadError> {
    const WHAT: &str = "multiboot 2 header";
    let mut start = vec![0; usize::try_from(source.size().min(SEARCH)).unwrap_or_default()];
    source.read(WHAT, 0, &mut start)?;
    let is_header = |words: &[u8]| {
        let sum = (0..4).fold(0_u32, |sum, index| {
            sum.wrapping_add(Fields(words).u32(4 * index))
        });
        Fields(words).u32(0) == MAGIC && sum == 0
    };
    let Some((offset, words)) = (0..)
        .step_by(8)
        .zip(start.windows(16).step_by(8))
        .find(|(_, words)| is_header(words))
    else {
        return Ok(None);
    };
    let (architecture, length) = (Fields(words).u32(4), u64::from(Fields(words).u32(8)));
    if architecture != I386 {
        return Err(LoadError::field(
            FORMAT,
            "architecture",
            architecture.into(),
            "not 0 (i386)",
        ));
    }
    if length < 16 || offset + length > SEARCH {
        return Err(LoadError::field(
            FORMAT,
            "header_length",
            length,
            "not 16 bytes, or past the first 32 KiB",
        ));
    }
    let mut tags = vec![0; usize::try_from(length - 16).unwrap_or_default()];
    source.read(WHAT, offset + 16, &mut tags)?;
    Header {
        offset,
        ..Header::default()
    }
    .with_tags(&tags)
    .map(Some)
}

impl Header {
    fn with_tags(mut self, mut tags: &[u8]) -> Result<Self, LoadError> {
        loop {
            let fields = Fields(tags);
            let (kind, flags, size) = (fields.u16(0), fields.u16(2), fields.u32(4));
            let wrong = || {
                LoadError::field(
                    FORMAT,
                    "tag size",
                    size.into(),
                    "too small, or past the header's end",
                )
            };
            if tags.len() < 8 {
                return Err(LoadError::Missing {
                    format: FORMAT,
                    missing: "end tag in its header",
                });
            }
            let tag = tags
                .get(..size as usize)
                .filter(|tag| tag.len() >= least_size(kind))
                .ok_or_else(wrong)?;
            if kind == tag::END {
                return Ok(self);
            }
            self.take(kind, flags & tag::OPTIONAL != 0, tag)?;
            tags = tags
                .get((size as usize).next_multiple_of(8)..)
                .unwrap_or_default();
        }
    }

    fn take(&mut self, kind: u16, optional: bool, tag: &[u8]) -> Result<(), LoadError> {
        let field = |index: usize| Fields(tag).u32(8 + 4 * index);
        let demand = |field, value, wanted| {
            if optional {
                Ok(())
            } else {
                Err(LoadError::field(FORMAT, field, value, wanted))
            }
        };
        match kind {
            tag::INFORMATION_REQUEST => {
                for request in tag.get(8..).unwrap_or_default().chunks_exact(4) {
                    let request = Fields(request).u32(0);
                    if !is_known(request) {
                        demand(
                            "mbi_tag_types",
                            request.into(),
                            "a demand for information that is not given",
                        )?;
                    }
                }
                Ok(())
            }
            tag::ADDRESS => {
                let mut addresses = Addresses {
                    header: field(0),
                    load: field(1),
                    load_end: field(2),
                    bss_end: field(3),
                };
                if addresses.load == u32::MAX {
                    // From the beginning of the file; the offset is below 32 KiB.
                    let offset = u32::try_from(self.offset).unwrap_or(u32::MAX);
                    let load = addresses.header.checked_sub(offset);
                    let wanted = "too low for the file's beginning";
                    addresses.load = load.ok_or_else(|| {
                        LoadError::field(FORMAT, "header_addr", addresses.header.into(), wanted)
                    })?;
                }
                self.addresses = Some(addresses);
                Ok(())
            }
            tag::ENTRY_ADDRESS => {
                self.entry = Some(field(0));
                Ok(())
            }
            tag::CONSOLE_FLAGS if field(0) & 1 != 0 => demand(
                "console_flags",
                field(0).into(),
                "a demand for a console (bit 0): there is no screen",
            ),
            tag::FRAMEBUFFER => demand(
                "tag type",
                kind.into(),
                "a demand for a framebuffer: there is no screen",
            ),
            tag::RELOCATABLE => {
                self.relocatable = true;
                Ok(())
            }
            // Modules are always page-aligned, and EFI is told of where there is EFI.
            tag::CONSOLE_FLAGS
            | tag::MODULE_ALIGNMENT
            | tag::EFI_BOOT_SERVICES
            | tag::EFI_I386_ENTRY
            | tag::EFI_AMD64_ENTRY => Ok(()),
            _ => demand(
                "tag type",
                kind.into(),
                "a demand that version 2.0 does not know",
            ),
        }
    }
}

/// Bytes of a tag, as far as they are read.
const fn least_size(kind: u16) -> usize {
    match kind {
        tag::ADDRESS | tag::RELOCATABLE => 24,
        tag::ENTRY_ADDRESS | tag::CONSOLE_FLAGS => 12,
        _ => 8,
    }
}

/// Whether a request can be met. It is met as well where the machine has nothing to report (3.1.5), so only what
/// it has, and is not told here, and what nobody knows is left.
const fn is_known(request: u32) -> bool {
    matches!(request, info::CMDLINE..=info::LOAD_BASE)
        && !matches!(request, info::ELF_SYMBOLS | info::SMBIOS)
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
    let mut room = Room::new(guest.regions);
    let elf_entry = match (header.addresses, image) {
        (Some(addresses), _) => {
            addresses.load(FORMAT, memory, kernel, header.offset, &mut room)?;
            None
        }
        (None, Some(image)) => {
            elf::load(memory, kernel, image, &mut room)?;
            Some(multiboot::elf_entry(image))
        }
        (None, None) => {
            return Err(LoadError::Missing {
                format: FORMAT,
                missing: "address tag, and it is no ELF image",
            });
        }
    };
    let entry = match (header.entry, elf_entry) {
        (Some(entry), _) => room.check_entry(FORMAT, "entry_addr", entry.into())?,
        (None, Some(entry)) => room.check_entry("ELF", "e_entry", entry)?,
        (None, None) => {
            return Err(LoadError::Missing {
                format: FORMAT,
                missing: "entry address tag beside its address tag",
            });
        }
    };
    let initrd = initrd
        .map(|initrd| initrd::load(memory, initrd, guest.regions, room.end(), 1 << 32))
        .transpose()?;
    let load_base = header.relocatable.then_some(room.start());
    multiboot::write_info(memory, &information(memory, guest, initrd, load_base)?)?;
    multiboot::state(memory, guest, entry, LOADER_MAGIC)
}

/// The information: its total size, a reserved word, and tags.
#[expect(
    clippy::cast_possible_truncation,
    reason = "everything lies below 4 GiB, and the total size is checked"
)]
fn information<M: GuestMemory>(
    memory: &M,
    guest: &Guest<'_>,
    initrd: Option<initrd::Placed>,
    load_base: Option<u64>,
) -> Result<Vec<u8>, LoadError> {
    let mut tags = Tags(vec![0; 8]);
    tags.add(info::LOADER_NAME, multiboot::LOADER_NAME);
    let (lower, upper) = multiboot::memory_bounds(guest);
    tags.add(info::MEMORY_BOUNDS, &words(&[lower, upper]));
    if let Some(initrd) = initrd {
        let mut module = words(&[initrd.address as u32, (initrd.address + initrd.size) as u32]);
        module.push(0); // an empty string
        tags.add(info::MODULE, &module);
    }
    let mut map = words(&[24, 0]); // entry_size, entry_version
    for region in guest.regions {
        map.extend(region.start.to_le_bytes());
        map.extend(region.size.to_le_bytes());
        map.extend(words(&[region.kind.e820(), 0]));
    }
    tags.add(info::MEMORY_MAP, &map);
    if let Some(base) = load_base {
        tags.add(info::LOAD_BASE, &words(&[base as u32]));
    }
    if let Some(address) = guest.rsdp {
        let rsdp = root_pointer(memory, address)?;
        let kind = if rsdp.len() > RSDP_1 {
            info::ACPI_NEW_RSDP
        } else {
            info::ACPI_OLD_RSDP
        };
        tags.add(kind, &rsdp);
    }
    // The command line last: what is left is its.
    let left = layout::MULTIBOOT_INFO_SIZE.checked_sub(tags.0.len() as u64 + 8 + 8 + 8);
    let left = left.ok_or_else(|| {
        LoadError::field(
            FORMAT,
            "memory map size",
            map.len() as u64,
            "too much for 16 KiB of information",
        )
    })?;
    tags.add(info::CMDLINE, &cmdline::checked(guest.cmdline, left)?);
    tags.add(info::END, &[]);
    let mut data = tags.0;
    let total = data.len() as u32;
    if let Some(first) = data.first_chunk_mut() {
        *first = total.to_le_bytes();
    }
    Ok(data)
}

/// Bytes of the root pointer of ACPI 1.0, and since 2.0.
const RSDP_1: usize = 20;
const RSDP_2: usize = 36;

/// The ACPI root pointer, as long as its revision says.
fn root_pointer<M: GuestMemory>(memory: &M, address: u64) -> Result<Vec<u8>, LoadError> {
    let read = |size: usize| {
        let mut bytes = vec![0; size];
        let read = memory.read_slice(&mut bytes, GuestAddress(address));
        read.map(|()| bytes)
            .map_err(|source| LoadError::structure("ACPI root pointer", address, source))
    };
    let old = read(RSDP_1)?;
    if Fields(&old).u8(15) < 2 {
        Ok(old)
    } else {
        read(RSDP_2)
    }
}

/// The tags of the information: type, size, contents, and padding to a multiple of eight.
struct Tags(Vec<u8>);

impl Tags {
    fn add(&mut self, kind: u32, contents: &[u8]) {
        let size = u32::try_from(8 + contents.len()).unwrap_or(u32::MAX);
        self.0.extend(words(&[kind, size]));
        self.0.extend(contents);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }
}
