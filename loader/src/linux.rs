//! The Linux boot protocol: the zero page, and the 64-bit entry with its address in RSI.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst.

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::boot_state::BootState;
use crate::error::LoadError;
use crate::load::Guest;
use crate::room::Room;
use crate::source::{Fields, Source};
use crate::{cmdline, elf, initrd, layout};

/// First byte of the setup header, in the image and in the zero page.
pub(crate) const SETUP_HEADER: usize = 0x1f1;

/// The setup header ends here at the latest: where the EDD buffer begins.
pub(crate) const SETUP_HEADER_END: usize = 0x290;

/// COMMAND_LINE_SIZE of x86 kernels, for images that do not say.
const CMDLINE_MAX: u32 = 2047;

/// The highest initial RAM disk of kernels that do not say.
const INITRD_MAX: u32 = 0x7fff_ffff;

/// The same of bzImages that do not say (boot.rst: initrd_addr_max, cmdline_size).
const OLD_INITRD_MAX: u32 = 0x37ff_ffff;
const OLD_CMDLINE_MAX: u32 = 255;

/// E820_MAX_ENTRIES_ZEROPAGE.
const MAX_E820: usize = 128;

/// SETUP_RNG_SEED.
const SETUP_RNG_SEED: u32 = 9;

/// Offsets in the zero page.
mod offset {
    pub(super) const ACPI_RSDP_ADDR: usize = 0x070;
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const HEADER: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    pub(super) const LOADFLAGS: usize = 0x211;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    pub(super) const INITRD_ADDR_MAX: usize = 0x22c;
    pub(super) const CMDLINE_SIZE: usize = 0x238;
    pub(super) const SETUP_DATA: usize = 0x250;
    pub(super) const E820_TABLE: usize = 0x2d0;
}

/// The zero page while it is filled.
pub(crate) struct ZeroPage(Vec<u8>);

impl ZeroPage {
    /// For a kernel without a setup header of its own.
    pub(crate) fn for_elf() -> Self {
        let mut page = Self(vec![0; 4096]);
        page.set(offset::BOOT_FLAG, &0xaa55_u16.to_le_bytes());
        page.set(offset::HEADER, b"HdrS");
        page.set(offset::VERSION, &0x020c_u16.to_le_bytes());
        page.set(offset::LOADFLAGS, &[1]); // LOADED_HIGH
        page.set(offset::INITRD_ADDR_MAX, &INITRD_MAX.to_le_bytes());
        page.set(offset::CMDLINE_SIZE, &CMDLINE_MAX.to_le_bytes());
        page
    }

    /// With the setup header of an image: its bytes from [`SETUP_HEADER`] on. What is younger than its version
    /// reads as zero.
    pub(crate) fn for_bzimage(setup_header: &[u8]) -> Self {
        let mut page = Self(vec![0; 4096]);
        page.set(SETUP_HEADER, setup_header);
        if page.u32(offset::INITRD_ADDR_MAX) == 0 {
            page.set(offset::INITRD_ADDR_MAX, &OLD_INITRD_MAX.to_le_bytes()); // before 2.03
        }
        if page.u32(offset::CMDLINE_SIZE) == 0 {
            page.set(offset::CMDLINE_SIZE, &OLD_CMDLINE_MAX.to_le_bytes()); // before 2.06
        }
        page
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        if let Some(part) = self.0.get_mut(at..at + bytes.len()) {
            part.copy_from_slice(bytes);
        }
    }

    fn u32(&self, at: usize) -> u32 {
        Fields(&self.0).u32(at)
    }

    /// Loads what goes with the kernel, fills the page in and writes it.
    pub(crate) fn finish<M: GuestMemory>(
        mut self,
        memory: &M,
        initrd: Option<&mut Source<'_>>,
        guest: &Guest<'_>,
        kernel_end: u64,
    ) -> Result<(), LoadError> {
        if let Some(initrd) = initrd {
            let limit = u64::from(self.u32(offset::INITRD_ADDR_MAX)) + 1;
            let placed = initrd::load(memory, initrd, guest.regions, kernel_end, limit)?;
            // Both are below 4 GiB: the limit is.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "below the limit of 32 bits"
            )]
            let (address, size) = (placed.address as u32, placed.size as u32);
            self.set(offset::RAMDISK_IMAGE, &address.to_le_bytes());
            self.set(offset::RAMDISK_SIZE, &size.to_le_bytes());
        }
        let max = self.u32(offset::CMDLINE_SIZE).into();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the command line lies below 1 MiB"
        )]
        let cmdline = cmdline::write(memory, guest.cmdline, max)? as u32;
        self.set(offset::CMD_LINE_PTR, &cmdline.to_le_bytes());
        self.set(offset::TYPE_OF_LOADER, &[0xff]); // no assigned number
        self.set(
            offset::ACPI_RSDP_ADDR,
            &guest.rsdp.unwrap_or(0).to_le_bytes(),
        );
        self.set_memory_map(guest)?;
        self.write_seed(memory, guest)?;
        let written = memory.write_slice(&self.0, GuestAddress(layout::ZERO_PAGE));
        written.map_err(|source| LoadError::structure("zero page", layout::ZERO_PAGE, source))
    }

    fn set_memory_map(&mut self, guest: &Guest<'_>) -> Result<(), LoadError> {
        let count = u8::try_from(guest.regions.len())
            .ok()
            .filter(|count| usize::from(*count) <= MAX_E820);
        let Some(count) = count else {
            return Err(LoadError::field(
                "Linux",
                "e820_entries",
                guest.regions.len() as u64,
                "more than 128",
            ));
        };
        self.set(offset::E820_ENTRIES, &[count]);
        for (index, region) in guest.regions.iter().enumerate() {
            let at = offset::E820_TABLE + 20 * index;
            self.set(at, &region.start.to_le_bytes());
            self.set(at + 8, &region.size.to_le_bytes());
            self.set(at + 16, &region.kind.e820().to_le_bytes());
        }
        Ok(())
    }

    /// struct setup_data: next, type, length, data.
    fn write_seed<M: GuestMemory>(
        &mut self,
        memory: &M,
        guest: &Guest<'_>,
    ) -> Result<(), LoadError> {
        let mut data = 0_u64.to_le_bytes().to_vec();
        data.extend(SETUP_RNG_SEED.to_le_bytes());
        data.extend(32_u32.to_le_bytes());
        data.extend(guest.random_seed);
        let written = memory.write_slice(&data, GuestAddress(layout::SETUP_DATA));
        written.map_err(|source| LoadError::structure("setup data", layout::SETUP_DATA, source))?;
        self.set(offset::SETUP_DATA, &layout::SETUP_DATA.to_le_bytes());
        Ok(())
    }
}

/// Loads an ELF kernel and what its entry wants: 64-bit mode, or protected mode when it is a 32-bit kernel.
pub(crate) fn load_elf<M: GuestMemory>(
    memory: &M,
    kernel: &mut Source<'_>,
    image: &elf::Image,
    initrd: Option<&mut Source<'_>>,
    guest: &Guest<'_>,
    page: ZeroPage,
) -> Result<BootState, LoadError> {
    let mut room = Room::new(guest.regions);
    elf::load(memory, kernel, image, &mut room)?;
    let entry = room.check_entry("ELF", "e_entry", image.entry)?;
    page.finish(memory, initrd, guest, room.end())?;
    start(memory, entry, image.is_64_bit)
}

/// How Linux starts at `entry`, in 64-bit mode or in protected mode: with the zero page.
pub(crate) fn start<M: GuestMemory>(
    memory: &M,
    entry: u64,
    is_64_bit: bool,
) -> Result<BootState, LoadError> {
    let state = if is_64_bit {
        BootState::long(memory, entry)?
    } else {
        BootState::protected(memory, entry)?
    };
    Ok(BootState {
        rsi: layout::ZERO_PAGE,
        ..state
    })
}
