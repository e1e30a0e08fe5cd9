//! The ports of power management: the block from PMBA on, APM control, general purpose events.

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Clock, Component, EventSink, GuestTime, Line, MachineEvent, PortDevice,
    PowerButton, RestoreError, SavedState, Shell, Timer, Unfit, Wake, Widths,
};

use super::core::PmRegisters;
use super::state::{self, ApmStateV1, GpeStateV1, PmBlockStateV1};

/// Ports from PMBA on.
pub const PM_PORTS: u16 = 64;
/// Ports of APM control, from 0xb2 on.
pub const APM_PORTS: u16 = 2;
/// Ports of the general purpose events.
pub const GPE_PORTS: u16 = 4;
/// The widths that the block and the events take.
pub const WIDTHS: Widths = Widths::new(&[1, 2, 4], Unfit::Split);

/// The block from PMBA on.
pub struct PmBlock {
    // Wiring.
    sci: Line,
    clock: Arc<dyn Clock>,
    timer: Box<dyn Timer>,
    events: Arc<dyn EventSink>,
    // Guest-visible state.
    registers: PmRegisters,
    // Derived: what the timer is armed for.
    armed: Option<GuestTime>,
}

impl std::fmt::Debug for PmBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PmBlock")
            .field("registers", &self.registers)
            .finish_non_exhaustive()
    }
}

impl PmBlock {
    /// A block after reset; `sci` leads to ISA interrupt 9. The end of `timer`, which rings in the time of `clock`, is
    /// the block in its shell.
    #[must_use]
    pub fn new(
        sci: Line,
        clock: Arc<dyn Clock>,
        timer: Box<dyn Timer>,
        events: Arc<dyn EventSink>,
    ) -> Self {
        Self {
            sci,
            clock,
            timer,
            events,
            registers: PmRegisters::default(),
            armed: None,
        }
    }

    /// The power button is pressed.
    pub fn press(&mut self) {
        self.registers.status.set_pwrbtn(true);
        self.sync();
    }

    fn command(&mut self, value: u8) {
        self.registers.command(value);
        self.sync();
    }

    fn sync(&mut self) {
        self.sci.set_level(self.registers.interrupt());
        self.arm();
    }

    fn arm(&mut self) {
        let next = self.registers.next_overflow();
        if next == self.armed {
            return;
        }
        self.armed = next;
        match next {
            Some(next) => self.timer.arm(next),
            None => self.timer.disarm(),
        }
    }
}

impl Wake for PmBlock {
    fn wake(&mut self) -> bool {
        self.armed = None;
        self.registers.count(self.clock.now());
        self.sync();
        false
    }
}

impl PortDevice for PmBlock {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let result = self.registers.read(offset, data, self.clock.now());
        self.sync();
        result
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let off = self.registers.write(offset, data, self.clock.now());
        self.sync();
        if off? {
            self.events.event(MachineEvent::PowerOff);
        }
        Ok(())
    }
}

impl Component for PmBlock {
    fn reset(&mut self) {
        self.registers = PmRegisters {
            seen: self.clock.now(),
            ..PmRegisters::default()
        };
        self.sync();
    }

    fn save(&self) -> SavedState {
        let state = PmBlockStateV1::from(&self.registers);
        SavedState::encode(state::BLOCK_KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: PmBlockStateV1 = state.decode(state::BLOCK_KIND, state::VERSION)?;
        self.registers = state.try_into()?;
        self.sci.restore_level(self.registers.interrupt());
        self.arm();
        Ok(())
    }
}

/// The button on the front, wired to the block.
#[derive(Debug, Clone)]
pub struct FrontButton(pub Arc<Shell<PmBlock>>);

impl PowerButton for FrontButton {
    fn press(&self) {
        self.0.with(PmBlock::press);
    }
}

/// APMC and APMS, ports 0xb2 and 0xb3. A command does at once what the BIOS's SMI handler would do.
#[derive(Debug)]
pub struct Apm {
    // Wiring.
    block: Arc<Shell<PmBlock>>,
    // Guest-visible state.
    command: u8,
    status: u8,
}

impl Apm {
    /// Ports after reset.
    #[must_use]
    pub const fn new(block: Arc<Shell<PmBlock>>) -> Self {
        Self {
            block,
            command: 0,
            status: 0,
        }
    }
}

impl PortDevice for Apm {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let value = match offset {
            0 => self.command,
            1 => self.status,
            _ => return Err(AccessError::NoRegister),
        };
        data.fill(value);
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        match offset {
            0 => {
                self.command = *byte;
                self.block.with(|block| block.command(*byte));
            }
            1 => self.status = *byte,
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }
}

impl Component for Apm {
    fn reset(&mut self) {
        (self.command, self.status) = (0, 0);
    }

    fn save(&self) -> SavedState {
        let state = ApmStateV1 {
            command: self.command,
            status: self.status,
        };
        SavedState::encode(state::APM_KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let ApmStateV1 { command, status } = state.decode(state::APM_KIND, state::VERSION)?;
        (self.command, self.status) = (command, status);
        Ok(())
    }
}

/// GPE0_STS and GPE0_EN, 16 bits each (ACPI 6.5, 4.8.4.1). No event exists yet that sets a bit.
#[derive(Debug, Default)]
pub struct Gpe0 {
    enable: u16,
}

impl PortDevice for Gpe0 {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [low, high] = self.enable.to_le_bytes();
        let image = [0, 0, low, high];
        let at = usize::from(offset);
        let found = image.get(at..at + data.len());
        data.copy_from_slice(found.ok_or(AccessError::NoRegister)?);
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        for (at, byte) in (offset..).zip(data) {
            let [low, high] = self.enable.to_le_bytes();
            match at {
                0 | 1 => {}
                2 => self.enable = u16::from_le_bytes([*byte, high]),
                3 => self.enable = u16::from_le_bytes([low, *byte]),
                _ => return Err(AccessError::NoRegister),
            }
        }
        Ok(())
    }
}

impl Component for Gpe0 {
    fn reset(&mut self) {
        self.enable = 0;
    }

    fn save(&self) -> SavedState {
        let state = GpeStateV1 {
            status: 0,
            enable: self.enable,
        };
        SavedState::encode(state::GPE_KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let GpeStateV1 { status, enable } = state.decode(state::GPE_KIND, state::VERSION)?;
        RestoreError::check(state::GPE_KIND, "status", status.into(), status == 0)?;
        self.enable = enable;
        Ok(())
    }
}
