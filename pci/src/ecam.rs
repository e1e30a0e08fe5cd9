//! Configuration access by memory (PCI Express base specification, 7.2.2, ECAM): 4 KiB a function.

use std::sync::Arc;

use trivisor_buses::MmioAddress;
use vm_device::DeviceMmio;

use crate::address::DeviceFunction;
use crate::bus::Core;

/// Bytes of a bus.
pub const SIZE: u64 = 1 << 20;

/// The configuration spaces of a bus as memory: function in bits 19:12, register in bits 11:0.
///
/// It has no state of its own, so nothing of it is saved, and vCPUs share no lock in it.
pub struct Ecam {
    bus: Arc<Core>,
}

impl std::fmt::Debug for Ecam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ecam").finish_non_exhaustive()
    }
}

impl Ecam {
    pub(crate) const fn new(bus: Arc<Core>) -> Self {
        Self { bus }
    }
}

/// Function and register at an offset; `None`: behind the bus.
fn target(offset: u64) -> Option<(DeviceFunction, u16)> {
    let function = u8::try_from(offset >> 12).ok()?;
    let register = u16::try_from(offset & 0xfff).ok()?;
    Some((DeviceFunction::from_bits(function), register))
}

/// How many of `len` bytes at `offset` stand in one double word.
fn first_part(offset: u64, len: usize) -> usize {
    let room = usize::try_from(4 - offset % 4).unwrap_or(4);
    room.min(len)
}

impl DeviceMmio for Ecam {
    fn mmio_read(&self, _base: MmioAddress, mut offset: u64, mut data: &mut [u8]) {
        while !data.is_empty() {
            let len = first_part(offset, data.len());
            let (part, rest) = data.split_at_mut(len);
            match target(offset) {
                Some((at, register)) => self.bus.config_read(at, register, part),
                None => part.fill(0xff),
            }
            offset = (offset / 4 + 1) * 4;
            data = rest;
        }
    }

    fn mmio_write(&self, _base: MmioAddress, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let len = first_part(offset, data.len());
            let (part, rest) = data.split_at(len);
            if let Some((at, register)) = target(offset) {
                self.bus.config_write(at, register, part);
            }
            offset = (offset / 4 + 1) * 4;
            data = rest;
        }
    }
}
