//! Guest RAM.

#![expect(unsafe_code, reason = "no safe wrapper takes a mapping of vm-memory")]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use thiserror::Error;
use vm_memory::bitmap::Bitmap;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion, VolatileMemory,
};

use crate::backing::{self, Backing, HugePages};
use crate::dirty::DirtyLog;
use crate::layout::{PAGE_SIZE, RamLayout, RamRange};
use crate::slot::{Slot, SlotKind};

/// RAM that cannot be had.
#[derive(Debug, Error)]
pub enum RamError {
    /// Less than any guest can use.
    #[error("{size} bytes of memory are too few: at least {min} are needed")]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// The least.
        min: u64,
    },
    /// Not a whole number of pages.
    #[error("{size} bytes of memory are no multiple of the page of {page} bytes")]
    Unaligned {
        /// Bytes asked for.
        size: u64,
        /// Bytes of a page.
        page: u64,
    },
    /// More than the host has.
    #[error("{size} bytes of memory are more than the {host} that this host has")]
    TooLarge {
        /// Bytes asked for.
        size: u64,
        /// The host's RAM and swap space.
        host: u64,
    },
    /// No anonymous file.
    #[error("no memory file can be created")]
    Memfd(#[source] io::Error),
    /// The file cannot hold the guest's RAM.
    #[error("the memory file cannot be extended to {size} bytes")]
    Extend {
        /// Bytes needed.
        size: u64,
        /// What the host said.
        source: io::Error,
    },
    /// The host does not map it.
    #[error("{} bytes of memory at {:#x} cannot be mapped", .range.size, .range.start)]
    Map {
        /// The run of RAM.
        range: RamRange,
        /// What the host said.
        source: MmapRegionError,
    },
    /// The host does not give transparent huge pages.
    #[error("transparent huge pages cannot be switched on for the guest's memory")]
    HugeAdvice(#[source] io::Error),
    /// The runs of RAM do not fit together.
    #[error("the runs of memory do not fit together")]
    Regions(#[from] vm_memory::GuestRegionCollectionError),
}

/// What RAM is made of.
#[derive(Debug, Clone, Default)]
pub struct RamOptions {
    /// Where the pages come from.
    pub backing: Backing,
    /// Pages of hugetlbfs instead of 4 KiB ones.
    pub huge_pages: Option<HugePages>,
    /// Ask for transparent huge pages.
    pub transparent_huge_pages: bool,
}

/// The guest's RAM, mapped into this process. Clones share it.
#[derive(Debug, Clone)]
pub struct GuestRam {
    layout: RamLayout,
    /// Bytes of a page of the backing.
    page: u64,
    memory: Arc<GuestMemoryMmap<DirtyLog>>,
}

/// A run of RAM that other processes can map.
#[derive(Debug, Clone, Copy)]
pub struct SharedRun<'a> {
    /// Where the guest sees it.
    pub range: RamRange,
    /// What it is made of.
    pub file: &'a File,
    /// Its place in the file, in bytes.
    pub offset: u64,
}

/// Dirty pages of one run of RAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyPages {
    /// Guest-physical address of the first page.
    pub start: u64,
    /// A bit a page, lowest first.
    pub bits: Vec<u64>,
}

impl GuestRam {
    /// Maps RAM. No page is touched: the host gives them when the guest uses them.
    ///
    /// # Errors
    /// When the host has less, or refuses.
    pub fn new(layout: RamLayout, options: &RamOptions) -> Result<Self, RamError> {
        let size = layout.size();
        let host = host_memory();
        if size > host {
            return Err(RamError::TooLarge { size, host });
        }
        if let Some(page) = options
            .huge_pages
            .map(HugePages::bytes)
            .filter(|page| !size.is_multiple_of(*page))
        {
            return Err(RamError::Unaligned { size, page });
        }
        let file = backing::open(&options.backing, options.huge_pages, size)?;
        let mut regions = Vec::new();
        let mut offset = 0;
        for range in layout.ranges() {
            let region = backing::map(file.as_ref(), options.huge_pages, range, offset)?;
            if options.transparent_huge_pages {
                advise_huge(&region)?;
            }
            offset += range.size;
            regions.extend(GuestRegionMmap::new(region, GuestAddress(range.start)));
        }
        Ok(Self {
            layout,
            page: options.huge_pages.map_or(PAGE_SIZE, HugePages::bytes),
            memory: Arc::new(GuestMemoryMmap::from_regions(regions)?),
        })
    }

    /// Where it lies.
    #[must_use]
    pub const fn layout(&self) -> RamLayout {
        self.layout
    }

    /// Bytes of the smallest piece that the host gives, and takes back: 4 KiB, or a huge page.
    #[must_use]
    pub const fn page(&self) -> u64 {
        self.page
    }

    /// As vm-memory's type, for crates that work on guest memory.
    #[must_use]
    pub const fn memory(&self) -> &Arc<GuestMemoryMmap<DirtyLog>> {
        &self.memory
    }

    /// The slots to register with a hypervisor. Keep this value alive as long as they are.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.memory.iter().map(|region| Slot {
            guest_address: region.start_addr().0,
            size: region.len(),
            host_address: region.as_ptr() as u64,
            kind: SlotKind::Ram,
        })
    }

    /// The runs of RAM with the file behind each, for another process to map; empty when the memory is private.
    pub fn shared_runs(&self) -> impl Iterator<Item = SharedRun<'_>> {
        self.memory.iter().filter_map(|region| {
            let file = region.file_offset()?;
            Some(SharedRun {
                range: RamRange {
                    start: region.start_addr().0,
                    size: region.len(),
                },
                file: file.file(),
                offset: file.start(),
            })
        })
    }

    /// Fills `data` from `address`; false, and nothing moved, when a part of it is not RAM.
    pub fn read(&self, address: u64, data: &mut [u8]) -> bool {
        let address = GuestAddress(address);
        // In one piece, as nearly always: found once.
        if let Ok(slice) = self.memory.get_slice(address, data.len()) {
            return slice.copy_to(data) == data.len();
        }
        self.memory.check_range(address, data.len())
            && self.memory.read_slice(data, address).is_ok()
    }

    /// Copies `data` to `address`; false, and nothing moved, when a part of it is not RAM.
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        let address = GuestAddress(address);
        if let Ok(slice) = self.memory.get_slice(address, data.len()) {
            slice.copy_from(data);
            return true;
        }
        self.memory.check_range(address, data.len())
            && self.memory.write_slice(data, address).is_ok()
    }

    /// Writes `new` in one atomic step if `old` is there: 1, 2, 4 or 8 bytes, both of one length, at a
    /// multiple of it. `None`, and nothing written, for other lengths or where RAM is not.
    #[must_use]
    pub fn compare_exchange(&self, address: u64, old: &[u8], new: &[u8]) -> Option<bool> {
        let slice = self
            .memory
            .get_slice(GuestAddress(address), new.len())
            .ok()?;
        macro_rules! exchange {
            ($integer:ty, $atomic:ty) => {{
                let old = <$integer>::from_ne_bytes(old.try_into().ok()?);
                let new = <$integer>::from_ne_bytes(new.try_into().ok()?);
                let cell = slice.get_atomic_ref::<$atomic>(0).ok()?;
                cell.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok()
            }};
        }
        let written = match new.len() {
            1 => exchange!(u8, AtomicU8),
            2 => exchange!(u16, AtomicU16),
            4 => exchange!(u32, AtomicU32),
            8 => exchange!(u64, AtomicU64),
            _ => return None,
        };
        if written {
            slice.bitmap().mark_dirty(0, new.len());
        }
        Some(written)
    }

    /// Begins to log the pages that this process writes.
    pub fn start_dirty_log(&self) {
        self.logs().for_each(|(_, log)| log.start());
    }

    /// Ends the log and frees it.
    pub fn stop_dirty_log(&self) {
        self.logs().for_each(|(_, log)| log.stop());
    }

    /// What was written since the last call or the start; all pages are clean again.
    #[must_use]
    pub fn take_dirty(&self) -> Vec<DirtyPages> {
        self.logs()
            .map(|(start, log)| DirtyPages {
                start,
                bits: log.take(),
            })
            .collect()
    }

    fn logs(&self) -> impl Iterator<Item = (u64, &DirtyLog)> {
        self.memory.iter().map(|region| {
            let mapping: &MmapRegion<DirtyLog> = region;
            (region.start_addr().0, mapping.bitmap())
        })
    }
}

/// Bytes of RAM and swap space of this host.
#[must_use]
pub fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    // Both fields are counts of `mem_unit` bytes.
    (info.totalram + info.totalswap).saturating_mul(info.mem_unit.into())
}

fn advise_huge(region: &MmapRegion<DirtyLog>) -> Result<(), RamError> {
    // SAFETY: the range is a live mapping of our own, and the advice changes no contents.
    let result = unsafe {
        rustix::mm::madvise(
            region.as_ptr().cast(),
            region.size(),
            rustix::mm::Advice::LinuxHugepage,
        )
    };
    result.map_err(|error| RamError::HugeAdvice(error.into()))
}
