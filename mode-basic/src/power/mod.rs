//! Power block of a hardware-reduced ACPI machine: sleep, reset, and the register of its generic event device.
//!
//! Source: UEFI Forum, Advanced Configuration and Power Interface Specification, release 6.5, sections 4.8.3.6
//! to 4.8.3.8 (reset, sleep control, sleep status) and 5.6.9 (generic event device, ACPI0013).
//!
//! | offset | bytes | read | write | reset |
//! |---|---|---|---|---|
//! | 0 | 1 | sleep control: SLP_TYP | bits 4:2 SLP_TYP, bit 5 SLP_EN; S5 powers off, other states are refused | 0x00 |
//! | 1 | 1 | sleep status: 0 | taken, no effect | 0x00 |
//! | 2 | 1 | refused | 0x01 resets the machine | - |
//! | 4 | 4 | events: bit 0 power button; cleared by it | refused | 0 |
//!
//! An event pulses the interrupt line, whether or not earlier ones were read: the interrupt is edge-triggered
//! and a guest that was not listening hears the next one. Its `_EVT` method reads the event register and
//! notifies the devices.
//!
//! **Not modelled**: S1 to S4 and waking from them.
//!
//! **Relied on by**: Linux (ACPI core, evged, button), the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, EventSink, Line, MachineEvent, PortDevice, PowerButton, RestoreError,
    SavedState, Shell, Unfit, Widths,
};

pub use self::core::{PowerBlock, Request};
pub use state::PowerStateV1;

/// Ports that it occupies.
pub const PORTS: u16 = 8;

/// The widths that it takes.
pub const WIDTHS: Widths = Widths::new(&[1, 4], Unfit::Reject);

/// The block with its interrupt line and its way out.
pub struct Power {
    // Wiring.
    line: Line,
    events: Arc<dyn EventSink>,
    // Guest-visible state.
    block: PowerBlock,
}

impl std::fmt::Debug for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Power")
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

impl Power {
    /// A block after reset; `line` leads to the pin that firmware tables give to the generic event device.
    #[must_use]
    pub fn new(line: Line, events: Arc<dyn EventSink>) -> Self {
        Self {
            line,
            events,
            block: PowerBlock::default(),
        }
    }

    /// Tells the guest of `events`.
    pub fn raise(&mut self, events: regs::Events) {
        self.block.raise(events);
        self.line.pulse();
    }
}

impl PortDevice for Power {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        match data {
            [byte] => *byte = self.block.read(offset)?,
            [_, _, _, _] if offset == regs::offset::EVENTS => {
                data.copy_from_slice(&self.block.take_events().into_bits().to_le_bytes());
            }
            _ => return Err(AccessError::Width),
        }
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        match self.block.write(offset, *byte)? {
            Some(Request::PowerOff) => self.events.event(MachineEvent::PowerOff),
            Some(Request::Reset) => self.events.event(MachineEvent::Reset),
            None => {}
        }
        Ok(())
    }
}

impl Component for Power {
    fn reset(&mut self) {
        self.block = PowerBlock::default();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(
            state::KIND,
            state::VERSION,
            &PowerStateV1::from(&self.block),
        )
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.block = state
            .decode::<PowerStateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        Ok(())
    }
}

/// The button on the front, wired to the block.
#[derive(Debug, Clone)]
pub struct FrontButton(pub Arc<Shell<Power>>);

impl PowerButton for FrontButton {
    fn press(&self) {
        self.0
            .with(|power| power.raise(regs::Events::new().with_power_button(true)));
    }
}
