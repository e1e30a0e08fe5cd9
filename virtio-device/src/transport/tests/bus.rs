//! The two transports behind one face: what a driver does to a device.

use std::sync::Arc;

use trivisor_buses::testing::TestHost;
use trivisor_buses::{AccessError, Component, Look, MmioDevice, Wake};
use trivisor_memory::GuestRam;
use trivisor_pci::{Command, PciFunction};

use super::bells::TestBell;
use super::echo::Echo;
use crate::mmio::{MmioTransport, regs::offset};
use crate::pci::{PciTransport, regs};
use crate::queue::Area;
use crate::testing::test_ram;
use crate::transport::{Offer, Status};

type Done = Result<(), AccessError>;

pub(super) trait Bus {
    fn ram(&self) -> &GuestRam;
    fn offered(&mut self) -> u64;
    fn accept(&mut self, features: u64);
    fn status(&mut self) -> Status;
    fn set_status(&mut self, status: Status) -> Done;
    fn generation(&mut self) -> u8;
    fn select(&mut self, queue: u16);
    fn max_size(&mut self) -> u16;
    fn set_size(&mut self, size: u16) -> Done;
    fn set_address(&mut self, area: Area, address: u64) -> Done;
    fn enable(&mut self) -> Done;
    fn enabled(&mut self) -> bool;
    fn reset_queue(&mut self) -> Done;
    fn notify(&mut self, queue: u16) -> Done;
    /// Whether the driver was told of a used buffer since the last call; it acknowledges that.
    fn interrupted(&mut self) -> bool;
    /// Whether the driver was told of a change of the configuration or status; it acknowledges that.
    fn config_interrupted(&mut self) -> bool;
    fn read_config(&mut self, offset: u64, len: usize) -> Vec<u8>;
    fn write_config(&mut self, offset: u64, data: &[u8]) -> Done;
    fn change_config(&mut self);
    fn wake(&mut self) -> bool;
    fn look(&mut self, last: bool) -> Look;
    fn bell(&self) -> &TestBell;
    fn component(&mut self) -> &mut dyn Component;
    /// What firmware and bus driver do once more after a reset.
    fn after_reset(&mut self) {}
}

/// The low and the high half.
fn halves(value: u64) -> [u32; 2] {
    [value & 0xffff_ffff, value >> 32].map(|half| half.try_into().unwrap())
}

const OFFER: Offer = Offer { packed: true };

/// Virtio over MMIO.
pub(super) struct Mmio {
    ram: GuestRam,
    host: Arc<TestHost>,
    pub(super) chip: MmioTransport<Echo>,
    bell: Arc<TestBell>,
}

/// Where the registers stand.
pub(super) const WINDOW: u64 = 0xd000_0000;

impl Mmio {
    pub(super) fn new(device: Echo) -> Self {
        let (ram, host) = (test_ram(), TestHost::new());
        let bell = Arc::new(TestBell::default());
        let chip = MmioTransport::new(device, ram.clone(), host.line(), OFFER);
        let chip = chip.with_bell(bell.clone(), WINDOW);
        Self {
            ram,
            host,
            chip,
            bell,
        }
    }

    fn get(&mut self, at: u64) -> u32 {
        let mut data = [0; 4];
        self.chip.read(at, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    fn put(&mut self, at: u64, value: u32) -> Done {
        self.chip.write(at, &value.to_le_bytes())
    }

    fn acknowledge(&mut self, bit: u32) -> bool {
        let high = self.host.levels.take().last() == Some(&true);
        let status = self.get(offset::INTERRUPT_STATUS);
        let set = status & bit != 0;
        assert!(!high || status != 0, "a line that is high for nothing");
        self.put(offset::INTERRUPT_ACK, bit).unwrap();
        assert_eq!(self.get(offset::INTERRUPT_STATUS), status & !bit);
        set
    }

    pub(super) fn check_registers(&mut self) {
        assert_eq!(self.get(offset::MAGIC_VALUE).to_le_bytes(), *b"virt");
        assert_eq!(self.get(offset::VERSION), 2);
        assert_eq!(self.get(offset::DEVICE_ID), 3);
        assert_eq!(self.get(offset::VENDOR_ID).to_le_bytes(), *b"TRIV");
        for at in [
            offset::SHM_LEN_LOW,
            offset::SHM_LEN_HIGH,
            offset::SHM_BASE_LOW,
            offset::SHM_BASE_HIGH,
        ] {
            self.put(offset::SHM_SEL, 0).unwrap();
            assert_eq!(self.get(at), u32::MAX);
        }
        self.put(offset::DEVICE_FEATURES_SEL, 2).unwrap();
        assert_eq!(self.get(offset::DEVICE_FEATURES), 0);
        self.put(offset::DRIVER_FEATURES_SEL, 2).unwrap();
        self.put(offset::DRIVER_FEATURES, 0).unwrap();
        assert_eq!(
            self.put(offset::DRIVER_FEATURES, 1),
            Err(AccessError::Value)
        );
        assert_eq!(
            self.put(offset::QUEUE_READY, 2),
            Err(AccessError::NoRegister)
        );
        assert_eq!(
            self.put(offset::QUEUE_SIZE, 0x1_0000),
            Err(AccessError::Value)
        );
        assert_eq!(self.put(offset::STATUS, 0x100), Err(AccessError::Value));
        let (mut byte, mut word) = ([0; 1], [0; 4]);
        let read = self.chip.read(offset::STATUS, &mut byte);
        assert_eq!(read, Err(AccessError::Width));
        let read = self.chip.read(offset::QUEUE_NOTIFY, &mut word);
        assert_eq!(read, Err(AccessError::NoRegister));
        assert_eq!(
            self.chip.write(offset::STATUS, &[1]),
            Err(AccessError::Width)
        );
    }
}

impl Bus for Mmio {
    fn ram(&self) -> &GuestRam {
        &self.ram
    }

    fn offered(&mut self) -> u64 {
        let halves = [0, 1].map(|half| {
            self.put(offset::DEVICE_FEATURES_SEL, half).unwrap();
            u64::from(self.get(offset::DEVICE_FEATURES))
        });
        halves[0] | halves[1] << 32
    }

    fn accept(&mut self, features: u64) {
        for (half, bits) in (0..).zip(halves(features)) {
            self.put(offset::DRIVER_FEATURES_SEL, half).unwrap();
            // Refused once they are agreed upon, which a driver does not see.
            let _late = self.put(offset::DRIVER_FEATURES, bits);
        }
    }

    fn status(&mut self) -> Status {
        Status::from_bits(self.get(offset::STATUS).try_into().unwrap())
    }

    fn set_status(&mut self, status: Status) -> Done {
        self.put(offset::STATUS, status.into_bits().into())
    }

    fn generation(&mut self) -> u8 {
        self.get(offset::CONFIG_GENERATION).try_into().unwrap()
    }

    fn select(&mut self, queue: u16) {
        self.put(offset::QUEUE_SEL, queue.into()).unwrap();
    }

    fn max_size(&mut self) -> u16 {
        self.get(offset::QUEUE_SIZE_MAX).try_into().unwrap()
    }

    fn set_size(&mut self, size: u16) -> Done {
        self.put(offset::QUEUE_SIZE, size.into())
    }

    fn set_address(&mut self, area: Area, address: u64) -> Done {
        let at = match area {
            Area::Descriptor => offset::QUEUE_DESC_LOW,
            Area::Driver => offset::QUEUE_DRIVER_LOW,
            Area::Device => offset::QUEUE_DEVICE_LOW,
        };
        let [low, high] = halves(address);
        self.put(at, low)?;
        self.put(at + 4, high)
    }

    fn enable(&mut self) -> Done {
        self.put(offset::QUEUE_READY, 1)
    }

    fn enabled(&mut self) -> bool {
        self.get(offset::QUEUE_READY) == 1
    }

    fn reset_queue(&mut self) -> Done {
        self.put(offset::QUEUE_RESET, 1)?;
        assert_eq!(self.get(offset::QUEUE_RESET), 0);
        Ok(())
    }

    fn notify(&mut self, queue: u16) -> Done {
        self.put(offset::QUEUE_NOTIFY, queue.into())
    }

    fn interrupted(&mut self) -> bool {
        self.acknowledge(1)
    }

    fn config_interrupted(&mut self) -> bool {
        self.acknowledge(2)
    }

    fn read_config(&mut self, offset: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0xee; len];
        self.chip.read(offset::CONFIG + offset, &mut data).unwrap();
        data
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) -> Done {
        self.chip.write(offset::CONFIG + offset, data)
    }

    fn change_config(&mut self) {
        self.chip.drive(|_, io| io.config_changed());
    }

    fn wake(&mut self) -> bool {
        self.chip.wake()
    }

    fn look(&mut self, last: bool) -> Look {
        self.chip.look(last)
    }

    fn bell(&self) -> &TestBell {
        &self.bell
    }

    fn component(&mut self) -> &mut dyn Component {
        &mut self.chip
    }
}

/// Virtio over PCI, with MSI-X: vector 0 for the configuration, 1 for queue 0.
pub(super) struct Pci {
    ram: GuestRam,
    host: Arc<TestHost>,
    pub(super) chip: PciTransport<Echo>,
    bell: Arc<TestBell>,
    messages: Vec<u32>,
}

const COMMAND: u16 = 0x04;

impl Pci {
    pub(super) fn new(device: Echo) -> Self {
        let (ram, host) = (test_ram(), TestHost::new());
        let bell = Arc::new(TestBell::default());
        let chip = PciTransport::new(device, ram.clone(), host.clone(), OFFER).unwrap();
        let mut chip = chip.with_bell(bell.clone());
        chip.window_moved(regs::BAR, Some(WINDOW));
        let mut pci = Self {
            ram,
            host,
            chip,
            bell,
            messages: Vec::new(),
        };
        pci.after_reset();
        pci
    }

    fn get(&mut self, at: u64, len: usize) -> u64 {
        let mut data = [0; 8];
        let read = self.chip.bar_read(regs::BAR, at, &mut data[..len]);
        read.unwrap_or_else(|error| panic!("{at:#x}: {error}"));
        u64::from_le_bytes(data)
    }

    fn put(&mut self, at: u64, value: u64, len: usize) -> Done {
        self.chip
            .bar_write(regs::BAR, at, &value.to_le_bytes()[..len])
    }

    /// Messages with this data since the last call.
    fn messages(&mut self, data: u32) -> bool {
        let new = self.host.messages.take();
        self.messages.extend(new.iter().map(|message| message.data));
        let before = self.messages.len();
        self.messages.retain(|other| *other != data);
        self.messages.len() < before
    }

    pub(super) fn check_registers(&mut self) {
        use regs::common;
        assert_eq!(self.get(common::NUM_QUEUES, 2), 2);
        self.select(1);
        assert_eq!(self.get(common::QUEUE_NOTIFY_OFF, 2), 1);
        assert_eq!(self.get(common::QUEUE_NOTIF_CONFIG_DATA, 2), 1);
        // A vector that does not exist is none.
        self.put(common::QUEUE_MSIX_VECTOR, 3, 2).unwrap();
        assert_eq!(self.get(common::QUEUE_MSIX_VECTOR, 2), 0xffff);
        self.put(common::QUEUE_MSIX_VECTOR, 2, 2).unwrap();
        assert_eq!(self.get(common::QUEUE_MSIX_VECTOR, 2), 2);
        self.put(common::CONFIG_MSIX_VECTOR, 0x100, 2).unwrap();
        assert_eq!(self.get(common::CONFIG_MSIX_VECTOR, 2), 0xffff);
        self.put(common::DEVICE_FEATURE_SELECT, 2, 4).unwrap();
        assert_eq!(self.get(common::DEVICE_FEATURE, 4), 0);
        self.put(common::DRIVER_FEATURE_SELECT, 2, 4).unwrap();
        assert_eq!(
            self.put(common::DRIVER_FEATURE, 1, 4),
            Err(AccessError::Value)
        );
        assert_eq!(
            self.put(common::QUEUE_ENABLE, 0, 2),
            Err(AccessError::Value)
        );
        assert_eq!(self.put(common::QUEUE_RESET, 2, 2), Err(AccessError::Value));
        for (at, len, wanted) in [
            (common::NUM_QUEUES, 2, AccessError::ReadOnly),
            (common::DEVICE_STATUS, 2, AccessError::Width),
            (common::QUEUE_SIZE, 4, AccessError::Width),
            (common::QUEUE_DESC + 2, 2, AccessError::NoRegister),
            (0x40, 4, AccessError::NoRegister),
            (regs::ISR, 1, AccessError::NoRegister),
        ] {
            assert_eq!(self.put(at, 0, len), Err(wanted), "{at:#x}");
        }
        // An address by halves and at once.
        for (area, at) in [
            (Area::Descriptor, 0x20),
            (Area::Driver, 0x28),
            (Area::Device, 0x30),
        ] {
            self.set_address(area, 0x1122_3344_5566_7788).unwrap();
            assert_eq!(self.get(at, 8), 0x1122_3344_5566_7788);
            self.put(at + 4, 7, 4).unwrap();
            assert_eq!((self.get(at, 4), self.get(at + 4, 4)), (0x5566_7788, 7));
        }
        self.check_pin();
        self.check_access_by_configuration_space();
    }

    /// Without MSI-X: the pin, and ISR status that reading clears.
    fn check_pin(&mut self) {
        let control = u16::from(self.chip.endpoint().config().capability(0x11).unwrap()) + 2;
        self.chip.config_write(control, &0_u16.to_le_bytes());
        self.set_status(super::BEGUN).unwrap();
        self.accept(crate::Feature::Version1.bit());
        self.set_status(super::AGREED).unwrap();
        self.set_status(super::WORKS).unwrap();
        self.change_config();
        assert!(self.chip.endpoint().config().status().interrupt());
        assert_eq!(self.get(regs::ISR, 1), 2);
        assert!(!self.chip.endpoint().config().status().interrupt());
        assert_eq!(self.get(regs::ISR, 1), 0);
    }

    /// 4.1.4.9: the device's configuration, read and written without its base address register.
    fn check_access_by_configuration_space(&mut self) {
        let config = self.chip.endpoint().config();
        let mut at = config.get::<1>(0x34)[0];
        while config.get::<4>(at)[3] != regs::CapabilityType::Pci as u8 {
            at = config.get::<2>(at)[1];
        }
        let at = u16::from(at);
        self.chip.config_write(at + 4, &[regs::BAR]);
        let offset = u32::try_from(regs::CONFIG).unwrap() + 4;
        self.chip.config_write(at + 8, &offset.to_le_bytes());
        self.chip.config_write(at + 12, &2_u32.to_le_bytes());
        let mut data = [0; 4];
        self.chip.config_read(at + 16, &mut data);
        assert_eq!(data[..2], [4, 5]);
        self.chip.config_write(at + 16, &[0x77, 0x88, 0, 0]);
        assert_eq!(self.read_config(4, 4), [0x77, 0x88, 6, 7]);
        // What does not fit is not done.
        self.chip.config_write(at + 12, &3_u32.to_le_bytes());
        self.chip.config_write(at + 16, &[0; 4]);
        assert_eq!(self.read_config(4, 4), [0x77, 0x88, 6, 7]);
    }
}

impl Bus for Pci {
    fn ram(&self) -> &GuestRam {
        &self.ram
    }

    fn offered(&mut self) -> u64 {
        let halves = [0, 1].map(|half| {
            self.put(regs::common::DEVICE_FEATURE_SELECT, half, 4)
                .unwrap();
            self.get(regs::common::DEVICE_FEATURE, 4)
        });
        halves[0] | halves[1] << 32
    }

    fn accept(&mut self, features: u64) {
        for (half, bits) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.put(regs::common::DRIVER_FEATURE_SELECT, half, 4)
                .unwrap();
            // Refused once they are agreed upon, which a driver does not see.
            let _late = self.put(regs::common::DRIVER_FEATURE, bits, 4);
        }
    }

    fn status(&mut self) -> Status {
        let bits = self.get(regs::common::DEVICE_STATUS, 1);
        Status::from_bits(bits.try_into().unwrap())
    }

    fn set_status(&mut self, status: Status) -> Done {
        self.put(regs::common::DEVICE_STATUS, status.into_bits().into(), 1)?;
        if status == super::BEGUN {
            self.put(regs::common::CONFIG_MSIX_VECTOR, 0, 2)?;
        }
        Ok(())
    }

    fn generation(&mut self) -> u8 {
        let value = self.get(regs::common::CONFIG_GENERATION, 1);
        value.try_into().unwrap()
    }

    fn select(&mut self, queue: u16) {
        self.put(regs::common::QUEUE_SELECT, queue.into(), 2)
            .unwrap();
    }

    fn max_size(&mut self) -> u16 {
        self.get(regs::common::QUEUE_SIZE, 2).try_into().unwrap()
    }

    fn set_size(&mut self, size: u16) -> Done {
        self.put(regs::common::QUEUE_SIZE, size.into(), 2)
    }

    fn set_address(&mut self, area: Area, address: u64) -> Done {
        let at = match area {
            Area::Descriptor => regs::common::QUEUE_DESC,
            Area::Driver => regs::common::QUEUE_DRIVER,
            Area::Device => regs::common::QUEUE_DEVICE,
        };
        self.put(at, address, 8)
    }

    fn enable(&mut self) -> Done {
        // Refused where there is no such queue, as enabling it is.
        let _no_queue = self.put(regs::common::QUEUE_MSIX_VECTOR, 1, 2);
        self.put(regs::common::QUEUE_ENABLE, 1, 2)
    }

    fn enabled(&mut self) -> bool {
        self.get(regs::common::QUEUE_ENABLE, 2) == 1
    }

    fn reset_queue(&mut self) -> Done {
        self.put(regs::common::QUEUE_RESET, 1, 2)?;
        assert_eq!(self.get(regs::common::QUEUE_RESET, 2), 0);
        Ok(())
    }

    fn notify(&mut self, queue: u16) -> Done {
        let at = regs::NOTIFY + u64::from(queue) * u64::from(regs::NOTIFY_MULTIPLIER);
        self.put(at, queue.into(), 2)
    }

    fn interrupted(&mut self) -> bool {
        self.messages(1)
    }

    fn config_interrupted(&mut self) -> bool {
        self.messages(0)
    }

    fn read_config(&mut self, offset: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0xee; len];
        let at = regs::CONFIG + offset;
        self.chip.bar_read(regs::BAR, at, &mut data).unwrap();
        data
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) -> Done {
        self.chip.bar_write(regs::BAR, regs::CONFIG + offset, data)
    }

    fn change_config(&mut self) {
        self.chip.drive(|_, io| io.config_changed());
    }

    fn wake(&mut self) -> bool {
        self.chip.wake()
    }

    fn look(&mut self, last: bool) -> Look {
        self.chip.look(last)
    }

    fn bell(&self) -> &TestBell {
        &self.bell
    }

    fn component(&mut self) -> &mut dyn Component {
        &mut self.chip
    }

    /// Bus mastering, and MSI-X with a message of its number for each vector. The table is in front of the function on
    /// its bus.
    fn after_reset(&mut self) {
        self.messages.clear();
        self.host.messages.take();
        let command = Command::new().with_memory(true).with_bus_master(true);
        let command = command.into_bits().to_le_bytes();
        self.chip.config_write(COMMAND, &command);
        let endpoint = self.chip.endpoint_mut();
        let control = u16::from(endpoint.config().capability(0x11).unwrap()) + 2;
        self.chip.config_write(control, &0x8000_u16.to_le_bytes());
        let mut state = self.chip.endpoint().save();
        for (vector, entry) in (0..).zip(&mut state.msix_table) {
            entry.address = 0xfee0_0000;
            entry.data = vector;
            entry.control = 0;
        }
        self.chip
            .endpoint_mut()
            .restore("endpoint", &state)
            .unwrap();
    }
}
