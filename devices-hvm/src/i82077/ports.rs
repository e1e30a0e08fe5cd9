//! The one port that stands behind IDE's.

use std::sync::Arc;

use trivisor_buses::{AccessError, PortDevice, Shell};

use super::I82077;
use super::regs::offset;

/// Ports of the controller itself, from 0x3f0 on.
pub const PORTS: u16 = 6;
/// Ports of a [`DataRatePort`]: 0x3f7.
pub const DATA_RATE_PORTS: u16 = 1;

/// DIR and CCR: 0x3f6 in front of it is an IDE channel's.
#[derive(Debug)]
pub struct DataRatePort(pub Arc<Shell<I82077>>);

impl PortDevice for DataRatePort {
    fn read(&mut self, at: u16, data: &mut [u8]) -> Result<(), AccessError> {
        self.0.with(|chip| chip.read(offset::DIR_CCR + at, data))
    }

    fn write(&mut self, at: u16, data: &[u8]) -> Result<(), AccessError> {
        self.0.with(|chip| chip.write(offset::DIR_CCR + at, data))
    }
}
