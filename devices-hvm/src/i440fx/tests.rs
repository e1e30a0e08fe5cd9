use trivisor_buses::testing::{TestHost, check_golden, check_mmio};
use trivisor_buses::{Responder, ShadowRun};

use super::*;
use crate::registers::{check, read, write};

const K: u64 = 1024;

fn bridge(host: &Arc<TestHost>) -> I440fx {
    let options = Options {
        subsystem: (0x1af4, 0x1100),
        ..Options::default()
    };
    I440fx::new(options, host.clone()).unwrap()
}

fn run(start: u64, kib: u64, read: Responder, write: Responder) -> ShadowRun {
    let size = kib * K;
    ShadowRun {
        start,
        size,
        read,
        write,
    }
}

use Responder::{Bus, Ram};

#[test]
fn registers_have_their_reset_values_and_writable_bits() {
    let host = TestHost::new();
    let rows = [
        (0x00, 0x1237_8086, 0x1237_8086),
        (0x04, 0x0280_0006, 0x0280_0146),
        (0x08, 0x0600_0002, 0x0600_0002),
        (0x0c, 0x0000_0000, 0x0000_f800),
        (0x2c, 0x1100_1af4, 0x1100_1af4),
        // PMCCFG, DETURBO, DBC; AXC, DRT, DRAMC; DRAMT, PAM0 to PAM2.
        (0x50, 0x8000_0000, 0xffff_ffff),
        (0x54, 0x0100_0000, 0xffff_ffff),
        (0x58, 0x0000_0010, 0x3333_30ff),
        (0x5c, 0x0000_0000, 0x3333_3333),
        (0x60, 0x0101_0101, 0xffff_ffff),
        (0x64, 0x0101_0101, 0xffff_ffff),
        (0x68, 0x0000_0000, 0x0000_00ff),
        // MTT, CLT, SMRAM: D_LCK closes D_OPEN.
        (0x70, 0x0002_0000, 0x003a_ffff),
        (0x90, 0x0000_0000, 0x0000_00ff),
    ];
    check(|| bridge(&host), &rows);
}

#[test]
fn attributes_become_merged_runs() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    write(&mut bridge, 0x3c, &[0]);
    assert_eq!(host.shadows.take(), [vec![run(AREA, 256, Bus, Bus)]]);
    // As SeaBIOS opens the RAM: 0x58 to 0x5b, then 0x5c to 0x5f.
    write(&mut bridge, 0x58, &[0x10, 0x30, 0x33, 0x33]);
    assert_eq!(
        host.shadows.take(),
        [vec![
            run(0xc_0000, 64, Ram, Ram),
            run(0xd_0000, 128, Bus, Bus),
            run(0xf_0000, 64, Ram, Ram),
        ]]
    );
    write(&mut bridge, 0x5c, &[0x33; 4]);
    assert_eq!(host.shadows.take(), [vec![run(AREA, 256, Ram, Ram)]]);
    // And as it closes it.
    write(&mut bridge, 0x58, &[0x10, 0x10, 0x11, 0x31]);
    assert_eq!(
        host.shadows.take(),
        [vec![
            run(0xc_0000, 48, Ram, Bus),
            run(0xc_c000, 144, Ram, Ram),
            run(0xf_0000, 64, Ram, Bus),
        ]]
    );
    // Writes alone, to the last segment.
    write(&mut bridge, 0x59, &[0x20]);
    let runs = host.shadows.take();
    assert_eq!(runs[0].last(), Some(&run(0xf_0000, 64, Bus, Ram)));
    // Nothing changes: nothing is told.
    write(&mut bridge, 0x59, &[0x2f]);
    write(&mut bridge, 0x50, &[1]);
    assert_eq!(host.shadows.take(), [] as [Vec<ShadowRun>; 0]);
    bridge.reset();
    bridge.take_effect().unwrap()();
    assert_eq!(host.shadows.take(), [vec![run(AREA, 256, Bus, Bus)]]);
}

#[test]
fn writes_reach_ram_where_they_alone_may() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    let mut shadow = bridge.shadow_writes(host.clone());
    check_mmio(&mut shadow, "w 30000 11 -> error\n r 30000 -> error");
    write(&mut bridge, 0x59, &[0x20]);
    check_mmio(&mut shadow, "w 3fffc 44332211\n w 2fffc 44332211 -> error");
    let mut found = [0; 4];
    host.memory.read(0xf_fffc, &mut found).unwrap();
    assert_eq!(found, [0x11, 0x22, 0x33, 0x44]);
    // PAM5, its upper half: 0xe4000.
    write(&mut bridge, 0x5e, &[0x20]);
    check_mmio(
        &mut shadow,
        "w 23fff 11 -> error\n w 24000 55\n w 27fff 66\n w 28000 11 -> error",
    );
    check_golden(&mut shadow, "i440fx-shadow", 1, "");
}

#[test]
fn a_locked_smram_register_takes_d_cls_alone() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    write(&mut bridge, 0x72, &[0x48]);
    assert_eq!(read(&mut bridge, 0x72), [0x4a]);
    write(&mut bridge, 0x72, &[0x18]);
    assert_eq!(read(&mut bridge, 0x72), [0x1a]);
    write(&mut bridge, 0x72, &[0x60]);
    assert_eq!(read(&mut bridge, 0x72), [0x3a]);
    bridge.reset();
    assert_eq!(read(&mut bridge, 0x72), [0x02]);
}

#[test]
fn state_comes_back_with_its_attributes() {
    let host = TestHost::new();
    let mut first = bridge(&host);
    write(&mut first, 0x58, &[0x10, 0x30, 0x33, 0x11]);
    let runs = host.shadows.take().pop();
    let saved = first.save();
    let mut second = bridge(&host);
    second.restore(&saved).unwrap();
    second.take_effect().unwrap()();
    assert_eq!(host.shadows.take().pop(), runs);
    assert_eq!(second.save(), saved);
    let golden = include_str!("golden/v1.hex");
    check_golden(&mut second, state::KIND, 1, golden);
    assert_eq!(second.save(), saved);
}

#[test]
fn impossible_states_are_refused() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    // 256 bytes of registers, preceded by their number; two empty lists.
    for at in [0x00, 0x59, 0x72, 0xa0] {
        let mut saved = bridge.save();
        saved.data[2 + at] |= 0x88;
        let refused = bridge.restore(&saved).unwrap_err();
        assert!(
            matches!(refused, RestoreError::Field { .. }),
            "{at:#x}: {refused}"
        );
    }
    assert_eq!(read(&mut bridge, 0x59), [0]);
}
