use trivisor_buses::testing::{MemoryStorage, TestHost};
use trivisor_buses::{Entropy, Fitted, Segment};
use trivisor_memory::RamLayout;

use super::*;
use crate::map;
use crate::pmem::regs::Config;
use crate::rng::Rng;

const GIB: u64 = 1 << 30;

struct Nothing;

impl Entropy for Nothing {
    fn fill(&mut self, _into: &[Segment]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

fn rng() -> Box<dyn Plug> {
    Box::new(PlugWith::new("rng", |_| {
        let sources = Vec::new();
        let device = Rng::new(Box::new(Nothing));
        Ok(Made::new(device, sources))
    }))
}

/// Of a type that came with version 1.
fn young() -> Box<dyn Plug> {
    Box::new(PlugWith::new("young", |ram| {
        let storage = Box::new(MemoryStorage::new(ram.clone(), 8));
        let (start, size) = (GIB, 0x20_0000);
        let device = Pmem::new(Config { start, size }, storage);
        let sources = Vec::new();
        Ok(Made::new(device, sources))
    }))
}

fn memory(size: u64) -> Box<dyn Plug> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    let storage = |ram: &GuestRam| {
        let storage = MemoryStorage::new(ram.clone(), 8);
        Ok((Box::new(storage) as Box<dyn Storage>, Vec::new()))
    };
    Box::new(PmemPlug {
        mapping: Arc::new(FileMapping::new(file, false).unwrap()),
        storage,
    })
}

fn fit(transport: TransportKind, devices: Vec<Box<dyn Plug>>) -> Result<Fitted, String> {
    let host = TestHost::new();
    let mut slots = Slots::new(host.as_host());
    let board = PvBoard {
        basic: BasicBoard {
            cpus: 1,
            ram: RamLayout::new(256 << 20).unwrap(),
            serial: None,
            pmem: Vec::new(),
            debug_exit: None,
            generation_id: [0; 16],
        },
        devices,
        transport,
        packed: false,
    };
    board.fit(&mut slots).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })?;
    Ok(slots.finish())
}

fn transitional(plug: Box<dyn Plug>) -> Vec<Box<dyn Plug>> {
    vec![Box::new(Transitional(plug))]
}

/// The double word at a register of device 1's configuration space.
fn config(fitted: &Fitted, register: u64) -> u32 {
    let mut data = [0; 4];
    let at = map::ECAM + 0x8000 + register;
    fitted.mmio.view().read(at, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn a_transitional_device_has_ports_beside() {
    let old = fit(TransportKind::Pci, transitional(rng())).unwrap();
    assert_eq!(config(&old, 0), 0x1005_1af4);
    assert_eq!(config(&old, 8) & 0xff, 0);
    assert_eq!(config(&old, 0x10), 0x1001, "it has the first ports");
    let new = fit(TransportKind::Pci, vec![rng()]).unwrap();
    assert_eq!(config(&new, 0), 0x1044_1af4);
    assert_eq!(config(&new, 8) & 0xff, 1);
    assert_eq!(config(&new, 0x10), 0);
}

#[test]
fn what_cannot_be_transitional_says_so() {
    let young = fit(TransportKind::Pci, transitional(young())).unwrap_err();
    assert!(
        young.contains("young") && young.contains("no legacy interface"),
        "{young}"
    );
    let mmio = fit(TransportKind::Mmio, transitional(rng())).unwrap_err();
    assert!(mmio.contains("on PCI alone"), "{mmio}");
}

#[test]
fn persistent_memory_lies_above_all_other() {
    for transport in [TransportKind::Pci, TransportKind::Mmio] {
        let devices = vec![memory(0x20_0000), rng(), memory(0x40_0000)];
        let fitted = fit(transport, devices).unwrap();
        let mapped = fitted.mapped.iter();
        let places = mapped.map(|one| (one.address, one.mapping.size()));
        let places: Vec<_> = places.collect();
        assert_eq!(places, [(4 * GIB, 0x20_0000), (5 * GIB, 0x40_0000)]);
    }
}

#[test]
fn a_console_is_behind_the_serial_port() {
    struct Sink;

    impl CharOutput for Sink {
        fn write(&mut self, bytes: &[u8]) -> usize {
            bytes.len()
        }
    }

    for transport in [TransportKind::Pci, TransportKind::Mmio] {
        let fitted = fit(transport, vec![Box::new(ConsolePlug(Box::new(Sink)))]).unwrap();
        let [_serial, console] = fitted.consoles.as_slice() else {
            panic!("{} consoles", fitted.consoles.len());
        };
        // What is typed before there is a driver waits for it, up to a point.
        let room = console.room();
        assert!(room > 0);
        assert_eq!(console.push(&[b'x'; 10]), 10);
        assert_eq!(console.room(), room - 10);
        console.output_ready();
    }
}
