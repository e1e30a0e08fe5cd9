//! Devices: a target a folder of `mode-basic/src`.

use std::sync::Arc;
use std::time::Duration;

use trivisor_buses::testing::TestHost;
use trivisor_buses::{Clock, FitError, Slots, Timers, WallClock, Widths};
use trivisor_mode_basic as basic;
use trivisor_mode_basic::rtc::regs::{ALARM_ANY, PM, RegisterA, RegisterB, index};

use crate::bus::{BusFuzzer, Space, World, device, words};

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
    }, words: rtc_words();

    /// `rtc` with its interrupt, which its timer brings.
    rtc_irq = BusFuzzer {
        space: Space::Ports,
        base: 0x70,
        size: 2,
        registers: &[0, 1],
        fit: fit_rtc_irq,
    }, seeds: {
        use index::{A, B, C, HOURS_ALARM, MINUTES_ALARM, SECONDS_ALARM};
        let registers = |values: &[(u8, u8)]| {
            let select = |(index, value): &(u8, u8)| rtc_register(*index, *value);
            values.iter().flat_map(select).collect::<Vec<u8>>()
        };
        vec![
            registers(&[(A, 0x26), (B, 0x42), (C, 0)]),
            registers(&[(B, 0x12), (C, 0)]),
            registers(&[(SECONDS_ALARM, ALARM_ANY), (MINUTES_ALARM, 0xff), (HOURS_ALARM, 0x01), (B, 0x22)]),
            registers(&[(A, 0x7f), (B, 0x72), (A, 0x2f)]),
        ]
    }, words: rtc_words();

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

/// Selects a register of the clock and writes it.
fn rtc_register(index: u8, value: u8) -> Vec<u8> {
    [words::put(0, &[index]), words::put(1, &[value])].concat()
}

fn rtc_words() -> Vec<Vec<u8>> {
    let read = |index| [words::put(0, &[index]), words::get(1, 0).to_vec()].concat();
    let write = |values: &[u8], index| -> Vec<Vec<u8>> {
        let values = values.iter();
        values.map(|value| rtc_register(index, *value)).collect()
    };
    let mut all: Vec<Vec<u8>> = (0..=index::RAM).map(read).collect();
    for index in index::SECONDS..=index::YEAR {
        // In both codes; 12 at night and at noon; "any".
        all.extend(write(&[0, 0x12, 0x59, PM | 0x12, ALARM_ANY, 0xff], index));
    }
    for rate in 0..16 {
        let normal = RegisterA::new().with_dv(0b010).with_rs(rate);
        all.push(rtc_register(index::A, normal.into_bits()));
    }
    let held = RegisterA::new().with_dv(0b110).with_rs(6);
    all.push(rtc_register(index::A, held.into_bits()));
    let plain = RegisterB::new().with_hours_24(true);
    for b in [
        RegisterB::new(),
        plain,
        plain.with_dm(true),
        RegisterB::new().with_dm(true),
        plain.with_set(true),
        plain.with_uie(true),
        plain.with_aie(true),
        plain.with_pie(true),
        plain.with_uie(true).with_aie(true).with_pie(true),
    ] {
        all.push(rtc_register(index::B, b.into_bits()));
    }
    all.push(rtc_register(index::CENTURY, 0x20));
    all
}
