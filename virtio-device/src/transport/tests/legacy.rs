//! A transitional device, driven by its legacy interface: by port, as drivers older than version 1 do.

use std::sync::Arc;

use trivisor_buses::testing::{TestHost, check_golden};
use trivisor_buses::{AccessError, Component, RestoreError};
use trivisor_memory::GuestRam;
use trivisor_pci::regs::offset;
use trivisor_pci::{Command, PciFunction};

use super::echo::Echo;
use super::{BEGUN, MEMORY, WORKS};
use crate::device::DeviceType;
use crate::features::Feature;
use crate::pci::{PciError, PciStateV1, PciTransport, regs, regs::legacy};
use crate::testing::{DriverQueue, Ring, test_ram};
use crate::transport::{Offer, Status};

type Done = Result<(), AccessError>;

const OFFER: Offer = Offer { packed: true };
/// The most descriptors of the device's queues: a legacy driver has no choice.
const SIZE: u16 = 64;
const READY: Status = BEGUN.with_driver_ok(true);
/// Where the first queue is, in units of the register.
const PAGE: u32 = 0x100;
const MSIX: u8 = 0x11;

struct Legacy {
    ram: GuestRam,
    host: Arc<TestHost>,
    chip: PciTransport<Echo>,
}

impl Legacy {
    fn new() -> Self {
        let (ram, host) = (test_ram(), TestHost::new());
        let echo = Echo::default();
        let chip = PciTransport::transitional(echo, ram.clone(), host.clone(), OFFER).unwrap();
        Self { ram, host, chip }
    }

    fn try_get(&mut self, at: u64, len: usize) -> Result<u32, AccessError> {
        let mut data = [0; 4];
        let bar = regs::LEGACY_BAR;
        self.chip.bar_read(bar, at, &mut data[..len])?;
        Ok(u32::from_le_bytes(data))
    }

    fn get(&mut self, at: u64, len: usize) -> u32 {
        let value = self.try_get(at, len);
        value.unwrap_or_else(|error| panic!("{at:#x}: {error}"))
    }

    fn put(&mut self, at: u64, value: u32, len: usize) -> Done {
        let data = &value.to_le_bytes()[..len];
        self.chip.bar_write(regs::LEGACY_BAR, at, data)
    }

    /// The same of the registers of version 1.
    fn modern(&mut self, at: u64, value: u32, len: usize) -> Done {
        let data = &value.to_le_bytes()[..len];
        self.chip.bar_write(regs::BAR, at, data)
    }

    fn status(&mut self) -> Status {
        let bits = self.get(legacy::DEVICE_STATUS, 1);
        Status::from_bits(bits.try_into().unwrap())
    }

    fn set_status(&mut self, status: Status) -> Done {
        self.put(legacy::DEVICE_STATUS, status.into_bits().into(), 1)
    }

    /// A driver up to the features.
    fn begin(&mut self, features: u64) {
        self.set_status(Status::new()).unwrap();
        self.set_status(BEGUN).unwrap();
        let features = u32::try_from(features).unwrap();
        self.put(legacy::DRIVER_FEATURES, features, 4).unwrap();
    }

    /// Lays queue 0 out and tells where it is.
    fn place(&mut self, features: u64) -> DriverQueue {
        let driver = DriverQueue::new(&self.ram, MEMORY, Ring::Split, SIZE, features);
        self.put(legacy::QUEUE_SELECT, 0, 2).unwrap();
        assert_eq!(self.get(legacy::QUEUE_SIZE, 2), u32::from(SIZE));
        assert_eq!(self.get(legacy::QUEUE_ADDRESS, 4), 0);
        self.put(legacy::QUEUE_ADDRESS, PAGE, 4).unwrap();
        assert_eq!(self.get(legacy::QUEUE_ADDRESS, 4), PAGE);
        // The driver of the tests has laid it out as 2.7.2 says.
        let start = MEMORY.start;
        assert_eq!(driver.addresses(), [start, start + 0x400, start + 0x1000]);
        driver
    }

    fn bring_up(&mut self, features: u64) -> DriverQueue {
        self.begin(features);
        let driver = self.place(features);
        self.set_status(READY).unwrap();
        assert_eq!(self.status(), READY);
        driver
    }

    fn echoes(&mut self, driver: &mut DriverQueue, text: &[u8]) {
        driver.add(&[text], &[16]);
        driver.kick();
        self.put(legacy::QUEUE_NOTIFY, 0, 2).unwrap();
        assert_eq!(driver.poll().unwrap().data, text);
    }

    fn pin(&self) -> bool {
        self.chip.endpoint().config().status().interrupt()
    }

    fn enable_msix(&mut self, on: bool) {
        let control = u16::from(self.chip.endpoint().config().capability(MSIX).unwrap()) + 2;
        let bits = if on { 0x8000_u16 } else { 0 };
        self.chip.config_write(control, &bits.to_le_bytes());
    }
}

#[test]
fn it_says_what_it_is() {
    let Legacy { chip, .. } = Legacy::new();
    let config = chip.endpoint().config();
    assert_eq!(config.get(offset::VENDOR_ID), 0x1af4_u16.to_le_bytes());
    assert_eq!(config.get(offset::DEVICE_ID), 0x1003_u16.to_le_bytes());
    assert_eq!(config.get(offset::REVISION_ID), [0]);
    assert_eq!(config.get(offset::SUBSYSTEM_ID), 3_u16.to_le_bytes());
    let [bar, ..] = config.get::<4>(0x10);
    assert_eq!(bar & 3, 1, "it is of ports");
}

#[test]
fn types_of_version_1_have_no_legacy_interface() {
    for (kind, id) in [
        (DeviceType::Network, Some(0x1000)),
        (DeviceType::Block, Some(0x1001)),
        (DeviceType::Balloon, Some(0x1002)),
        (DeviceType::Console, Some(0x1003)),
        (DeviceType::Entropy, Some(0x1005)),
        (DeviceType::Input, None),
        (DeviceType::Socket, None),
        (DeviceType::FileSystem, None),
        (DeviceType::Pmem, None),
    ] {
        let mut echo = Echo::default();
        echo.kind = kind;
        let made = PciTransport::transitional(echo, test_ram(), TestHost::new(), OFFER);
        let made = made.map(|chip| u16::from_le_bytes(chip.endpoint().config().get(2)));
        let wanted = id.ok_or(PciError::NoLegacy { device: kind });
        assert_eq!(made, wanted);
    }
}

#[test]
fn each_register_is_where_it_was() {
    let mut legacy = Legacy::new();
    let offered = 1 | 1 << 27 | 1 << 28 | 1 << 29;
    for (at, len, reset, writable) in [
        (0x00, 4, offered, None),
        (0x04, 4, 0, Some((1, 1))),
        (0x08, 4, 0, Some((PAGE, PAGE))),
        (0x0c, 2, 64, None),
        (0x12, 1, 0, Some((3, 3))),
        (0x13, 1, 0, None),
        (0x0e, 2, 0, Some((7, 7))),
        // There is no queue 7.
        (0x0c, 2, 0, None),
        (0x08, 4, 0, None),
    ] {
        assert_eq!(legacy.get(at, len), reset, "{at:#x}");
        if let Some((value, after)) = writable {
            legacy.put(at, value, len).unwrap();
            assert_eq!(legacy.get(at, len), after, "{at:#x}");
        } else {
            assert!(legacy.put(at, 1, len).is_err(), "{at:#x}");
        }
        let wrong = if len == 2 { 4 } else { 2 };
        assert_eq!(
            legacy.try_get(at, wrong),
            Err(AccessError::Width),
            "{at:#x}"
        );
    }
    for (at, len) in [(0x04, 2), (0x08, 1), (0x0e, 4), (0x10, 4), (0x12, 2)] {
        assert_eq!(legacy.put(at, 1, len), Err(AccessError::Width), "{at:#x}");
    }
    for at in [0x00, 0x0c, 0x13] {
        assert_eq!(legacy.put(at, 0, 1), Err(AccessError::ReadOnly), "{at:#x}");
    }
    assert_eq!(legacy.try_get(0x10, 2), Err(AccessError::NoRegister));
    assert_eq!(legacy.try_get(0x02, 2), Err(AccessError::NoRegister));
    assert_eq!(legacy.put(0x01, 0, 1), Err(AccessError::NoRegister));
}

#[test]
fn a_buffer_goes_there_and_back() {
    for features in [
        0,
        1,
        Feature::EventIndex.bit() | Feature::IndirectDescriptors.bit(),
    ] {
        let mut legacy = Legacy::new();
        let mut driver = legacy.bring_up(features);
        assert!(!legacy.pin());
        legacy.echoes(&mut driver, b"ping");
        assert!(legacy.pin());
        assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 1);
        assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 0);
        assert!(!legacy.pin());
        legacy.chip.drive(|_, io| io.config_changed());
        assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 2);
    }
}

#[test]
fn features_end_with_the_first_use() {
    let mut legacy = Legacy::new();
    // What is not offered is not taken, and nobody is told.
    legacy.begin((1 << 5) | 1);
    assert_eq!(legacy.get(legacy::DRIVER_FEATURES, 4), 1);
    legacy.set_status(WORKS).unwrap();
    assert_eq!(legacy.status(), READY, "there is no FEATURES_OK");
    assert_eq!(
        legacy.put(legacy::DRIVER_FEATURES, 0, 4),
        Err(AccessError::Value)
    );
    assert_eq!(legacy.get(legacy::DRIVER_FEATURES, 4), 1);
}

#[test]
fn features_may_come_after_the_queues() {
    let mut legacy = Legacy::new();
    legacy.set_status(BEGUN).unwrap();
    let events = Feature::EventIndex.bit();
    let mut driver = legacy.place(events);
    let features = u32::try_from(events).unwrap();
    legacy.put(legacy::DRIVER_FEATURES, features, 4).unwrap();
    assert_eq!(legacy.get(legacy::QUEUE_ADDRESS, 4), PAGE);
    legacy.set_status(READY).unwrap();
    // The driver hears of a second buffer only by its event index.
    driver.want_interrupts(true);
    legacy.echoes(&mut driver, b"one");
    assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 1);
    driver.want_interrupts(false);
    legacy.echoes(&mut driver, b"two");
    assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 0);
}

#[test]
fn a_queue_works_before_the_driver_is_ready() {
    let mut legacy = Legacy::new();
    legacy.begin(0);
    assert_eq!(
        legacy.put(legacy::QUEUE_NOTIFY, 0, 2),
        Err(AccessError::Value)
    );
    let mut driver = legacy.place(0);
    assert_eq!(
        legacy.put(legacy::QUEUE_NOTIFY, 1, 2),
        Err(AccessError::Value)
    );
    legacy.echoes(&mut driver, b"early");
    assert_eq!(
        legacy.put(legacy::DRIVER_FEATURES, 1, 4),
        Err(AccessError::Value)
    );
    legacy.set_status(READY).unwrap();
    legacy.echoes(&mut driver, b"late");
}

#[test]
fn an_address_of_0_resets_the_queue_alone() {
    let mut legacy = Legacy::new();
    let mut driver = legacy.bring_up(0);
    legacy.echoes(&mut driver, b"one");
    // It cannot be moved while it is enabled.
    let moved = legacy.put(legacy::QUEUE_ADDRESS, PAGE + 64, 4);
    assert_eq!(moved, Err(AccessError::Value));
    legacy.put(legacy::QUEUE_ADDRESS, 0, 4).unwrap();
    assert_eq!(legacy.get(legacy::QUEUE_ADDRESS, 4), 0);
    assert_eq!(legacy.status(), READY);
    let mut driver = legacy.place(0);
    legacy.echoes(&mut driver, b"two");
}

/// It stands still without a word, until it is reset: DEVICE_NEEDS_RESET means nothing to the driver.
fn is_silently_broken(mut legacy: Legacy) {
    assert!(legacy.chip.broken().is_some());
    assert!(!legacy.status().needs_reset());
    assert!(!legacy.pin());
    assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 0);
    assert_eq!(
        legacy.put(legacy::QUEUE_NOTIFY, 0, 2),
        Err(AccessError::Value)
    );
    let mut driver = legacy.bring_up(0);
    assert_eq!(legacy.chip.broken(), None);
    legacy.echoes(&mut driver, b"well again");
}

#[test]
fn a_queue_outside_of_memory() {
    for address in [u32::MAX, 0xc_0000] {
        let mut legacy = Legacy::new();
        legacy.begin(0);
        let placed = legacy.put(legacy::QUEUE_ADDRESS, address, 4);
        assert_eq!(placed, Err(AccessError::Value));
        assert_eq!(legacy.set_status(READY), Ok(()));
        is_silently_broken(legacy);
    }
}

#[test]
fn a_descriptor_that_cannot_be() {
    let nowhere = (0xffff_ffff_ffff_0000_u64, 4_u32, 1_u16, 1_u16);
    let looped = (0x1000, 4, 1, 0);
    let far = (0x1000, 4, 1, SIZE);
    let empty = (0x1000, 0, 0, 0);
    let not_agreed = (0x1000, 16, 4, 0);
    for (address, len, flags, next) in [nowhere, looped, far, empty, not_agreed] {
        let mut legacy = Legacy::new();
        let mut driver = legacy.bring_up(0);
        driver.add(&[b"lost"], &[4]);
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        let [table, ..] = driver.addresses();
        assert!(legacy.ram.write(table, &bytes));
        driver.kick();
        legacy.put(legacy::QUEUE_NOTIFY, 0, 2).unwrap();
        if legacy.chip.broken().is_none() {
            panic!("descriptor {address:#x}, {len}, {flags}, {next} is taken");
        }
        is_silently_broken(legacy);
    }
}

#[test]
fn an_index_that_jumps() {
    let mut legacy = Legacy::new();
    let driver = legacy.bring_up(0);
    let [_, available, _] = driver.addresses();
    let jump = (SIZE + 1).to_le_bytes();
    assert!(legacy.ram.write(available + 2, &jump));
    legacy.put(legacy::QUEUE_NOTIFY, 0, 2).unwrap();
    is_silently_broken(legacy);
}

#[test]
fn vectors_move_the_configuration() {
    let mut legacy = Legacy::new();
    assert_eq!(legacy.get(0x14, 4), 0x0302_0100);
    assert_eq!(legacy.get(0x18, 4), 0x0706_0504);
    assert_eq!(legacy.get(0x1c, 4), 0);
    // Byte by byte, as Linux writes.
    legacy.put(0x19, 0x99, 1).unwrap();
    assert_eq!(legacy.get(0x18, 4), 0x0706_9904);
    legacy.enable_msix(true);
    assert_eq!((legacy.get(0x14, 2), legacy.get(0x16, 2)), (0xffff, 0xffff));
    assert_eq!(legacy.get(0x18, 4), 0x0302_0100);
    assert_eq!(legacy.get(0x1c, 4), 0x0706_9904);
    legacy.put(0x1c, 0x44, 1).unwrap();
    assert_eq!(legacy.get(0x1c, 1), 0x44);
    // A vector that does not exist is none.
    for (vector, held) in [(2, 2), (3, 0xffff), (0xffff, 0xffff), (1, 1)] {
        legacy.put(0x16, vector, 2).unwrap();
        assert_eq!(legacy.get(0x16, 2), held);
        legacy.put(0x14, vector, 2).unwrap();
        assert_eq!(legacy.get(0x14, 2), held);
    }
    assert_eq!(legacy.try_get(0x14, 4), Err(AccessError::Width));
    legacy.put(legacy::QUEUE_SELECT, 7, 2).unwrap();
    assert_eq!(legacy.get(0x16, 2), 0xffff);
    assert_eq!(legacy.put(0x16, 1, 2), Err(AccessError::Value));
    legacy.enable_msix(false);
    assert_eq!(legacy.get(0x14, 4), 0x0302_0100);
}

#[test]
fn messages_replace_the_pin() {
    let mut legacy = Legacy::new();
    legacy.enable_msix(true);
    let mut state = legacy.chip.endpoint().save();
    for (vector, entry) in (0..).zip(&mut state.msix_table) {
        (entry.address, entry.data, entry.control) = (0xfee0_0000, vector, 0);
    }
    let endpoint = legacy.chip.endpoint_mut();
    endpoint.restore("endpoint", &state).unwrap();
    legacy.begin(0);
    legacy.put(legacy::CONFIG_MSIX_VECTOR, 0, 2).unwrap();
    let mut driver = legacy.place(0);
    legacy.put(legacy::QUEUE_MSIX_VECTOR, 1, 2).unwrap();
    legacy.set_status(READY).unwrap();
    legacy.echoes(&mut driver, b"message");
    legacy.chip.drive(|_, io| io.config_changed());
    let data: Vec<u32> = legacy
        .host
        .messages
        .take()
        .iter()
        .map(|one| one.data)
        .collect();
    assert_eq!(data, [1, 0]);
    assert!(!legacy.pin());
    assert_eq!(legacy.get(legacy::ISR_STATUS, 1), 0);
}

#[test]
fn one_interface_at_a_time() {
    use regs::common;
    let mut legacy = Legacy::new();
    let mut driver = legacy.bring_up(0);
    for (at, value, len) in [
        (common::DEVICE_STATUS, 1, 1),
        (common::DRIVER_FEATURE, 1, 4),
        (common::QUEUE_SELECT, 1, 2),
        (common::QUEUE_RESET, 1, 2),
    ] {
        let refused = legacy.modern(at, value, len);
        assert_eq!(refused, Err(AccessError::Value), "{at:#x}");
    }
    legacy.echoes(&mut driver, b"undisturbed");
    // Each may reset it, and then begin.
    legacy.modern(common::DEVICE_STATUS, 0, 1).unwrap();
    assert_eq!(legacy.status(), Status::new());
    legacy.modern(common::DEVICE_STATUS, 3, 1).unwrap();
    for (at, value, len) in [
        (legacy::DEVICE_STATUS, 7, 1),
        (legacy::DRIVER_FEATURES, 1, 4),
        (legacy::QUEUE_ADDRESS, PAGE, 4),
    ] {
        let refused = legacy.put(at, value, len);
        assert_eq!(refused, Err(AccessError::Value), "{at:#x}");
    }
    let mut driver = legacy.bring_up(0);
    legacy.echoes(&mut driver, b"mine");
}

#[test]
fn drivers_of_that_age_forget_the_bus_master() {
    let mut legacy = Legacy::new();
    let ports = Command::new().with_io(true).into_bits().to_le_bytes();
    legacy.chip.config_write(offset::COMMAND.into(), &ports);
    legacy
        .set_status(Status::new().with_acknowledge(true))
        .unwrap();
    assert!(!legacy.chip.endpoint().config().command().bus_master());
    legacy.set_status(BEGUN).unwrap();
    let command = legacy.chip.endpoint().config().command();
    assert!(command.bus_master() && command.io());
    // What is taken away later stays so.
    let mut driver = legacy.bring_up(0);
    legacy.chip.config_write(offset::COMMAND.into(), &ports);
    driver.add(&[b"held"], &[16]);
    driver.kick();
    let held = legacy.put(legacy::QUEUE_NOTIFY, 0, 2);
    assert_eq!((held, driver.poll()), (Err(AccessError::Value), None));
    legacy.set_status(READY).unwrap();
    assert_eq!(driver.poll(), None);
    legacy.chip.config_write(offset::COMMAND.into(), &[5]);
    assert_eq!(driver.poll().unwrap().data, b"held");
}

#[test]
fn a_machine_reset_is_a_device_reset() {
    let mut legacy = Legacy::new();
    legacy.bring_up(1);
    legacy.chip.reset();
    assert_eq!(legacy.status(), Status::new());
    assert_eq!(legacy.get(legacy::DRIVER_FEATURES, 4), 0);
    assert_eq!(legacy.get(legacy::QUEUE_ADDRESS, 4), 0);
    let mut driver = legacy.bring_up(0);
    legacy.echoes(&mut driver, b"again");
}

#[test]
fn it_goes_on_where_it_was_saved() {
    // Once ready, and once in use before.
    for ready in [true, false] {
        let mut legacy = Legacy::new();
        legacy.begin(1);
        let mut driver = legacy.place(1);
        if ready {
            legacy.set_status(READY).unwrap();
        }
        legacy.echoes(&mut driver, b"first");
        legacy.chip.pause();
        let state = legacy.chip.save();
        legacy.chip.reset();
        legacy.chip.restore(&state).unwrap();
        assert_eq!(legacy.chip.save(), state);
        legacy.chip.start();
        assert_eq!(legacy.status(), if ready { READY } else { BEGUN });
        assert_eq!(legacy.get(legacy::DRIVER_FEATURES, 4), 1);
        legacy.echoes(&mut driver, b"second");
    }
}

#[test]
fn a_damaged_state_is_refused() {
    let mut legacy = Legacy::new();
    legacy.bring_up(1);
    legacy.chip.pause();
    let saved = legacy.chip.save();
    let state: PciStateV1 = saved.decode("virtio-pci", 1).unwrap();
    let wrong = |field, value| RestoreError::Field {
        kind: "virtio-pci",
        field,
        value,
    };
    for (damage, error) in [
        (
            Box::new(|state: &mut PciStateV1| state.transport.interface = 3)
                as Box<dyn Fn(&mut PciStateV1)>,
            wrong("interface", 3),
        ),
        // Then it would have no FEATURES_OK.
        (
            Box::new(|state| state.transport.interface = 0),
            wrong("status", 7),
        ),
        (
            Box::new(|state| state.transport.driver_features |= 1 << 32),
            wrong("driver_features", 1 << 32 | 1),
        ),
    ] {
        let mut damaged = state.clone();
        damage(&mut damaged);
        let damaged = trivisor_buses::SavedState::encode("virtio-pci", 1, &damaged);
        assert_eq!(legacy.chip.restore(&damaged), Err(error));
        assert_eq!(legacy.chip.save(), saved);
    }
    // One that is not transitional has no such driver.
    let echo = Echo::default();
    let mut modern = PciTransport::new(echo, test_ram(), TestHost::new(), OFFER).unwrap();
    assert!(modern.restore(&saved).is_err());
}

#[test]
fn its_saved_form_stays() {
    let mut legacy = Legacy::new();
    let mut driver = legacy.bring_up(1);
    legacy.echoes(&mut driver, b"golden");
    legacy.chip.pause();
    let golden = include_str!("golden/virtio-pci-transitional-v1.hex");
    check_golden(&mut legacy.chip, "virtio-pci", 1, golden);
    assert_eq!(legacy.status(), READY);
    assert_eq!(legacy.get(legacy::QUEUE_ADDRESS, 4), PAGE);
}
