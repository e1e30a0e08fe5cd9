//! Virtio over PCI, not transitional.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 4.1.
//!
//! Everything stands in base address register 4, 64 KiB of memory:
//!
//! | offset | what | access |
//! |---|---|---|
//! | 0x0000 | common configuration, below | each field by its width, 64-bit ones also by halves |
//! | 0x1000 | ISR status | read, which clears it |
//! | 0x2000 | the device's configuration | any width |
//! | 0x3000 | notifications, 4 bytes a queue | write |
//! | 0x8000, 0xc000 | MSI-X table and pending bits | PCI's |
//!
//! | offset | field | access | reset |
//! |---|---|---|---|
//! | 0x00, 0x04 | device_feature_select, device_feature | read, write; read | 0 |
//! | 0x08, 0x0c | driver_feature_select, driver_feature | read, write | 0 |
//! | 0x10 | config_msix_vector | read, write | none |
//! | 0x12 | num_queues | read | the device's |
//! | 0x14 | device_status | read, write | 0 |
//! | 0x15 | config_generation | read | 0 |
//! | 0x16 | queue_select | read, write | 0 |
//! | 0x18 | queue_size | read, write | the most; 0 where there is no such queue |
//! | 0x1a | queue_msix_vector | read, write | none |
//! | 0x1c | queue_enable | read, write | 0 |
//! | 0x1e | queue_notify_off | read | the queue's number |
//! | 0x20, 0x28, 0x30 | queue_desc, queue_driver, queue_device | read, write | 0 |
//! | 0x38 | queue_notif_config_data | read | the queue's number |
//! | 0x3a | queue_reset | read, write | 0 |
//!
//! Interrupts: a vector for the configuration and one a queue; the pin, and ISR status, while MSI-X is off.
//!
//! **Not modelled**: the legacy interface of transitional devices; shared memory; the administration queue.
//!
//! **Relied on by**: Linux (`virtio_pci`), the `virtio-drivers` crate.

mod access;
mod common;
pub mod regs;
mod state;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, Doorbell, Look, MsiSink, RestoreError, SavedState, Wake,
};
use trivisor_memory::GuestRam;
use trivisor_pci::{
    Bar, Class, ConfigError, ConfigSpace, Endpoint, Identity, InterruptPin, MsixLayout, PciFunction,
};

use self::access::PciAccess;
use self::regs::{BAR, BAR_SIZE, COMMON, CONFIG, ISR, IsrStatus, NO_VECTOR, NOTIFY, PART};
use crate::device::{DeviceType, Io, VirtioDevice};
use crate::queue::QueueError;
use crate::transport::{Interrupts, Offer, Places, Transport};

pub use state::PciStateV1;

/// A virtio device as a PCI function.
pub struct PciTransport<D> {
    transport: Transport<D>,
    signals: Signals,
    /// The capability that gives access by configuration space.
    access: PciAccess,
}

/// The PCI side: how the driver is told.
struct Signals {
    endpoint: Endpoint,
    isr: IsrStatus,
    config_vector: u16,
    queue_vectors: Vec<u16>,
}

impl Signals {
    fn signal(&mut self, vector: u16, isr: IsrStatus) {
        if self.endpoint.msix_enabled() {
            // There is no vector of the number that stands for none.
            self.endpoint.signal(vector);
        } else {
            self.isr = IsrStatus::from_bits(self.isr.into_bits() | isr.into_bits());
            self.endpoint.set_interrupt(true);
        }
    }

    /// The driver reads ISR status, which clears it.
    fn take_isr(&mut self) -> IsrStatus {
        self.endpoint.set_interrupt(false);
        std::mem::replace(&mut self.isr, IsrStatus::new())
    }

    /// What a vector register holds after a write: nothing that does not exist.
    fn valid(&self, vector: u16) -> u16 {
        if usize::from(vector) <= self.queue_vectors.len() {
            vector
        } else {
            NO_VECTOR
        }
    }

    fn reset(&mut self) {
        let _cleared = self.take_isr();
        self.config_vector = NO_VECTOR;
        self.queue_vectors.fill(NO_VECTOR);
    }
}

impl Interrupts for Signals {
    fn queue(&mut self, index: u16) {
        let vector = self.queue_vectors.get(usize::from(index));
        let vector = vector.copied().unwrap_or(NO_VECTOR);
        self.signal(vector, IsrStatus::new().with_queue(true));
    }

    fn config(&mut self) {
        self.signal(
            self.config_vector,
            IsrStatus::new().with_configuration(true),
        );
    }
}

impl<D: VirtioDevice> std::fmt::Debug for PciTransport<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.transport.fmt(f)
    }
}

/// The class code by which a guest without a virtio driver names the device.
const fn class(device: DeviceType) -> Class {
    let (base, sub) = match device {
        DeviceType::Network => (0x02, 0x00),
        DeviceType::Block => (0x01, 0x80),
        DeviceType::FileSystem => (0x01, 0x80),
        DeviceType::Console => (0x07, 0x80),
        DeviceType::Input => (0x09, 0x80),
        DeviceType::Pmem => (0x05, 0x80),
        DeviceType::Socket => (0x02, 0x80),
        DeviceType::Entropy | DeviceType::Balloon => (0xff, 0x00),
    };
    Class {
        base,
        sub,
        interface: 0,
    }
}

impl<D: VirtioDevice> PciTransport<D> {
    /// Puts `device` behind a PCI function; its messages go to `sink`.
    ///
    /// # Errors
    /// When the device has more queues than MSI-X vectors can be had for.
    pub fn new(
        device: D,
        ram: GuestRam,
        sink: Arc<dyn MsiSink>,
        offer: Offer,
    ) -> Result<Self, ConfigError> {
        let kind = device.device_type();
        let transport = Transport::new(device, ram, offer);
        let queues = transport.queues.len();
        let id = regs::DEVICE + kind as u16;
        let mut config = ConfigSpace::new(Identity {
            vendor: regs::VENDOR,
            device: id,
            revision: regs::REVISION,
            class: class(kind),
            subsystem_vendor: regs::VENDOR,
            subsystem: id,
        })
        .with_interrupt_pin(InterruptPin::A);
        config.add_bar(BAR, Bar::memory64(BAR_SIZE))?;
        let access = access::add_capabilities(&mut config)?;
        let layout = MsixLayout {
            // One for the configuration.
            vectors: u16::try_from(queues + 1).unwrap_or(u16::MAX),
            bar: BAR,
            table: regs::MSIX_TABLE,
            pending: regs::MSIX_PENDING,
        };
        Ok(Self {
            transport,
            signals: Signals {
                endpoint: Endpoint::new(config).with_msix(layout, sink)?,
                isr: IsrStatus::new(),
                config_vector: NO_VECTOR,
                queue_vectors: vec![NO_VECTOR; queues],
            },
            access,
        })
    }

    /// The driver rings `bell` instead of visiting, wherever the registers are. Bells wake the chip: see [`Wake`].
    #[must_use]
    pub fn with_bell(mut self, bell: Arc<dyn Doorbell>) -> Self {
        let places = Places {
            first: NOTIFY,
            step: regs::NOTIFY_MULTIPLIER.into(),
        };
        self.transport.set_bell(bell, places);
        self
    }

    /// Gives the device a turn on the host's behalf: another size of a balloon, of a terminal, of a disk.
    pub fn drive<R>(&mut self, turn: impl FnOnce(&mut D, &mut Io<'_>) -> R) -> R {
        self.transport.drive(&mut self.signals, turn)
    }

    /// The queue and the mistake for which the device wants to be reset.
    #[must_use]
    pub fn broken(&self) -> Option<(u16, QueueError)> {
        self.transport.broken()
    }
}

/// Offset in the part that begins at `start`.
const fn within(offset: u64, start: u64) -> Option<u64> {
    match offset.checked_sub(start) {
        Some(at) if at < PART => Some(at),
        _ => None,
    }
}

/// Offset in the device's configuration.
fn config_offset(offset: u64) -> Option<usize> {
    within(offset, CONFIG).and_then(|at| usize::try_from(at).ok())
}

impl<D: VirtioDevice> PciFunction for PciTransport<D> {
    fn endpoint(&self) -> &Endpoint {
        &self.signals.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.signals.endpoint
    }

    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if bar != BAR {
            return Err(AccessError::NoRegister);
        }
        if let Some(at) = config_offset(offset) {
            self.transport.device.read_config(at, data);
            return Ok(());
        }
        match (within(offset, COMMON), offset, &mut *data) {
            (Some(at), _, data) => self.read_common(at, data),
            (None, ISR, [byte]) => {
                *byte = self.signals.take_isr().into_bits();
                Ok(())
            }
            (None, ISR, _) => Err(AccessError::Width),
            _ => Err(AccessError::NoRegister),
        }
    }

    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        if bar != BAR {
            return Err(AccessError::NoRegister);
        }
        // First what the guest writes most.
        if let Some(at) = within(offset, NOTIFY) {
            let queue = at / u64::from(regs::NOTIFY_MULTIPLIER);
            let queue = u16::try_from(queue).map_err(|_| AccessError::Value)?;
            return self.transport.notify(queue, &mut self.signals);
        }
        if let Some(at) = within(offset, COMMON) {
            return self.write_common(at, data);
        }
        match config_offset(offset) {
            Some(at) => self.transport.write_config(at, data, &mut self.signals),
            None => Err(AccessError::NoRegister),
        }
    }

    fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        if let Some((bar, at, width)) = self.access.target(offset, self.endpoint().config()) {
            let mut window = [0xff; 4];
            if let Some(part) = window.get_mut(..width) {
                let _refused = self.bar_read(bar, at, part);
            }
            data.iter_mut()
                .zip(window)
                .for_each(|(to, from)| *to = from);
            return;
        }
        self.endpoint().read_config(offset, data);
    }

    fn config_write(&mut self, offset: u16, data: &[u8]) {
        if let Some((bar, at, width)) = self.access.target(offset, self.endpoint().config()) {
            if let Some(part) = data.get(..width) {
                let _refused = self.bar_write(bar, at, part);
            }
            return;
        }
        self.endpoint_mut().write_config(offset, data);
    }

    fn window_moved(&mut self, bar: u8, base: Option<u64>) {
        if bar == BAR {
            self.transport.window_moved(base);
        }
    }
}

impl<D: VirtioDevice> Wake for PciTransport<D> {
    fn wake(&mut self) -> bool {
        self.transport.wake(&mut self.signals)
    }

    fn is_rung(&self) -> bool {
        self.transport.is_rung()
    }

    fn look(&mut self, last: bool) -> Look {
        self.transport.look(last, &mut self.signals)
    }
}

impl<D: VirtioDevice> Component for PciTransport<D> {
    fn start(&mut self) {
        self.transport.start(&mut self.signals);
    }

    fn pause(&mut self) {
        self.transport.pause(&mut self.signals);
    }

    fn reset(&mut self) {
        self.transport.reset();
        self.signals.reset();
        self.signals.endpoint.reset();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &PciStateV1::from(self))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: PciStateV1 = state.decode(state::KIND, state::VERSION)?;
        state.put_back(self)
    }
}
