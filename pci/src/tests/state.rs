use trivisor_buses::testing::check_golden;
use trivisor_buses::{Component, Installed, RestoreError, Woken};

use super::*;
use crate::state::MsixEntryV1;
use crate::{EndpointStateV1, PciFunction};

/// The header with its base address registers, the three capabilities, the rest of configuration space; the table and
/// its pending bits; the probe's own bytes.
fn golden_probe() -> String {
    let zeros = |bytes| "00".repeat(bytes);
    [
        "8002 f41af010 07001800 125634ff 00000000",
        "01c00000 000000d0 0c000000 80000000",
        &zeros(12),
        "9a78debc 00000000 40000000 00000000 11010000",
        "094c0c00 00000000 00000000",
        "05648401",
        &zeros(20),
        "11000280 01080000 010c0000",
        &zeros(144),
        "03 80e080f70f 70 00 80e080f70f 70 01 80e080f70f 70 00",
        "01 02",
        "40",
        &zeros(8),
        "88776655",
        &zeros(52),
    ]
    .concat()
}

const TABLE: u64 = MEMORY32 + 0x800;

/// A probe with MSI-X on, vector 1 masked and pending, its interrupt wanted and disabled.
fn busy() -> (Machine, Arc<FunctionShell<Probe>>) {
    let (machine, probe) = Machine::with_probe();
    machine.set(1, 0x64, 0x8000_0000);
    for vector in 0..3 {
        machine.write(TABLE + vector * 16, 0xfee0_3000);
        machine.write(TABLE + vector * 16 + 8, 0x70);
        machine.write(TABLE + vector * 16 + 12, u32::from(vector == 1));
    }
    probe.with(|probe| {
        probe.endpoint.signal(1);
        probe.endpoint.set_interrupt(true);
    });
    machine.write(MEMORY32 + 8, 0x5566_7788);
    machine.set(1, BAR1, 0xd000_0000);
    machine.host.messages.take();
    (machine, probe)
}

#[test]
fn a_restored_function_goes_on() {
    let (_, probe) = busy();
    let saved = probe.save();
    let (machine, twin) = Machine::with_probe();
    twin.restore(&saved).unwrap();
    assert_eq!(twin.save(), saved);
    let names: Vec<_> = machine.memory.list();
    assert!(
        names.contains(&(0xd000_0000, 0xd000_0fff, "probe")),
        "{names:x?}"
    );
    assert!(!names.iter().any(|(first, ..)| *first == MEMORY32));
    assert_eq!(machine.read(0xd000_0008), 0x5566_7788);
    assert_eq!(machine.host.messages.take(), [], "a restore sends nothing");
    let levels = machine.pins.each_ref().map(|pin| pin.edges.take()).concat();
    assert_eq!(levels, [], "MSI-X is on: the pin is silent");
    machine.write(0xd000_081c, 0);
    assert_eq!(machine.host.messages.take().len(), 1, "what was pending");
}

#[test]
fn a_level_comes_back_without_an_edge() {
    let (machine, probe) = Machine::with_probe();
    probe.with(|probe| probe.endpoint.set_interrupt(true));
    let saved = probe.save();
    let [.., pin, _, _] = &machine.pins;
    probe.with(|probe| probe.endpoint.set_interrupt(false));
    pin.edges.take();
    probe.restore(&saved).unwrap();
    assert_eq!(
        (pin.edges.take(), pin.restored.take()),
        (vec![], vec![true])
    );
    probe.with(|probe| probe.endpoint.set_interrupt(false));
    assert_eq!(pin.edges.take(), [false]);
}

#[test]
fn functions_may_be_restored_in_any_order() {
    // The saved machine has the two where the new one has the other.
    let (machine, first) = Machine::with_probe();
    let second = machine.add();
    machine.bus.assign(&windows()).unwrap();
    machine.set(2, COMMAND, ON);
    let [one, two] = [1, 2].map(|device| machine.get(device, BAR1));
    machine.set(1, BAR1, two);
    machine.set(2, BAR1, one);
    let saved = [first.save(), second.save()];
    for swap in [false, true] {
        let (machine, first) = Machine::with_probe();
        let second = machine.add();
        machine.bus.assign(&windows()).unwrap();
        machine.set(2, COMMAND, ON);
        if swap {
            second.restore(&saved[1]).unwrap();
            first.restore(&saved[0]).unwrap();
        } else {
            first.restore(&saved[0]).unwrap();
            second.restore(&saved[1]).unwrap();
        }
        machine.write(one.into(), 0x22);
        machine.write(two.into(), 0x11);
        assert_eq!(first.with(|probe| probe.bytes[0]), 0x11);
        assert_eq!(second.with(|probe| probe.bytes[0]), 0x22);
    }
}

#[test]
fn each_field_is_checked() {
    type Change = fn(&mut EndpointStateV1);
    let changes: [(&str, Change); 14] = [
        ("length of registers", |state| state.registers.truncate(255)),
        ("length of registers", |state| state.registers.push(0)),
        ("register at", |state| state.registers[0] ^= 1),
        ("register at", |state| state.registers[5] |= 0x80),
        ("register at", |state| state.registers[0x10] = 0xc0),
        ("register at", |state| state.registers[0x14] |= 0x10),
        ("register at", |state| state.registers[0x34] = 0x44),
        ("register at", |state| state.registers[0x66] = 9),
        ("length of msix_table", |state| state.msix_table.truncate(2)),
        ("length of msix_pending", |state| state.msix_pending.push(0)),
        ("msix_table.address", |state| {
            state.msix_table[0].address |= 1
        }),
        ("msix_table.control", |state| {
            state.msix_table[0].control = 2
        }),
        ("msix_pending of", |state| state.msix_pending[0] |= 1 << 3),
        ("msix_pending of", |state| state.msix_pending[0] |= 1),
    ];
    let (_, probe) = busy();
    probe.with(|probe| {
        let good = probe.endpoint.save();
        for (wrong, change) in changes {
            let mut bad = good.clone();
            change(&mut bad);
            let checked = probe.endpoint.check("probe", &bad);
            assert_eq!(probe.endpoint.restore("probe", &bad), checked);
            match checked {
                Err(RestoreError::Field { field, .. }) => assert_eq!(field, wrong),
                other => panic!("{wrong}: {other:?}"),
            }
            assert_eq!(probe.endpoint.save(), good, "{wrong}: untouched");
        }
        assert_eq!(probe.endpoint.check("probe", &good), Ok(()));
    });
}

#[test]
fn what_would_have_been_sent_cannot_be_pending() {
    let (machine, probe) = busy();
    machine.set(1, 0x64, 0);
    // MSI with vector 2 masked and pending.
    machine.set(1, 0x5c, 0b100);
    machine.set(1, 0x4c, 0x0021_0000);
    probe.with(|probe| {
        probe.endpoint.signal(2);
        let good = probe.endpoint.save();
        assert_eq!(good.registers[0x60], 0b100);
        probe.endpoint.restore("probe", &good).unwrap();
        let field = |field| {
            move |result: Result<(), RestoreError>| match result {
                Err(RestoreError::Field { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        };
        let mut bad = good.clone();
        bad.registers[0x5c] = 0;
        field("msi_pending")(probe.endpoint.check("probe", &bad));
        let mut bad = good.clone();
        bad.registers[0x60] |= 0x10;
        field("register at")(probe.endpoint.check("probe", &bad));
        let mut bad = good;
        bad.msix_pending[0] = 0b010;
        field("msix_pending of")(probe.endpoint.check("probe", &bad));
    });
}

#[test]
fn a_function_without_messages_has_little_state() {
    let mut plain = Probe::with_pin(InterruptPin::A).unwrap();
    let state = plain.endpoint.save();
    assert_eq!((state.msix_table.len(), state.msix_pending.len()), (0, 0));
    let entry = MsixEntryV1 {
        address: 0,
        data: 0,
        control: 1,
    };
    let more = EndpointStateV1 {
        msix_table: vec![entry],
        ..state
    };
    assert!(plain.endpoint.restore("probe", &more).is_err());
}

#[test]
fn the_latch_is_checked() {
    let machine = Machine::new();
    machine.out(0xcf8, &0x8012_3454_u32.to_le_bytes());
    let saved = machine.config_ports.save();
    machine.out(0xcf8, &[0; 4]);
    machine.config_ports.restore(&saved).unwrap();
    assert_eq!(machine.inp(0xcf8), 0x8012_3454_u32.to_le_bytes());
    let bad = trivisor_buses::SavedState::encode(
        "pci-config-ports",
        1,
        &ports::ConfigPortsStateV1 { address: 1 },
    );
    assert_eq!(
        machine.config_ports.restore(&bad),
        Err(RestoreError::Field {
            kind: "pci-config-ports",
            field: "address",
            value: 1
        })
    );
    assert_eq!(machine.inp(0xcf8), 0x8012_3454_u32.to_le_bytes());
}

#[test]
fn released_states_stay_readable() {
    let machine = Machine::new();
    machine
        .config_ports
        .with(|ports| check_golden(ports, "pci-config-ports", 1, "d4e8c88008"));
    // 256 registers, no table, no pending bits.
    let bridge = format!("8002 8680570d 00000000 00000006 {} 00 00", "00".repeat(244));
    check_golden(&mut HostBridge::new(), "pci-host-bridge", 1, &bridge);
    let (_, probe) = busy();
    probe.with(|probe| check_golden(probe, "pci-probe", 1, &golden_probe()));
}

/// Start, pause and wake reach the function.
#[test]
fn a_shell_passes_everything_on() {
    struct Counter(Probe, [u32; 3]);

    impl Component for Counter {
        fn start(&mut self) {
            self.1[0] += 1;
        }

        fn pause(&mut self) {
            self.1[1] += 1;
        }

        fn reset(&mut self) {
            self.0.reset();
        }

        fn save(&self) -> trivisor_buses::SavedState {
            self.0.save()
        }

        fn restore(&mut self, state: &trivisor_buses::SavedState) -> Result<(), RestoreError> {
            self.0.restore(state)
        }
    }

    impl PciFunction for Counter {
        fn endpoint(&self) -> &crate::Endpoint {
            &self.0.endpoint
        }

        fn endpoint_mut(&mut self) -> &mut crate::Endpoint {
            &mut self.0.endpoint
        }
    }

    impl trivisor_buses::Wake for Counter {
        fn wake(&mut self) -> bool {
            self.1[2] += 1;
            self.1[2] < 2
        }
    }

    let machine = Machine::new();
    let counter = Counter(Probe::with_pin(InterruptPin::A).unwrap(), [0; 3]);
    let shell = machine.bus.add("counter", counter).unwrap();
    shell.start();
    shell.pause();
    assert!(shell.wake());
    assert!(!shell.wake());
    assert_eq!(shell.with(|counter| counter.1), [1, 1, 2]);
    assert_eq!(shell.name(), "counter");
}
