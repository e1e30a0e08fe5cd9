use trivisor_buses::{Installed, Msi};

use super::*;
use crate::regs::capability;
use crate::{ConfigError, ConfigSpace, Endpoint, MsiLayout, MsixLayout};

const TABLE: u64 = MEMORY32 + 0x800;
const PENDING: u64 = MEMORY32 + 0xc00;
const MSI_CAPABILITY: u16 = 0x4c;
const MSIX_CAPABILITY: u16 = 0x64;
const MSIX_ENABLE: u32 = 0x8000_0000;
const FUNCTION_MASK: u32 = 0x4000_0000;

fn msix_control(machine: &Machine, bits: u32) {
    machine.set(1, MSIX_CAPABILITY, bits);
}

/// Vector `vector` sends 0x40 + `vector` to 0xfee01000; masked if so.
fn program(machine: &Machine, vector: u64, masked: bool) {
    let entry = TABLE + vector * 16;
    machine.write(entry, 0xfee0_1003);
    machine.write(entry + 4, 0);
    machine.write(entry + 8, 0x40 + u32::try_from(vector).unwrap());
    machine.write(entry + 12, u32::from(masked));
}

fn message(vector: u32) -> Msi {
    Msi {
        address: 0xfee0_1000,
        data: 0x40 + vector,
    }
}

fn msix_machine() -> (Machine, Arc<FunctionShell<Probe>>) {
    let (machine, probe) = Machine::with_probe();
    (0..3).for_each(|vector| program(&machine, vector, false));
    msix_control(&machine, MSIX_ENABLE);
    (machine, probe)
}

fn signal(probe: &FunctionShell<Probe>, vector: u16) {
    probe.with(|probe| probe.endpoint.signal(vector));
}

#[test]
fn capabilities_are_where_they_are_looked_for() {
    let (machine, probe) = Machine::with_probe();
    assert_eq!(machine.get(1, 0x34), 0x40);
    assert_eq!(machine.get(1, 0x40) & 0xffff, 0x4c09);
    assert_eq!(machine.get(1, MSI_CAPABILITY), 0x0184_6405);
    assert_eq!(machine.get(1, MSIX_CAPABILITY), 0x0002_0011);
    assert_eq!(machine.get(1, MSIX_CAPABILITY + 4), 0x0000_0801);
    assert_eq!(machine.get(1, MSIX_CAPABILITY + 8), 0x0000_0c01);
    probe.with(|probe| {
        let config = probe.endpoint.config();
        let [msi, msix] = [capability::MSI, capability::MSIX].map(|id| config.capability(id));
        assert_eq!((msi, msix), (Some(0x4c), Some(0x64)));
    });
}

#[test]
fn registers_of_msix_keep_what_exists() {
    let (machine, _probe) = Machine::with_probe();
    msix_control(&machine, 0xffff_ffff);
    assert_eq!(machine.get(1, MSIX_CAPABILITY), 0xc002_0011);
    machine.set(1, MSIX_CAPABILITY + 4, 0);
    machine.set(1, MSIX_CAPABILITY + 8, 0);
    assert_eq!(machine.get(1, MSIX_CAPABILITY + 4), 0x0000_0801);
    for vector in 0..3 {
        let entry = TABLE + vector * 16;
        let fresh = [0, 4, 8, 12].map(|at| machine.read(entry + at));
        assert_eq!(fresh, [0, 0, 0, 1]);
        for at in [0, 4, 8, 12] {
            machine.write(entry + at, 0xffff_ffff);
        }
        let full = [0, 4, 8, 12].map(|at| machine.read(entry + at));
        assert_eq!(full, [0xffff_fffc, 0xffff_ffff, 0xffff_ffff, 1]);
    }
    assert_eq!(machine.read(PENDING), 0);
    assert_eq!(machine.read(PENDING + 4), 0);
}

#[test]
fn the_table_takes_double_and_quad_words() {
    let (machine, probe) = Machine::with_probe();
    let mut view = machine.memory.view();
    view.write(TABLE, &0x0000_0001_fee0_2000_u64.to_le_bytes());
    view.write(TABLE + 8, &0x0000_0000_0000_0055_u64.to_le_bytes());
    let mut data = [0; 8];
    view.read(TABLE, &mut data);
    assert_eq!(u64::from_le_bytes(data), 0x0000_0001_fee0_2000);
    view.read(TABLE + 8, &mut data);
    assert_eq!(u64::from_le_bytes(data), 0x55);
    assert_eq!(probe.counts().errors, 0);
    for (offset, len) in [(0, 1), (0, 2), (2, 4), (4, 8), (1, 1)] {
        let before = probe.counts().errors;
        view.write(TABLE + offset, &[0; 8][..len]);
        view.read(TABLE + offset, &mut data[..len]);
        assert_eq!(data[..len], [0xff; 8][..len]);
        assert_eq!(probe.counts().errors, before + 2, "{len} at {offset}");
    }
    machine.write(PENDING, 1);
    assert_eq!(probe.counts().last_error.unwrap().0, 0xc00, "read only");
    view.read(TABLE, &mut data);
    assert_eq!(u64::from_le_bytes(data), 0x0000_0001_fee0_2000, "untouched");
}

/// Each way to hold a message back, with what sets it free.
#[test]
fn messages_wait_behind_each_mask() {
    type Step = fn(&Machine);
    let (on, off): (Step, Step) = (
        |machine| machine.set(1, COMMAND, ON),
        |machine| machine.set(1, COMMAND, 3),
    );
    let holds: [(&str, Step, Step); 4] = [
        (
            "vector",
            |machine| machine.write(TABLE + 16 + 12, 1),
            |machine| machine.write(TABLE + 16 + 12, 0),
        ),
        (
            "vector, quad word",
            |machine| {
                machine
                    .memory
                    .view()
                    .write(TABLE + 24, &[0x41, 0, 0, 0, 1, 0, 0, 0])
            },
            |machine| {
                machine
                    .memory
                    .view()
                    .write(TABLE + 24, &[0x41, 0, 0, 0, 0, 0, 0, 0])
            },
        ),
        (
            "function",
            |machine| msix_control(machine, MSIX_ENABLE | FUNCTION_MASK),
            |machine| msix_control(machine, MSIX_ENABLE),
        ),
        ("bus master", off, on),
    ];
    for (what, hold, free) in holds {
        let (machine, probe) = msix_machine();
        signal(&probe, 1);
        assert_eq!(machine.host.messages.take(), [message(1)], "{what}");
        hold(&machine);
        signal(&probe, 1);
        signal(&probe, 1);
        assert_eq!(machine.host.messages.take(), [], "{what}");
        assert_eq!(machine.read(PENDING), 0b010, "{what}");
        free(&machine);
        assert_eq!(machine.host.messages.take(), [message(1)], "{what}: once");
        assert_eq!(machine.read(PENDING), 0, "{what}");
        free(&machine);
        assert_eq!(machine.host.messages.take(), [], "{what}: and no more");
    }
}

#[test]
fn two_masks_both_have_to_go() {
    let (machine, probe) = msix_machine();
    msix_control(&machine, MSIX_ENABLE | FUNCTION_MASK);
    program(&machine, 2, true);
    signal(&probe, 0);
    signal(&probe, 2);
    assert_eq!(machine.read(PENDING), 0b101);
    program(&machine, 2, false);
    program(&machine, 0, true);
    assert_eq!(machine.host.messages.take(), [], "the function is masked");
    msix_control(&machine, MSIX_ENABLE);
    assert_eq!(machine.host.messages.take(), [message(2)]);
    assert_eq!(machine.read(PENDING), 0b001);
    machine.write(TABLE + 8, 0x99);
    machine.write(TABLE + 12, 0);
    let changed = Msi {
        data: 0x99,
        ..message(0)
    };
    assert_eq!(machine.host.messages.take(), [changed], "as it is now");
}

#[test]
fn without_enable_nothing_is_sent_or_kept() {
    let (machine, probe) = msix_machine();
    msix_control(&machine, MSIX_ENABLE | FUNCTION_MASK);
    signal(&probe, 0);
    msix_control(&machine, 0);
    assert_eq!(machine.read(PENDING), 0);
    signal(&probe, 1);
    msix_control(&machine, MSIX_ENABLE);
    signal(&probe, 3);
    signal(&probe, u16::MAX);
    assert_eq!(machine.host.messages.take(), [], "there is no vector 3");
    program(&machine, 0, true);
    signal(&probe, 0);
    probe.reset();
    machine.set(1, COMMAND, ON);
    msix_control(&machine, MSIX_ENABLE);
    assert_eq!(machine.read(PENDING), 0);
    assert_eq!(machine.read(TABLE + 12), 1);
    assert_eq!(machine.host.messages.take(), []);
}

/// The guest's own register write signals, with the function's lock held.
#[test]
fn a_function_signals_from_inside_an_access() {
    let (machine, _probe) = msix_machine();
    machine.out(IO, &[2]);
    machine.write(MEMORY32 + 0x100, 1);
    assert_eq!(machine.host.messages.take(), [message(2), message(1)]);
}

#[test]
fn many_vectors_have_many_words_of_pending_bits() {
    let host = TestHost::new();
    let mut config = ConfigSpace::new(crate::testing::IDENTITY);
    config.add_bar(0, crate::Bar::memory32(0x1_0000)).unwrap();
    let layout = MsixLayout {
        vectors: 2048,
        bar: 0,
        table: 0,
        pending: 0x8000,
    };
    assert_eq!(
        (layout.table_size(), layout.pending_size()),
        (0x8000, 0x100)
    );
    let mut endpoint = Endpoint::new(config)
        .with_msix(layout, host.clone())
        .unwrap();
    let at = endpoint.config().capability(capability::MSIX).unwrap();
    endpoint.write_config(u16::from(at) + 3, &[0x80]);
    endpoint.write_config(COMMAND, &[7]);
    endpoint.signal(2047);
    let mut word = [0; 8];
    endpoint.read_msix(0, 0x80f8, &mut word).unwrap().unwrap();
    assert_eq!(word, [0, 0, 0, 0, 0, 0, 0, 0x80]);
    let last = [0xc0_u8, 0, 0, 0, 0, 0, 0, 0];
    endpoint.write_msix(0, 0x7ff8, &last).unwrap().unwrap();
    assert_eq!(host.messages.take().len(), 1);
    assert_eq!(endpoint.read_msix(0, 0x8100, &mut word), None);
    assert_eq!(endpoint.read_msix(1, 0, &mut word), None);
}

#[test]
fn tables_that_cannot_be_are_refused() {
    let layout = crate::testing::MSIX;
    for wrong in [
        MsixLayout { bar: 0, ..layout }, // ports
        MsixLayout { bar: 3, ..layout }, // half of register 2
        MsixLayout { bar: 9, ..layout },
        MsixLayout { table: 4, ..layout },
        MsixLayout {
            pending: 0xc04,
            ..layout
        },
        MsixLayout {
            table: 0xfd8,
            ..layout
        },
        MsixLayout {
            pending: 0x1000,
            ..layout
        },
        MsixLayout {
            pending: 0x828,
            ..layout
        },
        MsixLayout {
            table: 0xffff_fff8,
            ..layout
        },
    ] {
        let endpoint = Probe::with_pin(InterruptPin::A).unwrap().endpoint;
        let result = endpoint.with_msix(wrong, TestHost::new());
        let error = result.map(drop).unwrap_err();
        assert!(matches!(error, ConfigError::Table { .. }), "{wrong:?}");
    }
    for vectors in [0, 2049] {
        let endpoint = Probe::with_pin(InterruptPin::A).unwrap().endpoint;
        let wrong = MsixLayout { vectors, ..layout };
        let result = endpoint.with_msix(wrong, TestHost::new());
        let error = result.map(drop).unwrap_err();
        assert_eq!(error, ConfigError::Vectors { id: 0x11, vectors });
    }
    for vectors in [0, 3, 64] {
        let endpoint = Probe::with_pin(InterruptPin::A).unwrap().endpoint;
        let wrong = MsiLayout {
            vectors,
            ..crate::testing::MSI
        };
        let result = endpoint.with_msi(wrong, TestHost::new());
        let error = result.map(drop).unwrap_err();
        assert_eq!(error, ConfigError::Vectors { id: 0x05, vectors });
    }
}

/// Address 0xfee02000, data 0x50; `allocated` is log2 of the vectors.
fn program_msi(machine: &Machine, allocated: u32) {
    machine.set(1, MSI_CAPABILITY + 4, 0xfee0_2003);
    machine.set(1, MSI_CAPABILITY + 8, 1);
    machine.set(1, MSI_CAPABILITY + 12, 0xffff_0053);
    machine.set(1, MSI_CAPABILITY, 0x0001_0000 | allocated << 20);
}

fn msi(data: u32) -> Msi {
    Msi {
        address: 0x1_fee0_2000,
        data,
    }
}

#[test]
fn registers_of_msi_keep_what_exists() {
    let (machine, _probe) = Machine::with_probe();
    for register in (0..0x18).step_by(4) {
        machine.set(1, MSI_CAPABILITY + register, 0xffff_ffff);
    }
    let found = [0, 4, 8, 12, 16, 20].map(|at| machine.get(1, MSI_CAPABILITY + at));
    assert_eq!(
        found,
        [0x01f5_6405, 0xffff_fffc, 0xffff_ffff, 0x0000_ffff, 0xf, 0]
    );
}

#[test]
fn msi_sends_the_vectors_that_were_allocated() {
    for (allocated, expected) in [
        (0, [0x53, 0x53, 0x53, 0x53]),
        (1, [0x52, 0x53, 0x52, 0x53]),
        (2, [0x50, 0x51, 0x52, 0x53]),
        (5, [0x50, 0x51, 0x52, 0x53]), // more than there are
    ] {
        let (machine, probe) = Machine::with_probe();
        signal(&probe, 0);
        program_msi(&machine, allocated);
        (0..4).for_each(|vector| signal(&probe, vector));
        assert_eq!(machine.host.messages.take(), expected.map(msi));
    }
}

#[test]
fn msi_waits_behind_each_mask() {
    let (machine, probe) = Machine::with_probe();
    program_msi(&machine, 2);
    machine.set(1, MSI_CAPABILITY + 16, 0b0110);
    (0..4).for_each(|vector| signal(&probe, vector));
    assert_eq!(machine.host.messages.take(), [msi(0x50), msi(0x53)]);
    assert_eq!(machine.get(1, MSI_CAPABILITY + 20), 0b0110);
    machine.set(1, MSI_CAPABILITY + 16, 0b0010);
    assert_eq!(machine.host.messages.take(), [msi(0x52)]);
    machine.set(1, COMMAND, 3);
    signal(&probe, 0);
    machine.set(1, MSI_CAPABILITY + 16, 0);
    assert_eq!(machine.host.messages.take(), [], "not bus master");
    assert_eq!(machine.get(1, MSI_CAPABILITY + 20), 0b0011);
    machine.set(1, COMMAND, ON);
    assert_eq!(machine.host.messages.take(), [msi(0x50), msi(0x51)]);
    machine.set(1, MSI_CAPABILITY + 16, 1);
    signal(&probe, 0);
    machine.set(1, MSI_CAPABILITY, 0);
    assert_eq!(machine.get(1, MSI_CAPABILITY + 20), 0, "off: forgotten");
    machine.set(1, MSI_CAPABILITY + 16, 0);
    assert_eq!(machine.host.messages.take(), []);
}

#[test]
fn msi_comes_in_four_layouts() {
    for (wide, maskable, len) in [
        (false, false, 10),
        (true, false, 14),
        (false, true, 20),
        (true, true, 24),
    ] {
        let host = TestHost::new();
        let layout = MsiLayout {
            vectors: 32,
            wide,
            maskable,
        };
        let config = ConfigSpace::new(crate::testing::IDENTITY);
        let mut endpoint = Endpoint::new(config)
            .with_msi(layout, host.clone())
            .unwrap();
        for at in 0..64 {
            endpoint.write_config(0x40 + at, &[0xff]);
        }
        let control = u16::from_le_bytes(endpoint.config().get(0x42));
        let flags = u16::from(wide) << 7 | u16::from(maskable) << 8;
        assert_eq!(control, 0x7b | flags);
        let mut rest = [0xee; 64];
        endpoint.read_config(0x40 + len, &mut rest);
        assert_eq!(rest, [0; 64], "nothing behind {len} bytes");
        let data = if wide { 0x4c } else { 0x48 };
        if maskable {
            endpoint.write_config(data + 4, &[0; 4]);
        }
        endpoint.signal(31);
        assert_eq!(host.messages.take(), [], "not bus master");
        endpoint.write_config(COMMAND, &[4]);
        let address = if wide { u64::MAX - 3 } else { 0xffff_fffc };
        let sent = Msi {
            address,
            data: 0xffff,
        };
        let kept = if maskable { vec![sent] } else { vec![] };
        assert_eq!(host.messages.take(), kept);
        endpoint.write_config(data, &[0x60, 0]);
        endpoint.signal(31);
        let sent = Msi {
            address,
            data: 0x7f,
        };
        assert_eq!(host.messages.take(), [sent]);
    }
}

#[test]
fn the_table_wins_over_plain_messages() {
    let (machine, probe) = msix_machine();
    program_msi(&machine, 0);
    signal(&probe, 0);
    assert_eq!(machine.host.messages.take(), [message(0)]);
    probe.with(|probe| assert!(probe.endpoint.msi_enabled() && probe.endpoint.msix_enabled()));
}

fn interrupt(probe: &FunctionShell<Probe>, level: bool) {
    probe.with(|probe| probe.endpoint.set_interrupt(level));
}

#[test]
fn a_pin_follows_the_function() {
    let (machine, probe) = Machine::with_probe();
    let [.., pin, _, _] = &machine.pins;
    assert_eq!(
        machine.get(1, 0x3c),
        0x0000_0111,
        "pin A of device 1: line 1"
    );
    interrupt(&probe, true);
    interrupt(&probe, true);
    assert_eq!(pin.edges.take(), [true]);
    assert_eq!(machine.get16(1, STATUS), 0x0018);
    machine.set(1, STATUS, 0xffff);
    assert_eq!(machine.get16(1, STATUS), 0x0018, "read only");
    interrupt(&probe, false);
    assert_eq!(pin.edges.take(), [false]);
    assert_eq!(machine.get16(1, STATUS), 0x0010);
}

#[test]
fn a_pin_can_be_disabled() {
    let (machine, probe) = Machine::with_probe();
    let [.., pin, _, _] = &machine.pins;
    interrupt(&probe, true);
    machine.set(1, COMMAND, ON | 0x400);
    assert_eq!(pin.edges.take(), [true, false]);
    assert_eq!(machine.get16(1, STATUS), 0x0018, "it still wants one");
    machine.set(1, COMMAND, ON);
    assert_eq!(pin.edges.take(), [true]);
    machine.set(1, COMMAND, ON | 0x400);
    interrupt(&probe, false);
    machine.set(1, COMMAND, ON);
    assert_eq!(pin.edges.take(), [false], "gone in the meantime");
}

#[test]
fn messages_silence_the_pin() {
    for (capability, bits) in [(MSIX_CAPABILITY, MSIX_ENABLE), (MSI_CAPABILITY, 0x1_0000)] {
        let (machine, probe) = Machine::with_probe();
        let [.., pin, _, _] = &machine.pins;
        interrupt(&probe, true);
        machine.set(1, capability, bits);
        interrupt(&probe, false);
        interrupt(&probe, true);
        assert_eq!(pin.edges.take(), [true, false]);
        machine.set(1, capability, 0);
        assert_eq!(pin.edges.take(), [true]);
        probe.reset();
        assert_eq!(pin.edges.take(), [false]);
    }
}

#[test]
fn functions_share_lines() {
    let machine = Machine::new();
    // Device and pin, and the line that they lead to.
    for (device, pin, line) in [
        (1, InterruptPin::A, 1),
        (2, InterruptPin::A, 2),
        (3, InterruptPin::C, 1),
        (4, InterruptPin::D, 3),
        (5, InterruptPin::B, 2),
        (6, InterruptPin::B, 3),
        (7, InterruptPin::B, 0),
    ] {
        let plain = machine.add_plain(pin);
        assert_eq!(plain.at(), at(device, 0));
        interrupt(&plain, true);
        assert_eq!(crate::swizzle(device, pin), line);
        let mut high = machine.pins.each_ref().map(|pin| pin.edges.take());
        assert_eq!(high[line], [true], "{device} {pin:?}");
        high[line].clear();
        assert_eq!(high.concat(), [], "{device} {pin:?}: no other");
        interrupt(&plain, false);
        assert_eq!(machine.pins[line].edges.take(), [false]);
    }
    let first = machine.add_plain(InterruptPin::D); // device 8: line 3
    let second = machine.add_plain(InterruptPin::C); // device 9: line 3
    interrupt(&first, true);
    interrupt(&second, true);
    interrupt(&first, false);
    assert_eq!(
        machine.pins[3].edges.take(),
        [true],
        "high as long as one is"
    );
    machine.bus.remove(second.at());
    assert_eq!(machine.pins[3].edges.take(), [false], "gone: low");
    interrupt(&second, true);
    assert_eq!(machine.pins[3].edges.take(), []);
}
