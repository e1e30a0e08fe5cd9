//! The registers that a host reaches in a drive's command block.

use super::regs::{
    Control, DEVICE_ALWAYS_SET, DIAGNOSTIC_PASSED, Device, Error, Status, command_block as offset,
};

/// A register of two bytes: 48-bit commands use the byte that was there before as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pair {
    pub(super) now: u8,
    pub(super) before: u8,
}

impl Pair {
    pub(super) const fn push(&mut self, value: u8) {
        self.before = self.now;
        self.now = value;
    }

    const fn get(self, hob: bool) -> u8 {
        if hob { self.before } else { self.now }
    }
}

/// The registers of one drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskFile {
    pub(super) feature: Pair,
    pub(super) count: Pair,
    pub(super) lba_low: Pair,
    pub(super) lba_mid: Pair,
    pub(super) lba_high: Pair,
    pub(super) device: Device,
    pub(super) status: Status,
    /// Error, as a whole byte: a packet device has its sense key there.
    pub(super) error: u8,
}

impl TaskFile {
    /// After a reset, with the signature of a disk or of a packet device (ATA/ATAPI-6, 9.12).
    pub(super) fn signature(packet: bool, dev: bool) -> Self {
        let pair = |now| Pair { now, before: 0 };
        let (mid, high) = if packet { (0x14, 0xeb) } else { (0, 0) };
        Self {
            feature: pair(0),
            count: pair(1),
            lba_low: pair(1),
            lba_mid: pair(mid),
            lba_high: pair(high),
            device: Device::from_bits(DEVICE_ALWAYS_SET).with_dev(dev),
            // A packet device becomes ready by its first command alone (9.10).
            status: Status::new().with_drdy(!packet).with_dsc(!packet),
            error: DIAGNOSTIC_PASSED,
        }
    }

    /// What a read of the command block gives, but for Data.
    pub(super) const fn read(&self, register: u16, control: Control) -> u8 {
        let hob = control.hob();
        match register {
            offset::ERROR => self.error,
            offset::SECTOR_COUNT => self.count.get(hob),
            offset::LBA_LOW => self.lba_low.get(hob),
            offset::LBA_MID => self.lba_mid.get(hob),
            offset::LBA_HIGH => self.lba_high.get(hob),
            offset::DEVICE => self.device.into_bits(),
            _ => self.status.into_bits(),
        }
    }

    /// A write to the command block, but for Data, Device and Command.
    pub(super) const fn write(&mut self, register: u16, value: u8) {
        match register {
            offset::ERROR => self.feature.push(value),
            offset::SECTOR_COUNT => self.count.push(value),
            offset::LBA_LOW => self.lba_low.push(value),
            offset::LBA_MID => self.lba_mid.push(value),
            offset::LBA_HIGH => self.lba_high.push(value),
            _ => {}
        }
    }

    /// The device is busy, or asks for data: what a host writes then has no effect.
    pub(super) const fn is_taken(&self) -> bool {
        self.status.bsy() || self.status.drq()
    }

    pub(super) const fn set_bsy(&mut self) {
        self.status = Status::new().with_drdy(true).with_bsy(true);
    }

    /// Asks for data.
    pub(super) const fn set_drq(&mut self) {
        self.status = Status::new().with_drdy(true).with_dsc(true).with_drq(true);
    }

    /// The command has ended well.
    pub(super) const fn set_ready(&mut self) {
        self.status = Status::new().with_drdy(true).with_dsc(true);
        self.error = 0;
    }

    /// The command has ended with an error.
    pub(super) const fn set_error(&mut self, error: Error) {
        self.status = Status::new().with_drdy(true).with_err(true);
        self.error = error.into_bits();
    }

    /// The byte count of a packet device's transfer.
    pub(super) const fn byte_count(&self) -> u16 {
        u16::from_le_bytes([self.lba_mid.now, self.lba_high.now])
    }

    pub(super) const fn set_byte_count(&mut self, bytes: u16) {
        let [mid, high] = bytes.to_le_bytes();
        self.lba_mid.now = mid;
        self.lba_high.now = high;
    }
}
