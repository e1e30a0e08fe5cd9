mod bus;
mod config;
mod interrupts;
mod routes;
mod state;

use std::sync::Arc;

use trivisor_buses::testing::{Recorder, TestHost};
use trivisor_buses::{LineEnd, MmioBus, PortBus, Shell, Wire};

use crate::testing::Probe;
use crate::{
    ConfigPorts, DeviceFunction, FunctionShell, HostBridge, InterruptPin, RootBus, Windows, ecam,
    ports,
};

const ECAM: u64 = 0xb000_0000;
/// Where [`windows`] puts the registers of the first probe.
const IO: u64 = 0xc000;
const MEMORY32: u64 = 0xc000_0000;
const MEMORY64: u64 = 0x80_0000_0000;

const COMMAND: u16 = 0x04;
const STATUS: u16 = 0x06;
const BAR0: u16 = 0x10;
const BAR1: u16 = 0x14;
const BAR2: u16 = 0x18;

/// COMMAND: I/O, memory, bus master.
const ON: u32 = 0x7;

fn windows() -> Windows {
    Windows {
        io: IO..0xd000,
        memory32: MEMORY32..0xc100_0000,
        memory64: MEMORY64..MEMORY64 + 0x10_0000,
        irqs: [16, 17, 18, 19],
    }
}

fn at(device: u8, function: u8) -> DeviceFunction {
    DeviceFunction::new(device, function).unwrap()
}

/// A line's end that notes edges and restored levels.
#[derive(Debug, Default)]
struct Pin {
    edges: Recorder<bool>,
    restored: Recorder<bool>,
}

impl LineEnd for Pin {
    fn set_level(&self, level: bool) {
        self.edges.note(level);
    }

    fn restore_level(&self, level: bool) {
        self.restored.note(level);
    }
}

/// A bus with a bridge, on the buses of a machine.
struct Machine {
    host: Arc<TestHost>,
    ports: Arc<PortBus>,
    memory: Arc<MmioBus>,
    pins: [Arc<Pin>; 4],
    config_ports: Arc<Shell<ConfigPorts>>,
    bus: RootBus,
}

impl Machine {
    fn new() -> Self {
        let (ports, memory) = (Arc::new(PortBus::default()), Arc::new(MmioBus::default()));
        let pins = [(); 4].map(|()| Arc::new(Pin::default()));
        let wires = pins.clone().map(|pin| Wire::new(pin));
        let bus = RootBus::new(&ports, &memory, Some(wires));
        let config_ports = Shell::new("pci-config", ports::WIDTHS, bus.config_ports());
        ports
            .attach("pci-config", 0xcf8, 8, config_ports.clone())
            .unwrap();
        memory
            .attach("pci-ecam", ECAM, ecam::SIZE, bus.ecam())
            .unwrap();
        bus.add("host-bridge", HostBridge::new()).unwrap();
        Self {
            host: TestHost::new(),
            ports,
            memory,
            pins,
            config_ports,
            bus,
        }
    }

    /// With a probe at device 1, assigned and on.
    fn with_probe() -> (Self, Arc<FunctionShell<Probe>>) {
        let machine = Self::new();
        let probe = machine.add();
        machine.bus.assign(&windows()).unwrap();
        machine.set(1, COMMAND, ON);
        (machine, probe)
    }

    fn add(&self) -> Arc<FunctionShell<Probe>> {
        let probe = Probe::new(self.host.clone()).unwrap();
        self.bus.add("probe", probe).unwrap()
    }

    fn add_plain(&self, pin: InterruptPin) -> Arc<FunctionShell<Probe>> {
        let probe = Probe::with_pin(pin).unwrap();
        self.bus.add("plain", probe).unwrap()
    }

    /// By ECAM: a double word of function 0 of a device.
    fn get(&self, device: u64, register: u16) -> u32 {
        self.read(ECAM + (device << 15) + u64::from(register))
    }

    /// By ECAM: a word.
    fn get16(&self, device: u64, register: u16) -> u16 {
        let mut data = [0; 2];
        let at = ECAM + (device << 15) + u64::from(register);
        self.memory.view().read(at, &mut data);
        u16::from_le_bytes(data)
    }

    /// By ECAM: COMMAND alone is 16 bits wide.
    fn set(&self, device: u64, register: u16, value: u32) {
        let at = ECAM + (device << 15) + u64::from(register);
        let len = if register == COMMAND || register == STATUS {
            2
        } else {
            4
        };
        self.memory.view().write(at, &value.to_le_bytes()[..len]);
    }

    fn read(&self, address: u64) -> u32 {
        let mut data = [0; 4];
        self.memory.view().read(address, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(&self, address: u64, value: u32) {
        self.memory.view().write(address, &value.to_le_bytes());
    }

    fn out(&self, port: u64, data: &[u8]) {
        self.ports.view().write(port, data);
    }

    fn inp<const N: usize>(&self, port: u64) -> [u8; N] {
        let mut data = [0; N];
        self.ports.view().read(port, &mut data);
        data
    }
}
