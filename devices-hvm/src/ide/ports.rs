//! The ports of a channel at their ISA addresses.

use std::sync::Arc;

use trivisor_buses::{AccessError, PortDevice, Posted, Unfit, Widths};
use trivisor_pci::FunctionShell;

use super::Ide;
use super::regs::{CONTROL, bus_master, command_block};

/// Ports of a command block: from 0x1f0 on, or from 0x170 on.
pub const COMMAND_PORTS: u16 = 8;
/// Ports of a control block: 0x3f6, or 0x376.
pub const CONTROL_PORTS: u16 = 1;
/// The widths that both take.
pub const WIDTHS: Widths = Widths::new(&[1, 2, 4], Unfit::Split);

/// Writes that a command block at `base` takes late: Features to Device are kept for the command that follows, and
/// nothing follows from them before. But that the interrupt is the selected drive's: a guest that leaves a drive with
/// an interrupt that it has not ended, and comes back to it, hears of it again at its next access.
#[must_use]
pub const fn posted_commands(base: u16) -> Posted {
    Posted::Ports {
        first: base + command_block::ERROR,
        count: command_block::STATUS - command_block::ERROR,
    }
}

/// The same of both bus masters, whose ports begin at `base`: BMIS, which interrupts nobody, and BMIDTP.
pub(super) fn posted_masters(base: u16) -> impl Iterator<Item = Posted> {
    [0, 8].into_iter().map(move |channel| Posted::Ports {
        first: base + channel + u16::from(bus_master::BMIS),
        count: u16::from(bus_master::BMIDTP - bus_master::BMIS) + 4,
    })
}

/// A command block.
#[derive(Debug)]
pub struct CommandBlock {
    ide: Arc<FunctionShell<Ide>>,
    channel: usize,
}

impl CommandBlock {
    /// That of channel 0, the primary, or 1.
    #[must_use]
    pub const fn new(ide: Arc<FunctionShell<Ide>>, channel: usize) -> Self {
        Self { ide, channel }
    }
}

impl PortDevice for CommandBlock {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        self.ide
            .with(|ide| ide.command_read(self.channel, offset, data))
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        self.ide
            .with(|ide| ide.command_write(self.channel, offset, data))
    }

    fn read_string(
        &mut self,
        offset: u16,
        width: usize,
        data: &mut [u8],
    ) -> Result<(), AccessError> {
        if offset == command_block::DATA && width > 1 {
            return self.ide.with(|ide| ide.data_read(self.channel, data));
        }
        let mut elements = data.chunks_mut(width.max(1));
        elements.try_for_each(|element| self.read(offset, element))
    }

    fn write_string(&mut self, offset: u16, width: usize, data: &[u8]) -> Result<(), AccessError> {
        if offset == command_block::DATA && width > 1 {
            return self.ide.with(|ide| ide.data_write(self.channel, data));
        }
        let mut elements = data.chunks(width.max(1));
        elements.try_for_each(|element| self.write(offset, element))
    }
}

/// A control block.
#[derive(Debug)]
pub struct ControlBlock {
    ide: Arc<FunctionShell<Ide>>,
    channel: usize,
}

impl ControlBlock {
    /// That of channel 0, the primary, or 1.
    #[must_use]
    pub const fn new(ide: Arc<FunctionShell<Ide>>, channel: usize) -> Self {
        Self { ide, channel }
    }
}

impl PortDevice for ControlBlock {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let ([byte], CONTROL) = (data, offset) else {
            return Err(AccessError::NoRegister);
        };
        *byte = self.ide.with(|ide| ide.control_read(self.channel))?;
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let ([byte], CONTROL) = (data, offset) else {
            return Err(AccessError::NoRegister);
        };
        self.ide.with(|ide| ide.control_write(self.channel, *byte))
    }
}
