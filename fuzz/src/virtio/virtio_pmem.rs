//! A persistent memory device, and a host that fails, and ends flushes late.

use std::io;

use trivisor_buses::testing::MemoryStorage;
use trivisor_devices_pv::pmem::Pmem;
use trivisor_devices_pv::pmem::regs::Config;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(File);

struct File(MemoryStorage);

impl File {
    fn fails(&self, fails: bool) {
        self.0.fail(fails.then_some(io::ErrorKind::Other));
    }
}

impl Subject for File {
    type Device = Pmem;

    fn make(ram: &GuestRam, _variant: u8) -> (Self, Pmem) {
        let storage = MemoryStorage::new(ram.clone(), 8);
        let (start, size) = (1 << 32, 2 << 20);
        let pmem = Pmem::new(Config { start, size }, Box::new(storage.clone()));
        (Self(storage), pmem)
    }

    fn host(&mut self, rig: &mut Rig<Pmem>, input: &mut Input<'_>) {
        let what = input.byte();
        self.fails(what & 1 != 0);
        self.0.hold(what & 2 != 0);
        if what & 4 != 0 && self.0.end(0) {
            rig.settle();
        }
    }

    fn serves(&mut self, rig: &mut Rig<Pmem>) {
        self.0.hold(false);
        for (fails, ret) in [(false, [0; 4]), (true, [0xff; 4])] {
            self.fails(fails);
            assert_eq!(rig.request(0, &[&[0; 4]], 4).data, ret);
        }
    }
}
