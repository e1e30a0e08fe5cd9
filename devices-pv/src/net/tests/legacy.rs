//! A driver older than version 1.

use trivisor_buses::AccessError;

use super::*;

const MERGE: Features = Features::new().with_mrg_rxbuf(true);

/// The header without `num_buffers`.
const SHORT: [u8; 10] = [0; 10];

fn legacy(bench: &Bench, features: u64) -> Rig<Net> {
    Rig::legacy(bench.ram.clone(), bench.device(), features)
}

#[test]
fn the_header_ends_before_the_number_of_buffers() {
    for has_header in [true, false] {
        for way in [0, Feature::EventIndex.bit()] {
            for cut in [1, 7, u32::MAX] {
                let bench = Bench::new(has_header);
                let mut rig = legacy(&bench, way);
                rig.driver(TX).cut_at(cut);
                rig.driver(RX).cut_at(cut);
                let out = frame(60, 1);
                let sent = [&SHORT, out.as_slice()].concat();
                rig.request(TX, &[&sent], 0);
                let wanted = if has_header { sent } else { out };
                assert_eq!(bench.cable().end().sent, [wanted]);

                for _ in 0..2 {
                    rig.driver(RX).add(&[], &[80]);
                }
                rig.kick(RX);
                let came = frame(60, 2);
                let with_header = [&SHORT, came.as_slice()].concat();
                let on_cable = if has_header { &with_header } else { &came };
                bench.cable().end().waiting.push_back(on_cable.clone());
                rig.settle();
                assert_eq!(rig.poll(RX).unwrap().data, with_header);
                let told: &[u8] = if has_header { &[10] } else { &[] };
                assert_eq!(bench.cable().end().headers, told);
            }
        }
    }
}

#[test]
fn merged_buffers_have_the_long_one() {
    let bench = Bench::new(true);
    let mut rig = legacy(&bench, MERGE.into_bits());
    for _ in 0..4 {
        rig.driver(RX).add(&[], &[70_000]);
    }
    rig.kick(RX);
    bench.cable().offer(&frame(60, 2));
    rig.settle();
    assert_eq!(rig.poll(RX).unwrap().data, with_header(1, &frame(60, 2)));
    rig.request(TX, &[&header(0), &frame(60, 1)], 0);
    assert_eq!(bench.cable().end().sent, [with_header(0, &frame(60, 1))]);
    assert!(bench.cable().end().headers.is_empty());
}

#[test]
fn the_header_follows_the_driver() {
    let bench = Bench::new(true);
    let mut rig = legacy(&bench, 0);
    rig.request(TX, &[&SHORT, &frame(60, 1)], 0);
    // Another machine, whose cable has not been told.
    let other = Bench::new(true);
    let mut rig = rig.migrate(other.device());
    rig.request(TX, &[&SHORT, &frame(60, 1)], 0);
    assert_eq!(other.cable().end().headers, [10]);
    // A driver of version 1 comes after a legacy one.
    let mut device = bench.device();
    device.header = LEGACY_HEADER_LEN;
    let mut rig = Rig::with_ram(bench.ram.clone(), device, Ring::Split, 0);
    rig.request(TX, &[&header(0), &frame(60, 1)], 0);
    assert_eq!(bench.cable().end().headers, [10, 12]);
}

#[test]
fn a_cable_that_cannot_have_it_loses_frames() {
    let bench = Bench::new(true);
    bench.cable().end().refuses_header = true;
    let mut rig = legacy(&bench, 0);
    rig.request(TX, &[&SHORT, &frame(60, 1)], 0);
    rig.driver(RX).add(&[], &[1526]);
    rig.kick(RX);
    bench.cable().offer(&frame(60, 2));
    rig.settle();
    assert_eq!(rig.poll(RX), None);
    assert!(bench.cable().end().sent.is_empty());
    let counters = rig.device().counters();
    assert_eq!(counters.send_dropped, 1);
    assert!(counters.header_errors > 0);
}

#[test]
fn the_address_is_written_byte_by_byte() {
    let bench = Bench::new(false);
    let mut rig = legacy(&bench, 0);
    for (at, byte) in (0..).zip([0x52, 0x54, 0, 9, 8, 7]) {
        rig.write_config(at, &[byte]).unwrap();
    }
    assert_eq!(rig.read_config(0, 6), [0x52, 0x54, 0, 9, 8, 7]);
    for (at, len) in [(5, 2), (6, 1), (usize::MAX, 1)] {
        let refused = rig.write_config(at, &vec![0; len]);
        assert_eq!(refused, Err(AccessError::ReadOnly));
    }
    let mut rig = bench.rig_with(Ring::Split, 0);
    assert_eq!(rig.write_config(0, &[0x52]), Err(AccessError::ReadOnly));
}
