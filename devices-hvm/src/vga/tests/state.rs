use trivisor_buses::testing::check_golden;

use super::*;

/// A VGA in the middle of everything.
fn busy(size: u64) -> Vga {
    let (mut vga, _) = with_memory(size);
    set_mode(&mut vga, &TEXT);
    poke(&mut vga, 0xb_8000, b"s\x07t\x17");
    out(&mut vga, 0x3c8, 0x55);
    out(&mut vga, 0x3c9, 0x11);
    out(&mut vga, 0x3c0, 0x33);
    out(&mut vga, 0x3c4, 0x99);
    set(&mut vga, 0x3d4, 0x11, 0x8e);
    vga.chip.dispi.index = 9;
    for (index, value) in [
        (1, 320),
        (2, 200),
        (3, 8),
        (4, 0xe1),
        (6, 640),
        (8, 16),
        (5, 2),
    ] {
        vga.dispi_write(index, value);
    }
    vga.bar_write(LINEAR, size - 4, &[1, 2, 3, 4]).unwrap();
    vga.endpoint.write_config(0x10, &[0, 0, 0, 0xfd]);
    vga.endpoint.write_config(4, &[3]);
    vga
}

#[test]
fn what_was_saved_comes_back() {
    let vga = busy(256 << 10);
    let saved = vga.save();
    let (mut other, _) = with_memory(256 << 10);
    other.bar_write(LINEAR, 100_000, &[9; 8]).unwrap();
    other.restore(&saved).unwrap();
    assert_eq!(
        (other.chip.clone(), other.save()),
        (vga.chip.clone(), saved)
    );
    // A half-written colour and the flip-flop go on.
    let mut vga = vga;
    for vga in [&mut vga, &mut other] {
        out(vga, 0x3c9, 0x12);
        out(vga, 0x3c9, 0x13);
        out(vga, 0x3c0, 0x05);
    }
    assert_eq!(vga.chip, other.chip);
    assert_eq!(vga.chip.dac.colours[0x55], [0x11, 0x12, 0x13]);
    assert_eq!((vga.chip.attr_index, vga.chip.attr[0x13]), (0x33, 5));
}

#[test]
fn reset_in_the_middle() {
    let mut vga = busy(256 << 10);
    vga.reset();
    let (fresh, _) = with_memory(256 << 10);
    assert_eq!(vga.chip, fresh.chip);
    assert_eq!(vga.endpoint.save(), fresh.endpoint.save());
    out(&mut vga, 0x3c0, 0x05);
    assert_eq!(vga.chip.attr_index, 5, "the index comes first");
}

#[test]
fn a_released_state_is_taken() {
    let mut vga = busy(256 << 10);
    check_golden(&mut vga, "vga", 1, include_str!("../golden/v1.hex"));
}

#[test]
fn what_the_chip_cannot_have_is_refused() {
    let vga = busy(256 << 10);
    let good = VgaStateV1::new(vga.endpoint.save(), &vga.chip, &vga.memory);
    let page = |number, len| VgaPageV1 {
        number,
        bytes: vec![1; len],
    };
    type Damage = Box<dyn Fn(&mut VgaStateV1)>;
    let damages: Vec<(&str, Damage)> = vec![
        ("misc", Box::new(|state| state.misc = 0x10)),
        ("feature", Box::new(|state| state.feature = 4)),
        ("attr_index", Box::new(|state| state.attr_index = 0x40)),
        ("dac_component", Box::new(|state| state.dac_component = 3)),
        ("seq", Box::new(|state| state.seq[0] = 4)),
        ("seq", Box::new(|state| state.seq.push(0))),
        ("gfx", Box::new(|state| state.gfx[5] = 0x80)),
        ("attr", Box::new(|state| state.attr[0] = 0x40)),
        ("crtc", Box::new(|state| state.crtc.truncate(24))),
        ("dac_colours", Box::new(|state| state.dac_colours.push(0))),
        ("dispi", Box::new(|state| state.dispi.push(0))),
        ("dispi id", Box::new(|state| state.dispi[0] = 0)),
        ("dispi enable", Box::new(|state| state.dispi[4] = 0x100)),
        ("dispi mode of", Box::new(|state| state.dispi[1] = 0xffff)),
        ("dispi mode of", Box::new(|state| state.dispi[9] = 0xffff)),
        ("dispi bank", Box::new(|state| state.dispi[5] = 4)),
        (
            "memory.number",
            Box::new(move |state| state.memory.push(page(64, 4096))),
        ),
        (
            "memory.number",
            Box::new(move |state| state.memory.push(page(0, 4096))),
        ),
        (
            "length of memory.bytes",
            Box::new(move |state| state.memory = vec![page(0, 4095)]),
        ),
        (
            "length of registers",
            Box::new(|state| state.endpoint.registers.truncate(255)),
        ),
    ];
    let (mut other, _) = with_memory(256 << 10);
    let before = other.save();
    for (wanted, damage) in damages {
        let mut state = good.clone();
        damage(&mut state);
        let error = other
            .restore(&SavedState::encode("vga", 1, &state))
            .unwrap_err();
        assert!(
            matches!(error, RestoreError::Field { field, .. } if field == wanted),
            "{wanted}: {error}"
        );
        assert_eq!(other.save(), before, "{wanted}");
    }
    other.restore(&SavedState::encode("vga", 1, &good)).unwrap();
}
