//! `hvm_start_info` (Xen, public/arch-x86/hvm/start_info.h).

use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{self, Unmapped};

/// The magic number of the structure.
pub const MAGIC: u32 = 0x336e_c578;

static ADDRESS: AtomicU64 = AtomicU64::new(0);

/// Notes where the structure is.
pub fn set(address: u64) {
    ADDRESS.store(address, Ordering::Relaxed);
}

fn field(offset: u64, width: u8) -> Result<u64, Unmapped> {
    let address = ADDRESS.load(Ordering::Relaxed);
    memory::map(address, 56)?;
    Ok(memory::read(address + offset, width))
}

/// Where the structure is.
pub fn address() -> u64 {
    ADDRESS.load(Ordering::Relaxed)
}

/// The magic number as found.
///
/// # Errors
/// [`Unmapped`], as of all functions here.
pub fn magic() -> Result<u64, Unmapped> {
    field(0, 4)
}

/// Version of the structure.
pub fn version() -> Result<u64, Unmapped> {
    field(4, 4)
}

/// How many modules were loaded.
pub fn modules() -> Result<u64, Unmapped> {
    field(12, 4)
}

/// Address of the RSDP, 0 for none.
pub fn rsdp() -> Result<u64, Unmapped> {
    field(32, 8)
}

/// Address of the memory map.
pub fn memory_map() -> Result<u64, Unmapped> {
    field(40, 8)
}

/// Entries of the memory map; there is none before version 1.
pub fn memory_map_entries() -> Result<u64, Unmapped> {
    if version()? == 0 { Ok(0) } else { field(48, 4) }
}

/// An entry of the memory map: address, size, E820 type.
pub fn memory_map_entry(index: u64) -> Result<(u64, u64, u64), Unmapped> {
    let entry = memory_map()? + index * 24;
    memory::map(entry, 24)?;
    Ok((
        memory::read(entry, 8),
        memory::read(entry + 8, 8),
        memory::read(entry + 16, 4),
    ))
}

/// Copies the command line, cut where `buffer` ends.
pub fn command_line(buffer: &mut [u8]) -> Result<&[u8], Unmapped> {
    let address = field(24, 8)?;
    let mut used = 0;
    for slot in buffer.iter_mut() {
        memory::map(address + used, 1)?;
        match memory::bytes(address + used, 1)?.first() {
            None | Some(0) => break,
            Some(byte) => *slot = *byte,
        }
        used += 1;
    }
    let used = usize::try_from(used).unwrap_or(0);
    Ok(buffer.get(..used).unwrap_or_default())
}
