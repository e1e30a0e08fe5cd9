//! Copies between this process's memory and segments of guest RAM, where a copy cannot be avoided.

use std::io;

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;
use trivisor_memory::vm_memory::bitmap::Bitmap;
use trivisor_memory::vm_memory::{GuestAddress, GuestMemoryBackend};

/// A segment that is not RAM.
pub(crate) fn not_ram() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a segment is not RAM")
}

/// Copies `data` into the segments from the front; the bytes that fit.
///
/// # Errors
/// A segment is not RAM; those before it were written.
pub(crate) fn fill(ram: &GuestRam, segments: &[Segment], data: &[u8]) -> io::Result<usize> {
    let mut rest = data;
    for segment in segments {
        let (part, more) = rest.split_at(rest.len().min(length(segment)));
        if !ram.write(segment.address, part) {
            return Err(not_ram());
        }
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    Ok(data.len() - rest.len())
}

/// Appends the bytes of the segments behind the first `skip` to `data`.
///
/// # Errors
/// A segment is not RAM; `data` is then as it was.
pub(crate) fn append(
    ram: &GuestRam,
    segments: &[Segment],
    mut skip: usize,
    data: &mut Vec<u8>,
) -> io::Result<()> {
    let before = data.len();
    for segment in segments {
        let skipped = skip.min(length(segment));
        skip -= skipped;
        let end = data.len();
        data.resize(end + length(segment) - skipped, 0);
        // Both are in range: `end` was the length, and no segment reaches over the end of the address space.
        let address = segment.address.saturating_add(skipped as u64);
        let part = data.get_mut(end..).unwrap_or_default();
        if !ram.read(address, part) {
            data.truncate(before);
            return Err(not_ram());
        }
    }
    Ok(())
}

/// Marks the pages of the first `bytes` of the segments dirty, which something else than vm-memory wrote.
pub(crate) fn written(ram: &GuestRam, segments: &[Segment], mut bytes: usize) {
    for segment in segments {
        let count = bytes.min(length(segment));
        if count == 0 && bytes == 0 {
            break;
        }
        bytes -= count;
        let slices = ram
            .memory()
            .get_slices(GuestAddress(segment.address), count);
        for slice in slices.flatten() {
            slice.bitmap().mark_dirty(0, slice.len());
        }
    }
}

const fn length(segment: &Segment) -> usize {
    segment.len as usize
}
