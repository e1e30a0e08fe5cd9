//! Guest RAM as a chip sees it: two methods, so that any VMM of any vm-memory can give them.

use thiserror::Error;

/// The range does not lie in RAM. DMA reaches RAM only: an address in MMIO is the guest's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{len:#x} bytes at {address:#x} are not all RAM")]
pub struct DmaError {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes wanted.
    pub len: usize,
}

/// Bus-master access to guest RAM. Nothing is moved when a part of the range is not RAM.
pub trait Dma: Send + Sync {
    /// Fills `data` from guest RAM.
    ///
    /// # Errors
    /// When the range is not all RAM.
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError>;

    /// Copies `data` into guest RAM and marks the pages dirty.
    ///
    /// # Errors
    /// When the range is not all writable RAM.
    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError>;
}
