//! bzImage: a real-mode part with the setup header, and behind it the compressed kernel.
//!
//! The payload is decompressed on the host, which takes milliseconds where the guest may take minutes.
//! An image whose payload is no Linux (memtest86+ is one) is started at its own protected-mode entry.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst.

use vm_memory::GuestMemory;

use crate::boot_state::BootState;
use crate::decompress::{self, Compression};
use crate::elf;
use crate::error::LoadError;
use crate::layout;
use crate::linux::{self, SETUP_HEADER, SETUP_HEADER_END, ZeroPage};
use crate::load::{BootProtocol, Guest};
use crate::pvh;
use crate::room::Room;
use crate::source::{Fields, Source};

const FORMAT: &str = "bzImage";
const SECTOR: u64 = 512;
const BOOT_FLAG: u16 = 0xaa55;
const MAGIC: &[u8] = b"HdrS";

/// Version 2.02 knows the command line's pointer: the least that we can start.
const MIN_VERSION: u16 = 0x0202;
/// Version 2.08 knows the payload.
const PAYLOAD_VERSION: u16 = 0x0208;
/// Version 2.10 knows where the kernel wants to be.
const PREFERRED_VERSION: u16 = 0x020a;
/// Version 2.12 knows the 64-bit entry.
const XLOADFLAGS_VERSION: u16 = 0x020c;

const LOADED_HIGH: u8 = 1;
const XLF_KERNEL_64: u16 = 1;
/// The 64-bit entry lies this far behind the 32-bit one.
const ENTRY_64: u64 = 0x200;

/// The setup header of an image.
#[derive(Debug, Clone)]
pub struct Setup {
    /// From offset 0 of the image to the end of the header.
    bytes: Vec<u8>,
}

impl Setup {
    /// Reads the header; `None` when the image is no bzImage.
    ///
    /// # Errors
    /// When the header is cut off, too old or impossible.
    pub fn parse(source: &Source<'_>) -> Result<Option<Self>, LoadError> {
        let mut start = [0; 0x206];
        if source.size() < start.len() as u64 {
            return Ok(None);
        }
        source.read("bzImage setup header", 0, &mut start)?;
        if Fields(&start).u16(0x1fe) != BOOT_FLAG || start.get(0x202..0x206) != Some(MAGIC) {
            return Ok(None);
        }
        // The jump at 0x200 leads over the header: its length byte says where that ends.
        let mut jump = [0; 2];
        source.read("bzImage jump", 0x200, &mut jump)?;
        let end = (0x202 + usize::from(jump[1])).clamp(0x228, SETUP_HEADER_END);
        let mut bytes = vec![0; end];
        source.read("bzImage setup header", 0, &mut bytes)?;
        bytes.resize(SETUP_HEADER_END, 0);
        let setup = Self { bytes };
        let version = setup.version();
        if version < MIN_VERSION {
            return Err(LoadError::field(
                FORMAT,
                "version",
                version.into(),
                "older than 2.02",
            ));
        }
        let loadflags = setup.fields().u8(0x211);
        if loadflags & LOADED_HIGH == 0 {
            return Err(LoadError::field(
                FORMAT,
                "loadflags",
                loadflags.into(),
                "a zImage, which is loaded low",
            ));
        }
        Ok(Some(setup))
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.bytes)
    }

    fn version(&self) -> u16 {
        self.fields().u16(0x206)
    }

    /// Where the protected-mode part begins in the file.
    fn protected_mode_offset(&self) -> u64 {
        let sectors = match self.fields().u8(SETUP_HEADER) {
            0 => 4,
            sectors => u64::from(sectors),
        };
        (sectors + 1) * SECTOR
    }

    /// Reads the payload as it is in the file, at most `max` bytes; `None` when the image has none that we know.
    fn payload(
        &self,
        source: &Source<'_>,
        max: u64,
    ) -> Result<Option<(Vec<u8>, Compression)>, LoadError> {
        const WHAT: &str = "bzImage payload";
        let (offset, length) = (self.fields().u32(0x248), self.fields().u32(0x24c));
        if self.version() < PAYLOAD_VERSION || length == 0 {
            return Ok(None);
        }
        let offset = self.protected_mode_offset() + u64::from(offset);
        let size = source.size();
        if offset + u64::from(length) > size {
            return Err(LoadError::Truncated {
                what: WHAT,
                offset,
                wanted: length.into(),
                size,
            });
        }
        if u64::from(length) > max {
            return Err(LoadError::TooLarge { what: WHAT, max });
        }
        let mut payload = vec![0; length as usize];
        source.read(WHAT, offset, &mut payload)?;
        let compression = Compression::detect(&payload);
        Ok(compression.map(|compression| (payload, compression)))
    }
}

/// The decompressed payload of a bzImage: an ELF kernel, with its relocations behind it. `max` bounds it.
///
/// # Errors
/// When the image has no payload, or it cannot be decompressed.
pub fn payload(source: &Source<'_>, max: u64) -> Result<Vec<u8>, LoadError> {
    let missing = |missing| LoadError::Missing {
        format: FORMAT,
        missing,
    };
    let setup = Setup::parse(source)?.ok_or_else(|| missing("setup header (HdrS)"))?;
    let (payload, compression) = setup
        .payload(source, max)?
        .ok_or_else(|| missing("payload of a known compression"))?;
    decompress::decompress(&payload, compression, max)
}

/// Loads a bzImage: its payload if it has one, else the image as a boot loader would.
pub(crate) fn load<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    setup: &Setup,
    initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
) -> Result<BootState, LoadError> {
    let page = ZeroPage::for_bzimage(setup.bytes.get(SETUP_HEADER..).unwrap_or_default());
    let max = guest.ram_below_4g();
    let wants_pvh = guest.protocol == BootProtocol::Pvh;
    let no_note = LoadError::Missing {
        format: FORMAT,
        missing: "PVH note in its payload",
    };
    let Some((payload, compression)) = setup.payload(kernel, max)? else {
        return if wants_pvh {
            Err(no_note)
        } else {
            load_image(memory, kernel, setup, initrd, guest, page)
        };
    };
    let vmlinux = decompress::decompress(&payload, compression, max)?;
    drop(payload);
    let mut vmlinux = Source::Bytes(&vmlinux);
    let image = elf::parse(&vmlinux)?;
    if wants_pvh {
        let entry = image.pvh_entry.ok_or(no_note)?;
        return pvh::load(memory, &mut vmlinux, &image, initrd, guest, entry);
    }
    linux::load_elf(memory, &mut vmlinux, &image, initrd, guest, page)
}

/// Loads the protected-mode part where it wants to be and starts it there.
fn load_image<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    setup: &Setup,
    initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
    page: ZeroPage,
) -> Result<BootState, LoadError> {
    const WHAT: &str = "bzImage protected-mode part";
    let fields = setup.fields();
    let offset = setup.protected_mode_offset();
    let size = kernel.size().checked_sub(offset).filter(|size| *size > 0);
    let size = size.ok_or(LoadError::Missing {
        format: FORMAT,
        missing: "protected-mode part",
    })?;
    let (mut address, mut room_size) = (layout::HIGH_MEMORY, size);
    if setup.version() >= PREFERRED_VERSION {
        let preferred = fields.u64(0x258);
        if fields.u8(0x234) != 0 && preferred != 0 {
            address = preferred;
        }
        room_size = size.max(fields.u32(0x260).into()); // init_size
    }
    let mut room = Room::new(guest.regions);
    room.take(memory, WHAT, address, room_size)?;
    kernel.copy_to(WHAT, offset, size, memory, address)?;
    let has_64_bit_entry =
        setup.version() >= XLOADFLAGS_VERSION && fields.u16(0x236) & XLF_KERNEL_64 != 0;
    let entry = if has_64_bit_entry {
        address + ENTRY_64
    } else {
        address
    };
    let entry = room.check_entry(FORMAT, "pref_address", entry)?;
    page.finish(memory, initrd, guest, room.end())?;
    linux::start(memory, entry, has_64_bit_entry)
}
