//! Virtio over MMIO, version 2.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 4.2.
//!
//! | offset | register | access | reset |
//! |---|---|---|---|
//! | 0x000 | MagicValue | read | 0x74726976 |
//! | 0x004 | Version | read | 2 |
//! | 0x008 | DeviceID | read | the device's type |
//! | 0x00c | VendorID | read | `TRIV` |
//! | 0x010, 0x014 | DeviceFeatures, DeviceFeaturesSel | read, write | 0 selected |
//! | 0x020, 0x024 | DriverFeatures, DriverFeaturesSel | write | 0 selected |
//! | 0x030 | QueueSel | write | 0 |
//! | 0x034, 0x038 | QueueSizeMax, QueueSize | read, write | 0 where there is no such queue |
//! | 0x044 | QueueReady | read, write | 0 |
//! | 0x050 | QueueNotify | write | - |
//! | 0x060, 0x064 | InterruptStatus, InterruptACK | read, write | 0 |
//! | 0x070 | Status | read, write | 0 |
//! | 0x080, 0x084 | QueueDescLow, High | write | - |
//! | 0x090, 0x094 | QueueDriverLow, High | write | - |
//! | 0x0a0, 0x0a4 | QueueDeviceLow, High | write | - |
//! | 0x0ac to 0x0bc | SHMSel, SHMLen, SHMBase | write, read | all ones: no shared memory |
//! | 0x0c0 | QueueReset | read, write | 0 |
//! | 0x0fc | ConfigGeneration | read | 0 |
//! | 0x100 and on | the device's configuration, any width | as the device says | - |
//!
//! The interrupt is the level of "InterruptStatus is not 0", for pins of either trigger mode.
//!
//! **Not modelled**: shared memory regions; the legacy layout.
//!
//! **Relied on by**: Linux (`virtio_mmio`), the `virtio-drivers` crate.

pub mod regs;
mod state;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, Doorbell, Line, Look, MmioDevice, RestoreError, SavedState, Unfit,
    Wake, Widths,
};
use trivisor_memory::GuestRam;

use self::regs::{InterruptStatus, offset};
use crate::device::{Io, VirtioDevice};
use crate::queue::{Area, Half, Queue, QueueError};
use crate::transport::{Interrupts, Offer, Places, Transport};

pub use state::MmioStateV1;

/// Bytes that it occupies: registers, and 256 bytes of configuration.
pub const SIZE: u64 = 0x200;

/// The registers want 32-bit accesses (4.2.2.2), the configuration takes others too.
pub const WIDTHS: Widths = Widths::new(&[1, 2, 4, 8], Unfit::Reject);

/// A virtio device on a memory bus.
pub struct MmioTransport<D> {
    transport: Transport<D>,
    pin: Pin,
}

/// The interrupt line and why it is high.
struct Pin {
    line: Line,
    status: InterruptStatus,
}

impl Pin {
    fn set(&mut self, status: InterruptStatus) {
        self.status = status;
        self.line.set_level(status != InterruptStatus::new());
    }
}

impl Interrupts for Pin {
    fn queue(&mut self, _index: u16) {
        self.set(self.status.with_used_buffer(true));
    }

    fn config(&mut self) {
        self.set(self.status.with_configuration(true));
    }
}

impl<D: VirtioDevice> std::fmt::Debug for MmioTransport<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.transport.fmt(f)
    }
}

impl<D: VirtioDevice> MmioTransport<D> {
    /// Puts `device` behind registers; `line` is its interrupt.
    #[must_use]
    pub fn new(device: D, ram: GuestRam, line: Line, offer: Offer) -> Self {
        Self {
            transport: Transport::new(device, ram, offer),
            pin: Pin {
                line,
                status: InterruptStatus::new(),
            },
        }
    }

    /// The driver rings `bell` instead of visiting; the registers are at `window`, a guest-physical address. Bells wake
    /// the chip: see [`Wake`].
    #[must_use]
    pub fn with_bell(mut self, bell: Arc<dyn Doorbell>, window: u64) -> Self {
        let places = Places {
            first: offset::QUEUE_NOTIFY,
            step: 0,
        };
        self.transport.set_bell(bell, places);
        self.transport.window_moved(Some(window));
        self
    }

    /// Gives the device a turn on the host's behalf: another size of a balloon, of a terminal, of a disk.
    pub fn drive<R>(&mut self, turn: impl FnOnce(&mut D, &mut Io<'_>) -> R) -> R {
        self.transport.drive(&mut self.pin, turn)
    }

    /// The queue and the mistake for which the device wants to be reset.
    #[must_use]
    pub fn broken(&self) -> Option<(u16, QueueError)> {
        self.transport.broken()
    }

    fn read_register(&self, at: u64) -> Result<u32, AccessError> {
        let transport = &self.transport;
        Ok(match at {
            offset::MAGIC_VALUE => regs::MAGIC,
            offset::VERSION => regs::VERSION,
            offset::DEVICE_ID => u32::from(transport.device.device_type() as u16),
            offset::VENDOR_ID => regs::VENDOR,
            offset::DEVICE_FEATURES => transport.selected_features(),
            offset::QUEUE_SIZE_MAX => transport.queue().map_or(0, |queue| queue.max_size().into()),
            offset::QUEUE_READY => transport.queue().is_some_and(Queue::ready).into(),
            offset::INTERRUPT_STATUS => self.pin.status.into_bits().into(),
            offset::STATUS => transport.status().into_bits().into(),
            offset::SHM_LEN_LOW
            | offset::SHM_LEN_HIGH
            | offset::SHM_BASE_LOW
            | offset::SHM_BASE_HIGH => u32::MAX,
            // A reset has ended when the write that began it returns.
            offset::QUEUE_RESET => 0,
            offset::CONFIG_GENERATION => transport.generation().into(),
            _ => return Err(AccessError::NoRegister),
        })
    }

    fn write_register(&mut self, at: u64, value: u32) -> Result<(), AccessError> {
        let transport = &mut self.transport;
        match at {
            offset::DEVICE_FEATURES_SEL => transport.selectors.device_features = value,
            offset::DRIVER_FEATURES_SEL => transport.selectors.driver_features = value,
            offset::DRIVER_FEATURES => transport.accept_features(value)?,
            offset::QUEUE_SEL => transport.selectors.queue = low_half(value),
            offset::QUEUE_SIZE => {
                let size = u16::try_from(value).map_err(|_| AccessError::Value)?;
                transport.configure_queue(|queue| queue.set_size(size))?;
            }
            offset::QUEUE_READY if value == 1 => {
                return transport.enable_queue(&mut self.pin);
            }
            offset::QUEUE_READY | offset::QUEUE_RESET if value <= 1 => {
                transport.reset_queue(&mut self.pin);
            }
            // With notification data the high half says how far the driver is, which the queue says as well.
            offset::QUEUE_NOTIFY => {
                return transport.notify(low_half(value), &mut self.pin);
            }
            offset::INTERRUPT_ACK => {
                let [acknowledged, ..] = value.to_le_bytes();
                let left = self.pin.status.into_bits() & !acknowledged;
                self.pin.set(InterruptStatus::from_bits(left));
            }
            offset::STATUS => {
                let bits = u8::try_from(value).map_err(|_| AccessError::Value)?;
                transport.write_status(bits, &mut self.pin)?;
                if bits == 0 {
                    self.pin.set(InterruptStatus::new());
                }
            }
            offset::SHM_SEL => {}
            _ => {
                let (area, half) = address_half(at).ok_or(AccessError::NoRegister)?;
                transport.configure_queue(|queue| queue.set_address_half(area, half, value))?;
            }
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is meant"
)]
const fn low_half(value: u32) -> u16 {
    value as u16
}

/// Which half of which area's address the register at `at` takes.
const fn address_half(at: u64) -> Option<(Area, Half)> {
    Some(match at {
        offset::QUEUE_DESC_LOW => (Area::Descriptor, Half::Low),
        offset::QUEUE_DESC_HIGH => (Area::Descriptor, Half::High),
        offset::QUEUE_DRIVER_LOW => (Area::Driver, Half::Low),
        offset::QUEUE_DRIVER_HIGH => (Area::Driver, Half::High),
        offset::QUEUE_DEVICE_LOW => (Area::Device, Half::Low),
        offset::QUEUE_DEVICE_HIGH => (Area::Device, Half::High),
        _ => return None,
    })
}

/// Where in the device's configuration `at` is.
fn config_offset(at: u64) -> Option<usize> {
    usize::try_from(at.checked_sub(offset::CONFIG)?).ok()
}

impl<D: VirtioDevice> MmioDevice for MmioTransport<D> {
    fn read(&mut self, at: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if let Some(at) = config_offset(at) {
            self.transport.device.read_config(at, data);
            return Ok(());
        }
        let bytes: &mut [u8; 4] = data.try_into().map_err(|_| AccessError::Width)?;
        *bytes = self.read_register(at)?.to_le_bytes();
        Ok(())
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), AccessError> {
        if let Some(at) = config_offset(at) {
            return self.transport.write_config(at, data, &mut self.pin);
        }
        let bytes: [u8; 4] = data.try_into().map_err(|_| AccessError::Width)?;
        self.write_register(at, u32::from_le_bytes(bytes))
    }
}

impl<D: VirtioDevice> Wake for MmioTransport<D> {
    fn wake(&mut self) -> bool {
        self.transport.wake(&mut self.pin)
    }

    fn is_rung(&self) -> bool {
        self.transport.is_rung()
    }

    fn look(&mut self, last: bool) -> Look {
        self.transport.look(last, &mut self.pin)
    }
}

impl<D: VirtioDevice> Component for MmioTransport<D> {
    fn start(&mut self) {
        self.transport.start(&mut self.pin);
    }

    fn pause(&mut self) {
        self.transport.pause(&mut self.pin);
    }

    fn reset(&mut self) {
        self.transport.reset();
        self.pin.set(InterruptStatus::new());
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &MmioStateV1::from(self))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: MmioStateV1 = state.decode(state::KIND, state::VERSION)?;
        state.put_back(self)
    }
}
