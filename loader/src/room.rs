//! Where the parts of a guest go: into RAM, off the loader's own structures and off each other.

use vm_memory::{GuestAddress, GuestMemory, Permissions};

use crate::error::LoadError;
use crate::layout;
use crate::load::{MemoryKind, MemoryRegion};

struct Part {
    what: &'static str,
    start: u64,
    end: u64,
}

/// What is taken of guest memory so far.
pub(crate) struct Room<'a> {
    regions: &'a [MemoryRegion],
    parts: Vec<Part>,
}

impl<'a> Room<'a> {
    pub(crate) fn new(regions: &'a [MemoryRegion]) -> Self {
        Self {
            regions,
            parts: Vec::new(),
        }
    }

    /// Takes `size` bytes for `what`. `size` is not 0.
    pub(crate) fn take<M: GuestMemory>(
        &mut self,
        memory: &M,
        what: &'static str,
        start: u64,
        size: u64,
    ) -> Result<(), LoadError> {
        let outside = LoadError::OutsideMemory {
            what,
            address: start,
            size,
        };
        let (Some(end), Ok(count)) = (start.checked_add(size), usize::try_from(size)) else {
            return Err(outside);
        };
        let structures = (
            "the loader's structures",
            layout::BDA,
            layout::CMDLINE + layout::CMDLINE_SIZE,
        );
        let parts = self
            .parts
            .iter()
            .map(|part| (part.what, part.start, part.end));
        let reserved = self
            .regions
            .iter()
            .filter(|region| region.kind != MemoryKind::Ram);
        let reserved = reserved.map(|region| {
            (
                "reserved memory",
                region.start,
                region.start.saturating_add(region.size),
            )
        });
        for (other, other_start, other_end) in parts.chain([structures]).chain(reserved) {
            if start < other_end && other_start < end {
                return Err(LoadError::Overlap {
                    what,
                    start,
                    end,
                    other,
                    other_start,
                    other_end,
                });
            }
        }
        if !self.is_ram(start, end)
            || !memory.check_range(GuestAddress(start), count, Permissions::Write)
        {
            return Err(outside);
        }
        self.parts.push(Part { what, start, end });
        Ok(())
    }

    /// Whether the memory map has RAM, in one region or several that touch, from `start` to `end`.
    fn is_ram(&self, start: u64, end: u64) -> bool {
        let mut from = start;
        for region in self
            .regions
            .iter()
            .filter(|region| region.kind == MemoryKind::Ram)
        {
            let region_end = region.start.saturating_add(region.size);
            if region.start <= from && from < region_end {
                from = region_end;
            }
        }
        from >= end
    }

    /// The lowest address taken.
    pub(crate) fn start(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| part.start)
            .min()
            .unwrap_or_default()
    }

    /// The address behind everything that is taken.
    pub(crate) fn end(&self) -> u64 {
        let structures = layout::CMDLINE + layout::CMDLINE_SIZE;
        self.parts
            .iter()
            .map(|part| part.end)
            .fold(structures, u64::max)
    }

    /// Checks that a kernel is entered where it lies, and below `limit`.
    pub(crate) fn check_entry(
        &self,
        format: &'static str,
        field: &'static str,
        entry: u64,
    ) -> Result<u64, LoadError> {
        if entry >= 1 << 32 {
            return Err(LoadError::field(format, field, entry, "not below 4 GiB"));
        }
        if !self
            .parts
            .iter()
            .any(|part| (part.start..part.end).contains(&entry))
        {
            return Err(LoadError::field(
                format,
                field,
                entry,
                "not in a part that is loaded",
            ));
        }
        Ok(entry)
    }
}
