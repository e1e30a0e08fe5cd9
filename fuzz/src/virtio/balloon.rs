//! A memory balloon.

use std::sync::{Arc, Mutex, PoisonError};

use trivisor_buses::{Reclaim, Segment};
use trivisor_devices_pv::balloon::{Balloon, BalloonOptions};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(Host);

/// The host: what it was given back the last time.
struct Host(Arc<Mutex<Vec<Segment>>>);

/// Checks what comes, and takes nothing: the driver of the rig looks at its memory.
struct Checks {
    ram: GuestRam,
    last: Arc<Mutex<Vec<Segment>>>,
}

impl Reclaim for Checks {
    fn give_back(&mut self, segments: &[Segment]) -> u64 {
        assert!(!segments.is_empty(), "a call for nothing");
        for segment in segments {
            let (address, len) = (segment.address, segment.len.into());
            assert!(self.ram.layout().contains(address, len), "{segment:x?}");
        }
        for pair in segments.windows(2) {
            let [first, second] = pair else { continue };
            let end = first.address + u64::from(first.len);
            assert!(end < second.address, "{pair:x?} are one run");
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clear();
        last.extend_from_slice(segments);
        Segment::total(segments)
    }
}

impl Subject for Host {
    type Device = Balloon;

    fn make(ram: &GuestRam, variant: u8) -> (Self, Balloon) {
        let host = Self(Arc::default());
        let checks = Checks {
            ram: ram.clone(),
            last: Arc::clone(&host.0),
        };
        let options = BalloonOptions {
            deflate_on_oom: variant & 1 == 0,
            free_page_reporting: variant & 2 == 0,
        };
        (host, Balloon::new(options, Box::new(checks)))
    }

    fn host(&mut self, rig: &mut Rig<Balloon>, input: &mut Input<'_>) {
        let what = input.byte();
        if what & 1 == 0 {
            rig.call(Balloon::request_statistics);
        } else {
            rig.call(|device, io| device.set_target(what.into(), io));
        }
    }

    fn serves(&mut self, rig: &mut Rig<Balloon>) {
        rig.request(0, &[&[0x10, 0, 0, 0, 0x11, 0, 0, 0]], 0);
        let run = Segment {
            address: 0x10 << 12,
            len: 2 << 12,
        };
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*last, [run]);
    }
}
