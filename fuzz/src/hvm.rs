//! Chips of a PC: a target a folder of `devices-hvm/src`.

mod requests;
mod words;

use std::sync::{Arc, Mutex, PoisonError};

use trivisor_buses::{Line, PortBus, Shell, Slots, Timers, Widths, Wire};
use trivisor_devices_hvm as hvm;
use trivisor_pci::{DeviceFunction, PciFunction, RootBus, ports};

use self::words::{configure, to_keyboard, to_mouse};
use crate::bus::words::{PRESS, TWIN, get, line, put};
use crate::bus::{BusFuzzer, Space, World, device};

/// Configuration access.
const PCI: u64 = 0xcf8;

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn on_bus<F: PciFunction + 'static>(
    slots: &mut Slots,
    name: &'static str,
    chip: F,
) -> (RootBus, Arc<trivisor_pci::FunctionShell<F>>) {
    let bus = RootBus::new(slots.ports(), slots.memory(), None);
    let first = DeviceFunction::from_bits(0);
    let shell = bus.add_at(name, first, chip).expect("the bus is empty");
    slots.component(name, shell.clone());
    (bus, shell)
}

device! {
    /// `debugcon`, whose output takes nothing while the outside does not work.
    debugcon = BusFuzzer {
        space: Space::Ports,
        base: 0x402,
        size: 1,
        registers: &[0],
        fit: |world, slots| {
            let chip = hvm::debugcon::DebugConsole::new(Box::new(world.outside.clone()));
            slots.pio("debugcon", 0x402, hvm::debugcon::PORTS, Widths::BYTES, chip)?;
            Ok(())
        },
    }, words: [b'\n', b'A', 0].map(|byte| put(0, &[byte]));

    /// `fw_cfg`, with two items and two files.
    fw_cfg = BusFuzzer {
        space: Space::Ports,
        base: 0x510,
        size: 12,
        registers: &[0, 1, 4, 8],
        fit: fit_fw_cfg,
    }, seeds: {
        // Each key is selected and read; then a request that is all zeros, and one that is nowhere.
        let mut walk: Vec<u8> = Vec::new();
        for key in requests::KEYS {
            walk.extend(put(0, &key.to_le_bytes()));
            walk.extend([get(1, 0), get(1, 0)].concat());
            walk.extend(TWIN);
        }
        let request = [put(2, &[0; 4]), put(3, &[0, 0, 0x10, 0]), put(3, &[0xff; 4])];
        vec![walk, request.concat()]
    }, words: requests::words();

    /// `i440fx`, and the writes that it lets through.
    i440fx = BusFuzzer {
        space: Space::Ports,
        base: PCI,
        size: ports::PORTS as u64,
        registers: &[0, 4, 5, 6, 7],
        fit: fit_i440fx,
    }, seeds: {
        let registers = [
            (0x04, 0xffff_ffff),
            (0x58, 0x3333_3010),
            (0x5c, 0x3333_3333),
            (0x58, 0x1111_1010),
            (0x58, 0x2222_2010),
            (0x70, 0x0048_0000),
            (0x70, 0x0018_0000),
            (0x90, 0xffff_ffff),
        ];
        vec![registers.into_iter().flat_map(|(at, value)| configure(at, value)).chain(TWIN).collect()]
    }, words: words::i440fx();

    /// `i8042`, whose keyboard somebody types on.
    i8042_keyboard = BusFuzzer {
        space: Space::Ports,
        base: 0x60,
        size: 5,
        registers: &[0, 4],
        fit: fit_i8042,
    }, seeds: {
        use hvm::i8042::regs::command;
        let read = [get(1, 0), get(0, 0)].concat();
        let controller = |commands: &[u8]| -> Vec<u8> {
            commands.iter().flat_map(|byte| [put(1, &[*byte]), read.clone()].concat()).collect()
        };
        let set_up = [put(1, &[command::WRITE_RAM]), put(0, &[0x43])].concat();
        // Each command of the controller; each of the keyboard, with a parameter; each of the mouse.
        let all: Vec<u8> = (0x20..=0xff).step_by(1).filter(|byte| !(0x21..0x60).contains(byte)).collect();
        let keyboard = (0xed..=0xff).flat_map(|byte| [to_keyboard(&[byte]), read.clone(), to_keyboard(&[2]), read.clone()].concat());
        let mouse = (0xe6..=0xff).flat_map(|byte| [to_mouse(&[byte]), read.clone(), read.clone()].concat());
        vec![controller(&all), set_up.iter().copied().chain(keyboard).collect(), set_up.iter().copied().chain(mouse).collect()]
    }, words: words::i8042();

    /// `piix3`, whose four interrupt lines the input drives, and its reset control.
    piix3 = BusFuzzer {
        space: Space::Ports,
        base: PCI,
        size: ports::PORTS as u64,
        registers: &[0, 4, 1, 5],
        fit: fit_piix3,
    }, seeds: {
        let routed = configure(0x60, 0x0b0b_0a0a);
        let moved = configure(0x60, 0x8005_090a);
        let lines = [0, 1, 3].map(|pirq| line(pirq, true)).concat();
        let reset = [put(2, &[2]), get(2, 0).to_vec(), put(2, &[6])].concat();
        vec![[&routed[..], &lines, &TWIN, &moved, &line(0, false), &reset].concat()]
    }, words: words::piix3();

    /// `piix4_pm`: the function, its ports wherever they are, APM and the general purpose events.
    piix4_pm = BusFuzzer {
        space: Space::Ports,
        base: 0xb2,
        size: 2,
        registers: &[
            PCI - 0xb2,
            PCI - 0xb2 + 4,
            0,
            1,
            0xb000 - 0xb2,
            0xb002 - 0xb2,
            0xb004 - 0xb2,
            0xb008 - 0xb2,
            0xb034 - 0xb2,
            0xafe0 - 0xb2,
            0xafe2 - 0xb2,
        ],
        fit: fit_piix4_pm,
    }, seeds: {
        let placed = [configure(0x40, 0xb001), configure(0x80, 1)].concat();
        let enabled = [
            put(5, &[0x01, 0x01]),
            put(2, &[0xf1]),
            [&PRESS[..], &[10, 0xff, 24], &get(4, 1), &TWIN].concat(),
            put(4, &[0xff, 0xff]),
            put(6, &[0x00, 0x20]),
            configure(0x40, 0xc001),
            get(4, 1).to_vec(),
        ];
        vec![[placed, enabled.concat()].concat()]
    }, words: words::piix4_pm();
}

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit_fw_cfg(_world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    let items = hvm::fw_cfg::Items::default().with(5, &[2, 0]);
    let items = items.with_file("etc/a", &[0x5a; 300]);
    let items = items.and_then(|items| items.with_file("etc/b", b"b"));
    let chip = hvm::fw_cfg::FwCfg::new(&items.expect("two names"), Arc::new(requests::Requests));
    slots.pio(
        "fw-cfg",
        0x510,
        hvm::fw_cfg::PORTS,
        hvm::fw_cfg::WIDTHS,
        chip,
    )?;
    Ok(())
}

fn fit_i8042(world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    let host = &world.host;
    let pins = hvm::i8042::Pins {
        keyboard: host.line(),
        auxiliary: host.line(),
        // High from the start, which the log of lines takes for an edge.
        a20: Line::detached(),
    };
    let chip = hvm::i8042::KeyboardController::new(pins, host.clone());
    let chip = slots.pio("i8042", 0x60, hvm::i8042::PORTS, Widths::BYTES, chip)?;
    let hands = Arc::new(hvm::i8042::Hands(chip));
    slots.keyboard(hands.clone());
    slots.pointer(hands);
    Ok(())
}

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit_i440fx(world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    let options = hvm::i440fx::Options::default();
    let chip = hvm::i440fx::I440fx::new(options, world.host.clone()).expect("it fits");
    let shadow = chip.shadow_writes(world.host.clone());
    let (at, size) = (hvm::i440fx::AREA, hvm::i440fx::AREA_SIZE);
    slots.mmio("i440fx-shadow", at, size, Widths::ANY, shadow)?;
    let (bus, _) = on_bus(slots, "i440fx", chip);
    let chip = bus.config_ports();
    slots.pio("pci-config", 0xcf8, ports::PORTS, ports::WIDTHS, chip)?;
    Ok(())
}

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit_piix3(world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    let isa = [(); 16].map(|()| Wire::new(world.host.clone()).line());
    let chip = hvm::piix3::Piix3::new(isa).expect("it fits");
    (0..4).for_each(|pirq| world.add_line(chip.pirq(pirq).line()));
    let reset = chip.reset_port(world.host.clone());
    let (bus, _) = on_bus(slots, "piix3", chip);
    let chip = bus.config_ports().with_passed(Box::new(reset));
    slots.pio("pci-config", 0xcf8, ports::PORTS, ports::WIDTHS, chip)?;
    Ok(())
}

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit_piix4_pm(world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    use hvm::piix4_pm as pm;
    let host = &world.host;
    let (timer, end) = host.timer().expect("a test host has timers");
    let block = pm::PmBlock::new(host.line(), host.clone(), timer, host.clone());
    let block = Shell::new("block", pm::WIDTHS, block);
    end.wakes(&block);
    slots.component("block", block.clone());
    slots.power_button(Arc::new(pm::FrontButton(block.clone())));
    let (bus, moved) = (Arc::downgrade(slots.ports()), block.clone());
    let now = Mutex::new(None);
    let place = move |base: Option<u16>| {
        let Some(bus): Option<Arc<PortBus>> = bus.upgrade() else {
            return;
        };
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = now.take() {
            assert!(bus.detach(old), "the ports were at {old:#x}");
        }
        let wanted = base.map(u64::from);
        *now = wanted.filter(|base| {
            let block = moved.clone();
            bus.attach("block", *base, pm::PM_PORTS.into(), block)
                .is_ok()
        });
    };
    let chip = pm::Piix4Pm::new(Arc::new(place)).expect("it fits");
    let (bus, _) = on_bus(slots, "piix4-pm", chip);
    let chip = bus.config_ports();
    slots.pio("pci-config", 0xcf8, ports::PORTS, ports::WIDTHS, chip)?;
    let chip = pm::Apm::new(block);
    slots.pio("apm", 0xb2, pm::APM_PORTS, Widths::BYTES, chip)?;
    slots.pio(
        "gpe0",
        0xafe0,
        pm::GPE_PORTS,
        pm::WIDTHS,
        pm::Gpe0::default(),
    )?;
    Ok(())
}
