//! Devices: a target a folder of `mode-basic/src`.

use std::sync::Arc;
use std::time::Duration;

use trivisor_buses::testing::TestHost;
use trivisor_buses::{Clock, FitError, Slots, Timers, WallClock, Widths};
use trivisor_mode_basic as basic;

use crate::bus::{BusFuzzer, Space, World, device};

device! {
    /// `debug_exit`.
    debug_exit = BusFuzzer {
        space: Space::Ports,
        base: 0xf4,
        size: 4,
        registers: &[0],
        fit: |world, slots| {
            let chip = basic::debug_exit::DebugExit::new(world.host.clone());
            slots.pio("debug-exit", 0xf4, basic::debug_exit::PORTS, basic::debug_exit::WIDTHS, chip)?;
            Ok(())
        },
    };

    /// `i8042`.
    i8042 = BusFuzzer {
        space: Space::Ports,
        base: 0x60,
        size: 5,
        registers: &[0, 4],
        fit: |world, slots| {
            let chip = basic::i8042::ResetController::new(world.host.clone());
            slots.pio("i8042", 0x60, basic::i8042::PORTS, Widths::BYTES, chip)?;
            Ok(())
        },
    };

    /// `ioapic`, with a line to each pin.
    ioapic = BusFuzzer {
        space: Space::Memory,
        base: 0xfec0_0000,
        size: basic::ioapic::SIZE,
        registers: &[0x00, 0x10, 0x40],
        fit: |world, slots| {
            let chip = basic::ioapic::IoApic::new(0, world.host.clone(), world.host.clone());
            let chip = slots.mmio("ioapic", 0xfec0_0000, basic::ioapic::SIZE, Widths::DWORDS, chip)?;
            let chip = basic::ioapic::IoApicOnBus(chip);
            (0..24).for_each(|pin| world.add_line(chip.wire(pin).line()));
            slots.eoi(Arc::new(chip));
            Ok(())
        },
    };

    /// `pmem`: flush hints whose flushes fail while the outside does not work.
    pmem = BusFuzzer {
        space: Space::Memory,
        base: 0xfea0_0000,
        size: basic::pmem::SIZE,
        registers: &[0x000, 0x008, 0xff8],
        fit: |world, slots| {
            let outside = world.outside.clone();
            let chip = basic::pmem::PmemFlush::with_flush(move || outside.flush());
            slots.mmio("pmem", 0xfea0_0000, basic::pmem::SIZE, basic::pmem::WIDTHS, chip)?;
            Ok(())
        },
    };

    /// `power`, with its button.
    power = BusFuzzer {
        space: Space::Ports,
        base: 0x600,
        size: 8,
        registers: &[0, 1, 2, 4],
        fit: |world, slots| {
            let chip = basic::power::Power::new(world.host.line(), world.host.clone());
            let chip = slots.pio("power", 0x600, basic::power::PORTS, basic::power::WIDTHS, chip)?;
            slots.power_button(Arc::new(basic::power::FrontButton(chip)));
            Ok(())
        },
    };

    /// `pvpanic`.
    pvpanic = BusFuzzer {
        space: Space::Ports,
        base: 0x505,
        size: 1,
        registers: &[0],
        fit: |world, slots| {
            let chip = basic::pvpanic::PvPanicPort::new(world.host.clone());
            slots.pio("pvpanic", 0x505, basic::pvpanic::PORTS, Widths::BYTES, chip)?;
            Ok(())
        },
    };

    /// `rtc`.
    rtc = BusFuzzer {
        space: Space::Ports,
        base: 0x70,
        size: 2,
        registers: &[0, 1],
        fit: |world, slots| {
            let chip = basic::rtc::Rtc::new(world.host.clone());
            slots.pio("rtc", 0x70, basic::rtc::PORTS, basic::rtc::WIDTHS, chip)?;
            Ok(())
        },
    };

    /// `rtc` with its interrupt, which its timer brings.
    rtc_irq = BusFuzzer {
        space: Space::Ports,
        base: 0x70,
        size: 2,
        registers: &[0, 1],
        fit: fit_rtc_irq,
    }, {
        let registers = |values: &[(u8, u8)]| {
            let select = |(index, value): &(u8, u8)| [0, 0, 0, *index, 0, 1, 0, *value];
            values.iter().flat_map(select).collect::<Vec<u8>>()
        };
        vec![
            registers(&[(0x0a, 0x26), (0x0b, 0x42), (0x0c, 0)]),
            registers(&[(0x0b, 0x12), (0x0c, 0)]),
            registers(&[(0x01, 0xc0), (0x03, 0xff), (0x05, 0x01), (0x0b, 0x22)]),
            registers(&[(0x0a, 0x7f), (0x0b, 0x72), (0x0a, 0x2f)]),
        ]
    };

    /// `uart`, whose output takes nothing while the outside does not work.
    uart = BusFuzzer {
        space: Space::Ports,
        base: 0x3f8,
        size: 8,
        registers: &[0, 1, 2, 3, 4, 5, 6, 7],
        fit: |world, slots| {
            let output = Box::new(world.outside.clone());
            let chip = basic::uart::Uart::new(world.host.line(), Some(output));
            let chip = slots.pio("uart", 0x3f8, basic::uart::PORTS, Widths::BYTES, chip)?;
            slots.console(Arc::new(basic::uart::UartInput(chip)));
            Ok(())
        },
    };

    /// `vmgenid`, which answers at no address.
    vmgenid = BusFuzzer {
        space: Space::Memory,
        base: 0xf_fff0,
        size: 16,
        registers: &[0],
        fit: |world, slots| {
            let chip = basic::vmgenid::Vmgenid::new(0xf_fff0, [0x5a; 16], world.host.clone());
            slots.unaddressed("vmgenid", chip);
            Ok(())
        },
    };
}

/// The time of day of a host that nobody sets: by how much an interrupt comes late when somebody does, only the chip knows
/// that was there before.
struct SteadyTime(Arc<TestHost>);

impl WallClock for SteadyTime {
    fn now(&self) -> Duration {
        Duration::from_secs(1_000_000_000) + Duration::from_nanos(Clock::now(&*self.0).0)
    }
}

fn fit_rtc_irq(world: &World, slots: &mut Slots) -> Result<(), FitError> {
    let host = &world.host;
    let (timer, end) = host.timer().map_err(FitError::chip("rtc"))?;
    let irq = basic::rtc::IrqPin {
        line: host.line(),
        clock: host.clone(),
        timer,
    };
    let chip = basic::rtc::Rtc::new(Arc::new(SteadyTime(host.clone()))).with_irq(irq);
    let chip = slots.pio("rtc", 0x70, basic::rtc::PORTS, basic::rtc::WIDTHS, chip)?;
    end.wakes(&chip);
    Ok(())
}
