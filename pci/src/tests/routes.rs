use trivisor_buses::{AccessError, Installed, Shell, Widths};

use super::*;
use crate::{Bar, ConfigSpace, Endpoint};

/// The addresses at which functions answer, both spaces.
fn answering(machine: &Machine) -> Vec<(u64, u64)> {
    let ports = machine.ports.list().into_iter();
    let both = ports.chain(machine.memory.list());
    both.filter(|(_, _, name)| ["probe", "plain"].contains(name))
        .map(|(first, last, _)| (first, last))
        .collect()
}

fn moves(probe: &FunctionShell<Probe>) -> Vec<(u8, Option<u64>)> {
    probe.with(|probe| std::mem::take(&mut probe.moves))
}

const ASSIGNED: [(u64, u64); 3] = [
    (IO, IO + 15),
    (MEMORY32, MEMORY32 + 0xfff),
    (MEMORY64, MEMORY64 + 0x3fff),
];

#[test]
fn command_lets_a_function_answer() {
    let (machine, probe) = Machine::with_probe();
    assert_eq!(answering(&machine), ASSIGNED);
    machine.write(MEMORY32 + 4, 0x1234_5678);
    assert_eq!(machine.read(MEMORY64 + 4), 0x1234_5678);
    machine.set(1, COMMAND, 1);
    assert_eq!(answering(&machine), ASSIGNED[..1]);
    assert_eq!(machine.read(MEMORY32 + 4), u32::MAX);
    machine.set(1, COMMAND, 2);
    assert_eq!(answering(&machine), ASSIGNED[1..]);
    let on = [(0, Some(IO)), (1, Some(MEMORY32)), (2, Some(MEMORY64))];
    let off = [(1, None), (2, None), (0, None), on[1], on[2]];
    assert_eq!(moves(&probe), [&on[..], &off].concat());
    assert_eq!(machine.bus.blocked(), 0);
}

#[test]
fn a_function_moves() {
    let (machine, probe) = Machine::with_probe();
    moves(&probe);
    machine.write(MEMORY32, 1);
    machine.set(1, BAR1, 0xd000_0000);
    machine.set(1, BAR0, 0xe000);
    machine.set(1, BAR2 + 4, 0x81);
    assert_eq!(
        answering(&machine),
        [
            (0xe000, 0xe00f),
            (0xd000_0000, 0xd000_0fff),
            (0x81_0000_0000, 0x81_0000_3fff)
        ]
    );
    assert_eq!(machine.read(0xd000_0000), 1, "it is the same function");
    let moved = moves(&probe);
    assert_eq!(moved[..2], [(1, None), (1, Some(0xd000_0000))]);
    assert_eq!(moved.len(), 6);
    // The table moves along.
    machine.write(0xd000_0808, 0x42);
    assert_eq!(machine.read(0xd000_0808), 0x42);
}

#[test]
fn sizing_leaves_no_trace() {
    let (machine, _probe) = Machine::with_probe();
    for (register, old) in [
        (BAR0, 0xc001),
        (BAR1, 0xc000_0000),
        (BAR2, 0xc),
        (BAR2 + 4, 0x80),
    ] {
        assert_eq!(machine.get(1, register), old);
        machine.set(1, register, u32::MAX);
        machine.set(1, register, old);
    }
    assert_eq!(answering(&machine), ASSIGNED);
    assert_eq!(machine.bus.blocked(), 1, "ports end at 0xffff");
}

struct Occupant;

impl trivisor_buses::MmioDevice for Occupant {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0x11);
        Ok(())
    }

    fn write(&mut self, _offset: u64, _data: &[u8]) -> Result<(), AccessError> {
        Ok(())
    }
}

#[test]
fn occupied_addresses_stay_the_occupants() {
    let (machine, probe) = Machine::with_probe();
    let occupant = Shell::new("occupant", Widths::ANY, Occupant);
    machine
        .memory
        .attach("occupant", 0xd000_0800, 0x100, occupant)
        .unwrap();
    moves(&probe);
    machine.set(1, BAR1, 0xd000_0000);
    assert_eq!(answering(&machine), [ASSIGNED[0], ASSIGNED[2]]);
    assert_eq!(machine.bus.blocked(), 1);
    assert_eq!(machine.read(0xd000_0800), 0x1111_1111);
    assert_eq!(moves(&probe), [(1, None)]);
    // Other changes try again, and do not count again.
    machine.set(1, COMMAND, ON & !1);
    assert_eq!(machine.bus.blocked(), 1);
    assert!(machine.memory.detach(0xd000_0800));
    machine.set(1, COMMAND, ON);
    assert!(answering(&machine).contains(&(0xd000_0000, 0xd000_0fff)));
    machine.set(1, BAR1, 0xc000_0000);
    assert_eq!(answering(&machine), ASSIGNED);
}

#[test]
fn addresses_that_do_not_exist_are_not_routed() {
    let (machine, _probe) = Machine::with_probe();
    machine.set(1, BAR0, 0x1_0000);
    assert_eq!(answering(&machine), ASSIGNED[1..]);
    assert_eq!(machine.bus.blocked(), 1);
    machine.set(1, BAR0, 0xfff0);
    assert_eq!(answering(&machine)[0], (0xfff0, 0xffff));
    machine.set(1, BAR2, u32::MAX);
    machine.set(1, BAR2 + 4, u32::MAX);
    assert_eq!(answering(&machine)[2], (u64::MAX - 0x3fff, u64::MAX));
    machine.set(1, BAR1, 0);
    assert_eq!(answering(&machine).len(), 2);
    assert_eq!(machine.bus.blocked(), 1);
}

#[test]
fn of_two_at_one_address_the_first_answers() {
    // In whatever order they come and go.
    for first_moves_last in [false, true] {
        let (machine, first) = Machine::with_probe();
        let second = machine.add();
        machine.set(2, COMMAND, ON);
        let to = 0xe000_0000;
        if first_moves_last {
            machine.set(2, BAR1, to);
            machine.write(to.into(), 2);
            machine.set(1, BAR1, to);
        } else {
            machine.set(1, BAR1, to);
            machine.set(2, BAR1, to);
        }
        machine.write(to.into(), 1);
        assert_eq!(first.with(|probe| probe.bytes[0]), 1);
        let old = if first_moves_last { 2 } else { 0 };
        assert_eq!(second.with(|probe| probe.bytes[0]), old);
        assert_eq!(machine.bus.blocked(), 1);
        // It gets the place when the other leaves.
        machine.set(1, BAR1, 0xc000_0000);
        machine.write(to.into(), 3);
        assert_eq!(second.with(|probe| probe.bytes[0]), 3);
        machine.set(1, BAR1, to);
        assert_eq!(machine.bus.blocked(), 2);
        machine.bus.remove(at(1, 0));
        machine.write(to.into(), 4);
        assert_eq!(second.with(|probe| probe.bytes[0]), 4);
        assert_eq!(moves(&second).last(), Some(&(1, Some(to.into()))));
    }
}

#[test]
fn two_registers_of_one_function_may_meet() {
    let (machine, probe) = Machine::with_probe();
    machine.set(1, BAR2 + 4, 0);
    machine.set(1, BAR2, 0xc000_0000);
    assert_eq!(answering(&machine), ASSIGNED[..2]);
    machine.set(1, BAR1, 0xd000_0000);
    assert!(answering(&machine).contains(&(0xc000_0000, 0xc000_3fff)));
    assert_eq!(probe.counts().errors, 0);
}

#[test]
fn a_reset_takes_functions_off() {
    let (machine, probe) = Machine::with_probe();
    machine.set(1, BAR1, 0xd000_0000);
    probe.reset();
    assert_eq!(answering(&machine), []);
    machine.set(1, COMMAND, ON);
    assert_eq!(answering(&machine), ASSIGNED, "where firmware puts them");
}

#[test]
fn a_removed_function_answers_nowhere() {
    let (machine, probe) = Machine::with_probe();
    moves(&probe);
    assert!(machine.bus.remove(at(1, 0)));
    assert_eq!(answering(&machine), []);
    assert_eq!(moves(&probe), [(0, None), (1, None), (2, None)]);
    probe.with(|probe| probe.endpoint.write_config(BAR1, &[0, 0, 0, 0xd0]));
    assert_eq!(answering(&machine), [], "it is not on the bus");
    let weak = Arc::downgrade(&probe);
    drop(probe);
    assert!(weak.upgrade().is_none(), "nobody holds it");
}

#[test]
fn nothing_outlives_its_buses() {
    let (machine, probe) = Machine::with_probe();
    let weak = Arc::downgrade(&probe);
    drop((machine, probe));
    assert!(weak.upgrade().is_none(), "a circle of references");
}

#[test]
fn a_function_that_moves_itself_is_followed() {
    let (machine, probe) = Machine::with_probe();
    probe.with(|probe| probe.endpoint.reset());
    assert_eq!(answering(&machine), []);
    probe.with(|probe| {
        probe.endpoint.config_mut().assign_bar(1, 0xd123_4000);
        probe.endpoint.write_config(COMMAND, &[2]);
    });
    assert_eq!(answering(&machine)[0], (0xd123_4000, 0xd123_4fff));
}

#[test]
fn a_function_may_be_on_before_it_comes() {
    let machine = Machine::new();
    let mut config = ConfigSpace::new(crate::testing::IDENTITY);
    config.add_bar(0, Bar::memory32(0x1000)).unwrap();
    config.assign_bar(0, 0xd000_0000);
    let mut probe = Probe::with_pin(InterruptPin::A).unwrap();
    probe.endpoint = Endpoint::new(config);
    probe.endpoint.write_config(COMMAND, &[2]);
    machine.bus.add("probe", probe).unwrap();
    assert_eq!(answering(&machine), [(0xd000_0000, 0xd000_0fff)]);
}

#[test]
fn odd_widths_reach_a_function_as_bytes() {
    let (machine, probe) = Machine::with_probe();
    let mut view = machine.memory.view();
    view.write(MEMORY32 + 1, &[1, 2, 3]);
    let mut data = [0; 6];
    view.read(MEMORY32, &mut data);
    assert_eq!(data, [0, 1, 2, 3, 0, 0]);
    let counts = probe.counts();
    assert_eq!((counts.reads, counts.writes, counts.errors), (1, 1, 0));
    view.read(MEMORY32 + 0x3e, &mut data[..4]);
    assert_eq!(data[..4], [0xff; 4]);
    view.write(MEMORY32 + 0x40, &[0; 4]);
    assert_eq!(machine.inp::<1>(IO), [0xff]);
    let counts = probe.counts();
    assert_eq!((counts.reads, counts.writes, counts.errors), (3, 2, 3));
    assert_eq!(counts.last_error, Some((0, AccessError::WriteOnly)));
}

#[test]
fn vcpus_move_functions_at_the_same_time() {
    let (machine, _first) = Machine::with_probe();
    machine.add();
    machine.set(2, COMMAND, ON);
    std::thread::scope(|scope| {
        for device in [1_u64, 2, 1, 2] {
            let machine = &machine;
            scope.spawn(move || {
                for round in 0..200_u32 {
                    let base = 0xd000_0000 + (round % 8) * 0x800;
                    machine.set(device, BAR1, base);
                    machine.write(base.into(), round);
                    machine.set(device, COMMAND, if round % 3 == 0 { 0 } else { ON });
                }
            });
        }
    });
    machine.set(1, COMMAND, ON);
    machine.set(2, COMMAND, ON);
    machine.set(1, BAR1, 0xd000_0000);
    machine.set(2, BAR1, 0xd000_1000);
    let found = answering(&machine);
    assert!(found.contains(&(0xd000_0000, 0xd000_0fff)), "{found:x?}");
    assert!(found.contains(&(0xd000_1000, 0xd000_1fff)), "{found:x?}");
    assert_eq!(found.len(), 4, "{found:x?}");
}
