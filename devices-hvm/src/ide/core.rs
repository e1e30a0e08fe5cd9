//! A channel: two drives, the ports in front of them, and the bus master.

use trivisor_buses::{Dma, Line};

use super::bus_master::BusMaster;
use super::drive::{Drive, Kind};
use super::regs::command_block as offset;
use super::regs::{Control, DEVICE_ALWAYS_SET, DIAGNOSTIC_PASSED, Device, Status};

/// DEVICE RESET: the one command that a busy drive takes.
const DEVICE_RESET: u8 = 0x08;
/// EXECUTE DEVICE DIAGNOSTIC: both drives do it.
const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    // Wiring.
    pub(super) line: Line,
    // Guest-visible state.
    pub(super) drives: [Option<Drive>; 2],
    /// The selected drive, which may be none.
    pub(super) device: Device,
    pub(super) control: Control,
    pub(super) master: BusMaster,
}

impl Channel {
    pub(super) fn new(line: Line, drives: [Option<Drive>; 2]) -> Self {
        Self {
            line,
            drives,
            device: Device::from_bits(DEVICE_ALWAYS_SET),
            control: Control::new(),
            master: BusMaster::default(),
        }
    }

    const fn selected_ref(&self) -> Option<&Drive> {
        let [zero, one] = &self.drives;
        if self.device.dev() { one } else { zero }.as_ref()
    }

    const fn selected(&mut self) -> Option<&mut Drive> {
        let [zero, one] = &mut self.drives;
        if self.device.dev() { one } else { zero }.as_mut()
    }

    /// Whether the drives take writes to their registers.
    fn is_taken(&self) -> bool {
        let taken = |drive: &Drive| drive.front.file.is_taken();
        self.control.srst() || self.selected_ref().is_some_and(taken)
    }

    /// Reads a register of the command block, but Data.
    pub(super) fn read(&mut self, register: u16) -> u8 {
        let value = self.peek(register);
        if register == offset::STATUS {
            if let Some(drive) = self.selected() {
                drive.front.intrq = false;
            }
            self.sync();
        }
        value
    }

    /// Alternate Status.
    pub(super) fn alternate_status(&self) -> u8 {
        self.peek(offset::STATUS)
    }

    fn peek(&self, register: u16) -> u8 {
        let (device, control) = (self.device, self.control);
        if let Some(drive) = self.selected_ref() {
            // A drive is busy as long as it is held in reset.
            if control.srst() && register == offset::STATUS {
                return Status::new().with_bsy(true).into_bits();
            }
            return drive.front.file.read(register, control);
        }
        // Where one drive is missing, the other answers for it: with status and error 0 (ATA/ATAPI-6, 9.16).
        match (register, self.drives.iter().flatten().next()) {
            (offset::STATUS | offset::ERROR, _) | (_, None) => 0,
            (offset::DEVICE, _) => device.into_bits(),
            (_, Some(other)) => other.front.file.read(register, control),
        }
    }

    /// Writes a register of the command block, but Data.
    pub(super) fn write(&mut self, register: u16, value: u8, dma: &dyn Dma) {
        // A write to the command block ends the look at what was there before (ATA/ATAPI-6, 6.20).
        self.control.set_hob(false);
        match register {
            offset::STATUS => self.command(value),
            _ if self.is_taken() => {}
            offset::DEVICE => {
                self.device = Device::from_bits(value | DEVICE_ALWAYS_SET);
                let device = self.device;
                for drive in self.drives.iter_mut().flatten() {
                    drive.front.file.device = device;
                }
            }
            _ => {
                for drive in self.drives.iter_mut().flatten() {
                    drive.front.file.write(register, value);
                }
            }
        }
        self.go_on(dma);
    }

    /// Device Control.
    pub(super) fn write_control(&mut self, value: u8, dma: &dyn Dma) {
        let new = Control::from_bits(value);
        let resets = new.srst() && !self.control.srst();
        self.control = Control::new()
            .with_nien(new.nien())
            .with_srst(new.srst())
            .with_hob(new.hob());
        if resets {
            self.device = Device::from_bits(DEVICE_ALWAYS_SET);
            for drive in self.drives.iter_mut().flatten() {
                drive.front.file.device = Device::from_bits(DEVICE_ALWAYS_SET);
                drive.soft_reset();
            }
            self.master.more = false;
            self.master.end();
        }
        self.go_on(dma);
    }

    pub(super) fn read_data(&mut self, data: &mut [u8], dma: &dyn Dma) {
        match self.selected() {
            Some(drive) => drive.read_data(data),
            None => data.fill(0),
        }
        self.go_on(dma);
    }

    pub(super) fn write_data(&mut self, data: &[u8], dma: &dyn Dma) {
        if let Some(drive) = self.selected() {
            drive.write_data(data);
        }
        self.go_on(dma);
    }

    pub(super) fn write_master(&mut self, register: u8, value: u8, dma: &dyn Dma) {
        self.master.write(register, value);
        self.go_on(dma);
    }

    fn command(&mut self, code: u8) {
        let held = self.control.srst();
        let Some(drive) = self.selected().filter(|_| !held) else {
            return;
        };
        let packet = drive.unit().is_packet();
        if code == DEVICE_RESET && packet {
            drive.soft_reset();
            return self.sync();
        }
        if drive.front.file.is_taken() {
            return;
        }
        drive.front.intrq = false;
        self.sync();
        if code == EXECUTE_DEVICE_DIAGNOSTIC {
            return self.diagnose();
        }
        if let Some(drive) = self.selected() {
            drive.command(code);
        }
    }

    /// EXECUTE DEVICE DIAGNOSTIC (ATA/ATAPI-6, 8.9): both drives show what they are, and device 0 is selected.
    fn diagnose(&mut self) {
        self.device = Device::from_bits(DEVICE_ALWAYS_SET);
        for drive in self.drives.iter_mut().flatten() {
            drive.front.file.device = Device::from_bits(DEVICE_ALWAYS_SET);
            drive.sign();
            drive.front.file.error = DIAGNOSTIC_PASSED;
        }
        if let Some(first) = self.drives.iter_mut().flatten().next() {
            first.front.intrq = true;
        }
    }

    /// Does all that can be done without waiting.
    pub(super) fn go_on(&mut self, dma: &dyn Dma) {
        let dev = usize::from(self.device.dev());
        let mut went = true;
        while went {
            went = false;
            for (index, drive) in self.drives.iter_mut().enumerate() {
                if let Some(drive) = drive {
                    went |= drive.go_on(index == dev, &mut self.master, dma);
                }
            }
            self.sync();
        }
    }

    /// Lets the line follow the selected drive.
    pub(super) fn sync(&mut self) {
        let level = self.level();
        if level && !self.line.level() {
            self.master.bmis.set_ideints(true);
        }
        self.line.set_level(level);
    }

    /// The level of the interrupt: that of the selected drive, unless it is off.
    pub(super) fn level(&self) -> bool {
        let pending = |drive: &Drive| drive.front.intrq;
        !self.control.nien() && self.selected_ref().is_some_and(pending)
    }

    /// Waits until no storage has anything.
    pub(super) fn settle(&mut self, dma: &dyn Dma) {
        self.go_on(dma);
        for drive in self.drives.iter_mut().flatten() {
            drive.settle(&mut self.master);
        }
        self.go_on(dma);
    }

    pub(super) fn reset(&mut self) {
        for drive in self.drives.iter_mut().flatten() {
            drive.front.file.device = Device::from_bits(DEVICE_ALWAYS_SET);
            drive.hard_reset();
        }
        self.device = Device::from_bits(DEVICE_ALWAYS_SET);
        self.control = Control::new();
        self.master = BusMaster::default();
        self.sync();
    }

    pub(super) fn cdrom(&mut self, drive: usize) -> Option<&mut Drive> {
        let drive = self.drives.get_mut(drive)?.as_mut()?;
        matches!(drive.kind, Kind::Cdrom(_)).then_some(drive)
    }
}
