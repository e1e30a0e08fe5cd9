//! Guest RAM that goes back to the host: a balloon's pages, free pages.

#![expect(unsafe_code, reason = "no safe wrapper takes a mapping of vm-memory")]

use std::io;

use rustix::mm::Advice;
use thiserror::Error;
use vm_memory::bitmap::Bitmap;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MmapRegion};

use crate::dirty::DirtyLog;
use crate::ram::GuestRam;

/// Pages that did not go back. They hold what they held.
#[derive(Debug, Error)]
pub enum DiscardError {
    /// A part is not RAM.
    #[error("{len} bytes at {address:#x} are not all RAM")]
    NotRam {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        len: u64,
    },
    /// The host keeps them: a file system that cannot make holes, pages that are locked.
    #[error("the host does not take back {len} bytes at {address:#x}")]
    Host {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        len: u64,
        /// What the host said.
        source: io::Error,
    },
}

impl GuestRam {
    /// Gives the whole pages within `len` bytes at `address` back to the host; how many bytes they are. They read
    /// zeros from then on, and cost the host nothing until they are touched. A page is that of the backing: of huge
    /// pages only whole ones go. Pages of a file or memfd become holes in it.
    ///
    /// # Errors
    /// When a part is not RAM, or the host refuses.
    pub fn discard(&self, address: u64, len: u64) -> Result<u64, DiscardError> {
        let not_ram = DiscardError::NotRam { address, len };
        if !self.layout().contains(address, len) {
            return Err(not_ram);
        }
        let Some(region) = self.memory().find_region(GuestAddress(address)) else {
            return Err(not_ram);
        };
        // Runs of RAM begin at 0 and 4 GiB, with a page of any size.
        let page = self.page();
        let start = address.next_multiple_of(page);
        let end = (address + len) & !(page - 1);
        if start >= end {
            return Ok(0);
        }
        let (bytes, offset) = (end - start, start - region.start_addr().raw_value());
        let host = |source: rustix::io::Errno| DiscardError::Host {
            address,
            len,
            source: source.into(),
        };
        let place = |value| usize::try_from(value).map_err(|_| host(rustix::io::Errno::OVERFLOW));
        let (at, count) = (place(offset)?, place(bytes)?);
        // Of private memory the pages alone go; shared memory keeps them in its file.
        let advice = match region.file_offset() {
            None => Advice::LinuxDontNeed,
            Some(_) => Advice::LinuxRemove,
        };
        let mapping: &MmapRegion<DirtyLog> = region;
        // SAFETY: `contains` found the range within one run of RAM and thus within this live mapping of our own. Guest
        // RAM changes under our hands at any time, so nobody holds a Rust reference to its contents.
        unsafe { rustix::mm::madvise(mapping.as_ptr().wrapping_add(at).cast(), count, advice) }
            .map_err(host)?;
        mapping.bitmap().mark_dirty(at, count);
        Ok(bytes)
    }
}
