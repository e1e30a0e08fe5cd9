//! What the bus adds to an exit: finding the device, its lock, its widths. At most 50 ns is the aim.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use trivisor_buses::{AccessError, MmioBus, MmioDevice, PortBus, PortDevice, Shell, Widths};

/// A register that is there and does nothing.
struct Latch(u8);

impl PortDevice for Latch {
    fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(self.0);
        Ok(())
    }

    fn write(&mut self, _offset: u16, data: &[u8]) -> Result<(), AccessError> {
        self.0 = data.first().copied().unwrap_or_default();
        Ok(())
    }
}

impl MmioDevice for Latch {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(self.0);
        Ok(())
    }

    fn write(&mut self, _offset: u64, data: &[u8]) -> Result<(), AccessError> {
        self.0 = data.first().copied().unwrap_or_default();
        Ok(())
    }
}

fn routing(criterion: &mut Criterion) {
    let (ports, mmio) = (Arc::new(PortBus::default()), Arc::new(MmioBus::default()));
    // As many devices as a full PC has.
    for index in 0..32_u16 {
        let (base, latch) = (index * 0x10, Shell::new("latch", Widths::BYTES, Latch(0)));
        ports
            .attach("latch", base.into(), 8, latch)
            .expect("the ranges are apart");
        let latch = Shell::new("latch", Widths::DWORDS, Latch(0));
        mmio.attach("latch", u64::from(base) << 12, 0x1000, latch)
            .expect("the ranges are apart");
    }
    let (mut ports, mut mmio) = (ports.view(), mmio.view());
    let mut data = [0; 4];
    criterion.bench_function("port write, same device again", |b| {
        b.iter(|| ports.write(black_box(0x100), black_box(&[1])))
    });
    criterion.bench_function("port read, two devices in turn", |b| {
        b.iter(|| {
            ports.read(black_box(0x100), &mut data[..1]);
            ports.read(black_box(0x1f0), &mut data[..1]);
        });
    });
    criterion.bench_function("port read, unclaimed", |b| {
        b.iter(|| ports.read(black_box(0x8000), &mut data[..1]))
    });
    criterion.bench_function("mmio read, same device again", |b| {
        b.iter(|| mmio.read(black_box(0x10_0000), &mut data))
    });
}

criterion_group!(benches, routing);
criterion_main!(benches);
