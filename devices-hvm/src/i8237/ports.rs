//! The ports of both controllers and of the page registers.

use std::sync::Arc;

use trivisor_buses::{AccessError, PortDevice, Shell, Woken};

use super::I8237;

/// Ports of the first controller, from 0x00 on.
pub const FIRST_PORTS: u16 = 16;
/// Ports of the second controller, from 0xc0 on: a register each two.
pub const SECOND_PORTS: u16 = 32;
/// Ports of the page registers, from 0x80 on.
pub const PAGE_PORTS: u16 = 16;

/// The chips on channels 0 to 7.
pub type Requesters = [Option<Arc<dyn Woken>>; 8];

/// Which ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first controller's.
    First,
    /// The second controller's.
    Second,
    /// The page registers.
    Pages,
}

/// One of the three groups of ports. It holds no state, so that the chips on the channels can be woken from it.
pub struct DmaPorts {
    chip: Arc<Shell<I8237>>,
    part: Part,
    requesters: Requesters,
}

impl std::fmt::Debug for DmaPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DmaPorts")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl DmaPorts {
    /// A group of ports of `chip`; `requesters` are woken when a write opens their channel.
    #[must_use]
    pub const fn new(chip: Arc<Shell<I8237>>, part: Part, requesters: Requesters) -> Self {
        Self {
            chip,
            part,
            requesters,
        }
    }
}

impl PortDevice for DmaPorts {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = self.chip.with(|chip| {
            let [first, second] = &mut chip.pair.controllers;
            match self.part {
                Part::First => first.read(offset),
                Part::Second => second.read(offset / 2),
                Part::Pages => {
                    let page = chip.pair.pages.get(usize::from(offset));
                    page.copied().ok_or(AccessError::NoRegister)
                }
            }
        })?;
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        let open = self.chip.with(|chip| {
            let before = chip.pair.open();
            let [first, second] = &mut chip.pair.controllers;
            match self.part {
                Part::First => first.write(offset, *byte)?,
                Part::Second => second.write(offset / 2, *byte)?,
                Part::Pages => {
                    let page = chip.pair.pages.get_mut(usize::from(offset));
                    *page.ok_or(AccessError::NoRegister)? = *byte;
                }
            }
            // A channel that is open and still asks may have been given a mode that moves something.
            let mode = self.part != Part::Pages;
            Ok(chip.pair.open() & if mode { 0xff } else { !before })
        })?;
        // The controllers' lock is dropped: the chips come back with their data.
        for (number, requester) in self.requesters.iter().enumerate() {
            if let (true, Some(requester)) = (open & 1 << number != 0, requester) {
                // One turn is a share that is fair to the vCPU; what is left comes with the chip's own wakes.
                let _more = requester.wake();
            }
        }
        Ok(())
    }
}
