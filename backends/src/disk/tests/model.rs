//! Any sequence of requests leaves what it leaves in a vector.

use proptest::prelude::*;
use trivisor_buses::{Segment, Storage, StorageOp};

use super::{Rig, bytes, engines, image};

/// Bytes of the disk.
pub(super) const DISK: u64 = 256 << 10;

/// A request; places are in sectors.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Read {
        sector: u64,
        cuts: Vec<u32>,
        shift: u64,
    },
    Write {
        sector: u64,
        cuts: Vec<u32>,
        shift: u64,
        seed: u8,
    },
    Zero {
        sector: u64,
        sectors: u64,
        unmap: bool,
    },
    Flush,
}

pub(super) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let sector = 0..DISK / 512 - 40;
    // Lengths of segments; the last one is filled up to a sector.
    let cuts = proptest::collection::vec(0..4000_u32, 1..5);
    let action = prop_oneof![
        4 => (sector.clone(), cuts.clone(), 0..600_u64)
            .prop_map(|(sector, cuts, shift)| Action::Read { sector, cuts, shift }),
        4 => (sector.clone(), cuts, 0..600_u64, any::<u8>())
            .prop_map(|(sector, cuts, shift, seed)| Action::Write { sector, cuts, shift, seed }),
        2 => (sector, 1..40_u64, any::<bool>())
            .prop_map(|(sector, sectors, unmap)| Action::Zero { sector, sectors, unmap }),
        1 => Just(Action::Flush),
    ];
    proptest::collection::vec(action, 1..40)
}

/// Segments of these lengths, apart from each other, of whole sectors together.
fn segments(cuts: &[u32], shift: u64) -> Vec<Segment> {
    let total: u32 = cuts.iter().sum();
    let rest = total.next_multiple_of(512).max(512) - total;
    let mut address = 4096 + shift;
    let cuts = cuts.iter().copied().chain([rest]);
    cuts.map(|len| {
        let segment = Segment { address, len };
        address += u64::from(len) + 77;
        segment
    })
    .collect()
}

/// Carries all out on the disk and on a vector, one after the other, and compares what is read.
pub(super) fn follow(rig: &mut Rig, model: &mut [u8], actions: &[Action]) {
    for action in actions {
        match action {
            Action::Read {
                sector,
                cuts,
                shift,
            } => {
                let segments = segments(cuts, *shift);
                rig.transfer(StorageOp::Read, sector * 512, &segments)
                    .unwrap();
                let mut place = usize::try_from(sector * 512).unwrap();
                for segment in &segments {
                    let len = segment.len as usize;
                    let found = rig.memory(segment.address, len);
                    assert!(found == model[place..place + len], "{action:?}");
                    place += len;
                }
            }
            Action::Write {
                sector,
                cuts,
                shift,
                seed,
            } => {
                let segments = segments(cuts, *shift);
                let mut place = usize::try_from(sector * 512).unwrap();
                for segment in &segments {
                    let data = super::pattern(segment.len as usize, *seed);
                    assert!(rig.ram.write(segment.address, &data));
                    model[place..place + data.len()].copy_from_slice(&data);
                    place += data.len();
                }
                rig.transfer(StorageOp::Write, sector * 512, &segments)
                    .unwrap();
            }
            Action::Zero {
                sector,
                sectors,
                unmap,
            } => {
                let op = StorageOp::WriteZeroes { unmap: *unmap };
                rig.range(op, sector * 512, sectors * 512).unwrap();
                let place = usize::try_from(sector * 512).unwrap();
                let len = usize::try_from(sectors * 512).unwrap();
                model[place..place + len].fill(0);
            }
            Action::Flush => rig.range(StorageOp::Flush, 0, 0).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_raw_disk_is_a_vector(actions in actions()) {
        for options in engines() {
            let (_directory, file) = image(DISK);
            let mut model = vec![0; usize::try_from(DISK).unwrap()];
            let mut rig = Rig::raw(&file, &options);
            follow(&mut rig, &mut model, &actions);
            rig.disk.drain();
            assert!(bytes(&file, 0, model.len()) == model);
        }
    }

    #[test]
    fn any_request_ends(
        requests in proptest::collection::vec(
            (0..5_u8, any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>()),
            1..20,
        ),
    ) {
        for options in engines() {
            let (_directory, file) = image(DISK);
            let mut rig = Rig::raw(&file, &options);
            for (op, offset, len, address, bytes, near) in &requests {
                let op = match op {
                    0 => StorageOp::Read,
                    1 => StorageOp::Write,
                    2 => StorageOp::Flush,
                    3 => StorageOp::Discard,
                    _ => StorageOp::WriteZeroes { unmap: *near },
                };
                let (offset, len, address, bytes) = if *near {
                    (offset % 512 * 512, len % 512 * 512, address % super::RAM, bytes % 128 * 512)
                } else {
                    (*offset, *len, *address, *bytes)
                };
                let moves = matches!(op, StorageOp::Read | StorageOp::Write);
                let segments = [Segment { address, len: bytes }];
                let len = if moves && *near { bytes.into() } else { len };
                rig.submit_range(op, offset, len, if moves { &segments } else { &[] }).unwrap();
            }
            rig.disk.drain();
            rig.fetch();
            assert_eq!(rig.ended.len(), requests.len());
        }
    }
}
