//! The initial RAM disk in guest memory: as high as it may be, where no kernel needs the room.

use vm_memory::GuestMemory;

use crate::error::LoadError;
use crate::load::{MemoryKind, MemoryRegion};
use crate::source::Source;

/// Where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) address: u64,
    pub(crate) size: u64,
}

const PAGE: u64 = 4096;

/// Copies the disk to the highest page-aligned place in RAM that lies above `kernel_end` and ends at or
/// below `limit`.
pub(crate) fn load<M: GuestMemory>(
    memory: &M,
    initrd: &mut Source<'_>,
    regions: &[MemoryRegion],
    kernel_end: u64,
    limit: u64,
) -> Result<Placed, LoadError> {
    let size = initrd.size();
    if size == 0 {
        return Err(LoadError::Empty {
            what: "initial RAM disk",
        });
    }
    let place = |region: &MemoryRegion| {
        let start = region
            .start
            .max(kernel_end)
            .checked_next_multiple_of(PAGE)?;
        let end = region.start.checked_add(region.size)?.min(limit);
        let address = end.checked_sub(size)? & !(PAGE - 1);
        (address >= start).then_some(address)
    };
    let ram = regions
        .iter()
        .filter(|region| region.kind == MemoryKind::Ram);
    let address = ram
        .filter_map(place)
        .max()
        .ok_or(LoadError::InitrdTooLarge {
            size,
            kernel_end,
            limit,
        })?;
    initrd.copy_to("initial RAM disk", 0, size, memory, address)?;
    Ok(Placed { address, size })
}
