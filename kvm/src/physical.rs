//! Guest-physical memory: RAM and mapped files.

use std::sync::Arc;

use trivisor_buses::{Dma, DmaError};
use trivisor_memory::{FileMapping, GuestRam};

/// What answers at guest-physical addresses without a device.
#[derive(Debug, Clone)]
pub struct PhysicalMemory {
    ram: GuestRam,
    /// Files with their addresses.
    mapped: Vec<(u64, Arc<FileMapping>)>,
}

impl PhysicalMemory {
    /// RAM and files.
    #[must_use]
    pub const fn new(ram: GuestRam, mapped: Vec<(u64, Arc<FileMapping>)>) -> Self {
        Self { ram, mapped }
    }

    /// The RAM.
    #[must_use]
    pub const fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// Fills `data`; false, and nothing moved, when a part of the range is neither RAM nor a file.
    pub fn read(&self, address: u64, data: &mut [u8]) -> bool {
        self.ram.read(address, data)
            || self
                .file_at(address)
                .is_some_and(|(file, offset)| file.read(offset, data))
    }

    /// Takes `data`; false, and nothing moved, when a part of the range is neither RAM nor a writable file.
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        self.ram.write(address, data)
            || self
                .file_at(address)
                .is_some_and(|(file, offset)| file.write(offset, data))
    }

    /// Writes `new` in one atomic step if `old` is there: 1, 2, 4 or 8 bytes, aligned. `None` when the
    /// range is no RAM or cannot be exchanged at once.
    #[must_use]
    pub fn compare_exchange(&self, address: u64, old: &[u8], new: &[u8]) -> Option<bool> {
        self.ram.compare_exchange(address, old, new)
    }

    fn file_at(&self, address: u64) -> Option<(&FileMapping, u64)> {
        self.mapped.iter().find_map(|(start, file)| {
            let offset = address.checked_sub(*start)?;
            (offset < file.size()).then_some((&**file, offset))
        })
    }

    /// The place of the first file that has become shorter than what is mapped.
    #[must_use]
    pub fn truncated(&self) -> Option<usize> {
        self.mapped.iter().position(|(_, file)| file.is_truncated())
    }
}

impl Dma for PhysicalMemory {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        let len = data.len();
        if self.ram.read(address, data) {
            Ok(())
        } else {
            Err(DmaError { address, len })
        }
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        if self.ram.write(address, data) {
            Ok(())
        } else {
            Err(DmaError {
                address,
                len: data.len(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use trivisor_memory::{RamLayout, RamOptions};

    use super::*;

    #[test]
    fn each_file_answers_at_its_own_addresses() {
        let layout = RamLayout::new(1 << 20).unwrap();
        let ram = GuestRam::new(layout, &RamOptions::default()).unwrap();
        let file = |byte| {
            let file = FileMapping::zeroed(4096).unwrap();
            assert!(file.write(0, &[byte]));
            Arc::new(file)
        };
        let (first, second) = (1 << 33, 1 << 34);
        let memory = PhysicalMemory::new(ram, vec![(first, file(1)), (second, file(2))]);
        let read = |address| {
            let mut data = [0xee];
            memory.read(address, &mut data).then_some(data)
        };
        assert_eq!(
            [0, first - 1, first, first + 4096, second, second + 4096].map(read),
            [Some([0]), None, Some([1]), None, Some([2]), None]
        );
        assert!(memory.write(second, &[3]) && !memory.write(second + 4096, &[3]));
        assert_eq!(read(second), Some([3]));
    }
}
