//! A file whose pages the guest sees as memory (pmem).

#![expect(unsafe_code, reason = "no safe wrapper takes a mapping of vm-memory")]

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use thiserror::Error;
use vm_memory::FileOffset;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

use crate::layout::PAGE_SIZE;
use crate::slot::{Slot, SlotKind};

/// A file that cannot be mapped.
#[derive(Debug, Error)]
pub enum MappingError {
    /// Nothing to map, or a part of a page at its end.
    #[error("its {size} bytes are not a positive multiple of the page of {PAGE_SIZE} bytes")]
    Size {
        /// Bytes of the file.
        size: u64,
    },
    /// No anonymous file.
    #[error("no memory file can be created")]
    Create(#[source] io::Error),
    /// The host does not say how long it is.
    #[error("its size cannot be read")]
    Metadata(#[source] io::Error),
    /// The host does not map it.
    #[error("{size} bytes cannot be mapped")]
    Map {
        /// Bytes of the file.
        size: u64,
        /// What the host said.
        source: MmapRegionError,
    },
}

/// A whole file, mapped: shared, so that the guest's writes reach it, or private and read-only.
#[derive(Debug)]
pub struct FileMapping {
    file: Arc<File>,
    region: MmapRegion<()>,
    read_only: bool,
}

impl FileMapping {
    /// Maps `file`, which is open for writing unless `read_only`.
    ///
    /// # Errors
    /// When it is empty, no multiple of the page long, or the host refuses.
    pub fn new(file: File, read_only: bool) -> Result<Self, MappingError> {
        let size = file.metadata().map_err(MappingError::Metadata)?.len();
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) {
            return Err(MappingError::Size { size });
        }
        let bytes = usize::try_from(size).map_err(|_| MappingError::Size { size })?;
        let file = Arc::new(file);
        let write = if read_only { 0 } else { libc::PROT_WRITE };
        let offset = FileOffset::from_arc(Arc::clone(&file), 0);
        let region = MmapRegion::build(
            Some(offset),
            bytes,
            libc::PROT_READ | write,
            libc::MAP_SHARED,
        )
        .map_err(|source| MappingError::Map { size, source })?;
        Ok(Self {
            file,
            region,
            read_only,
        })
    }

    /// Maps `size` bytes of zeros that no file on the host holds: a card's own memory. No page is touched.
    ///
    /// # Errors
    /// When it is empty, no multiple of the page long, or the host refuses.
    pub fn zeroed(size: u64) -> Result<Self, MappingError> {
        let file = memfd_create(c"trivisor-card", MemfdFlags::CLOEXEC)
            .map_err(|error| MappingError::Create(error.into()))?;
        ftruncate(&file, size).map_err(|error| MappingError::Create(error.into()))?;
        Self::new(File::from(file), false)
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.region.size() as u64
    }

    /// The guest cannot write it.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The slot to register with a hypervisor. Keep this value alive as long as it is.
    #[must_use]
    pub fn slot(&self, guest_address: u64) -> Slot {
        let kind = if self.read_only {
            SlotKind::Rom
        } else {
            SlotKind::Ram
        };
        Slot {
            guest_address,
            size: self.size(),
            host_address: self.region.as_ptr() as u64,
            kind,
        }
    }

    /// A part of the [`slot`](Self::slot), at an address of its own; empty where the file ends before `offset`.
    #[must_use]
    pub fn slot_part(&self, guest_address: u64, offset: u64, size: u64) -> Slot {
        let whole = self.slot(guest_address);
        let offset = offset.min(whole.size);
        Slot {
            host_address: whole.host_address + offset,
            size: size.min(whole.size - offset),
            ..whole
        }
    }

    /// Fills `data` from `offset` on; false, and nothing moved, when it does not all lie in the file.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> bool {
        self.part(offset, data.len())
            .is_some_and(|part| part.copy_to(data) == data.len())
    }

    /// Takes `data` at `offset`; false, and nothing moved, when it does not all lie in the file or the
    /// file is read-only.
    pub fn write(&self, offset: u64, data: &[u8]) -> bool {
        if self.read_only {
            return false;
        }
        self.part(offset, data.len())
            .map(|part| part.copy_from(data))
            .is_some()
    }

    fn part(&self, offset: u64, len: usize) -> Option<VolatileSlice<'_, ()>> {
        self.region
            .get_slice(usize::try_from(offset).ok()?, len)
            .ok()
    }

    /// Writes all dirty pages to the file's storage; returns when they are there.
    ///
    /// # Errors
    /// What the host said, for example EIO.
    pub fn flush(&self) -> io::Result<()> {
        // SAFETY: the range is a live mapping of our own; msync reads it and writes the file behind it.
        let result = unsafe {
            rustix::mm::msync(
                self.region.as_ptr().cast(),
                self.region.size(),
                rustix::mm::MsyncFlags::SYNC,
            )
        };
        Ok(result?)
    }

    /// The file has become shorter than what is mapped: a touch of the missing pages is a bus error.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        // fstat itself: the standard library's statx also takes paths, so a jail cannot allow it.
        rustix::fs::fstat(&*self.file)
            .is_ok_and(|found| found.st_size.cast_unsigned() < self.size())
    }
}
