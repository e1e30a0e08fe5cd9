//! Which writes may be late, and that nothing is lost by it.

use trivisor_buses::Posted;

use super::*;

/// Registers 2 to 7 of the bus masters at `base`, both channels.
fn masters(base: u16) -> [Posted; 2] {
    [base + 2, base + 10].map(|first| Posted::Ports { first, count: 6 })
}

#[test]
fn registers_that_keep_what_is_written_are_posted() {
    let count = 6;
    for base in [0x1f0, 0x170] {
        let first = base + 1;
        assert_eq!(posted_commands(base), Posted::Ports { first, count });
    }
}

#[test]
fn bus_masters_are_posted_where_they_are() {
    let host = TestHost::new();
    let storages = [(); 3].map(|()| storage(&host, 8));
    let chip = ide(&host, storages.each_ref()).with_posted(host.as_host().posted);
    let mut rig = Rig::fit(host, chip, storages);
    assert_eq!(rig.host.posted.take(), [], "they answer nowhere");
    rig.enable();
    let on = |base, on| masters(base).map(|place| (place, on));
    assert_eq!(rig.host.posted.take(), on(BMIBA_AT, true));
    rig.config(0x20, &0xd000_u32.to_le_bytes());
    let moved = [on(BMIBA_AT, false), on(0xd000, true)].concat();
    assert_eq!(rig.host.posted.take(), moved);
    rig.config(0x04, &[4, 0]);
    assert_eq!(rig.host.posted.take(), on(0xd000, false));
    rig.config(0x04, &[5, 0]);
    assert_eq!(rig.host.posted.take(), on(0xd000, true));
    rig.shell.with(Component::reset);
    assert_eq!(rig.host.posted.take(), on(0xd000, false));
}

/// The contract of what is posted: no register that is written so tells anybody at once, but Device.
#[test]
fn no_posted_write_moves_the_line_or_the_disk() {
    let mut rig = Rig::new();
    let ports = |posted| {
        let Posted::Ports { first, count } = posted else {
            return 0..0;
        };
        first..first + count
    };
    let all = [posted_commands(0x1f0)]
        .into_iter()
        .chain(masters(BMIBA_AT));
    let all: Vec<u16> = all.flat_map(ports).filter(|port| *port != 0x1f6).collect();
    // With no command, with one that waits for the bus master, and with one that has ended.
    rig.command([1, 5, 0, 0, 0xe0], 0xc8);
    for value in [0x00, 0xff, 0x55] {
        for port in &all {
            let before = (rig.get(0x3f6), rig.get(BMIBA_AT));
            rig.put(*port, value);
            assert_eq!((rig.get(0x3f6), rig.get(BMIBA_AT)), before, "{port:#x}");
        }
    }
    assert_eq!(rig.edges(), []);
    rig.table(&[(0x2000, 512)]);
    rig.put(BMIBA_AT, 9);
    assert_eq!(rig.edges(), [true]);
    for value in [0x00, 0xff, 0x55] {
        all.iter().for_each(|port| rig.put(*port, value));
    }
    assert_eq!(rig.edges(), []);
    assert_eq!(rig.memory(0x2000, 512), sectors(5, 1));
}

#[test]
fn an_interrupt_that_was_left_is_told_again() {
    let mut rig = Rig::new();
    // FLUSH CACHE.
    rig.command([0, 0, 0, 0, 0xe0], 0xe7);
    assert_eq!(rig.edges(), [true]);
    rig.put(0x1f6, 0xf0);
    rig.put(0x1f6, 0xe0);
    assert_eq!(rig.edges(), [false, true]);
    assert_eq!(rig.status(), 0x50);
    assert_eq!(rig.edges(), [false]);
}
