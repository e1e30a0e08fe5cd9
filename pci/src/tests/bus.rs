use trivisor_buses::{Component, MmioAddress, RestoreError};
use vm_device::DeviceMmio;

use super::*;
use crate::{AddError, AssignError, PciFunction};

/// CONFIG_ADDRESS of a register of a device.
fn address(device: u32, register: u32) -> [u8; 4] {
    (0x8000_0000 | device << 11 | register).to_le_bytes()
}

#[test]
fn both_ways_lead_to_the_same_registers() {
    let (machine, _probe) = Machine::with_probe();
    for device in 0..3 {
        for register in (0..256_u16).step_by(4) {
            machine.out(0xcf8, &address(device, register.into()));
            let by_port = u32::from_le_bytes(machine.inp(0xcfc));
            assert_eq!(machine.get(device.into(), register), by_port);
        }
    }
    machine.out(0xcf8, &address(1, 0x3c));
    machine.out(0xcfc, &[0x77]);
    assert_eq!(machine.get(1, 0x3c), 0x177);
    machine.set(1, 0x3c, 0x66);
    assert_eq!(machine.inp(0xcfc), [0x66, 1, 0, 0]);
}

#[test]
fn the_data_port_takes_bytes_and_words() {
    let (machine, _probe) = Machine::with_probe();
    machine.out(0xcf8, &address(1, 0));
    assert_eq!(machine.inp::<1>(0xcfc), [0xf4]);
    assert_eq!(machine.inp::<1>(0xcff), [0x10]);
    assert_eq!(machine.inp::<2>(0xcfe), [0xf0, 0x10]);
    assert_eq!(machine.inp::<2>(0xcfd), [0x1a, 0xf0]);
    assert_eq!(
        machine.inp::<4>(0xcfd),
        [0x1a, 0xf0, 0x10, 0xff],
        "one is behind the end"
    );
    machine.out(0xcf8, &address(1, 0x10));
    machine.out(0xcfd, &[0xcd]);
    machine.out(0xcfe, &[0x34, 0x12]);
    assert_eq!(machine.inp(0xcfc), [0x01, 0xcd, 0x34, 0x12]);
}

#[test]
fn the_address_port_takes_double_words_alone() {
    let (machine, _probe) = Machine::with_probe();
    machine.out(0xcf8, &[0xff; 4]);
    assert_eq!(machine.inp(0xcf8), 0x80ff_fffc_u32.to_le_bytes());
    machine.out(0xcf8, &address(1, 8));
    for (port, len) in [(0xcf8, 1), (0xcfb, 1), (0xcfa, 2)] {
        machine.out(port, &[0; 4][..len]);
        assert_eq!(machine.inp::<1>(port), [0xff]);
    }
    assert_eq!(machine.inp(0xcf8), address(1, 8), "as it was");
    assert_eq!(machine.config_ports.counts().errors, 6);
    // Not enabled, another bus: nobody.
    for latch in [0x0000_0800_u32, 0x8001_0800] {
        machine.out(0xcf8, &latch.to_le_bytes());
        assert_eq!(machine.inp(0xcfc), [0xff; 4], "{latch:#x}");
        machine.out(0xcfc, &[0; 4]);
    }
    machine.config_ports.with(Component::reset);
    assert_eq!(machine.inp(0xcf8), [0; 4]);
}

#[test]
fn who_is_absent_reads_ones() {
    let (machine, _probe) = Machine::with_probe();
    let ids = (0..256_u64).map(|function| machine.read(ECAM + (function << 12)));
    let present: Vec<_> = ids.enumerate().filter(|(_, id)| *id != u32::MAX).collect();
    assert_eq!(present, [(0, 0x0d57_8086), (8, 0x10f0_1af4)]);
    machine.set(2, 0x3c, 0x12);
    assert_eq!(machine.get(2, 0x3c), u32::MAX);
    machine.out(0xcf8, &address(2, 0));
    machine.out(0xcfc, &[0; 4]);
    assert_eq!(machine.inp(0xcfc), [0xff; 4]);
}

#[test]
fn extended_space_is_empty() {
    let (machine, _probe) = Machine::with_probe();
    machine.set(1, 0x100, 0xffff_ffff);
    for register in [0x100, 0x104, 0xffc] {
        assert_eq!(machine.get(1, register), 0);
    }
}

#[test]
fn ecam_takes_any_width() {
    let (machine, _probe) = Machine::with_probe();
    let device = ECAM + (1 << 15);
    let mut view = machine.memory.view();
    let mut data = [0; 8];
    view.read(device, &mut data);
    assert_eq!(data, [0xf4, 0x1a, 0xf0, 0x10, 7, 0, 0x10, 0]);
    view.read(device + 2, &mut data[..4]);
    assert_eq!(data[..4], [0xf0, 0x10, 7, 0]);
    view.read(device + 1, &mut data[..1]);
    assert_eq!(data[..1], [0x1a]);
    let mut across = [0; 4];
    view.read(device - 2, &mut across);
    assert_eq!(
        across,
        [0xff, 0xff, 0xf4, 0x1a],
        "from one function to the next"
    );
    view.write(device + 0x13, &[0x44, 0x00, 0x20, 0x00]);
    assert_eq!(machine.get(1, BAR0) >> 24, 0x44);
    assert_eq!(machine.get(1, BAR1) & 0xff_ffff, 0x00_2000);
    let mut behind = [0; 8];
    let ecam = machine.bus.ecam();
    ecam.mmio_read(MmioAddress(0), ecam::SIZE - 4, &mut behind);
    assert_eq!(behind, [0xff; 8]);
    ecam.mmio_write(MmioAddress(0), ecam::SIZE, &behind);
}

#[test]
fn the_bridge_is_a_bridge() {
    let machine = Machine::new();
    assert_eq!(machine.get(0, 0x00), 0x0d57_8086);
    assert_eq!(machine.get(0, 0x08) >> 8, 0x06_0000);
    assert_eq!(machine.get(0, 0x0c), 0);
    assert_eq!(machine.get(0, 0x34), 0, "no capabilities");
    assert_eq!(machine.get(0, 0x3c), 0, "no pin");
    let mut bridge = HostBridge::new();
    assert_eq!(
        bridge.bar_read(0, 0, &mut [0]),
        Err(trivisor_buses::AccessError::NoRegister)
    );
    assert_eq!(
        bridge.bar_write(0, 0, &[0]),
        Err(trivisor_buses::AccessError::NoRegister)
    );
    bridge.endpoint_mut().write_config(COMMAND, &[6]);
    let saved = bridge.save();
    bridge.reset();
    assert_ne!(bridge.save(), saved);
    bridge.restore(&saved).unwrap();
    assert_eq!(bridge.save(), saved);
    let probe = Probe::with_pin(InterruptPin::A).unwrap().save();
    assert!(matches!(
        bridge.restore(&probe),
        Err(RestoreError::Kind { .. })
    ));
}

#[test]
fn devices_are_numbered_in_turn() {
    let machine = Machine::new();
    let first = machine.add();
    let second = machine.add();
    assert_eq!((first.at(), second.at()), (at(1, 0), at(2, 0)));
    assert!(machine.bus.remove(at(1, 0)));
    assert!(!machine.bus.remove(at(1, 0)));
    assert_eq!(machine.get(1, 0), u32::MAX);
    assert_eq!(machine.add().at(), at(1, 0), "the first free number");
    while machine.bus.list().len() < 32 {
        machine.add();
    }
    let probe = Probe::with_pin(InterruptPin::A).unwrap();
    let full = machine.bus.add("one more", probe).map(drop);
    assert_eq!(full, Err(AddError::Full { name: "one more" }));
    assert_eq!(machine.bus.list()[31], (at(31, 0), "probe"));
}

#[test]
fn a_device_has_up_to_eight_functions() {
    let machine = Machine::new();
    let probe = || Probe::with_pin(InterruptPin::A).unwrap();
    let bus = &machine.bus;
    let error = bus.add_at("alone", at(4, 1), probe()).map(drop);
    let (name, place) = ("alone", at(4, 1));
    assert_eq!(error, Err(AddError::NoFirst { name, at: place }));
    bus.add_at("first", at(4, 0), probe()).unwrap();
    assert_eq!(machine.get(4, 0x0c), 0);
    bus.add_at("last", at(4, 7), probe()).unwrap();
    assert_eq!(machine.get(4, 0x0c), 0x0080_0000, "function 0 tells of it");
    assert_eq!(machine.read(ECAM + (4 << 15) + (7 << 12)), 0x10f0_1af4);
    let error = bus.add_at("again", at(4, 7), probe()).map(drop);
    let (name, place, other) = ("again", at(4, 7), "last");
    let taken = AddError::Taken {
        name,
        at: place,
        other,
    };
    assert_eq!(error, Err(taken));
    assert!(bus.remove(at(4, 0)));
    assert_eq!(bus.add("next", probe()).unwrap().at(), at(1, 0));
    for device in [2, 3, 5] {
        assert_eq!(
            bus.add("next", probe()).unwrap().at(),
            at(device, 0),
            "4 is in use"
        );
    }
    bus.add_at("first", at(4, 0), probe()).unwrap();
    assert_eq!(machine.get(4, 0x0c), 0x0080_0000);
    assert_eq!(
        format!("{} {:?}", at(4, 7), DeviceFunction::new(32, 0)),
        "04.7 None"
    );
    assert_eq!(DeviceFunction::new(0, 8), None);
}

#[test]
fn a_function_answers_for_its_own_capability() {
    let (machine, probe) = Machine::with_probe();
    machine.write(MEMORY32 + 8, 0x1122_3344);
    machine.set(1, 0x44, 8);
    assert_eq!(machine.get(1, 0x48), 0x1122_3344);
    machine.out(0xcf8, &address(1, 0x48));
    machine.out(0xcfe, &[0x99]);
    assert_eq!(machine.inp::<2>(0xcfe), [0x99, 0x11]);
    assert_eq!(
        probe.with(|probe| probe.bytes[8..12].to_vec()),
        [0x44, 0x33, 0x99, 0x11]
    );
}

#[test]
fn all_registers_are_assigned() {
    let machine = Machine::new();
    (0..3).for_each(|_| drop(machine.add()));
    machine.bus.assign(&windows()).unwrap();
    for device in 1..4_u32 {
        let (index, device) = (device - 1, u64::from(device));
        assert_eq!(machine.get(device, BAR0), 0xc001 + index * 0x10);
        assert_eq!(machine.get(device, BAR1), 0xc000_0000 + index * 0x1000);
        assert_eq!(machine.get(device, BAR2), 0x0000_000c + index * 0x4000);
        assert_eq!(machine.get(device, BAR2 + 4), 0x80);
        assert_eq!(machine.get(device, 0x3c) & 0xff, 17 + index);
        assert_eq!(machine.get(device, COMMAND), 0x0010_0000, "not on yet");
    }
    assert_eq!(machine.ports.list().len() + machine.memory.list().len(), 2);
}

#[test]
fn windows_that_are_too_small_are_told() {
    let machine = Machine::new();
    machine.add();
    let full = windows();
    let cases = [
        (
            Windows {
                io: 0xc000..0xc00f,
                ..full.clone()
            },
            0,
            16,
        ),
        (
            Windows {
                memory32: 0..0,
                ..full.clone()
            },
            1,
            0x1000,
        ),
        (
            Windows {
                memory32: 0xfff..0x1fff,
                ..full.clone()
            },
            1,
            0x1000,
        ),
        (
            Windows {
                memory64: 0..0,
                memory32: 0x1000..0x5000,
                ..full.clone()
            },
            2,
            0x4000,
        ),
        (
            Windows {
                memory64: u64::MAX - 0x2000..u64::MAX,
                memory32: 0..0,
                ..full.clone()
            },
            2,
            0x4000,
        ),
    ];
    for (windows, bar, size) in cases {
        let name = "probe";
        let error = AssignError { name, bar, size };
        assert_eq!(machine.bus.assign(&windows), Err(error), "{windows:x?}");
    }
    let low = Windows {
        memory64: 0..0,
        memory32: 0..0x1_0000,
        ..full
    };
    machine.bus.assign(&low).unwrap();
    assert_eq!(machine.get(1, BAR2), 0x400c, "not at address 0");
    assert_eq!(machine.get(1, BAR1), 0x8000);
}
