//! What stands on the ISA bus beside the chipset: its interrupts, firmware, keyboard controller, clock.

use std::sync::Arc;

use trivisor_buses::{Alias, FitError, InterruptPins, Line, Shell, Slots, Widths, Wire};
use trivisor_memory::FileMapping;
use trivisor_mode_basic::rtc::{self, IrqPin, Rtc};

use super::BoardError;
use crate::i8042::{self, Hands, KeyboardController};
use crate::map;

/// The ISA bus's interrupts: a wire each, to the host's 8259s and I/O APIC.
pub(super) struct Isa([Arc<Wire>; 16]);

impl Isa {
    pub(super) fn new(pins: &dyn InterruptPins) -> Self {
        let mut numbers = 0..;
        Self([(); 16].map(|()| Wire::new(pins.pin(numbers.next().unwrap_or(0)))))
    }

    /// A line to an interrupt.
    pub(super) fn line(&self, irq: usize) -> Line {
        self.0.get(irq).map_or_else(Line::detached, Wire::line)
    }

    /// Lines to all of them.
    pub(super) fn lines(&self) -> [Line; 16] {
        self.0.each_ref().map(|wire| wire.line())
    }
}

/// Firmware, which ends with the first 4 GiB; and its end shows below 1 MiB, where the host bridge lets the bus answer.
pub(super) fn firmware(slots: &mut Slots, firmware: &Arc<FileMapping>) -> Result<(), BoardError> {
    let size = firmware.size();
    if !(0x1_0000..=map::FIRMWARE_MAX).contains(&size) || !size.is_multiple_of(0x1_0000) {
        return Err(BoardError::Firmware { size });
    }
    if !firmware.is_read_only() {
        return Err(BoardError::Writable);
    }
    slots.map(map::FIRMWARE_END - size, firmware.clone());
    let low = size.min(map::FIRMWARE_LOW_SIZE);
    slots.alias(Alias {
        address: map::SWITCHED.end - low,
        mapping: firmware.clone(),
        offset: size - low,
        size: low,
    });
    Ok(())
}

/// Keyboard and mouse, and the hands on them.
pub(super) fn keyboard(
    slots: &mut Slots,
    at: u16,
    [first, second]: [Line; 2],
) -> Result<(), FitError> {
    let pins = i8042::Pins {
        keyboard: first,
        auxiliary: second,
        // The host's processors have no such pin.
        a20: Line::detached(),
    };
    let chip = KeyboardController::new(pins, slots.host().events.clone());
    let shell = slots.pio("i8042", at, i8042::PORTS, Widths::BYTES, chip)?;
    let hands = Arc::new(Hands(shell));
    slots.keyboard(hands.clone());
    slots.pointer(hands);
    Ok(())
}

/// The clock, and the timer that its interrupt comes by.
pub(super) fn clock(slots: &mut Slots, at: u16, line: Line) -> Result<Arc<Shell<Rtc>>, FitError> {
    let host = slots.host().clone();
    let (timer, end) = host.timers.timer().map_err(FitError::chip("rtc"))?;
    let irq = IrqPin {
        line,
        clock: host.clock,
        timer,
    };
    let chip = Rtc::new(host.wall_clock).with_irq(irq);
    let shell = slots.pio("rtc", at, rtc::PORTS, rtc::WIDTHS, chip)?;
    end.wakes(&shell);
    Ok(shell)
}
