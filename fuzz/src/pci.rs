//! PCI: two probes on a root bus, reached by memory and by ports.

use trivisor_buses::{Slots, Wire};
use trivisor_pci::testing::Probe;
use trivisor_pci::{HostBridge, PciFunction, RootBus, Windows, ecam, ports};

use crate::bus::words::{TWIN, write as write_to};
use crate::bus::{BusFuzzer, Space, World};

const ECAM: u64 = 0xb000_0000;
const PORT: u64 = 0xcf8;
const WINDOWS: Windows = Windows {
    io: 0x1000..0x1100,
    memory32: 0xc000_0000..0xc100_0000,
    memory64: 0x1_0000_0000..0x1_0100_0000,
    irqs: [16, 17, 18, 19],
};

/// A bus with a bridge and two probes, which answer at [`WINDOWS`] from the start.
#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit(world: &World, slots: &mut Slots) -> RootBus {
    let wires = [(); 4].map(|()| Wire::new(world.host.clone()));
    let bus = RootBus::new(slots.ports(), slots.memory(), Some(wires));
    let probe = || Probe::new(world.host.clone()).expect("it fits");
    let bridge = bus.add("bridge", HostBridge::new()).expect("there is room");
    slots.component("bridge", bridge);
    let probes = [probe(), probe()].map(|probe| bus.add("probe", probe).expect("there is room"));
    bus.assign(&WINDOWS).expect("the windows are large enough");
    for probe in probes {
        probe.with(|probe| probe.endpoint_mut().write_config(4, &[7]));
        slots.component("probe", probe);
    }
    bus
}

/// Each register with nothing, with an address of each kind of window, and with all.
fn anything(registers: &[u64]) -> Vec<Vec<u8>> {
    let values = [0, 1, 0x1000, 0xc000_0000, u32::MAX].map(u32::to_le_bytes);
    let write = |at: &u64| values.map(|value| write_to(registers, *at, &value));
    registers.iter().flat_map(write).collect()
}

/// Configuration space as memory, and base address registers in memory.
pub mod pci_memory {
    use super::*;

    const REGISTERS: &[u64] = &[
        // Device 1: command, status, base address registers, capabilities.
        0x8004,
        0x8006,
        0x8010,
        0x8014,
        0x8018,
        0x801c,
        0x803c,
        0x8044,
        0x8048,
        0x804e,
        0x8050,
        0x8054,
        0x8058,
        0x805c,
        0x8060,
        0x8066,
        // Device 2.
        0x1_0004,
        0x1_0014,
        0x1_0018,
        0x1_001c,
        0x1_0066,
        // Device 1's memory: its bytes, a message, an interrupt, the table, the pending bits; then device 2's.
        0x1000_0000,
        0x1000_0100,
        0x1000_0104,
        0x1000_0800,
        0x1000_0804,
        0x1000_0808,
        0x1000_080c,
        0x1000_081c,
        0x1000_0c00,
        0x1000_1000,
        0x1000_1100,
        0x1000_1104,
        0x1000_180c,
        // Their 64-bit memory.
        0x5000_0000,
        0x5000_0100,
        0x5000_4000,
    ];

    static FUZZER: BusFuzzer = BusFuzzer {
        space: Space::Memory,
        base: ECAM,
        size: ecam::SIZE,
        registers: REGISTERS,
        fit: |world, slots| {
            let bus = fit(world, slots);
            slots
                .memory()
                .attach("ecam", ECAM, ecam::SIZE, bus.ecam())?;
            Ok(())
        },
    };

    /// The entry point; its input is a list of operations.
    ///
    /// # Panics
    /// As [`BusFuzzer::run`] does.
    pub fn target(data: &[u8]) {
        FUZZER.run(data);
    }

    /// Inputs that visit each register; of those here, one lets two registers meet, one holds messages back.
    #[must_use]
    pub fn seeds() -> Vec<Vec<u8>> {
        let write = |at: u64, data: &[u8]| write_to(REGISTERS, at, data);
        let met = [
            write(0x8014, &0xd000_0000_u32.to_le_bytes()),
            write(0x1_0014, &0xd000_0000_u32.to_le_bytes()),
            TWIN.to_vec(),
            write(0x8014, &0xc000_0000_u32.to_le_bytes()),
            write(0x1000_0000, &[1, 2, 3, 4]),
        ];
        let held = [
            write(0x8066, &[0, 0xc0]),
            write(0x1000_0800, &0x55_fee0_1000_u64.to_le_bytes()),
            write(0x1000_0808, &0x31_u64.to_le_bytes()),
            write(0x1000_0100, &[0]),
            write(0x1000_0104, &[1]),
            TWIN.to_vec(),
            write(0x8066, &[0, 0x80]),
            write(0x8066, &[0, 0]),
        ];
        let mut seeds = FUZZER.seeds();
        seeds.extend([met.concat(), held.concat()]);
        seeds
    }

    /// Operations that the device knows.
    #[must_use]
    pub fn dictionary() -> Vec<Vec<u8>> {
        let mut words = FUZZER.dictionary();
        words.extend(anything(REGISTERS));
        // Masked, enabled, both; a message's address, data and mask.
        let write = |at: u64, data: &[u8]| write_to(REGISTERS, at, data);
        words.extend([[0, 0x80], [0, 0xc0], [0, 0]].map(|control| write(0x8066, &control)));
        words.push(write(0x1000_0800, &0x55_fee0_1000_u64.to_le_bytes()));
        words.push(write(0x1000_0808, &0x31_u64.to_le_bytes()));
        words
    }
}

/// Configuration space by ports, and base address registers there.
pub mod pci_ports {
    use super::*;

    const REGISTERS: &[u64] = &[
        0,
        4,
        6, // CONFIG_ADDRESS, CONFIG_DATA
        0x1000 - PORT,
        0x1004 - PORT,
        0x1010 - PORT,
        0x1014 - PORT,
    ];

    static FUZZER: BusFuzzer = BusFuzzer {
        space: Space::Ports,
        base: PORT,
        size: ports::PORTS as u64,
        registers: REGISTERS,
        fit: |world, slots| {
            let chip = fit(world, slots).config_ports();
            slots.pio("pci-config", 0xcf8, ports::PORTS, ports::WIDTHS, chip)?;
            Ok(())
        },
    };

    /// The entry point; its input is a list of operations.
    ///
    /// # Panics
    /// As [`BusFuzzer::run`] does.
    pub fn target(data: &[u8]) {
        FUZZER.run(data);
    }

    /// Inputs that visit each register, and one that goes through the registers of configuration space.
    #[must_use]
    pub fn seeds() -> Vec<Vec<u8>> {
        let write = |at: u64, data: &[u8]| write_to(REGISTERS, at, data);
        let mut walk = Vec::new();
        for select in selections() {
            walk.extend(select);
            walk.extend(write(4, &[0x07, 0x10, 0x01, 0xc0]));
            walk.extend(write(0x1000 - PORT, &[1]));
            walk.extend(write(0x1004 - PORT, &[1]));
            walk.extend(TWIN);
        }
        let mut seeds = FUZZER.seeds();
        seeds.push(walk);
        seeds
    }

    /// Selects registers of the first probe: command, a base address, interrupt, capabilities.
    fn selections() -> [Vec<u8>; 6] {
        [0x04, 0x10, 0x3c, 0x4c, 0x5c, 0x64].map(|register| {
            let address = 0x8000_0800_u32 | register;
            write_to(REGISTERS, 0, &address.to_le_bytes())
        })
    }

    /// Operations that the device knows.
    #[must_use]
    pub fn dictionary() -> Vec<Vec<u8>> {
        let mut words = FUZZER.dictionary();
        words.extend(selections());
        words.extend(anything(REGISTERS));
        words
    }
}

/// A transitional console, by configuration space and its legacy interface.
pub mod virtio_legacy {
    use trivisor_devices_pv::console::{Console, PortConfig};
    use trivisor_virtio_device::pci::PciTransport;
    use trivisor_virtio_device::transport::Offer;

    use super::*;

    const LEGACY: u64 = 0x1000 - PORT;
    const REGISTERS: &[u64] = &[
        0,
        4,
        6, // CONFIG_ADDRESS, CONFIG_DATA
        LEGACY,
        LEGACY + 0x04,
        LEGACY + 0x08,
        LEGACY + 0x0c,
        LEGACY + 0x0e,
        LEGACY + 0x10,
        LEGACY + 0x12,
        LEGACY + 0x13,
        LEGACY + 0x14,
        LEGACY + 0x16,
        LEGACY + 0x18,
        LEGACY + 0x1c,
        LEGACY + 0x20,
    ];

    static FUZZER: BusFuzzer = BusFuzzer {
        space: Space::Ports,
        base: PORT,
        size: LEGACY + 0x80,
        registers: REGISTERS,
        fit: |world, slots| {
            let bus = RootBus::new(slots.ports(), slots.memory(), None);
            let ports = bus.config_ports();
            slots.pio("pci-config", 0xcf8, ports::PORTS, ports::WIDTHS, ports)?;
            let console = bus.add("console", console(world, slots));
            #[expect(clippy::expect_used, reason = "it is the only one")]
            let console = console.expect("there is room");
            #[expect(clippy::expect_used, reason = "one is small")]
            bus.assign(&WINDOWS).expect("the windows are large enough");
            console.with(|console| console.config_write(4, &[7]));
            slots.component("console", console);
            Ok(())
        },
    };

    #[expect(
        clippy::expect_used,
        reason = "a target that cannot be set up is wrong itself"
    )]
    fn console(world: &World, slots: &Slots) -> PciTransport<Console> {
        let port = PortConfig {
            name: String::new(),
            console: true,
            output: Some(Box::new(world.outside.clone())),
        };
        let console = Console::new(vec![port]).expect("one port is possible");
        let (ram, sink) = (slots.host().ram.clone(), world.host.clone());
        let offer = Offer { packed: false };
        PciTransport::transitional(console, ram, sink, offer).expect("consoles are old")
    }

    /// The entry point; its input is a list of operations.
    ///
    /// # Panics
    /// As [`BusFuzzer::run`] does.
    pub fn target(data: &[u8]) {
        FUZZER.run(data);
    }

    /// Inputs that visit each register, and drivers that get as far as a queue that is rung: before DRIVER_OK, and after;
    /// with a queue that is no RAM, with features after the queues, and by message.
    #[must_use]
    pub fn seeds() -> Vec<Vec<u8>> {
        let ready = [
            status(1),
            status(3),
            write(0x04, &[0xff; 4]),
            queue(1, 4),
            status(7),
            ring(1),
            TWIN.to_vec(),
            ring(1),
            queue(1, 0),
            status(0),
        ];
        let early = [
            status(3),
            queue(0, 8),
            ring(0),
            TWIN.to_vec(),
            ring(0),
            status(7),
        ];
        let nowhere = [
            status(3),
            queue(0, u32::MAX),
            status(7),
            ring(0),
            TWIN.to_vec(),
        ];
        let late = [
            queue(1, 4),
            write(0x04, &[0, 0, 0, 0x20]),
            status(7),
            TWIN.to_vec(),
        ];
        let mut seeds = FUZZER.seeds();
        seeds.extend([
            ready.concat(),
            early.concat(),
            nowhere.concat(),
            late.concat(),
        ]);
        seeds.push([messages(), ready.concat()].concat());
        seeds
    }

    /// Operations that a driver makes: each status, each queue with a page and rung, features, messages.
    #[must_use]
    pub fn dictionary() -> Vec<Vec<u8>> {
        let mut words = FUZZER.dictionary();
        words.extend([0, 1, 3, 7, 0x80].map(status));
        for number in [0, 1, 2] {
            words.extend([0, 4, u32::MAX].map(|page| queue(number, page)));
            words.push(ring(number));
        }
        words.extend([[0; 4], [0xff; 4], [0, 0, 0, 0x20]].map(|features| write(0x04, &features)));
        words.push(messages());
        words
    }

    /// The operation that writes to a register of the legacy interface.
    fn write(at: u64, data: &[u8]) -> Vec<u8> {
        write_to(REGISTERS, LEGACY + at, data)
    }

    fn status(bits: u8) -> Vec<u8> {
        write(0x12, &[bits])
    }

    fn queue(number: u8, page: u32) -> Vec<u8> {
        let selected = write(0x0e, &[number, 0]);
        [selected, write(0x08, &page.to_le_bytes())].concat()
    }

    fn ring(number: u8) -> Vec<u8> {
        write(0x10, &[number, 0])
    }

    /// Interrupts by message: the capability is switched on, and both causes get one.
    fn messages() -> Vec<u8> {
        let parts = [
            write_to(REGISTERS, 0, &0x8000_0098_u32.to_le_bytes()),
            write_to(REGISTERS, 6, &[0, 0x80]),
            write(0x14, &[0, 0]),
            write(0x16, &[1, 0]),
        ];
        parts.concat()
    }
}
