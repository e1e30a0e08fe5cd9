//! A persistent memory device whose flushes fail while the host does not work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trivisor_devices_pv::pmem::Pmem;
use trivisor_devices_pv::pmem::regs::Config;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(File);

/// Whether the host fails.
struct File(Arc<AtomicBool>);

impl Subject for File {
    type Device = Pmem;

    fn make(_ram: &GuestRam, _variant: u8) -> (Self, Pmem) {
        let fails = Arc::new(AtomicBool::new(false));
        let (start, size) = (1 << 32, 2 << 20);
        let host = fails.clone();
        let pmem = Pmem::with_flush(Config { start, size }, move || {
            let failed = host.load(Ordering::Relaxed);
            if failed {
                Err(io::ErrorKind::Other.into())
            } else {
                Ok(())
            }
        });
        (Self(fails), pmem)
    }

    fn host(&mut self, _rig: &mut Rig<Pmem>, input: &mut Input<'_>) {
        self.0.store(input.byte() & 1 != 0, Ordering::Relaxed);
    }

    fn serves(&mut self, rig: &mut Rig<Pmem>) {
        for (fails, ret) in [(false, [0; 4]), (true, [0xff; 4])] {
            self.0.store(fails, Ordering::Relaxed);
            assert_eq!(rig.request(0, &[&[0; 4]], 4).data, ret);
        }
    }
}
