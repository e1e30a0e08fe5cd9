//! The bus's shell around a device: the one lock, the widths, the counters.
//!
//! It implements vm-device's [`DevicePio`] and [`DeviceMmio`], so a device in its shell plugs into any
//! rust-vmm VMM as well as into our [buses](crate::routing).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_device::bus::{MmioAddress, MmioAddressOffset, PioAddress, PioAddressOffset};
use vm_device::{DeviceMmio, DevicePio};

use crate::access::{AccessError, MmioDevice, PortDevice, Unfit, Widths};
use crate::routing::PortSpace;

/// What the guest did to a device, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessCounts {
    /// Reads that reached the device.
    pub reads: u64,
    /// Writes that reached the device.
    pub writes: u64,
    /// Accesses refused, by the widths or by the device.
    pub errors: u64,
    /// The latest refusal, with the offset at which it happened.
    pub last_error: Option<(u64, AccessError)>,
}

impl AccessCounts {
    fn refuse(&mut self, offset: u64, error: AccessError) {
        self.errors += 1;
        self.last_error = Some((offset, error));
    }
}

struct Inner<D> {
    device: D,
    counts: AccessCounts,
}

/// A device, its name, the widths it takes and its lock.
pub struct Shell<D> {
    name: &'static str,
    widths: Widths,
    inner: Mutex<Inner<D>>,
}

impl<D> std::fmt::Debug for Shell<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell")
            .field("name", &self.name)
            .field("widths", &self.widths)
            .finish_non_exhaustive()
    }
}

impl<D> Shell<D> {
    /// Puts `device` behind a lock; `name` is what errors and metrics call it.
    pub fn new(name: &'static str, widths: Widths, device: D) -> Arc<Self> {
        Arc::new(Self {
            name,
            widths,
            inner: Mutex::new(Inner {
                device,
                counts: AccessCounts::default(),
            }),
        })
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `with` on the device, under its lock. Not to be called from inside the device.
    pub fn with<R>(&self, with: impl FnOnce(&mut D) -> R) -> R {
        with(&mut self.lock().device)
    }

    /// What the guest did so far.
    pub fn counts(&self) -> AccessCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Inner<D>> {
        // No device panics; should one do so all the same, its registers are still plain values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_with(
        &self,
        offset: u64,
        data: &mut [u8],
        mut read: impl FnMut(&mut D, u64, &mut [u8]) -> Result<(), AccessError>,
    ) {
        let inner = &mut *self.lock();
        inner.counts.reads += 1;
        let mut one = |at: u64, part: &mut [u8]| {
            if let Err(error) = read(&mut inner.device, at, part) {
                part.fill(0xff);
                inner.counts.refuse(at, error);
            }
        };
        match self.widths.unfit(data.len()) {
            None => one(offset, data),
            Some(Unfit::Split) => data
                .chunks_mut(1)
                .zip(offset..)
                .for_each(|(byte, at)| one(at, byte)),
            Some(Unfit::Reject) => {
                data.fill(0xff);
                inner.counts.refuse(offset, AccessError::Width);
            }
        }
    }

    fn write_with(
        &self,
        offset: u64,
        data: &[u8],
        mut write: impl FnMut(&mut D, u64, &[u8]) -> Result<(), AccessError>,
    ) {
        let inner = &mut *self.lock();
        inner.counts.writes += 1;
        let mut one = |at: u64, part: &[u8]| {
            if let Err(error) = write(&mut inner.device, at, part) {
                inner.counts.refuse(at, error);
            }
        };
        match self.widths.unfit(data.len()) {
            None => one(offset, data),
            Some(Unfit::Split) => data
                .chunks(1)
                .zip(offset..)
                .for_each(|(byte, at)| one(at, byte)),
            Some(Unfit::Reject) => inner.counts.refuse(offset, AccessError::Width),
        }
    }
}

/// Port offsets stay below 2^16: the bus hands over what lies inside a `PioRange` only.
fn port_offset(offset: u64) -> Result<u16, AccessError> {
    u16::try_from(offset).map_err(|_| AccessError::NoRegister)
}

impl<D: PortDevice> DevicePio for Shell<D> {
    fn pio_read(&self, _base: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        self.read_with(offset.into(), data, |device, at, part| {
            device.read(port_offset(at)?, part)
        });
    }

    fn pio_write(&self, _base: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        self.write_with(offset.into(), data, |device, at, part| {
            device.write(port_offset(at)?, part)
        });
    }
}

impl<D: PortDevice> PortSpace for Shell<D> {
    fn read_string(&self, base: u16, offset: u16, width: usize, data: &mut [u8]) {
        if self.widths.unfit(width).is_some() {
            let elements = data.chunks_mut(width.max(1));
            elements.for_each(|element| self.pio_read(PioAddress(base), offset, element));
            return;
        }
        let inner = &mut *self.lock();
        inner.counts.reads += 1;
        if let Err(error) = inner.device.read_string(offset, width, data) {
            data.fill(0xff);
            inner.counts.refuse(offset.into(), error);
        }
    }

    fn write_string(&self, base: u16, offset: u16, width: usize, data: &[u8]) {
        if self.widths.unfit(width).is_some() {
            let elements = data.chunks(width.max(1));
            elements.for_each(|element| self.pio_write(PioAddress(base), offset, element));
            return;
        }
        let inner = &mut *self.lock();
        inner.counts.writes += 1;
        if let Err(error) = inner.device.write_string(offset, width, data) {
            inner.counts.refuse(offset.into(), error);
        }
    }
}

impl<D: MmioDevice> DeviceMmio for Shell<D> {
    fn mmio_read(&self, _base: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.read_with(offset, data, D::read);
    }

    fn mmio_write(&self, _base: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        self.write_with(offset, data, D::write);
    }
}
