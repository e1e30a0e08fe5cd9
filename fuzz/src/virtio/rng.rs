//! An entropy device, and a source that runs dry and fails.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use trivisor_buses::{Entropy, Segment};
use trivisor_devices_pv::rng::Rng;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(Source);

/// What the source says instead of giving bytes.
#[derive(Clone, Default)]
struct Source(Arc<Mutex<Option<ErrorKind>>>);

struct Bytes {
    ram: GuestRam,
    source: Source,
}

impl Source {
    fn say(&self, what: Option<ErrorKind>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl Entropy for Bytes {
    fn fill(&mut self, into: &[Segment]) -> io::Result<usize> {
        let error = *self.source.0.lock().unwrap_or_else(PoisonError::into_inner);
        error.map_or(Ok(()), |kind| Err(io::Error::from(kind)))?;
        let mut filled = 0;
        for segment in into {
            let bytes = vec![0x77; usize::try_from(segment.len).map_err(io::Error::other)?];
            if !self.ram.write(segment.address, &bytes) {
                return Err(ErrorKind::InvalidInput.into());
            }
            filled += bytes.len();
        }
        Ok(filled)
    }
}

impl Subject for Source {
    type Device = Rng;

    fn make(ram: &GuestRam, _variant: u8) -> (Self, Rng) {
        let source = Self::default();
        let bytes = Bytes {
            ram: ram.clone(),
            source: source.clone(),
        };
        (source, Rng::new(Box::new(bytes)))
    }

    fn host(&mut self, _rig: &mut Rig<Rng>, input: &mut Input<'_>) {
        self.say(match input.byte() % 3 {
            0 => None,
            1 => Some(ErrorKind::WouldBlock),
            _ => Some(ErrorKind::Other),
        });
    }

    fn serves(&mut self, rig: &mut Rig<Rng>) {
        self.say(None);
        assert_eq!(rig.request(0, &[], 100).data, [0x77; 100]);
    }
}
