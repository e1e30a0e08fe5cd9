use proptest::prelude::*;

use crate::regs::capability;
use crate::testing::IDENTITY;
use crate::{Bar, BarSpace, BarWindow, ConfigError, ConfigSpace, InterruptPin};

fn space() -> ConfigSpace {
    ConfigSpace::new(IDENTITY)
}

fn get(space: &ConfigSpace, offset: u8) -> u32 {
    u32::from_le_bytes(space.get(offset))
}

/// Writes a double word; the effects are looked at elsewhere.
fn set(space: &mut ConfigSpace, offset: u16, value: u32) {
    let _effects = space.write(offset, &value.to_le_bytes());
}

#[test]
fn the_header_is_as_the_table_says() {
    let space = space().with_interrupt_pin(InterruptPin::C);
    for (offset, value) in [
        (0x00, 0x10f0_1af4), // device, vendor
        (0x04, 0x0000_0000), // status, command
        (0x08, 0xff34_5612), // class, revision
        (0x0c, 0x0000_0000), // BIST, header type, latency, cache line
        (0x10, 0x0000_0000),
        (0x24, 0x0000_0000),
        (0x28, 0x0000_0000), // CIS pointer
        (0x2c, 0xbcde_789a), // subsystem
        (0x30, 0x0000_0000), // expansion ROM
        (0x34, 0x0000_0000), // capabilities
        (0x3c, 0x0000_0300), // latency, grant, pin, line
    ] {
        assert_eq!(get(&space, offset), value, "{offset:#x}");
    }
    let mut data = [0xee; 4];
    space.read(254, &mut data);
    assert_eq!(data, [0; 4], "zeros behind the end");
}

#[test]
fn each_register_takes_what_it_can_keep() {
    let mut space = space().with_interrupt_pin(InterruptPin::A);
    for offset in (0..256).step_by(4) {
        set(&mut space, offset, 0xffff_ffff);
    }
    for (offset, value) in [
        (0x00, 0x10f0_1af4),
        (0x04, 0x0000_0547),
        (0x08, 0xff34_5612),
        (0x0c, 0x0000_ffff),
        (0x2c, 0xbcde_789a),
        (0x3c, 0x0000_01ff),
    ] {
        assert_eq!(get(&space, offset), value, "{offset:#x}");
    }
    for offset in (0x10_u8..0x28).chain(0x40..0xfc).step_by(4) {
        assert_eq!(get(&space, offset), 0, "{offset:#x}");
    }
    space.reset();
    assert_eq!(get(&space, 0x04), 0);
    assert_eq!(get(&space, 0x3c), 0x100);
}

#[test]
fn bits_of_status_are_cleared_by_ones() {
    let mut space = space();
    space.set(0x06, &[0xff, 0xff], true);
    assert_eq!(get(&space, 4) >> 16, 0xf900, "others cannot be raised");
    set(&mut space, 4, 0x2000_0000);
    assert_eq!(get(&space, 4) >> 16, 0xd900);
    set(&mut space, 4, 0x0000_0000);
    assert_eq!(get(&space, 4) >> 16, 0xd900);
    space.set(0x07, &[0x40], false);
    assert_eq!(get(&space, 4) >> 16, 0x9900);
    space.reset();
    assert_eq!(get(&space, 4), 0);
}

#[test]
fn sizes_are_learned_by_ones() {
    for (bar, low, high, base) in [
        (Bar::io(4), 0xffff_fffd, 0, 1),
        (Bar::io(256), 0xffff_ff01, 0, 1),
        (Bar::memory32(16), 0xffff_fff0, 0, 0),
        (Bar::memory32(0x1000).prefetchable(), 0xffff_f008, 0, 8),
        (Bar::memory32(1 << 31), 0x8000_0000, 0, 0),
        (Bar::memory64(0x4000), 0xffff_c004, 0xffff_ffff, 4),
        (
            Bar::memory64(1 << 32).prefetchable(),
            0x0000_000c,
            0xffff_ffff,
            12,
        ),
        (Bar::memory64(1 << 40), 0x0000_0004, 0xffff_ff00, 4),
        (Bar::memory64(1 << 63), 0x0000_0004, 0x8000_0000, 4),
    ] {
        let mut space = space();
        space.add_bar(2, bar).unwrap();
        assert_eq!(get(&space, 0x18), base, "{bar:?}");
        set(&mut space, 0x18, 0xffff_ffff);
        set(&mut space, 0x1c, 0xffff_ffff);
        assert_eq!(
            (get(&space, 0x18), get(&space, 0x1c)),
            (low, high),
            "{bar:?}"
        );
        assert_eq!((get(&space, 0x14), get(&space, 0x20)), (0, 0));
    }
}

#[test]
fn a_register_can_be_written_by_bytes() {
    let mut space = space();
    space.add_bar(0, Bar::memory32(0x100)).unwrap();
    let effects = space.write(0x11, &[0x34, 0x12]);
    assert!(!effects.windows, "COMMAND does not let it answer");
    assert_eq!(get(&space, 0x10), 0x0012_3400);
    assert!(space.write(0x04, &[0x02]).windows);
    assert!(!space.write(0x04, &[0x03]).windows, "there are no ports");
    assert!(!space.write(0x10, &[0xff]).windows, "no address bits there");
    assert!(space.write(0x13, &[0xc0]).windows);
    assert_eq!(
        space.windows()[0],
        Some(BarWindow {
            space: BarSpace::Memory,
            base: 0xc012_3400,
            size: 0x100
        })
    );
    assert!(space.write(0x04, &[0x01]).windows);
    assert_eq!(space.windows(), [None; 6]);
}

#[test]
fn each_space_has_its_bit() {
    let mut space = space();
    space.add_bar(0, Bar::io(8)).unwrap();
    space.add_bar(1, Bar::memory64(0x1000)).unwrap();
    set(&mut space, 0x10, 0xc001);
    set(&mut space, 0x18, 1);
    for (command, answering) in [(0, 0b00), (1, 0b01), (2, 0b10), (3, 0b11)] {
        let _effects = space.write(0x04, &[command]);
        let found = [0, 1].map(|bar| space.window(bar).is_some());
        assert_eq!(found, [answering & 1 != 0, answering & 2 != 0]);
    }
    assert_eq!(space.window(1).unwrap().base, 1 << 32);
    assert_eq!((space.window(2), space.window(6)), (None, None));
    set(&mut space, 0x18, 0);
    assert_eq!(space.window(1), None, "address 0 is none");
}

#[test]
fn what_firmware_assigned_stays() {
    let mut space = space().with_interrupt_pin(InterruptPin::A);
    space.add_bar(0, Bar::memory64(0x1000)).unwrap();
    space.assign_bar(0, 0x12_3456_7000);
    space.assign_bar(3, 0x1000);
    space.assign_interrupt_line(11);
    set(&mut space, 0x10, 0xffff_ffff);
    set(&mut space, 0x3c, 0xff);
    space.reset();
    assert_eq!((get(&space, 0x10), get(&space, 0x14)), (0x3456_7004, 0x12));
    assert_eq!(get(&space, 0x3c), 0x10b);
    assert_eq!(get(&space, 0x1c), 0, "there is no register 3");
}

#[test]
fn registers_that_cannot_be_are_refused() {
    let mut space = space();
    for bar in [
        Bar::io(2),
        Bar::io(0),
        Bar::io(12),
        Bar::memory32(8),
        Bar::memory32(0),
        Bar::memory64(0x3000),
    ] {
        let size = bar.size();
        let error = ConfigError::BarSize { index: 0, size };
        assert_eq!(space.add_bar(0, bar), Err(error));
    }
    let taken = |index| Err(ConfigError::BarIndex { index });
    assert_eq!(space.add_bar(5, Bar::memory64(16)), taken(5));
    assert_eq!(space.add_bar(6, Bar::memory32(16)), taken(6));
    assert_eq!(space.add_bar(255, Bar::memory64(16)), taken(255));
    space.add_bar(2, Bar::memory64(16)).unwrap();
    assert_eq!(space.add_bar(2, Bar::memory32(16)), taken(2));
    assert_eq!(space.add_bar(3, Bar::memory32(16)), taken(3));
    assert_eq!(space.add_bar(1, Bar::memory64(16)), taken(1));
    space.add_bar(1, Bar::memory32(16)).unwrap();
    space.add_bar(4, Bar::memory64(16)).unwrap();
    let error = ConfigError::Range {
        offset: 254,
        len: 3,
    };
    assert_eq!(space.define(254, &[0], &[0, 0, 0]), Err(error));
    assert_eq!(space.define_clearable(254, &[0; 3]), Err(error));
    assert_eq!(space.define_hardware(254, &[0; 3]), Err(error));
}

#[test]
fn capabilities_are_a_list() {
    let mut space = space();
    assert_eq!(space.capability(capability::VENDOR), None);
    let first = space.add_capability(0x09, &[0xaa, 0xbb, 0xcc], &[0, 0, 0xf0]);
    let second = space.add_capability(0x05, &[1, 2], &[]);
    assert_eq!((first, second), (Ok(0x40), Ok(0x48)));
    assert_eq!(get(&space, 0x04), 0x0010_0000, "STATUS tells of them");
    assert_eq!(get(&space, 0x34), 0x40);
    assert_eq!(get(&space, 0x40), 0xbbaa_4809);
    assert_eq!(get(&space, 0x44), 0x0000_00cc);
    assert_eq!(get(&space, 0x48), 0x0201_0005);
    set(&mut space, 0x44, 0x0000_0035);
    assert_eq!(
        get(&space, 0x44),
        0x0000_003c,
        "as far as it can be written"
    );
    assert_eq!(space.capability(0x05), Some(0x48));
    assert_eq!(space.capability(0x11), None);
    space.reset();
    assert_eq!(get(&space, 0x44), 0x0000_00cc);

    let error = ConfigError::NoRoom { id: 1, len: 181 };
    assert_eq!(space.add_capability(1, &[0; 179], &[]), Err(error));
    assert_eq!(space.add_capability(1, &[0; 178], &[]), Ok(0x4c));
    let error = ConfigError::NoRoom { id: 2, len: 2 };
    assert_eq!(space.add_capability(2, &[], &[]), Err(error));
    assert_eq!(get(&space, 0x48), 0x0201_4c05);
    assert_eq!(get(&space, 0x4c), 0x0000_0001, "the list ends");
}

/// A space with a register of every kind.
fn rich() -> ConfigSpace {
    let mut space = space().with_interrupt_pin(InterruptPin::B);
    space.add_bar(0, Bar::io(32)).unwrap();
    space.add_bar(1, Bar::memory32(0x1000)).unwrap();
    space.add_bar(4, Bar::memory64(1 << 33)).unwrap();
    space.add_capability(9, &[1; 9], &[0x0f; 6]).unwrap();
    space.define(0x80, &[0x55; 8], &[0x3c; 8]).unwrap();
    space.define_clearable(0x84, &[0x03; 4]).unwrap();
    space.define_hardware(0x86, &[0xc0; 2]).unwrap();
    space.set(0x80, &[0xff; 8], true);
    space
}

/// Which bits a guest writes, straight from the specification of [`rich`].
fn writable(at: u16) -> u8 {
    match at {
        0x04 => 0x47,
        0x05 => 0x05,
        0x0c | 0x0d | 0x3c => 0xff,
        0x10 => 0xe0,
        0x15 => 0xf0,
        0x11..=0x13 | 0x16 | 0x17 | 0x25..=0x27 => 0xff,
        0x24 => 0xfe,
        0x42..=0x47 => 0x0f,
        0x80..=0x87 => 0x3c,
        _ => 0,
    }
}

fn clearable(at: u16) -> u8 {
    match at {
        0x07 => 0xf9,
        0x84..=0x87 => 0x03,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn masks_hold_for_any_write(
        writes in prop::collection::vec(
            (0_u16..300, prop::collection::vec(any::<u8>(), 1..9)), 1..20
        )
    ) {
        let mut space = rich();
        let mut model = [0; 256];
        space.read(0, &mut model);
        for (offset, data) in writes {
            let before = space.windows();
            let effects = space.write(offset, &data);
            for (at, value) in (offset..).zip(data).filter(|(at, _)| *at < 256) {
                let byte = &mut model[usize::from(at)];
                *byte = *byte & !writable(at) | value & writable(at);
                *byte &= !(value & clearable(at));
            }
            let mut bytes = [0; 256];
            space.read(0, &mut bytes);
            prop_assert_eq!(bytes, model);
            prop_assert_eq!(effects.windows, before != space.windows());
            for window in space.windows().into_iter().flatten() {
                prop_assert!(window.base != 0 && window.base % window.size == 0);
                prop_assert!(window.base.checked_add(window.size - 1).is_some());
            }
        }
        space.reset();
        let mut fresh = rich();
        fresh.reset();
        prop_assert_eq!(space, fresh);
    }
}
