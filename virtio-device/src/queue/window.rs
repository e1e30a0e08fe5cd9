//! A part of guest RAM that is looked up once and then accessed by offset.

use std::sync::atomic::Ordering;

use trivisor_memory::vm_memory::bitmap::MS;
use trivisor_memory::vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice,
};
use trivisor_memory::{DirtyLog, GuestRam};

use super::QueueError;

/// A run of RAM in one piece. Writes mark its pages dirty.
pub(super) struct Window<'a> {
    slice: VolatileSlice<'a, MS<'a, GuestMemoryMmap<DirtyLog>>>,
    what: &'static str,
    address: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(
        ram: &'a GuestRam,
        what: &'static str,
        address: u64,
        len: u64,
    ) -> Result<Self, QueueError> {
        let not_ram = QueueError::NotRam { what, address };
        let len = usize::try_from(len).map_err(|_| not_ram)?;
        let slice = ram.memory().get_slice(GuestAddress(address), len);
        Ok(Self {
            slice: slice.map_err(|_| not_ram)?,
            what,
            address,
        })
    }

    pub(super) fn load_u16(&self, offset: u64, order: Ordering) -> Result<u16, QueueError> {
        let value = self.slice.load::<u16>(self.at(offset)?, order);
        value.map(u16::from_le).map_err(|_| self.outside())
    }

    pub(super) fn store_u16(
        &self,
        offset: u64,
        value: u16,
        order: Ordering,
    ) -> Result<(), QueueError> {
        let stored = self.slice.store(value.to_le(), self.at(offset)?, order);
        stored.map_err(|_| self.outside())
    }

    pub(super) fn load_u32(&self, offset: u64, order: Ordering) -> Result<u32, QueueError> {
        let value = self.slice.load::<u32>(self.at(offset)?, order);
        value.map(u32::from_le).map_err(|_| self.outside())
    }

    pub(super) fn store_u32(
        &self,
        offset: u64,
        value: u32,
        order: Ordering,
    ) -> Result<(), QueueError> {
        let stored = self.slice.store(value.to_le(), self.at(offset)?, order);
        stored.map_err(|_| self.outside())
    }

    /// The bytes are read once: what is checked is what is used.
    pub(super) fn read<const N: usize>(&self, offset: u64) -> Result<[u8; N], QueueError> {
        let mut bytes = [0; N];
        let read = self.slice.read_slice(&mut bytes, self.at(offset)?);
        read.map(|()| bytes).map_err(|_| self.outside())
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), QueueError> {
        let written = self.slice.write_slice(bytes, self.at(offset)?);
        written.map_err(|_| self.outside())
    }

    fn at(&self, offset: u64) -> Result<usize, QueueError> {
        usize::try_from(offset).map_err(|_| self.outside())
    }

    /// Cannot be: the window is as long as the part, and the part is aligned.
    const fn outside(&self) -> QueueError {
        QueueError::NotRam {
            what: self.what,
            address: self.address,
        }
    }
}
